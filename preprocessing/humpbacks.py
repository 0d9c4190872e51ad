"""SIMULATED humpback calls and a SIMULATED store of annotated recordings, to show acquisition and denoising where nothing can be fetched.

Eight types with pitch, length and character as the names of Haro Strait's catalogue suggest them ("Haro Humpback", Emily Vierling, Orcasound); all numbers are assumed. What is measured on
them is measured on simulated sound.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.signal import butter, sosfilt

from preprocessing.annotations import TYPES, write_raven

RATE_HZ = 16000
# pitch at start and end (Hz), length (s), strength of the harmonics against the one before, pulses a second (0: tonal), share of breath
CALLS = {
    "Whup":            ((90, 420), (0.4, 0.9), 0.55, 0, 0.15),
    "Grunt":           ((90, 70), (0.2, 0.6), 0.85, 35, 0.3),
    "Moan":            ((260, 240), (1.0, 2.5), 0.45, 0, 0.02),
    "Ascending_moan":  ((180, 480), (1.0, 2.2), 0.45, 0, 0.02),
    "Descending_moan": ((520, 210), (1.0, 2.2), 0.45, 0, 0.02),
    "Growl":           ((120, 110), (0.8, 2.0), 0.8, 28, 0.5),
    "Chirp":           ((900, 2400), (0.12, 0.35), 0.2, 0, 0.0),
    "Shriek":          ((1600, 2900), (0.5, 1.2), 0.5, 0, 0.05),
}
# as annotators write them: names with errors, to be mended by label_maps/humpback.yaml, and one that is in no map
WRITTEN = {"Whup": ("Whup", "whup", "Wup"), "Grunt": ("Grunt", "grunt "), "Moan": ("Moan", "moan"), "Ascending_moan": ("Ascending moan", "Asc_moan"),
           "Descending_moan": ("Descending_moan", "descending moan"), "Growl": ("Growl", "Growel"), "Chirp": ("Chirp", "chirp"), "Shriek": ("Shriek",)}


def humpback_call(label: str, rng: np.random.Generator, rate_hz: int = RATE_HZ) -> tuple[np.ndarray, float, float]:
    """(n,) float32 of rms 1 and its lowest and highest frequency in Hz."""
    (start_hz, end_hz), lengths_s, harmonic, pulses_hz, breath = CALLS[label]
    n = round(rng.uniform(*lengths_s) * rate_hz)
    t, way = np.arange(n) / rate_hz, np.linspace(0, 1, n)
    tune = rng.uniform(0.85, 1.18)
    pitch_hz = tune * start_hz * (end_hz / start_hz) ** (way ** rng.uniform(0.8, 1.6)) * (1 + 0.02 * np.sin(2 * np.pi * rng.uniform(3, 7) * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    count = int(np.clip(np.log(0.02) / np.log(harmonic), 1, 12))
    count = max(1, min(count, int(0.45 * rate_hz / pitch_hz.max())))
    x = sum(harmonic ** k * np.sin((k + 1) * phase + rng.uniform(0, 6)) for k in range(count))
    low_hz, high_hz = float(pitch_hz.min()), float(min(0.45 * rate_hz, pitch_hz.max() * count))
    if breath:
        band = butter(2, [max(20.0, 0.7 * low_hz), high_hz], "bandpass", fs=rate_hz, output="sos")
        noise = sosfilt(band, rng.standard_normal(n))
        x = x + breath * noise / max(np.std(noise), 1e-9) * np.std(x)
    if pulses_hz:
        x = x * np.clip(np.sin(2 * np.pi * pulses_hz * rng.uniform(0.8, 1.2) * t), 0, None)
    x = x * np.minimum(1, np.minimum(way, 1 - way) / 0.12) ** 0.7
    return (x / max(np.sqrt(np.mean(x ** 2)), 1e-9)).astype(np.float32), low_hz, high_hz


def sea_noise(seconds: float, rng: np.random.Generator, rate_hz: int = RATE_HZ, ship: bool = False) -> np.ndarray:
    """(n,) float32 of rms 1: noise that falls with frequency and drifts in level, with a throbbing ship and its tones where asked for."""
    n = round(seconds * rate_hz)
    freqs = np.fft.rfftfreq(n, 1 / rate_hz)

    def coloured(corner_hz: float, slope: float) -> np.ndarray:
        x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / (1 + (freqs / corner_hz) ** slope), n)
        return x / max(np.std(x), 1e-12)

    slow = np.interp(np.arange(n) / rate_hz, np.arange(0, seconds + 10, 5), rng.normal(0, 1.5, len(np.arange(0, seconds + 10, 5))))
    x = coloured(rng.uniform(150, 400), 1.0) * 10 ** (slow / 20) + 0.25 * rng.standard_normal(n)
    if ship:
        t = np.arange(n) / rate_hz
        passing = 0.3 + np.exp(-0.5 * ((t - rng.uniform(0.2, 0.8) * seconds) / (0.25 * seconds)) ** 2)
        throb = 1 + 0.6 * np.sin(2 * np.pi * rng.uniform(1.5, 5) * t)
        tones = sum(rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * k * rng.uniform(28, 31) * t) for k in range(1, 9))
        x = x + 2.0 * passing * (throb * coloured(rng.uniform(80, 200), 1.5) + tones)
    return (x / np.std(x)).astype(np.float32)


def simulate_store(folder: str | Path, recordings: int = 4, seconds: float = 60.0, calls: int = 16, seed: int = 5, rate_hz: int = RATE_HZ, level: float = 0.02) -> Path:
    """SIMULATED recordings (WAV, the last one FLAC) with a Raven table beside each; made once. Calls lie -3 to 18 dB above the noise of their own seconds (rms to rms)."""
    folder = Path(folder)
    for k in range(recordings):
        ending = "flac" if recordings > 1 and k == recordings - 1 else "wav"
        path = folder / f"haro_202110{3 + k:02d}T0{k % 10}1500Z.{ending}"
        table = folder / f"{path.stem}.Table.1.selections.txt"
        if table.exists():
            continue
        rng = np.random.default_rng((seed, k))
        x, rows = sea_noise(seconds, rng, rate_hz, ship=k % 2 == 1), []
        slots = np.sort(rng.permutation(int(seconds / 3.2))[:calls]) * 3.2
        for start_s in slots:
            label = str(rng.choice(list(CALLS)))
            sound, low_hz, high_hz = humpback_call(label, rng, rate_hz)
            start_s = float(start_s + rng.uniform(0, 0.5))
            at = round(start_s * rate_hz)
            sound = sound[:len(x) - at]
            x[at:at + len(sound)] += sound * np.std(x[at:at + len(sound)]) * np.float32(10 ** (rng.uniform(-3, 18) / 20))
            rows.append({"recording": path.name, "start_s": start_s, "end_s": start_s + len(sound) / rate_hz, "low_hz": low_hz, "high_hz": high_hz, "label": str(rng.choice(WRITTEN[label]))})
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(level * x, -1, 1), rate_hz, subtype="PCM_16")
        about = pd.DataFrame(rows).assign(channel=0, annotator="", source="", line=0)[list(TYPES)].astype(TYPES)
        write_raven(about, table, label_column="Call Type")
    return folder
