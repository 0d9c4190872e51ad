"""What a model does at sea, measured: `python -m bench.sea [MODEL] [--only PARTS] [--split test]`.

| part | what |
| --- | --- |
| real | false alarms on real noise (no whale, no dolphin), by site; other whales of these sites |
| mixed | whistles and broadband calls put into the same real noise at 5 to 25 dB: recall |
| simulated | new recordings of both versions of the simulator: windows, events |
| unlike | another simulator at 5-10, 10-20 and 20-30 dB |
| bounds | measured bounds against the truth; bounds that are constants of the profile |
| diphonic | the flag against the truth's pairs; `n_calls` against the truth in dense sound |
| regions | events before and after emptying the regions of interest |
| watkins | real belugas and other animals, by source; belugas without pause |

Prints what was asked beside what is found, then every figure, and writes both, with all that stands
behind them, to `output/sea/`. The default split is validation; the test split (sites FK and HI,
SoundTrap, other seeds) is for one final judgement: what is chosen by looking at it must say so. A
figure that a model or this code does not have says "missing". Real clips come from `--data`,
SEA_CANARY_DATA or ../shared/data; without them those parts are missing. Some five minutes of a
core, less when the sound is there.
"""
from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bench.sea_figures import MISSING
from bench.sea_parts import MEASURES, OUTPUT, Sea
from pipeline.single import load
from training.evaluate import json_ready

PARTS = tuple(MEASURES)
IN_FILE_ONLY = ("by sound", "others by source")  # too many rows for a screen
SIMULATED = [
    ("windows, macro F1", ("windows_macro_f1",), ">=", 0.90),
    ("windows without boats", ("windows_macro_f1_without_boats",), ">=", 0.92),
    ("windows with boats", ("windows_macro_f1_with_boats",), ">=", 0.88),
    ("events, precision", ("events_precision",), ">=", 0.95),
    ("events, recall", ("events_recall",), ">=", 0.86),
    ("worst label's event recall", ("by_label_recall", "least"), ">=", 0.80),
]
SOUNDS = ("version 1", "version 2", "version 1, dense", "version 2, dense", "unlike, 10-20 dB")
BOUNDS_HZ = {"Whistle": (1000, 2000)} | dict.fromkeys(("ECHO", "HFPC", "BBPC"), (5000, 5000))


def demands() -> list[tuple[str, tuple, str, float]]:
    """What is asked: (words, path into the result, comparison, limit)."""
    unlike = ("unlike", "10-20 dB")
    out = [
        ("real noise, windows positive", ("real", "SanctSound", "windows_positive"), "<=", 0.03),
        ("real noise, events an hour", ("real", "SanctSound", "per_hour"), "<=", 20),
        ("SoundTrap, events in 15 minutes", ("real", "site soundtrap", "events"), "<=", 0),
        ("whistles in real noise, recall", ("mixed", "Whistle", "recall"), ">=", 0.85),
        ("broadband calls in real noise", ("mixed", "BBPC", "recall"), ">=", 0.85),
    ]
    for version in ("version 1", "version 2"):
        out += [(f"{version}, {what}", ("simulated", version, *path), sign, limit)
                for what, path, sign, limit in SIMULATED]  # fmt: skip
    out += [
        ("unlike 10-20 dB, windows", (*unlike, "windows_macro_f1"), ">=", 0.85),
        ("unlike 10-20 dB, ECHO recall", (*unlike, "by_label_recall", "ECHO"), ">=", 0.80),
        ("unlike 10-20 dB, HFPC recall", (*unlike, "by_label_recall", "HFPC"), ">=", 0.75),
    ]
    for sound in SOUNDS:
        for label, limits_hz in BOUNDS_HZ.items():
            edges = [("low_hz", limits_hz[0]), ("high_hz", limits_hz[1])]
            for edge, limit in [*edges, ("start_s", 0.05), ("end_s", 0.05)]:
                path = ("bounds", sound, "errors", label, edge)
                out.append((f"{sound}: {label} {edge}", path, "<=", limit))
        path = ("bounds", sound, "constants", "share")
        out.append((f"{sound}: bounds of the profile", path, "<=", 0.05))
    for sound in SOUNDS:
        out.append((f"{sound}: diphonic precision", ("diphonic", sound, "precision"), ">=", 0.85))
        out.append((f"{sound}: diphonic recall", ("diphonic", sound, "recall"), ">=", 0.80))
        path = ("diphonic", sound, "counts", "error_size")
        out.append((f"{sound}: n_calls, error", path, "<=", 0.15))
    return out + [
        ("events differ without regions", ("regions", "changed"), ">=", 1),
        ("belugas with an event, of 39", ("watkins", "belugas", "with_event"), ">=", 34),
        ("belugas that pass, of 39", ("watkins", "belugas", "passing_left_out"), ">=", 34),
        ("other animals that pass", ("watkins", "other animals", "passing_left_out_share"),
         "<=", 0.10),
    ]


