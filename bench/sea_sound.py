"""The sound that `bench.sea` measures on: two simulators' recordings, calls in real noise.

Everything is made once below `output/sea/` and found there again; the folder's name holds what it
was made of. Seeds were drawn once by `secrets.randbelow` and are never changed: no training uses
them.
"""
from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from tqdm.auto import tqdm

from preprocessing import unlike
from preprocessing.soundscape import SITES, Settings, simulate_deployment

SEEDS = {"validation": 102_451, "test": 101_360}  # simulated recordings, dense ones
UNLIKE_SEEDS = {"validation": 97_303, "test": 92_505}
MIX_SEEDS = {"validation": 94_074, "test": 92_026}
VERSIONS = (1, 2)
RECORDING_S = 30.0
COUNTS = {  # recordings of each site
    "validation": {"natural": 16, "empty": 4, "dense": 3},
    "test": {"natural": 24, "empty": 8, "dense": 4},
}
DENSE_SETTINGS = {
    "call_rate_per_min": 24.0, "diphonic_share": 0.4,
    "call_mix": {"ECHO": 0.22, "HFPC": 0.26, "BBPC": 0.26, "Whistle": 0.26},
}  # fmt: skip
UNLIKE_SNR_DB, UNLIKE_RECORDINGS = ((5, 10), (10, 20), (20, 30)), {"validation": 10, "test": 16}
MIX_SNR_DB, MIX_LABELS, MIX_PASSES, MIX_EVERY_S = (5, 25), ("Whistle", "BBPC"), 4, 4.0
LOWEST_MIX_RATE_HZ, SIMULATED_PER_LABEL = 30_000, 40
SENSITIVITY_DB = -170.0  # of mixed clips, which are uncalibrated


def knows_versions() -> bool:
    """Whether the simulator still speaks as its earlier version where asked."""
    named = inspect.signature(simulate_deployment).parameters
    return "version" in named or "version" in Settings.__dataclass_fields__


def simulated(split: str, version: int, folder: Path, dense: bool = False):
    """Recordings and truth of new simulated recordings, or None where there is no such version.

    `recordings`: recording, path, duration_s, site, kind, boats.
    """
    if version != 1 and not knows_versions():
        return None
    told = {"version": version} if knows_versions() else {}
    tables = []
    kinds = ["dense"] if dense else ["natural", "empty"]
    for k, site in enumerate(tqdm(list(SITES), desc=f"simulated, version {version}", unit="site")):
        for i, kind in enumerate(kinds):
            seed, count = SEEDS[split] + 10 * k + i + 5 * dense, COUNTS[split][kind]
            extra = {"natural": {}, "empty": {"call_rate_per_min": 0.0}, "dense": DENSE_SETTINGS}
            name = f"{split}_v{version}_{site}_{kind}_{seed}_{count}x{RECORDING_S:g}"
            where, boats = folder / name, [bool(j % 2) for j in range(count)]
            if not (where / "deployment.json").exists():
                simulate_deployment(where, site, seed, count, RECORDING_S, boats=boats,
                                    progress=False, **told, **extra[kind])  # fmt: skip
            tables.append(_read_deployment(where, site, kind, boats))
    return tuple(pd.concat(parts, ignore_index=True) for parts in zip(*tables))


def _read_deployment(folder: Path, site: str, kind: str, boats: list[bool]):
    truth = pd.read_csv(folder / "truth.csv")
    truth["recording"] = folder.name + "/" + truth["recording"].astype(str)
    about = json.loads((folder / "deployment.json").read_text(encoding="utf-8"))
    files = sorted(about["recordings"])
    return pd.DataFrame({
        "recording": [f"{folder.name}/{file}" for file in files],
        "path": [str(folder / file) for file in files],
        "duration_s": RECORDING_S, "site": site, "kind": kind, "boats": boats,
    }), truth  # fmt: skip


def unlike_recordings(split: str, snr_range_db: tuple, folder: Path):
    """Recordings and truth of the unlike generator at this signal-to-noise ratio."""
    low_db, high_db = snr_range_db
    seed = UNLIKE_SEEDS[split] + low_db
    count = UNLIKE_RECORDINGS[split]
    where = folder / f"{split}_unlike_{low_db}_{high_db}_{seed}_{count}"
    if not (where / "truth.csv").exists():
        unlike.write(where, count, RECORDING_S, snr_range_db, seed)
    truth = pd.read_csv(where / "truth.csv")
    truth["recording"] = where.name + "/" + truth["recording"]
    files = sorted(path.name for path in where.glob("*.wav"))
    return pd.DataFrame({
        "recording": [f"{where.name}/{file}" for file in files],
        "path": [str(where / file) for file in files],
        "duration_s": RECORDING_S, "site": "unlike", "kind": "natural", "boats": False,
    }), truth  # fmt: skip


