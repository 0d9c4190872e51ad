"""Groups of clips that share sound are one group: what was copied or cut twice from one tape must not lie on both sides of a split.

On disk, beside the data sets of clips: `same_sound_KEY.parquet`, the pairs that `find_duplicates` found, and `same_sound_KEY.json`, the clips that were compared (name and
bytes), written last; another experiment on some of them need not compare again.
"""
from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from preprocessing.duplicates import between_groups, find_duplicates
from preprocessing.splits import joined_groups
from training.deployments import digest

JOINED = " + "  # stands between the names of groups that were made one


def same_sound(clips: pd.DataFrame, folder: Path, progress: bool = False) -> pd.DataFrame:
    """Pairs of clips with the same sound (`find_duplicates`), from `folder` if these clips have been compared before.

    clips : recording and path.
    """
    sizes = {name: Path(path).stat().st_size for name, path in zip(clips["recording"], clips["path"])}
    for noted in sorted(folder.glob("same_sound_*.json")):
        if sizes.items() <= json.loads(noted.read_text(encoding="utf-8")).items():
            pairs = pd.read_parquet(noted.with_suffix(".parquet"))
            return pairs[pairs["a"].isin(sizes) & pairs["b"].isin(sizes)].reset_index(drop=True)
    pairs = find_duplicates(clips, progress=progress)
    noted = folder / f"same_sound_{digest(sizes)}.json"
    folder.mkdir(parents=True, exist_ok=True)
    pairs.to_parquet(noted.with_suffix(".parquet"), index=False)
    noted.write_text(json.dumps(sizes), encoding="utf-8")
    return pairs


def join_groups(clips: pd.DataFrame, same: pd.DataFrame, column: str = "group") -> pd.DataFrame:
    """The clips, groups that share sound joined into one, named by all of them ("watkins/59003 + watkins/59004"); what was joined is in `.attrs["joined"]`: the pairs
    between groups with group_a and group_b."""
    number = joined_groups(clips, column, same)
    names = clips.groupby(number)[column].agg(lambda group: JOINED.join(sorted(group.unique())))
    joined = clips.assign(**{column: number.map(names)})
    joined.attrs = clips.attrs | {"joined": between_groups(same, dict(zip(clips["recording"], clips[column])))}
    return joined
