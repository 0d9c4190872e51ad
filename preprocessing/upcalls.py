"""SIMULATED right whale contest: clips in the layout of Marinexplore and Cornell's (see `preprocessing.kaggle_whales`), with exact truth. No whale was recorded.

    simulate_upcalls("data/simulated/upcalls", seed=1, hours=24)

    FOLDER/train/trainN.aif     AIFF, 16 bit, mono, 2 s, 2 kHz; full scale is 155 dB re 1 µPa (SENSITIVITY_DB)
    FOLDER/train.csv            clip_name,label: 1 where an up-call can be heard (snr_db >= AUDIBLE_DB)
    FOLDER/truth.csv            a row for each sound: recording, kind, start_s, end_s, low_hz, high_hz, snr_db, audible
    FOLDER/clips.csv            a row for each clip: recording, label, hour, time_s, noise_db (50-350 Hz), ship_db (its share)
    FOLDER/simulation.json      parameters, "simulated": true; written last: it is there, the folder is whole

Clips are numbered hour by hour. An hour has its own wind, traffic and perhaps a ship that passes; its own whale (pitch, length, bend, echoes, distance),
perhaps a humpback that repeats one phrase, perhaps gunshots. So neighbours resemble each other and share labels, as the contest's are taken to, and folds by
clip are flattered. SNRs are drawn against the noise of the clip, so a whale near a ship counts as near the hydrophone too.

Sources. Up-calls: McDonald & Moore 2002 (J. Cetacean Res. Manage. 4:261): 90 to 150 Hz in 0.7 s on average; Gillespie 2004 (Can. Acoust. 32:39) and
Urazghildiiev & Clark 2006 (J. Acoust. Soc. Am. 120:1956) detect them, in bands within 50-350 Hz; Parks, Clark & Tyack 2007 (J. Acoust. Soc. Am. 122:3725):
higher in noise. Gunshots: Parks & Tyack 2005 (J. Acoust. Soc. Am. 117:3297): short, broadband. Humpback: Dunlop et al. 2007 (J. Acoust. Soc.
Am. 122:2893): moans, whups, grunts, cries. Noise: `preprocessing.soundscape.ambient`. How values spread, and how often each sound comes, is assumed.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.soundscape.ambient import recorder_power_response, shipping_psd, thermal_psd, turbulence_psd, wind_psd
from preprocessing.soundscape.randomness import clipped_log_normal, generator, log_uniform, smooth_walk
from preprocessing.soundscape.recorder import to_int16
from preprocessing.soundscape.truth import energy_span_s, strongest_ratio_db
from preprocessing.upcall_sounds import RATE_HZ, UNITS, gunshot, humpback_unit, knock, upcall

VERSION = 1  # raised when the same seed gives other samples
CLIP_S = 2.0
N = round(RATE_HZ * CLIP_S)
SENSITIVITY_DB = -155.0
AUDIBLE_DB = 6.0  # over the cells (128 ms x 7.8 Hz) that hold 80 % of the call's energy
LOUDEST_DB = 150.0  # peak of a received sound, re 1 µPa
CELL = 256
TIME_S = np.arange(N) / RATE_HZ
FREQUENCY_HZ = np.fft.rfftfreq(N, 1 / RATE_HZ)
RESPONSE = recorder_power_response(FREQUENCY_HZ, RATE_HZ, 15.0)
TRUTH = ("recording", "kind", "start_s", "end_s", "low_hz", "high_hz", "snr_db", "audible")


@dataclass(frozen=True)
class Hour:
    """What an hour sounds like; drawn by `draw_hour`."""

    wind_m_per_s: float
    traffic: float
    ship: dict | None      # of the one that passes
    whale: dict            # of the one that calls
    upcall_share: float    # of clips with its call, on average over the hour
    song: tuple            # units of the phrase, each a dict; empty without a humpback
    song_db: float
    gunshot_share: float
    gusts_db: np.ndarray   # (61,) a value each minute
    bouts: np.ndarray      # (61,) how lively the whale is


def simulate_upcalls(folder: str | Path, seed: int = 0, hours: int = 24, clips_per_hour: int = 125, upcall_share: float = 0.23, progress: bool = False) -> Path:
    """Write a simulated contest; returns its folder. The same arguments give the same files, bit for bit.

    Parameters
    ----------
    hours, clips_per_hour : each hour's clips lie at random times in it, in order; `kaggle_clips(folder, block_clips=clips_per_hour, guard_clips=0)` groups by hour.
    upcall_share : of clips with an up-call, about; it differs from hour to hour, some have none.

    Raises
    ------
    ValueError
        for numbers that make no set.
    """
    from tqdm.auto import tqdm

    if hours < 1 or clips_per_hour < 1 or not 0 <= upcall_share <= 0.6:
        raise ValueError(f"hours {hours}, clips_per_hour {clips_per_hour}, upcall_share {upcall_share}: at least one each, and a share from 0 to 0.6")
    folder = Path(folder)
    (folder / "train").mkdir(parents=True, exist_ok=True)
    (folder / "simulation.json").unlink(missing_ok=True)
    truth, clips = [], []
    shares = hourly_shares(seed, hours, upcall_share)
    for number in tqdm(range(hours * clips_per_hour), desc="simulating clips", unit="clip", disable=not progress):
        hour, index = divmod(number, clips_per_hour)
        if index == 0:
            scene = draw_hour(seed, hour, shares[hour])
            times = np.sort(generator(seed, "upcalls", hour, "times").uniform(0, 3600 - CLIP_S, clips_per_hour))
        sound, sounds, about = make_clip(scene, (seed, "upcalls", hour, index), times[index])
        name = f"train{number + 1}.aif"
        (folder / "train" / name).write_bytes(_aiff(sound))
        truth += [{"recording": name} | row for row in sounds]
        label = int(any(row["kind"] == "UpCall" and row["audible"] for row in sounds))
        clips.append({"recording": name, "label": label, "hour": hour, "time_s": times[index]} | about)
    table = pd.DataFrame(clips)
    for what, rows in (("truth", pd.DataFrame(truth, columns=list(TRUTH))), ("clips", table), ("train", table[["recording", "label"]].rename(columns={"recording": "clip_name"}))):
        rows.to_csv(folder / f"{what}.csv", index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")
    about = {"simulated": True, "note": "SIMULATED sound: no whale was recorded.", "simulator_version": VERSION, "seed": seed, "hours": hours, "clips_per_hour": clips_per_hour,
             "upcall_share": upcall_share, "sensitivity_db": SENSITIVITY_DB, "audible_db": AUDIBLE_DB, "clips": len(table), "upcall_clips": int(table["label"].sum())}
    (folder / "simulation.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return folder


def exact_truth(folder: str | Path, label: str = "UpCall") -> pd.DataFrame:
    """Truth for `build_dataset` that says when each up-call is: recording, label, start_s, end_s, snr_db, audible. (Of the contest only
    `kaggle_whales.upcall_truth` is known.)"""
    rows = pd.read_csv(Path(folder) / "truth.csv")
    rows = rows[rows["kind"] == "UpCall"].reset_index(drop=True)
    return rows.assign(label=label)[["recording", "label", "start_s", "end_s", "snr_db", "audible"]]


def hourly_shares(seed: int, hours: int, upcall_share: float) -> np.ndarray:
    """(hours,) share of clips with an up-call: a fifth of the hours without, the others very unlike, at most 0.85; their mean is `upcall_share`."""
    rng = generator(seed, "upcalls", "shares")
    weight = rng.gamma(1.2, size=hours) * (rng.permutation(hours) >= hours // 5)
    share = weight
    for _ in range(50):
        share = np.minimum(share * (upcall_share / max(share.mean(), 1e-12)), 0.85)
    return share


def draw_hour(seed: int, hour: int, upcall_share: float) -> Hour:
    """The conditions of an hour."""
    rng = generator(seed, "upcalls", hour, "conditions")
    ship = None
    if rng.uniform() < 0.35:
        ship = {"at_s": rng.uniform(-600, 4200), "nearest_m": log_uniform(rng, 800, 15000), "speed": rng.uniform(4, 9), "level_db": rng.normal(158, 5),
                "blade_hz": rng.uniform(6, 14), "lines_db": rng.uniform(5, 18), "depth": rng.uniform(0, 0.5), "engine_hz": rng.uniform(18, 60)}
    start = clipped_log_normal(rng, 92, 0.18, 55, 150)
    whale = {"start_hz": start, "rise_hz": clipped_log_normal(rng, 95, 0.35, 35, 200), "length_s": clipped_log_normal(rng, 0.9, 0.22, 0.45, 1.4),
             "bend": rng.uniform(1.0, 2.6), "snr_db": rng.normal(13, 5), "echo_s": rng.uniform(0.03, 0.25), "echo": rng.uniform(0.1, 0.7),
             "fall_db": rng.uniform(7, 30)}
    song = tuple({"unit": str(rng.choice(UNITS)), "seed": int(rng.integers(2 ** 31))} for _ in range(int(rng.integers(2, 6)))) if rng.uniform() < 0.35 else ()
    return Hour(wind_m_per_s=float(np.clip(rng.gamma(3, 2), 0.5, 16)), traffic=rng.uniform(0.3, 1.8), ship=ship, whale=whale, upcall_share=float(upcall_share), song=song,
                song_db=rng.normal(11, 5), gunshot_share=rng.uniform(0.05, 0.3) if rng.uniform() < 0.3 else 0.0,
                gusts_db=rng.uniform(0.5, 2) * smooth_walk(rng, 61, 0.2, 1.0), bouts=np.exp(1.0 * smooth_walk(rng, 61, 0.15, 1.0)))


def make_clip(hour: Hour, key: tuple, time_s: float) -> tuple[np.ndarray, list[dict], dict]:
    """Pressure (N,) in µPa, a truth row for each sound, and noise_db and ship_db of the clip."""
    rng = generator(*key)
    sea, ship = _sea_psd(hour, time_s), _ship_psd(hour, time_s)
    sound = _shaped(rng, sea + (0 if ship is None else ship))
    if ship is not None:
        sound = sound + (_shaped(rng, ship) * hour.ship["depth"] * np.sin(2 * np.pi * hour.ship["blade_hz"] * TIME_S + rng.uniform(0, 6))).astype(np.float32)
        sound = sound + _ship_lines(rng, hour.ship, ship)
    noise_psd = sea + (0 if ship is None else ship)
    band = (FREQUENCY_HZ >= 50) & (FREQUENCY_HZ <= 350)
    about = {"noise_db": _level_db(noise_psd[band]), "ship_db": -999.0 if ship is None else _level_db(ship[band])}
    rows = []
    for kind, call, snr_db in _sounds(rng, hour, time_s):
        start = int(rng.uniform(0, max(N - len(call), 1)))
        call = call[:N - start]
        call, row = _at_snr(call, snr_db, noise_psd)
        sound[start:start + len(call)] += call
        rows.append({"kind": kind, "start_s": start / RATE_HZ + row.pop("first_s"), "end_s": start / RATE_HZ + row.pop("last_s")} | row)
    return sound, rows, about


def ship_noise(rng: np.random.Generator) -> np.ndarray:
    """(N,) pressure in µPa of a simulated ship that passes, drawn as those of the hours are: hump, blades, lines. SIMULATED."""
    hour = None
    while hour is None or hour.ship is None:
        hour = draw_hour(int(rng.integers(2 ** 31)), 0, 0.0)
    psd = _ship_psd(hour, rng.uniform(0, 3600 - CLIP_S))
    beat = 1 + hour.ship["depth"] * np.sin(2 * np.pi * hour.ship["blade_hz"] * TIME_S + rng.uniform(0, 6))
    return (_shaped(rng, psd) * beat).astype(np.float32) + _ship_lines(rng, hour.ship, psd)


def _sounds(rng, hour: Hour, time_s: float):
    """(kind, waveform, snr_db) of what is heard in a clip besides noise."""
    lively = np.interp(time_s / 60, np.arange(61), hour.bouts / hour.bouts.mean())
    if rng.uniform() < min(hour.upcall_share * lively, 0.97):
        yield "UpCall", upcall(rng, hour.whale), max(hour.whale["snr_db"] + rng.normal(0, 3), AUDIBLE_DB + rng.exponential(1.5))
    elif hour.upcall_share and rng.uniform() < 0.06:  # one too faint to be heard: truth tells it, the label does not
        yield "UpCall", upcall(rng, hour.whale), AUDIBLE_DB - rng.uniform(0.5, 8)
    if hour.song and rng.uniform() < 0.6:
        unit = hour.song[int(time_s / 3.0) % len(hour.song)]
        yield f"humpback {unit['unit']}", humpback_unit(generator(unit["seed"], "unit"), rng, unit["unit"]), hour.song_db + rng.normal(0, 3)
    if rng.uniform() < hour.gunshot_share:
        yield "gunshot", gunshot(rng), rng.normal(12, 5)
    if rng.uniform() < 0.06:
        yield "knock", knock(rng), rng.normal(12, 5)


def _sea_psd(hour: Hour, time_s: float) -> np.ndarray:
    """Wind, distant ships, turbulence, heat: µPa²/Hz (bins,)."""
    gust = 10 ** (np.interp(time_s / 60, np.arange(61), hour.gusts_db) / 10)
    psd = gust * wind_psd(FREQUENCY_HZ, hour.wind_m_per_s) + shipping_psd(FREQUENCY_HZ, hour.traffic) + turbulence_psd(FREQUENCY_HZ) + thermal_psd(FREQUENCY_HZ)
    return psd * RESPONSE


def _ship_psd(hour: Hour, time_s: float) -> np.ndarray | None:
    """The passing ship's broadband noise, hump near 60 Hz, -20 dB a decade above, with its distance."""
    if hour.ship is None:
        return None
    range_m = np.hypot(hour.ship["nearest_m"], hour.ship["speed"] * (time_s - hour.ship["at_s"]))
    f = np.maximum(FREQUENCY_HZ, 1.0)
    level_db = hour.ship["level_db"] - 17 * np.log10(range_m) - 10 * np.log10(1 + (f / 60) ** 2) - 10 * np.log10(1 + (20 / f) ** 2)
    return 10 ** (level_db / 10) * RESPONSE


