"""Rows of truth for boat passages: from when to when a boat can be heard, and how well.

A passage is followed in steps of half a second. Stretches where the boat stands 6 dB or more above the ambient noise are audible rows;
the stretches before and after, down to 0 dB, are rows of their own with `audible` False, so that nothing is taught from what is doubtful.
"""

from __future__ import annotations

import numpy as np

from .truth import AUDIBLE_DB, strongest_ratio_db

STEP_S = 0.5
DOUBTFUL_DB = 0.0
LOW_HZ = 200.0  # below, no picture looks


def boat_rows(scene) -> list[dict]:
    """Rows of all boats of a Scene."""
    rows = []
    for number, noise in enumerate(scene.boats):
        rows += _passage_rows(scene, noise.boat, number)
    return rows


def _passage_rows(scene, boat, number: int) -> list[dict]:
    top = 0.475 * scene.rate
    if top <= LOW_HZ * 1.5:
        return []
    edges = np.geomspace(LOW_HZ, top, 65)
    f, width = np.sqrt(edges[1:] * edges[:-1]), np.diff(edges)
    times = np.arange(STEP_S / 2, scene.duration_s, STEP_S)
    ship = np.array([boat.received_psd(f, t, scene.water) for t in times]) * width  # (step, band) power
    quiet = np.array([scene.ambient_psd(t, f) for t in times]) * width
    if len(times) == 0:
        return []
    ratio, signal, noise = np.array([strongest_ratio_db(s, q) for s, q in zip(ship, quiet)]).T
    state = _smooth(np.where(ratio >= AUDIBLE_DB, 2, np.where(ratio >= DOUBTFUL_DB, 1, 0)))
    rows = []
    for i, (a, b) in enumerate(_runs(state)):
        if state[a] == 0:
            continue
        seen = np.flatnonzero((ship[a:b] / quiet[a:b]).max(axis=0) >= 2)
        seen = seen if len(seen) else np.array([0, len(f) - 1])
        snr_db = 10 * np.log10(signal[a:b].sum() / noise[a:b].sum())
        rows.append({
            "label": "Boat", "start_s": a * STEP_S, "end_s": min(b * STEP_S, scene.duration_s), "low_hz": float(edges[seen[0]]), "high_hz": float(edges[seen[-1] + 1]),
            "call_id": f"boat{number:02d}.{i}", "group_id": f"boat{number:02d}", "diphonic": False, "snr_db": float(snr_db),
            "received_level_db": float(10 * np.log10(ship[a:b].sum(axis=1).mean())), "range_m": float(boat.range_m(times[a:b]).min()),
            "audible": bool(state[a] == 2 and snr_db >= AUDIBLE_DB), "kind": boat.kind,
        })  # fmt: skip
    return rows


def _smooth(state: np.ndarray, steps: int = 4) -> np.ndarray:
    """Fill gaps shorter than `steps` between louder stretches."""
    state = state.copy()
    for level in (1, 2):
        inside = np.flatnonzero(state >= level)
        for a, b in zip(inside[:-1], inside[1:]):
            if 1 < b - a <= steps:
                state[a:b] = np.maximum(state[a:b], level)
    return state


def _runs(state: np.ndarray) -> list[tuple[int, int]]:
    """(first, past the last) of stretches of equal state."""
    edges = np.flatnonzero(np.diff(state)) + 1
    return list(zip(np.r_[0, edges], np.r_[edges, len(state)]))
