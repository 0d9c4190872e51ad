"""Is it the profile's species? A number from 0 to 1 for a stretch of the calibrated picture.

    scorer = SpeciesScorer.load()                              # results/beluga_species, or None
    scorer.score(picture_db, start_s, end_s, picture_start_s)  # 0 to 1, NaN where nothing is known
    scorer.judge(...).out_of_domain                            # unlike all that it was trained on

A linear model on `training.descriptors` of one-second windows, in the bands below 7.6 kHz that the
real clips have in common (fewer for recordings below 16 kHz), each band less its background (that of
the regions, `ROI.describe.block_background`): what recorder and sea colour alike for half a minute
says nothing of the animal. So gain, and the sample
rate from 16 kHz on, do not matter. 0.5 is where one in ten clips of other animals, from sources
that were not trained on, has a window that passes. Needs no torch; `training.species_experiment`
makes the model.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ROI.describe import BLOCK_S, block_background, block_level
from spectrogram.generator import COARSE_FRAMES, coarse_mean
from training.descriptors import descriptors

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = "{}_species"  # folder in results/, by the profile's name
FORMAT, NAME = 1, "species"
LOWEST_DB = -30.0  # above the background; digital silence counts as no lower
FRAMES_PER_CELL = 2  # frames of the picture whose mean in dB is one frame of the model's
BATCH = 64  # windows that are described at once
MOST_WINDOWS = 5  # of a long stretch, evenly spread: the time it takes is bounded
CLIPPED = 4.0  # deviations
PASS = 0.5


class BadSpeciesModel(ValueError):
    """A species model that cannot be used. The message names the folder, the fault and the mend."""


@dataclass(frozen=True)
class Judgement:
    """`score` 0 to 1; `distance` from what was trained on, 1 for a typical window; both NaN where
    the stretch has no band that the model knows."""

    score: float
    distance: float
    out_of_domain: bool

    @property
    def passes(self) -> bool:
        """Not known to be something else: from 0.5, and where nothing is known."""
        return not self.score < PASS


UNKNOWN = Judgement(np.nan, np.nan, False)


@dataclass
class SpeciesScorer:
    """A species model.

    limits : numbers of bands, rising; a recording is judged by the most that it holds. highest_hz :
    the upper edge of the last band. arrays : for each limit, centre_N, spread_N, weight_N (count,),
    bias_N (1,) and whiten_N (count, count). info : what stands in `species.json`.
    """

    limits: list[int]
    arrays: dict[str, np.ndarray]
    info: dict

    @property
    def model_id(self) -> str:
        return self.info["model_id"]

    @property
    def window_frames(self) -> int:
        return round(self.info["window_s"] * self.info["frame_rate_hz"])

    def fits(self, profile) -> bool:
        """Whether pictures of this profile are those that the model knows."""
        return front_end_of(profile) == self.info["front_end"]

    def score(self, picture_db, start_s: float, end_s: float, *where, **more) -> float:
        """The score alone; see `judge`."""
        return self.judge(picture_db, start_s, end_s, *where, **more).score

    def judge(self, *where, **more) -> Judgement:
        """Judge a stretch of a recording; parameters as for `windows_of`."""
        return self.judge_all([self.windows_of(*where, **more)])[0]

    def judge_all(self, stretches: list[np.ndarray | None]) -> list[Judgement]:
        """Judge stretches of one recording, given by their `windows_of`: together they take a
        fraction of the time that they take one by one."""
        known = [windows for windows in stretches if windows is not None]
        if not known:
            return [UNKNOWN] * len(stretches)
        limit, counts = known[0].shape[2], [len(windows) for windows in known]
        together = np.concatenate(known)
        parts = [self.answer(together[k : k + BATCH]) for k in range(0, len(together), BATCH)]
        answers = np.stack([np.concatenate(column) for column in zip(*parts)], axis=1)
        told = iter(np.split(answers, np.cumsum(counts)[:-1]))
        return [UNKNOWN if w is None else self._verdict(next(told), limit) for w in stretches]

    def _verdict(self, answers: np.ndarray, limit: int) -> Judgement:
        """Of the (logit, distance) of a stretch's windows."""
        if not np.isfinite(answers[:, 0]).any():
            return UNKNOWN
        distance = float(np.nanmedian(answers[:, 1]))
        beyond = distance > self.info["out_of_domain"][str(limit)]
        return Judgement(float(1 / (1 + np.exp(-np.nanmean(answers[:, 0])))), distance, beyond)

    def windows_of(
        self,
        picture_db: np.ndarray,
        start_s: float,
        end_s: float,
        picture_start_s: float = 0.0,
        low_hz: float = 0.0,
        background_db: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """(n, frames, bands) dB above the background of a stretch's windows; None: nothing is known.

        Parameters
        ----------
        picture_db : (frames, bands or more columns) dB re 1 µPa²/Hz, NaN where masked: a passage
            that holds the stretch, with a second on both sides. It begins at picture_start_s.
        start_s, end_s : of the stretch, s from the recording's start. Longer than a second: up to
            five windows spread over it, their mean.
        low_hz : the event's lower bound; above the model's bands nothing is known.
        background_db : (bands,) of the block in which the stretch's middle lies; none: taken from
            the passage, as if it were a recording: at best it holds 20 s on both sides.
        """
        rate_hz, size = self.info["frame_rate_hz"], self.window_frames
        known = np.isfinite(picture_db).any(axis=0)
        limit = self.limit_of(int(known[: self.limits[-1]].sum()))
        if limit is None or low_hz > self.info["highest_hz"][str(limit)]:
            return None
        first, last = ((t - picture_start_s) * rate_hz for t in (start_s, end_s))
        first, last = max(int(first), 0), min(int(np.ceil(last)), len(picture_db))
        if last <= first:
            return None
        if background_db is None:
            background_db = background_of(picture_db[:, :limit], 0.5 * (first + last), rate_hz)
        starts = window_starts(first, last, size, len(picture_db))
        return cut(picture_db[:, :limit], starts, size) - background_db[:limit]

    def limit_of(self, bands: int) -> int | None:
        """The most bands of `limits` that are there, None below the least."""
        return max((limit for limit in self.limits if limit <= bands), default=None)

    def answer(self, windows_db: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits and distances (n,) of windows (n, frames, limit) dB above the background."""
        values = describe(windows_db)
        limit = windows_db.shape[2]
        names = ("centre", "spread", "weight", "bias", "whiten")
        centre, spread, weight, bias, whiten = (self.arrays[f"{name}_{limit}"] for name in names)
        z = (values - centre) / spread
        distance = np.sqrt(np.square(z @ whiten).mean(axis=1))
        return np.clip(z, -CLIPPED, CLIPPED) @ weight + bias[0], distance

    def save(self, folder: str | Path) -> None:
        """Write species.safetensors and species.json."""
        arrays = {k: np.ascontiguousarray(v, np.float32) for k, v in self.arrays.items()}
        save_file(arrays, Path(folder) / f"{NAME}.safetensors")
        text = json.dumps(self.info | {"format": FORMAT, "limits": self.limits}, indent=1)
        (Path(folder) / f"{NAME}.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, model: str | Path | None = None, profile: str = "beluga") -> SpeciesScorer | None:
        """The model of a folder, or of an experiment's name; without either the profile's own, and
        None where the profile has none.

        Raises
        ------
        BadSpeciesModel
            where the folder that was asked for holds none, or a damaged one.
        """
        folder = Path(model) if model else ROOT / "results" / DEFAULT.format(profile)
        if not (folder / f"{NAME}.json").exists() and model:
            folder = ROOT / "results" / str(model)
        if not (folder / f"{NAME}.json").exists():
            if model is None:
                return None
            raise BadSpeciesModel(f"{model}: no species model there ({NAME}.json is missing)")
        try:
            info = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
            arrays = load_file(folder / f"{NAME}.safetensors")
        except Exception as error:  # of the file format's library, whose errors have no base
            reason = str(error).splitlines()[0]
            raise BadSpeciesModel(f"{folder}: cannot be read ({reason}); copy it again") from None
        if info.get("format") != FORMAT:
            raise BadSpeciesModel(
                f"{folder}: format {info.get('format')}, this code reads {FORMAT}; make it again "
                "with python -m training.species_experiment"
            )
        return cls(info["limits"], arrays, info)


def front_end_of(profile) -> dict:
    """What of a profile shapes the bands of its picture."""
    picture = {key: profile.picture[key] for key in ("bands", "low_hz", "high_hz", "break_hz")}
    return picture | {"n_fft": profile.n_fft, "hop": profile.hop, "rate": profile.sample_rate_hz}


def describe(windows_db: np.ndarray) -> np.ndarray:
    """Descriptors (n, count) of windows (n, frames, bands) dB above the background, NaN where not
    recorded; a row of NaN where nothing of the window was."""
    n, frames, bands = windows_db.shape
    cells = np.maximum(windows_db[:, : frames - frames % FRAMES_PER_CELL], LOWEST_DB)
    cells = cells.reshape(n, -1, FRAMES_PER_CELL, bands).mean(axis=2)
    seen = np.isfinite(cells).all(axis=2)
    values = descriptors(np.where(seen[:, :, None], cells, 0).astype(np.float32), seen)
    values[~seen.any(axis=1)] = np.nan
    return values


def backgrounds_of(picture_db: np.ndarray, rate_hz: float) -> np.ndarray:
    """(blocks, bands) dB of each block of BLOCK_S of a recording's picture, as regions have it."""
    coarse = coarse_mean(10 ** (picture_db.astype(np.float32) / 10))
    size = round(BLOCK_S * rate_hz / COARSE_FRAMES)
    levels = np.stack([block_level(coarse[k : k + size]) for k in range(0, len(coarse), size)])
    blocks = np.stack([block_background(levels, k) for k in range(len(levels))])
    return 10 * np.log10(np.maximum(blocks, 1e-30))


def background_of(picture_db: np.ndarray, middle: float, rate_hz: float) -> np.ndarray:
    """(bands,) dB background at a frame of a recording's picture."""
    blocks = backgrounds_of(picture_db, rate_hz)
    return blocks[int(np.clip(middle / rate_hz // BLOCK_S, 0, len(blocks) - 1))]


def window_starts(first: int, last: int, size: int, frames: int) -> list[int]:
    """First frames of the windows of a stretch: one around a short one, else evenly over it."""
    if last - first <= size:
        starts = [first + (last - first - size) // 2]
    else:
        count = min(MOST_WINDOWS, 1 + -(-2 * (last - first - size) // size))
        starts = np.linspace(first, last - size, count).round().astype(int)
    return [int(np.clip(start, 0, max(frames - size, 0))) for start in starts]


def cut(picture_db: np.ndarray, starts: list[int], size: int) -> np.ndarray:
    """(n, size, bands) windows; what lies beyond the picture's end is NaN."""
    out = np.full((len(starts), size, picture_db.shape[1]), np.nan, np.float32)
    for k, start in enumerate(starts):
        part = picture_db[start : start + size]
        out[k, : len(part)] = part
    return out