def _ship_lines(rng, ship: dict, psd: np.ndarray) -> np.ndarray:
    """Lines of blades and engine, `lines_db` above the ship's noise in a 1-Hz band."""
    f = np.concatenate([ship["blade_hz"] * np.arange(1, 8), ship["engine_hz"] * np.arange(1, 9)])
    amplitude = np.sqrt(2 * np.interp(f, FREQUENCY_HZ, psd) * 10 ** (ship["lines_db"] / 10))
    return (amplitude[:, None] * np.sin(2 * np.pi * f[:, None] * TIME_S + rng.uniform(0, 6.28, (len(f), 1)))).sum(axis=0).astype(np.float32)


def _shaped(rng, psd: np.ndarray) -> np.ndarray:
    """(N,) float32 Gaussian noise of this density."""
    spectrum = (rng.standard_normal(len(psd)) + 1j * rng.standard_normal(len(psd))) * np.sqrt(psd * N * RATE_HZ / 4)
    spectrum[[0, -1]] = 0
    return np.fft.irfft(spectrum, N).astype(np.float32)


def _at_snr(call: np.ndarray, snr_db: float, noise_psd: np.ndarray) -> tuple[np.ndarray, dict]:
    """The call at this SNR against the clip's noise (fainter where it would be louder than LOUDEST_DB), and its row of truth."""
    window = np.hanning(CELL + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(call, CELL), CELL)[::CELL // 4]
    psd = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 * (2 / (RATE_HZ * np.sum(window ** 2)))
    f = np.fft.rfftfreq(CELL, 1 / RATE_HZ)
    use = (f >= 30) & (f <= 950)
    noise = np.broadcast_to(np.interp(f[use], FREQUENCY_HZ, noise_psd), (len(psd), use.sum()))
    plain_db = strongest_ratio_db(psd[:, use], noise)[0]
    gain = min(10 ** ((snr_db - plain_db) / 20), 10 ** (LOUDEST_DB / 20) / np.abs(call).max())
    snr_db = plain_db + 20 * np.log10(gain)
    energy = np.cumsum(psd[:, use].sum(axis=0))
    low_hz, high_hz = f[use][np.searchsorted(energy, np.array([0.025, 0.975]) * energy[-1])]
    first_s, last_s = energy_span_s(call, RATE_HZ, 16.0)
    return (call * gain).astype(np.float32), {"first_s": first_s, "last_s": last_s, "low_hz": low_hz, "high_hz": high_hz, "snr_db": snr_db, "audible": bool(snr_db >= AUDIBLE_DB)}


def _aiff(sound: np.ndarray) -> bytes:
    """The clip as a file; made in memory, for libsndfile waits for the disk at the end of each file it writes itself."""
    import soundfile

    file = BytesIO()
    soundfile.write(file, to_int16(sound, SENSITIVITY_DB), RATE_HZ, format="AIFF", subtype="PCM_16")
    return file.getvalue()


def _level_db(psd: np.ndarray) -> float:
    return float(10 * np.log10(psd.sum() * FREQUENCY_HZ[1]))
