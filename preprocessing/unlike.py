"""The unlike generator: a second simulator of beluga sounds and noise, for tests and measures only.

**Never train, calibrate or choose anything on it.** It shares no code and no shapes with
`soundscape`: how much worse a model does on it than on the simulator that it learnt from is the gap
between simulators, a figure to be told with every other.

    python -m preprocessing.unlike OUTPUT [--recordings 4] [--seconds 30] [--snr 10 20] [--seed 1]

writes recordings (WAV, 24 bit, 192 kHz) and `truth.csv` with the columns of the simulator's truth.
Sound is in µPa.

| label | made of |
| --- | --- |
| Whistle | a curve through random knots, sometimes with vibrato, a step, harmonics |
| BBPC | impulses, 40 to 250 a second, through resonators from 1.5 to 70 kHz |
| HFPC | impulses, 150 to 900 a second, through resonators from 32 to 75 kHz |
| ECHO | Gabor or difference-of-Gaussians clicks, 8 to 120 ms apart; every third train a buzz |

Noise: Gaussian with a random slope and ripples, a recorder's floor, hums and slow swells; knocks
and single snaps as transients.

Signal-to-noise ratio (`snr_db`): the call's energy over that of the noise in the call's own
time-frequency extent, the STFT cells (10.7 ms by 94 Hz) that hold 95 % of its energy. For click
trains: both above 25 kHz, the power of the train's strongest millisecond over the noise's mean
power (most clicks of a train are weaker, by up to 16 dB). Transients do not count as noise.
`start_s` and `end_s` lie where the power over 3 ms has fallen 20 dB below its peak; `low_hz` and
`high_hz` hold 5 to 95 % of the energy of the call alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, fftconvolve, iirpeak, lfilter, sosfilt

from preprocessing.soundscape.truth import COLUMNS

LABELS = ("ECHO", "HFPC", "BBPC", "Whistle")
RATE_HZ, SERIAL, SENSITIVITY_DB = 192_000, "6872", -177.6
AUDIBLE_DB, DIPHONIC_SHARE = 6.0, 0.5
CLICKS_FROM_HZ = 25e3
KINDS = (0.3, 0.2, 0.25, 0.25)  # share of LABELS among the calls that start alone
COMPANION = 0.35  # of whistles have a pulsed call beside them


@dataclass
class Call:
    """A call alone: `sound` (n,); `clicks`, the samples of the clicks of a train, else None."""

    label: str
    sound: np.ndarray
    clicks: np.ndarray | None = None


def curve(rng: np.random.Generator, n: int, knots: int, low: float, high: float) -> np.ndarray:
    """A smooth curve (n,) through random knots at random distances, between low and high."""
    at = np.concatenate([[0], np.cumsum(rng.uniform(0.4, 1.6, knots - 1))])
    return PchipInterpolator(at / at[-1], rng.uniform(low, high, knots))(np.linspace(0, 1, n))


def envelope(rng: np.random.Generator, n: int, depth_db: float, ramp: int) -> np.ndarray:
    """Amplitude (n,) that wanders by `depth_db` and comes and goes within `ramp` samples."""
    out = 10 ** (curve(rng, n, int(rng.integers(3, 7)), -depth_db, 0) / 20)
    edge = np.sin(np.linspace(0, np.pi / 2, min(ramp, n // 3))) ** 2
    out[: len(edge)] *= edge
    out[len(out) - len(edge) :] *= edge[::-1]
    return out


def whistle(rng: np.random.Generator, rate_hz: int = RATE_HZ) -> Call:
    """A whistle of a quarter to two seconds between 1 and 20 kHz."""
    n = int(rate_hz * np.exp(rng.uniform(np.log(0.25), np.log(1.8))))
    log_hz = np.log(rng.uniform(2500, 12000)) + curve(rng, n, int(rng.integers(3, 7)), -0.4, 0.4)
    if rng.random() < 0.5:
        depth, beat_hz = rng.uniform(0.005, 0.04), rng.uniform(4, 14)
        log_hz += depth * np.sin(2 * np.pi * beat_hz * np.arange(n) / rate_hz + rng.uniform(0, 6))
    if rng.random() < 0.25:
        log_hz[int(n * rng.uniform(0.25, 0.75)) :] += np.log(rng.uniform(0.65, 1.5))
    hz = np.clip(np.exp(log_hz), 1000, 20000)
    phase = 2 * np.pi * np.cumsum(hz) / rate_hz
    fall_db, sound = rng.uniform(9, 24), np.zeros(n)
    for k in range(1, int(rng.integers(2, 6))):
        sound += 10 ** (-(k - 1) * fall_db / 20) * np.sin(k * phase) * (k * hz < 0.45 * rate_hz)
    return Call("Whistle", sound * envelope(rng, n, 10, int(0.02 * rate_hz)))


def ticks(
    rng: np.random.Generator, length_s: float, gaps_s: np.ndarray, jitter: float
) -> np.ndarray:
    """Times (s) of impulses whose distance follows the curve `gaps_s` over the length."""
    at_s, out = 0.0, []
    while at_s < length_s:
        out.append(at_s)
        gap_s = gaps_s[min(int(at_s / length_s * len(gaps_s)), len(gaps_s) - 1)]
        at_s += gap_s * (1 + jitter * rng.uniform(-1, 1))
    return np.array(out)


def pulsed(rng: np.random.Generator, label: str, rate_hz: int = RATE_HZ) -> Call:
    """A pulsed call: impulses through resonators. `label`: BBPC or HFPC."""
    broad = label == "BBPC"
    length_s = rng.uniform(0.2, 1.4) if broad else rng.uniform(0.15, 0.9)
    least, most = (40, 250) if broad else (150, 900)
    middle = np.exp(rng.uniform(np.log(least * 1.2), np.log(most / 1.2)))
    gaps_s = 1 / np.clip(middle * np.exp(curve(rng, 200, 4, -0.4, 0.4)), least, most)
    n = int(length_s * rate_hz)
    train, at = np.zeros(n + 2), ticks(rng, length_s, gaps_s, 0.03) * rate_hz
    at = at[at < n]
    whole, strength = at.astype(int), rng.uniform(0.7, 1, len(at))
    np.add.at(train, whole, strength * (1 - at % 1))
    np.add.at(train, whole + 1, strength * (at % 1))
    low_hz, high_hz = (1500, 70e3) if broad else (32e3, 75e3)
    count = int(rng.integers(4, 8)) if broad else int(rng.integers(2, 5))
    sound, tilt_db = 0.15 * train[:n], rng.uniform(0, 12) if broad else 0.0  # a decade
    for hz in np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), count)):
        b, a = iirpeak(hz, rng.uniform(1.5, 5) if broad else rng.uniform(2, 8), rate_hz)
        gain_db = rng.uniform(-14, 0) - tilt_db * np.log10(hz / low_hz)
        sound = sound + 10 ** (gain_db / 20) * lfilter(b, a, train[:n])
    edge = (1000.0, 80e3) if broad else (rng.uniform(24e3, 30e3), 85e3)
    sound = sosfilt(butter(4, edge, "bandpass", fs=rate_hz, output="sos"), sound)
    return Call(label, sound / np.abs(sound).max() * envelope(rng, n, 8, int(0.03 * rate_hz)))


def click(rng: np.random.Generator, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A click of some 50 µs, peak 1: a Gabor pulse or a difference of two Gaussians."""
    t = np.arange(-48, 49) / rate_hz
    if rng.random() < 0.6:
        out = np.cos(2 * np.pi * rng.uniform(38e3, 82e3) * t + rng.uniform(0, 6))
        out *= np.exp(-0.5 * (t / rng.uniform(12e-6, 35e-6)) ** 2)
    else:
        narrow = rng.uniform(0.8, 1.1) / (2 * np.pi * rng.uniform(30e3, 52e3))
        wide = narrow * rng.uniform(1.3, 1.8)
        out = np.exp(-0.5 * (t / narrow) ** 2) - narrow / wide * np.exp(-0.5 * (t / wide) ** 2)
    return out / np.abs(out).max()