def looked_up(result: dict, path: tuple):
    """The figure at a path, None where there is none."""
    for key in path:
        result = result.get(key) if isinstance(result, dict) else None
    return None if isinstance(result, dict) or result == MISSING else result


def demand_lines(result: dict) -> list[str]:
    """Demands on the parts that were measured, a line each, those not met marked."""
    lines = []
    for words, path, sign, limit in demands():
        sound_there = len(path) < 3 or path[1] not in SOUNDS or path[1] in result.get(path[0], {})
        if path[0] not in result or not sound_there:
            continue
        value = looked_up(result, path)
        if value is None or not np.isfinite(value):
            verdict, value = MISSING, None
        else:
            verdict = "" if (value <= limit if sign == "<=" else value >= limit) else "NOT MET"
        lines.append(f"{words:<44}{said(value):>10}  {sign} {limit:<8g}{verdict}".rstrip())
    return lines


def rows_of(found: dict, path: tuple = ()) -> list[tuple[str, str]]:
    """A nested result as lines (what, figures): one line for each dict of plain values."""
    plain = [f"{key} {said(v)}" for key, v in found.items() if not isinstance(v, dict)]
    rows = [(" / ".join(path), "  ".join(plain))] if plain else []
    for key, value in found.items():
        if isinstance(value, dict) and value and key not in IN_FILE_ONLY:
            rows += rows_of(value, (*path, str(key)))
    return rows


def said(value) -> str:
    """A figure for reading."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(said(v) for v in value) + "]"
    if isinstance(value, float) and np.isfinite(value):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return "-" if value is None or isinstance(value, float) else str(value)


def main(words=None) -> dict:
    parser = argparse.ArgumentParser(prog="python -m bench.sea", description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default=None, help="folder or name of a saved model")
    parser.add_argument("--data", type=Path, default=None, help="folder of the shared real clips")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, joined by commas")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    wanted = parser.parse_args(words)
    parts = [part for part in wanted.only.split(",") if part]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    sea = Sea(load(wanted.model), wanted.split, wanted.data)
    result = {"model": sea.model.model_id, "split": wanted.split}
    for part in parts:
        began = time.perf_counter()
        try:
            result[part] = MEASURES[part](sea)
        except FileNotFoundError as error:
            result[part] = {MISSING: str(error)}
        result[part]["took_s"] = round(time.perf_counter() - began, 1)
    title = f"{sea.model.model_id}, split {wanted.split}"
    if wanted.split == "test":
        title += " (judged once: what is chosen by these figures must say so)"
    lines = [title, *demand_lines(result), ""]
    lines += [f"{what:<44} {figures}" for what, figures in rows_of(result) if what]
    name = f"{sea.model.model_id}_{wanted.split}" + ("" if parts == list(PARTS) else "_part")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{name}.json").write_text(json.dumps(json_ready(result), indent=1), encoding="utf-8")
    (OUTPUT / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"written to {OUTPUT / name}.json and .txt")
    return result


if __name__ == "__main__":
    main()
