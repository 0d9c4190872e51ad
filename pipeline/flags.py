"""What may speak against an event, in words, and which events pass.

An event is never left out for a flag: tables hold all of them. What a biologist reads first
(report, notebook) are those that pass, then how many more there are and what marks them.
"""
from __future__ import annotations

import pandas as pd

FLAGS = {  # name in the column `flags` -> what it says; the order in which they stand there
    "steady_tone": "a tone that neither wavers nor moves, as of a machine",
    "single_impulse": "one bang without a train",
    "out_of_domain": "unlike everything that the model learnt from",
    "other_animal": "rather another animal, a vessel or a machine (species_score below 0.5)",
    "clipped": "the recorder was at full scale: level and bounds are doubtful",
    "below_snr": "fainter than the noise in its own box",
    "region_missing": "no region of interest: bounds are doubtful",
}
AGAINST = ("steady_tone", "single_impulse", "out_of_domain", "other_animal", "below_snr")
NOTES = tuple(name for name in FLAGS if name not in AGAINST)  # doubt the numbers, not the name


def passes(events: pd.DataFrame) -> pd.Series:
    """(events,) bool: nothing speaks against the name. Where nothing is known (an older table, no
    species_score), nothing does."""
    if "flags" not in events:
        return pd.Series(True, events.index)
    flags = events["flags"].fillna("").astype("str")  # a CSV's empty cells
    good = {text: not set(text.split("+")) & set(AGAINST) for text in flags.unique()}
    return flags.map(good).astype(bool)


def flag_counts(events: pd.DataFrame) -> dict[str, int]:
    """How many of the events carry each flag, of those that occur; an event may carry several."""
    names = events["flags"].str.split("+") if "flags" in events and len(events) else pd.Series([])
    counts = names.explode().value_counts()
    return {name: int(counts[name]) for name in FLAGS if name in counts}


def more_line(events: pd.DataFrame) -> str:
    """One line on the events that do not pass; "" where all do.

    >>> more_line(pd.DataFrame({"flags": ["", "below_snr", "other_animal+below_snr"]}))
    '2 more events do not pass: other_animal 1, below_snr 2.'
    """
    rest = events[~passes(events)]
    if not len(rest):
        return ""
    counts = {name: n for name, n in flag_counts(rest).items() if name in AGAINST}
    what = "1 more event does" if len(rest) == 1 else f"{len(rest):,} more events do"
    return f"{what} not pass: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()) + "."