def click_train(rng: np.random.Generator, rate_hz: int = RATE_HZ) -> Call:
    """Clicks at wandering distance and strength; every third train accelerates into a buzz."""
    length_s = np.exp(rng.uniform(np.log(0.6), np.log(4.0)))
    if rng.random() < 1 / 3:
        gaps_s = np.geomspace(rng.uniform(0.03, 0.09), rng.uniform(0.005, 0.01), 200)
    else:
        gaps_s = np.exp(
            rng.uniform(np.log(0.012), np.log(0.09)) + curve(rng, 200, 5, -0.35, 0.35)
        ).clip(0.008, 0.12)
    n = int(length_s * rate_hz)
    at = (ticks(rng, length_s, gaps_s, 0.04) * rate_hz).astype(int)
    at = at[at < n - 1]
    train = np.zeros(n)
    train[at] = 10 ** (
        (curve(rng, n, int(rng.integers(3, 7)), -14, 0)[at] + rng.normal(0, 1, len(at))) / 20
    )
    return Call("ECHO", fftconvolve(train, click(rng, rate_hz), "same"), at)


def echoed(rng: np.random.Generator, call: Call, rate_hz: int = RATE_HZ) -> Call:
    """The call with one to three weaker echoes within 12 ms; half of the calls have none."""
    if rng.random() < 0.5:
        return call
    sound = np.concatenate([call.sound, np.zeros(int(0.012 * rate_hz))])
    for late in rng.integers(int(0.0004 * rate_hz), int(0.012 * rate_hz), int(rng.integers(1, 4))):
        sound[late : late + len(call.sound)] += (
            rng.choice([-1, 1]) * rng.uniform(0.1, 0.5) * call.sound
        )
    return Call(call.label, sound, call.clicks)


