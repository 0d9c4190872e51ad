"""What is wrong with a recording: a row of figures and, in plain words, faults and what to do about them.

    quality_report("deployments/2022")      # a folder, paths, a table with `path`, or open `Recording`s

Each recording is read once, block by block: bounded memory at any length. Levels are relative to full scale (dB, a full-scale square wave is 0), and dB re 1 µPa
where the hydrophone is known. A limit says from where on a figure is called a fault; the figures are always given.

Not found: passages that were cut out without a trace, soft saturation (of tape, of an amplifier) below full scale, and a wrong sensitivity.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.recordings import list_recordings
from preprocessing.sample_faults import FLAT_SAMPLES, Bits, Runs
from preprocessing.spectral_faults import Bandwidth, Hum, Response
from preprocessing.start_artefact import Start
from spectrogram.recording import BadRecording, Recording

BLOCK_S = 4.0
CLIPPED_SHARE = 1e-4  # with less, and no run of three, only peaks of normalised sound touch full scale
OFFSET = 0.02  # of full scale: costs no headroom yet, but every cut and fade makes a thump of -34 dB
QUIET_STEPS = 2.0  # rms below two steps of the converter: its rounding (0.3 steps) is within 17 dB of the sound
DEAD_STEPS = 2  # peak to peak; a converter with nothing at its input moves by a step or two
GAPS_BITS = 0.15  # bits lost to gaps between the levels, from here on seen with certainty
START_SURE = 0.97
DROPOUTS_LISTED = 100

COLUMNS = ("recording", "path", "channel", "start_utc", "duration_s", "sample_rate_hz", "stored", "bits_used", "peak", "rms_db", "level_db", "calibrated",
           "dc_offset", "clipped_share", "clip_level", "longest_clipped_ms", "dead", "dropouts", "dropout_s", "dropouts_at_s", "start_artefact_s",
           "start_artefact_sure", "hum_hz", "hum_db", "hum_lines_hz", "stuck_bits", "bandwidth_hz", "faults")


def quality_report(recordings, progress: bool = False) -> pd.DataFrame:
    """One row per recording; never raises for a bad one, whose row then says in `faults` why it could not be read.

    Parameters
    ----------
    recordings : a folder; paths; a table with `path` and, where the name is another, `recording`; or `Recording`s (for a channel other than the first).

    Returns
    -------
    DataFrame:
        recording, path, channel, start_utc, duration_s, sample_rate_hz, stored (as PCM_16)
        bits_used : bits of full scale that the samples resolve (16 of a 24-bit file made of 16); NaN for float samples on no grid
        peak (0 to 1), rms_db (dB re full scale, without the offset), level_db (dB re 1 µPa, through the hydrophone's response where that is known by frequency), calibrated, dc_offset (of full scale, signed)
        clipped_share, clip_level (at which samples are cut off, NaN: none), longest_clipped_ms
        dead : every sample the same, or nearly
        dropouts (how many), dropout_s (in all), dropouts_at_s : the first 100, (start, end) in s
        start_artefact_s (its end; 0: none; NaN: too short to tell), start_artefact_sure (0 to 1)
        hum_hz (50 or 60; NaN: none), hum_db (of the strongest line above its surroundings), hum_lines_hz
        stuck_bits (0 is the lowest that moves), bandwidth_hz (where a filter ends the sound, well below Nyquist; NaN: no such edge)
        faults : all that is a fault, with mends, separated by " | "; "" where nothing is
    """
    from tqdm.auto import tqdm

    rows = [_row(name, given) for name, given in tqdm(_named(recordings), desc="quality", unit="file", disable=not progress)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(start_utc=pd.to_datetime(table["start_utc"], utc=True).astype("datetime64[us, UTC]"))


def quality(recording: Recording) -> dict:
    """The figures of one recording, as `quality_report` gives them, with `faults` as a list.

    Raises
    ------
    BadRecording
        where not a sample can be read.
    """
    rate_hz = recording.sample_rate_hz
    runs, bits, hum, band, start = Runs(rate_hz), Bits(), Hum(rate_hz), Bandwidth(rate_hz), Start(rate_hz)
    curve = getattr(recording.sensitivity_db, "curve", None)
    response = None if curve is None else Response(rate_hz, curve)
    total = squares = 0.0
    for block in recording.blocks(BLOCK_S):
        total, squares = total + float(block.sum(dtype=np.float64)), squares + float(np.square(block, dtype=np.float64).sum())
        for part in filter(None, (runs, bits, hum, band, start, response)):
            part.add(block)
    runs.finish()
    n = recording.frames_read
    if not n:
        raise BadRecording(f"{recording.path}: not a sample could be read, though the header promises {recording.duration_s:.1f} s; copy the file again or leave it out")
    mean = total / n
    rms = np.sqrt(max(squares / n - mean ** 2, 0.0))
    step = bits.step * 2.0 ** -23 if bits.whole else 0.0
    dead = bool(n > 1 and runs.highest - runs.lowest <= DEAD_STEPS * step)
    dropouts = runs.dropouts()
    share, clip_level, longest = runs.clipping()
    rms_db = 20 * np.log10(rms) if rms > 0 else -np.inf
    row = {"recording": recording.name, "path": str(recording.path), "channel": recording.channel, "start_utc": recording.start_utc,
           "duration_s": recording.frames_read / rate_hz, "sample_rate_hz": rate_hz, "stored": recording.subtype, "bits_used": round(bits.used(), 1),
           "peak": max(abs(runs.highest), abs(runs.lowest)), "rms_db": rms_db, "level_db": rms_db - recording.sensitivity_db + (response.level_db() if response else 0.0), "calibrated": recording.calibrated,
           "dc_offset": mean, "clipped_share": share, "clip_level": clip_level, "longest_clipped_ms": 1000 * longest / rate_hz, "dead": dead,
           "dropouts": len(dropouts), "dropout_s": float(np.sum(dropouts[:, 1] - dropouts[:, 0])), "dropouts_at_s": dropouts[:DROPOUTS_LISTED].round(4).tolist()}
    artefact_s, sure, what = (np.nan, np.nan, "") if dead else start.found()
    hum_hz, lines_hz, hum_db = (np.nan, [], np.nan) if dead else hum.found()
    row |= {"start_artefact_s": artefact_s, "start_artefact_sure": sure, "hum_hz": hum_hz, "hum_db": hum_db, "hum_lines_hz": lines_hz,
            "stuck_bits": bits.stuck(), "bandwidth_hz": np.nan if dead else band.found()[0]}
    own = [fault for fault in recording.faults if not fault.startswith(("silence", "clipping", "no start time", "not listened to"))
           and not (row["dropouts"] and " dropouts of less than " in fault)]  # said below, with their places
    return row | {"faults": own + _faults(row, rms / step if step else np.inf, longest, bits.gaps(), what)}


def _faults(row: dict, rms_steps: float, longest: int, gaps: float, what: str) -> list[str]:
    """What is a fault, worst first, each with its mend."""
    if row["dead"]:
        return ["dead channel: the samples do not move; check hydrophone, cable and gain, take another channel or leave it out"]
    found = []
    if row["stuck_bits"]:
        which = ", ".join(map(str, row["stuck_bits"]))
        found.append(f"stuck bits ({which}, 0 is the lowest) never change: the converter or a conversion is broken and levels are wrong; leave the recording out")
    if longest >= FLAT_SAMPLES or row["clipped_share"] >= CLIPPED_SHARE:
        found.append(f"clipping: {row['clipped_share']:.2%} of the samples are cut off at {row['clip_level']:.0%} of full scale, for up to {row['longest_clipped_ms']:.2g} ms; "
                     "lower the gain next time, and take no levels from these moments")
    if row["dropouts"]:
        first = row["dropouts_at_s"][0]
        found.append(f"dropouts: {row['dropouts']}, {row['dropout_s']:.3g} s in all, the first from {first[0]:.3f} to {first[1]:.3f} s; "
                     "copy the file again if the card has more, and leave out the windows that touch them")
    if np.isfinite(row["bandwidth_hz"]):
        found.append(f"no sound above {row['bandwidth_hz']:.0f} Hz, though the rate would allow {row['sample_rate_hz'] / 2:.0f} Hz: upsampled or low-passed; "
                     f"resample it to {2 * row['bandwidth_hz'] / 0.9:.0f} Hz, so that labels above count as not heard rather than absent")
    if row["start_artefact_s"] > 0 and row["start_artefact_sure"] >= START_SURE:
        found.append(f"start: the first {row['start_artefact_s']:.1f} s differ from the rest, {what} (sure to {row['start_artefact_sure']:.0%}): "
                     "the recorder, or a call that the file was cut at; look, and leave them out")
    if np.isfinite(row["hum_hz"]):
        found.append(f"hum: steady lines at {', '.join(f'{hz:.0f}' for hz in row['hum_lines_hz'])} Hz, up to {row['hum_db']:.0f} dB above their surroundings; "
                     "check earthing and supply (or a ship's generator), and take no levels from these bands")
    if abs(row["dc_offset"]) >= OFFSET:
        found.append(f"offset: the mean is {row['dc_offset']:+.1%} of full scale; subtract it before cutting or fading, and check the recorder, one side clips early")
    if rms_steps < QUIET_STEPS:
        found.append(f"too quiet: rms {rms_steps:.1f} steps of the converter, whose rounding is nearly as loud; raise the gain")
    if gaps >= GAPS_BITS:
        found.append(f"gain was applied in software, some {6.02 * gaps:.0f} dB or more, for levels in between never come; absolute levels are lost unless it is known")
    return found


def _named(recordings) -> list[tuple[str | None, object]]:
    """(name, path or Recording); no name where the recording's own serves."""
    if isinstance(recordings, (str, Path)):
        recordings = list_recordings(recordings)
    if isinstance(recordings, Recording):
        return [(None, recordings)]
    if isinstance(recordings, pd.DataFrame):
        if "path" not in recordings:
            raise ValueError(f"the table of recordings has no column path; it has {', '.join(map(str, recordings.columns))}")
        return list(zip(recordings.get("recording", recordings["path"]).astype(str), recordings["path"]))
    if not isinstance(recordings, Iterable):
        raise ValueError(f"{recordings!r}: give a folder, paths, a table with `path`, or recordings")
    return [(None, given) for given in recordings]


def _row(name: str | None, given) -> dict:
    path = str(given.path if isinstance(given, Recording) else given)
    try:
        row = quality(given if isinstance(given, Recording) else Recording(given))
    except BadRecording as error:
        return {"recording": name or Path(path).name, "path": path, "faults": str(error), "dead": False, "calibrated": False, "dropouts_at_s": [], "hum_lines_hz": [], "stuck_bits": []}
    return row | {"recording": name or row["recording"], "faults": " | ".join(row["faults"])}