def simulated_calls(label: str, seed: int, count: int = SIMULATED_PER_LABEL) -> list[np.ndarray]:
    """Calls as the simulator's animals make them, at 192 kHz, without noise or echoes."""
    from preprocessing.soundscape.calls import make_call

    return [make_call(label, np.random.default_rng((seed, k))).waveform for k in range(count)]


def mixed(split: str, clips: pd.DataFrame, folder: Path):
    """Whistles and broadband calls put into real noise, at a known SNR in the bands it has.

    Every pass over the clips puts a call into each `MIX_EVERY_S` of sound, of both labels and, by
    turns of the passes, of the simulator and of the unlike generator. Returns recordings and truth
    with a column `maker`.
    """
    where = folder / f"{split}_mixed_{MIX_SEEDS[split]}_{MIX_PASSES}_{len(clips)}"
    if not (where / "truth.csv").exists():
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        pools = {label: simulated_calls(label, MIX_SEEDS[split]) for label in MIX_LABELS}
        rows = []
        passes = [(number, row) for number in range(MIX_PASSES) for row in clips.itertuples()]
        for number, row in tqdm(passes, desc="calls into real noise", unit="clip"):
            name = f"{number}_{Path(row.recording).stem}.wav"
            rng = np.random.default_rng((MIX_SEEDS[split], number, row.Index))
            rows += _mix_into(row.path, where / name, name, rng, pools if number % 2 else None)
        pd.DataFrame(rows).to_csv(where / "truth.csv", index=False)
    truth = pd.read_csv(where / "truth.csv")
    files = sorted(path.name for path in where.glob("*.wav"))
    return pd.DataFrame({
        "recording": files, "path": [str(where / file) for file in files],
        "duration_s": [soundfile.info(where / file).duration for file in files],
    }), truth  # fmt: skip


def _mix_into(source, target: Path, name: str, rng, pools: dict | None) -> list[dict]:
    """Write a clip with calls in it; the rows of its truth."""
    sound, rate_hz = soundfile.read(source, dtype="float64", always_2d=True)
    sound, noise, rows = sound[:, 0].copy(), sound[:, 0].copy(), []
    for k, at_s in enumerate(np.arange(0.3, len(sound) / rate_hz - 1.0, MIX_EVERY_S)):
        label = MIX_LABELS[(k + int(rng.integers(2))) % 2]
        drawn = unlike.draw_call(rng, label).sound if pools is None else _any(rng, pools[label])
        call = soxr.resample(np.asarray(drawn, np.float64), unlike.RATE_HZ, rate_hz, "VHQ")
        start = int((at_s + rng.uniform(0, 1.0)) * rate_hz)
        call = call[: len(sound) - start]
        around = noise[start : start + len(call)]
        if len(call) < 0.1 * rate_hz or not np.any(around):
            continue
        snr_db = float(rng.uniform(*MIX_SNR_DB))
        own_db = unlike.snr_db(unlike.Call(label, call), around, rate_hz)
        call = call * 10 ** ((snr_db - own_db) / 20)
        sound[start : start + len(call)] += call
        first_s, last_s, low_hz, high_hz = unlike.bounds(call, rate_hz)
        rows.append({
            "recording": name, "label": label, "start_s": start / rate_hz + first_s,
            "end_s": start / rate_hz + last_s, "low_hz": low_hz, "high_hz": high_hz,
            "snr_db": snr_db, "audible": True, "maker": "unlike" if pools is None else "simulator",
        })  # fmt: skip
    peak = max(np.abs(sound).max(), 1e-9)
    soundfile.write(target, sound / max(peak, 1.0), rate_hz, subtype="FLOAT")
    return rows


def _any(rng, calls: list[np.ndarray]) -> np.ndarray:
    return calls[int(rng.integers(len(calls)))]


def continuous(clips: pd.DataFrame, folder: Path, rate_hz: int = 16_000) -> Path:
    """Belugas without a pause, two at once: all clips at one rate and level, one after another
    (cross-faded by 20 ms), with the same, half of the way on, added. One WAV."""
    path = folder / f"belugas_{len(clips)}_{rate_hz}_two.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fade, out = rate_hz // 50, np.zeros(0)
        ramp = np.sin(np.linspace(0, np.pi / 2, fade)) ** 2
        for row in clips.itertuples():
            sound, own_hz = soundfile.read(row.path, dtype="float64", always_2d=True)
            piece = soxr.resample(sound[:, 0] - sound[:, 0].mean(), own_hz, rate_hz, "VHQ")
            piece *= 0.05 / max(piece.std(), 1e-9)
            piece[:fade] *= ramp
            if len(out):
                piece[:fade] += out[-fade:] * ramp[::-1]
            out = np.concatenate([out[:-fade] if len(out) else out, piece])
        other = np.roll(out, len(out) // 2)  # another animal, half of the way on
        soundfile.write(path, (out + other).clip(-1, 1), rate_hz, subtype="FLOAT")
    return path
