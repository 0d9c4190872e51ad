"""The truth of a simulated recording: one row per call or boat passage, and the same as Raven selection tables.

`snr_db` compares, on STFT cells of 10.7 ms, the received call with the mean density of everything else, over the strongest cells that hold 80 % of the call's
energy. `audible` means snr_db >= 6; in version 2, for a train of clicks, that three of them or more stand out as single clicks (see `measure.py`).

In version 1 everything else is the model's ambient noise, recorder and boats; times are those of the call within 26 dB of its peak, frequencies those at which it
stands 6 dB above the noise in three frames. In version 2 everything else is measured, passing knocks and the like included as far as they last, and only in bands that a real
background holds; bounds hold 5-95 % of the energy received above it. Rows of version 2 also tell `n_clicks` (heard), `crest_snr_db` (median click heard over the median noise
block, see `measure.py`), `peak_hz`, and `first_s`, `last_s`: the first and last moment at which anything of the call stands above the noise, so between
`first_s` and `start_s` nobody should be taught silence. `kind` says which contour, pattern of clicks or boat it is. These are empty in version 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.fft import rfft, rfftfreq
from scipy.ndimage import uniform_filter1d

from . import measure

COLUMNS = [
    "recording", "label", "start_s", "end_s", "low_hz", "high_hz", "call_id", "group_id", "diphonic", "snr_db", "received_level_db",
    "range_m", "site", "audible", "kind", "n_clicks", "crest_snr_db", "peak_hz", "first_s", "last_s",
]  # fmt: skip
TYPES = {"diphonic": bool, "audible": bool} | {
    column: float for column in COLUMNS if column.endswith(("_s", "_hz", "_db", "_m", "_clicks"))
}
RAVEN_COLUMNS = [
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin File", "File Offset (s)", "Label",
]  # fmt: skip
AUDIBLE_DB = 6.0
# Below this Nyquist frequency only a stray foot of such a call is left, which nobody could name: never audible.
LOWEST_NYQUIST_HZ = {"ECHO": 20e3, "HFPC": 12e3, "BBPC": 0.0, "Whistle": 0.0, "Boat": 0.0}


def call_cells(call: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Power spectral density of a call: (frame middles in s, bin frequencies, density (frames, bins) in µPa²/Hz)."""
    n = max(2 * round(sample_rate_hz * 2048 / 192_000 / 2), 16)
    hop = n // 4
    window = np.hanning(n + 1)[:n].astype(np.float32)
    padded = np.concatenate([np.zeros(n // 2, np.float32), np.asarray(call, np.float32), np.zeros(n, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, n)[::hop]
    psd = np.abs(rfft(frames * window, axis=1)) ** 2 * (2 / (sample_rate_hz * np.sum(window**2)))
    return np.arange(len(frames)) * hop / sample_rate_hz, rfftfreq(n, 1 / sample_rate_hz), psd


def strongest_ratio_db(call_psd: np.ndarray, noise_psd: np.ndarray, share: float = 0.8) -> tuple[float, float, float]:
    """(snr_db, call sum, noise sum) over the strongest cells that hold this share of the call's energy. Both arrays have one shape."""
    flat, noise = np.asarray(call_psd, dtype=np.float64).ravel(), np.asarray(noise_psd, dtype=np.float64).ravel()
    energy = flat.sum()
    if not energy > 0:
        return -200.0, 0.0, 1.0
    for floor in (0.1, 1e-2, 1e-3):  # sorting a million cells is slow; a few mostly suffice
        few = np.flatnonzero(flat > floor * flat.max())
        if flat[few].sum() >= share * energy:
            flat, noise = flat[few], noise[few]
            break
    order = np.argsort(flat)[::-1]
    total = np.cumsum(flat[order])
    k = min(int(np.searchsorted(total, share * energy)) + 1, len(flat))
    signal, noise = float(total[k - 1]), float(noise[order[:k]].sum())
    return 10 * np.log10(max(signal, 1e-20) / max(noise, 1e-20)), signal, noise


def energy_span_s(call: np.ndarray, sample_rate_hz: int, below_db: float = 26.0) -> tuple[float, float]:
    """First and last moment (s) at which the 3-ms power is within `below_db` of its peak."""
    power = uniform_filter1d(np.asarray(call, np.float64) ** 2, max(int(0.003 * sample_rate_hz), 1), mode="constant")
    loud = np.flatnonzero(power >= power.max() * 10 ** (-below_db / 10))
    return loud[0] / sample_rate_hz, (loud[-1] + 1) / sample_rate_hz


def visible_band_hz(frequency_hz: np.ndarray, call_psd: np.ndarray, noise_psd: np.ndarray) -> tuple[float, float]:
    """Lowest and highest frequency at which the call stands 6 dB above the noise; if nowhere, the band that holds 5-95 % of its energy."""
    ratio = call_psd / noise_psd
    strong = np.partition(ratio, -3, axis=0)[-3:].min(axis=0) if len(ratio) > 3 else ratio.max(axis=0)  # in three frames at least
    seen = np.flatnonzero(strong >= 4.0)
    if len(seen) < 2:
        energy = np.cumsum(call_psd.sum(axis=0))
        seen = np.searchsorted(energy, np.array([0.05, 0.95]) * energy[-1]).clip(0, len(frequency_hz) - 1)
    half = frequency_hz[1] / 2
    return float(max(frequency_hz[seen[0]] - half, 0)), float(min(frequency_hz[seen[-1]] + half, frequency_hz[-1]))


def call_rows(call: np.ndarray, planned, click_s, start_s: float, direct_s: float, sample_rate_hz: int, noise_psd_at: Callable) -> list[dict]:
    """Rows of one call; a click train is cut where it passes from audible to inaudible.

    Parameters
    ----------
    call : (n,) received sound in µPa, cut at the recording's end
    planned : schedule.PlannedCall
    click_s : times of the clicks since the call's start, or None
    start_s, direct_s : start in the recording; length of the direct sound, without its echoes
    noise_psd_at : (time_s, frequency_hz (bins,)) -> density (bins,)
    """
    t, f, psd = call_cells(call, sample_rate_hz)
    use = (f > 100) & (f <= 0.475 * sample_rate_hz)
    f, psd = f[use], psd[:, use]
    first, last = energy_span_s(call[: max(int(direct_s * sample_rate_hz), 8)], sample_rate_hz)
    spans = [(first, last)]
    if click_s is not None:
        spans = _train_spans(t, psd, click_s[(click_s >= first - 0.01) & (click_s <= last)], noise_psd_at(start_s + (first + last) / 2, f)) or spans
    rows = []
    for i, (a, b) in enumerate(spans):
        inside = (t >= a - 0.003) & (t <= b + 0.003)
        if not inside.any():
            continue
        noise = np.broadcast_to(noise_psd_at(start_s + (a + b) / 2, f), psd[inside].shape)
        snr_db = strongest_ratio_db(psd[inside], noise)[0]
        low_hz, high_hz = visible_band_hz(f, psd[inside], noise)
        piece = call[int(a * sample_rate_hz) : int(b * sample_rate_hz) + 1].astype(np.float64)
        rows.append({
            "label": planned.label, "start_s": start_s + a, "end_s": start_s + b, "low_hz": low_hz, "high_hz": high_hz,
            "call_id": f"{planned.number:05d}" + (f".{i}" if len(spans) > 1 else ""), "group_id": f"{planned.group:05d}", "diphonic": planned.diphonic,
            "snr_db": snr_db, "received_level_db": 10 * np.log10(max(np.mean(piece**2), 1e-20)), "range_m": planned.path.range_m,
            "audible": bool(snr_db >= AUDIBLE_DB and sample_rate_hz / 2 >= LOWEST_NYQUIST_HZ[planned.label]),
        })  # fmt: skip
    return rows


def measured_rows(
    call: np.ndarray, planned, said, start_s: float, sample_rate_hz: int, noise: measure.NoiseMeter, held_hz: tuple[float, float]
) -> list[dict]:
    """Rows of one call by what is measured (version 2); a click train is cut where it passes from audible to inaudible.

    Parameters
    ----------
    call : (n,) received sound in µPa, echoes included, cut at the recording's end
    planned, said : schedule.PlannedCall, whistles.Utterance
    start_s : in the recording
    held_hz : band in which the recording has noise to compare with
    """
    t, f, psd = call_cells(call, sample_rate_hz)
    use = (f > 100) & (f <= 0.475 * sample_rate_hz)
    held = use & (f >= held_hz[0]) & (f <= held_hz[1])
    use = held if held.sum() > 2 else use
    f, psd = f[use], psd[:, use]
    seconds = len(call) / sample_rate_hz
    density = noise.psd(start_s, start_s + seconds)[use]
    nyquist_hz = min(sample_rate_hz / 2, held_hz[1] / 0.9)
    spans = [(0.0, seconds, None, np.nan, np.nan)]  # start, end, heard, clicks, crest
    if said.click_s is not None:
        spans = _crest_spans(call, said.click_s[said.click_s < seconds], start_s, sample_rate_hz, noise, nyquist_hz) or spans
    rows = []
    for i, (a, b, heard, n_clicks, crest_db) in enumerate(spans):
        inside = (t >= a - 0.003) & (t <= b + 0.003)
        if not inside.any():
            continue
        snr_db = strongest_ratio_db(psd[inside], np.broadcast_to(density, psd[inside].shape))[0]
        bounds = measure.bounds(t[inside], f, psd[inside], density)
        if said.click_s is None:
            a, b = bounds.start_s, min(bounds.stop_s, seconds)
        first_s, last_s = min(bounds.first_s, a), min(max(bounds.last_s, b), seconds)
        piece = call[int(a * sample_rate_hz) : int(b * sample_rate_hz) + 1].astype(np.float64)
        audible = bool(snr_db >= AUDIBLE_DB if heard is None else heard) and nyquist_hz >= LOWEST_NYQUIST_HZ[planned.label]
        rows.append({
            "label": planned.label, "start_s": start_s + a, "end_s": start_s + b, "low_hz": bounds.low_hz, "high_hz": bounds.high_hz,
            "call_id": f"{planned.number:05d}" + (f".{i}" if len(spans) > 1 else ""), "group_id": f"{planned.group:05d}", "diphonic": planned.diphonic,
            "snr_db": snr_db, "received_level_db": 10 * np.log10(max(np.mean(piece**2), 1e-20)), "range_m": planned.path.range_m, "audible": audible,
            "kind": said.kind, "n_clicks": n_clicks, "crest_snr_db": crest_db, "peak_hz": bounds.peak_hz, "first_s": start_s + first_s, "last_s": start_s + last_s,
        })  # fmt: skip
    return rows


def _crest_spans(call, click_s, start_s, sample_rate_hz, noise, nyquist_hz) -> list[tuple]:
    """(start, end, heard, number of clicks heard, their median crest over the noise's in dB) of stretches of a train; none where the rate is too low for crests."""
    if len(click_s) < 2 or nyquist_hz < measure.CREST_NYQUIST_HZ:
        return []
    median, decile = noise.crest(start_s, start_s + len(call) / sample_rate_hz)
    if not median > 0:
        return []
    power = measure.click_crests(call, click_s, sample_rate_hz)
    heard = measure.heard_clicks(power, median, decile)
    spans = []
    for first, stop, audible in measure.train_spans(click_s, heard):
        which = heard[first:stop] if audible else np.ones(stop - first, dtype=bool)
        crest_db = 10 * np.log10(max(np.median(power[first:stop][which]) / median, 1e-20))
        spans.append((max(click_s[first] - 0.0005, 0.0), click_s[stop - 1] + 0.002, audible, float(heard[first:stop].sum()), float(crest_db)))
    return spans


def _train_spans(t: np.ndarray, psd: np.ndarray, click_s: np.ndarray, noise: np.ndarray) -> list[tuple[float, float]]:
    """Stretches of a click train that are, by turns, audible and inaudible."""
    if len(click_s) < 2:
        return []
    near = np.clip(np.searchsorted(t, click_s), 0, len(t) - 1)
    heard = np.array([strongest_ratio_db(psd[i], noise)[0] >= AUDIBLE_DB for i in near])
    close = np.abs(click_s[:, None] - click_s[None, :]) <= 0.25 if len(click_s) <= 1500 else None
    if close is not None:
        heard = (close & heard[None, :]).any(axis=1)  # one loud click keeps its neighbours
    edges = np.flatnonzero(np.diff(heard)) + 1
    spans = []
    for group in np.split(np.arange(len(click_s)), edges):
        a, b = click_s[group[0]], click_s[group[-1]] + 0.002
        if spans and (b - a < 0.1 or spans[-1][1] - spans[-1][0] < 0.1):  # too short to stand alone
            spans[-1] = (spans[-1][0], b)
        else:
            spans.append((a - 0.0005, b))
    return spans


def only_true_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """`diphonic` is left to pairs that were received as such: a whistle and a pulsed call of one group that overlap for half of the shorter."""
    rows = rows.copy()
    for _, pair in rows[rows["diphonic"]].groupby("group_id"):
        overlap = pair["end_s"].min() - pair["start_s"].max()
        if len(pair) != 2 or overlap < 0.5 * (pair["end_s"] - pair["start_s"]).min():
            rows.loc[pair.index, "diphonic"] = False
    return rows


def raven_table(rows: pd.DataFrame, recording: str) -> pd.DataFrame:
    """Raven Pro selection table of the audible calls of one recording, boats included."""
    mine = rows[(rows["recording"] == recording) & rows["audible"].astype(bool)].sort_values(["start_s", "call_id"])
    return pd.DataFrame({
        "Selection": np.arange(1, len(mine) + 1), "View": "Spectrogram 1", "Channel": 1,
        "Begin Time (s)": mine["start_s"].to_numpy(), "End Time (s)": mine["end_s"].to_numpy(),
        "Low Freq (Hz)": mine["low_hz"].to_numpy(), "High Freq (Hz)": mine["high_hz"].to_numpy(),
        "Begin File": recording, "File Offset (s)": mine["start_s"].to_numpy(), "Label": mine["label"].to_numpy(),
    }, columns=RAVEN_COLUMNS)  # fmt: skip


def write_raven(rows: pd.DataFrame, recording: str, folder: Path) -> Path:
    """Write `<name>.Table.1.selections.txt` beside the recording."""
    path = Path(folder) / f"{Path(recording).stem}.Table.1.selections.txt"
    raven_table(rows, recording).to_csv(path, sep="\t", index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")
    return path