def draw_call(rng: np.random.Generator, label: str, rate_hz: int = RATE_HZ) -> Call:
    """A call of a label, with its echoes."""
    if label in ("HFPC", "BBPC"):
        return echoed(rng, pulsed(rng, label, rate_hz), rate_hz)
    return echoed(rng, (whistle if label == "Whistle" else click_train)(rng, rate_hz), rate_hz)


def noise(rng: np.random.Generator, n: int, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Sound (n,) in µPa of a sea without calls and without transients."""
    hz = np.fft.rfftfreq(n, 1 / rate_hz)
    decades = np.log10(np.maximum(hz, 20) / 1000)
    ripple = np.interp(decades, np.linspace(-1.7, 2, 9), rng.normal(0, 3, 9))
    level_db = rng.uniform(48, 72) - rng.uniform(9, 21) * decades + ripple
    density = 10 ** (level_db / 10) + 10 ** (
        rng.uniform(24, 36) / 10
    )  # µPa²/Hz, with the recorder's floor
    spectrum = np.sqrt(density * n * rate_hz / 4) * (
        rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))
    )
    spectrum[hz < 20] = 0
    sound = np.fft.irfft(spectrum, n) * 10 ** (
        curve(rng, n, max(3, n // (6 * rate_hz)), -2, 2) / 20
    )
    t = np.arange(n) / rate_hz
    for _ in range(rng.integers(0, 4)):  # hums
        first_hz, beat = rng.uniform(40, 900), 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.2, 8) * t)
        for k in range(1, int(rng.integers(2, 7))):
            strength = np.sqrt(
                2
                * 10 ** (np.interp(k * first_hz, hz, level_db) / 10)
                * 10 ** (rng.uniform(8, 22) / 10)
            )
            sound += strength * beat * np.sin(2 * np.pi * k * first_hz * t + rng.uniform(0, 6))
    return sound


def transients(
    rng: np.random.Generator, n: int, noise_rms: float, rate_hz: int = RATE_HZ
) -> np.ndarray:
    """Knocks and single snaps (n,), some a recording: nothing that a table of calls should name."""
    out = np.zeros(n)
    for _ in range(rng.poisson(n / rate_hz / 10)):
        snap = rng.random() < 0.5
        t = np.arange(int((0.001 if snap else 0.12) * rate_hz)) / rate_hz
        hz = rng.uniform(8e3, 40e3) if snap else rng.uniform(150, 3000)
        fall_s = rng.uniform(3e-5, 1e-4) if snap else rng.uniform(0.005, 0.03)
        start = int(rng.integers(0, max(n - len(t), 1)))
        knock = noise_rms * rng.uniform(1, 6) * np.exp(-t / fall_s) * np.sin(2 * np.pi * hz * t)
        out[start : start + len(t)] += knock[: n - start]
    return out


def cells(sound: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Power in STFT cells (frames, bins), 10.7 ms by 94 Hz, of a piece of sound, any scale."""
    n = cell_samples(rate_hz)
    padded = np.pad(sound, (n // 2, n))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n)[:: n // 2]
    return np.abs(np.fft.rfft(frames * np.hanning(n), axis=1)) ** 2


def cell_samples(rate_hz: int) -> int:
    """Samples (even) in a cell's 10.7 ms."""
    return 2 * round(rate_hz * 1024 / 192_000)


def snr_db(call: Call, around: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """Signal-to-noise ratio of a call in noise of the same length (see the head of this module)."""
    if call.clicks is not None:
        sos = butter(4, CLICKS_FROM_HZ, "highpass", fs=rate_hz, output="sos")
        ms = int(rate_hz / 1000)
        power = uniform_filter1d(sosfilt(sos, call.sound) ** 2, ms, mode="constant")
        return float(10 * np.log10(power.max() / np.mean(sosfilt(sos, around) ** 2)))
    power = cells(call.sound, rate_hz)
    order = np.argsort(power, axis=None)[::-1]
    energy = np.cumsum(power.ravel()[order])
    count = int(np.searchsorted(energy, 0.95 * energy[-1])) + 1
    return float(
        10 * np.log10(energy[count - 1] / cells(around, rate_hz).ravel()[order[:count]].sum())
    )


def bounds(sound: np.ndarray, rate_hz: int = RATE_HZ) -> tuple[float, float, float, float]:
    """start_s, end_s, low_hz, high_hz of a call alone (see the head of this module)."""
    power = uniform_filter1d(sound**2, int(0.003 * rate_hz), mode="constant")
    loud = np.flatnonzero(power >= 0.01 * power.max())
    energy = np.cumsum(cells(sound, rate_hz).sum(axis=0))
    bin_hz = rate_hz / cell_samples(rate_hz)
    low, high = np.searchsorted(energy, [0.05 * energy[-1], 0.95 * energy[-1]]) * bin_hz
    return loud[0] / rate_hz, (loud[-1] + 1) / rate_hz, low, high


def recording(
    seed,
    seconds: float = 30.0,
    snr_range_db: tuple[float, float] = (10, 20),
    calls_per_s: float = 0.35,
    name: str = "unlike.wav",
    rate_hz: int = RATE_HZ,
) -> tuple[np.ndarray, pd.DataFrame]:
    """A recording in µPa (n,) and its truth.

    Parameters
    ----------
    seed : whole number or a sequence of them. snr_range_db : each call's SNR is drawn from it.
    calls_per_s : calls that start alone (a third of the whistles have a pulsed call beside
        them); 0: an empty sea.
    """
    rng = np.random.default_rng(seed)
    n = int(seconds * rate_hz)
    sea = noise(rng, n, rate_hz)
    sound = sea + transients(rng, n, float(sea.std()), rate_hz)
    rows, at_s = [], rng.uniform(0.2, 1.5)
    while calls_per_s and at_s < seconds - 0.3:
        label = str(rng.choice(LABELS, p=KINDS))
        group = [(at_s, draw_call(rng, label, rate_hz))]
        if label == "Whistle" and rng.random() < COMPANION:
            other = draw_call(rng, str(rng.choice(["BBPC", "HFPC"])), rate_hz)
            group.append((at_s + rng.uniform(0, 0.2) * len(group[0][1].sound) / rate_hz, other))
        for start_s, call in group:
            start = int(start_s * rate_hz)
            if start > n - 0.15 * rate_hz:
                continue
            call.sound = call.sound[: n - start]  # the recording's end cuts it
            call.clicks = (
                None if call.clicks is None else call.clicks[call.clicks < len(call.sound)]
            )
            around, aim_db = sea[start : start + len(call.sound)], rng.uniform(*snr_range_db)
            call.sound = call.sound * 10 ** ((aim_db - snr_db(call, around, rate_hz)) / 20)
            sound[start : start + len(call.sound)] += call.sound
            first_s, last_s, low_hz, high_hz = bounds(call.sound, rate_hz)
            rows.append(
                {
                    "recording": name,
                    "label": call.label,
                    "start_s": start_s + first_s,
                    "end_s": start_s + last_s,
                    "low_hz": low_hz,
                    "high_hz": high_hz,
                    "call_id": f"{len(rows):05d}",
                    "group_id": f"{start:09d}",
                    "diphonic": False,
                    "snr_db": aim_db,
                    "received_level_db": 10 * np.log10(np.mean(call.sound**2)),
                    "range_m": np.nan,
                    "site": "unlike",
                    "audible": bool(aim_db >= AUDIBLE_DB),
                }
            )
        at_s += max(len(call.sound) / rate_hz for _, call in group) * rng.uniform(
            0.6, 1.1
        ) + rng.exponential(0.4 / calls_per_s)
    truth = pd.DataFrame(rows, columns=COLUMNS)
    return sound, truth.assign(diphonic=diphonic(truth)).sort_values("start_s", ignore_index=True)


def diphonic(truth: pd.DataFrame) -> np.ndarray:
    """(rows,) bool: one of a whistle and a pulsed call that share half of the shorter's time."""
    out = np.zeros(len(truth), bool)
    tonal, pulse = (
        np.flatnonzero(truth["label"].isin(labels)) for labels in (["Whistle"], ["HFPC", "BBPC"])
    )
    start, end = truth["start_s"].to_numpy(float), truth["end_s"].to_numpy(float)
    for i in tonal:
        both = np.minimum(end[i], end[pulse]) - np.maximum(start[i], start[pulse])
        paired = pulse[
            both >= DIPHONIC_SHARE * np.minimum(end[i] - start[i], end[pulse] - start[pulse])
        ]
        out[paired] = True
        out[i] = len(paired) > 0
    return out


def write(
    folder: str | Path,
    recordings: int = 4,
    seconds: float = 30.0,
    snr_range_db: tuple[float, float] = (10, 20),
    seed: int = 1,
    calls_per_s: float = 0.35,
) -> pd.DataFrame:
    """Write recordings, whose names carry serial and time, and `truth.csv`; returns the truth."""
    import soundfile

    folder, parts = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(recordings):
        name = f"{SERIAL}.2301{k // 24 + 1:02d}{k % 24:02d}0000.wav"
        sound, truth = recording((seed, k), seconds, snr_range_db, calls_per_s, name)
        full_scale = 10 ** (-SENSITIVITY_DB / 20)
        soundfile.write(
            folder / name, np.clip(sound / full_scale, -1, 1), RATE_HZ, subtype="PCM_24"
        )
        parts.append(truth)
    truth = pd.concat(parts, ignore_index=True)
    truth.to_csv(folder / "truth.csv", index=False)
    return truth


def main(words=None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m preprocessing.unlike", description=__doc__.splitlines()[0]
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--recordings", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--snr", type=float, nargs=2, default=(10.0, 20.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(words)
    truth = write(wanted.output, wanted.recordings, wanted.seconds, tuple(wanted.snr), wanted.seed)
    print(f"{wanted.recordings} recordings, {len(truth)} calls in {wanted.output}")


if __name__ == "__main__":
    main()
