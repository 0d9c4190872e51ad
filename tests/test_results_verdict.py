"""The net under training: what results/ says comes again by other code, no folder left out."""

import json
import shutil

import pandas as pd
import pytest

from tests.independent_verdict import compared
from training.run import RESULTS

LEAST = {  # figures compared in each folder: a net that covers fewer has got a hole
    "beluga_default": 432,
    "boats": 192,
    "cook_inlet": 135,
    "front_end_absolute": 432,
    "front_end_mean": 432,
    "front_end_mel": 432,
    "front_end_minmax": 432,
    "humpback_types": 900,
    "humpback_watkins": 252,
    "leak": 192,
    "peer_recipe": 384,
    "right_whale_complexity": 120,
    "right_whale_h2o": 72,
    "right_whale_noise": 72,
    "right_whale_resnet50": 48,
    "right_whale_watkins": 48,
    "right_whale_xception": 48,
    "right_whale_zoo": 144,
    "sites": 1536,
    "size": 768,
    "watkins_beluga": 168,
    "watkins_species": 372,
}
FEWEST = 24  # of a folder that is not in the list yet


def folders():
    """Of results/, those that hold metrics and the predictions they are of."""
    holding = (path.parent for path in RESULTS.glob("*/metrics.json"))
    return sorted(folder for folder in holding if (folder / "predictions.parquet").exists())


@pytest.mark.parametrize("folder", folders(), ids=lambda path: path.name)
def test_figures_come_again_by_code_that_training_does_not_share(folder):
    count, unlike = compared(folder)
    print(f"{folder.name}: {count} figures")
    assert unlike == []
    assert count >= LEAST.get(folder.name, FEWEST)


def test_the_net_covers_every_folder_that_it_once_covered():
    assert set(LEAST) <= {folder.name for folder in folders()}


@pytest.mark.parametrize(
    "name",
    [
        "front_end_mel",
        "leak",
        "watkins_beluga",
        "right_whale_zoo",
        "humpback_watkins",
        "cook_inlet",
    ],
)
def test_a_changed_probability_or_figure_is_seen_in_every_family(name, tmp_path):
    """A check that cannot fail is none: one label's answers turned round, one figure changed."""
    folder = tmp_path / name
    folder.mkdir()
    for file in ("metrics.json", "predictions.parquet"):
        shutil.copy(RESULTS / name / file, folder)
    predictions = pd.read_parquet(folder / "predictions.parquet")
    column = next(column for column in predictions if column.startswith("prob_"))
    predictions.assign(**{column: 1 - predictions[column]}).to_parquet(
        folder / "predictions.parquet"
    )
    assert any("roc_auc" in line for line in compared(folder)[1])

    shutil.copy(RESULTS / name / "predictions.parquet", folder)
    text = (folder / "metrics.json").read_text(encoding="utf-8")
    place = text.index('"roc_auc": 0.') + len('"roc_auc": 0.')
    changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    assert json.loads(changed) != json.loads(text)
    (folder / "metrics.json").write_text(changed, encoding="utf-8")
    assert len(compared(folder)[1]) == 1
