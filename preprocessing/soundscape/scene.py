"""One simulated recording: planned as a whole, sounded block by block.

    wave, rows = simulate_recording("BSM", seed=1, duration_s=60)

A `Scene` draws the weather, the boats and the calls when it is made; `blocks()` then yields the pressure at the hydrophone in µPa, ten seconds at a
time, so that hours need no more memory than seconds; `truth` is complete when the blocks are done. The same seed, site, index and settings give the same
samples, bit for bit; calls, boats and noise draw from generators of their own, so one can be switched off and the others stay as they were.

There are two versions. 1 is what the models before November 2026 were trained on, and stays as it was, bit for bit. 2 is wider in everything: calls (`calls.py`),
company and echoes (`schedule.py`), weather, boats, other sounds (`confusers.py`), faults of the recorder (`recorder.py`), real noise as background (`background.py`); and its
truth is measured on the sound (`measure.py`). Each module holds the figures of both, chosen by `Settings.version`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from . import boats, truth
from .ambient import Ambient, recorder_power_response
from .background import Background, PatchedBackground, clip_rate_hz
from .boat_truth import boat_rows
from .boats import BoatNoise, draw_boat
from .calls import make_call, orientation_loss_db
from .confusers import PlannedConfuser, draw_confuser, plan_confusers
from .measure import NoiseMeter
from .noise import ShapedNoise
from .propagation import SYNTHESIS_RATE_HZ, Path, at_rate, receive, tail_length_s
from .randomness import generator
from .recorder import apply_faults, plan_faults, start_artefact
from .schedule import HABITS, PlannedCall, plan_calls
from .sites import SENSITIVITY_DB, WEATHER, Site, get_site

BLOCK_S = 10
VERSIONS = (1, 2)
CONFUSERS_PER_MIN = {1: 2.0, 2: 6.0}
RATE_HZ = 192_000
LONG_S = 3.0  # a confuser of this length brings its own echoes


@dataclass(frozen=True)
class Settings:
    """What may be turned. None means: drawn, or as the site or the version has it.

    sample_rate_hz : None for the background's own, so that nothing is invented above its band (192 kHz without one)
    version : of the simulator, 1 or 2
    confuser_mix : kind -> weight, of `confusers.CONFUSERS[2]` (version 2)
    boats : None by chance (boats_per_hour), True at least one whose nearest moment lies in the recording, False none
    background : path of a real clip that stands in for the water (see background.py), with its sensitivity or None
    steady : no gusts, so that the ambient density is exactly the model's
    """

    sample_rate_hz: int | None = RATE_HZ
    call_rate_per_min: float | None = None
    call_mix: dict[str, float] | None = None
    diphonic_share: float | None = None
    range_m: float | None = None
    boats: bool | None = None
    boats_per_hour: float | None = None
    confusers_per_min: float | None = None
    wind_m_per_s: float | None = None
    rain: bool | None = None
    self_noise_db: float | None = None
    sensitivity_db: float | None = None
    start_artefact: bool = True
    steady: bool = False
    background: str | None = None
    background_sensitivity_db: float | None = None
    version: int = 2
    confuser_mix: dict[str, float] | None = None


class Scene:
    """A recording to be. Raises ValueError for an unknown site or version, a rate under 1 kHz or a duration that is not positive.

    Attributes
    ----------
    plan : the calls to come; boats : the passages; weather, water
    truth : DataFrame (truth.COLUMNS), complete after `blocks()` has run out
    confusers : list of (kind, start_s, end_s)
    """

    def __init__(self, site: str | Site, seed: int, duration_s: float, settings: Settings = Settings(), index: int = 0, name: str = ""):
        self.site, self.settings, self.duration_s, self.name = get_site(site), settings, float(duration_s), name
        self.version = settings.version
        if self.version not in VERSIONS:
            raise ValueError(f"there is no version {self.version!r} of the simulator; one of {', '.join(map(str, VERSIONS))}")
        own_hz = RATE_HZ if settings.background is None else clip_rate_hz(settings.background)
        self.rate = int(own_hz if settings.sample_rate_hz is None else settings.sample_rate_hz)
        if self.rate < 1000 or not self.duration_s > 0:
            raise ValueError(f"a recording of {duration_s} s at {settings.sample_rate_hz} Hz cannot be simulated: the rate must be 1 kHz or more, the duration positive")
        self.n = int(round(self.duration_s * self.rate))
        self.key = (seed, self.site.name, index) if self.version == 1 else (seed, self.site.name, index, "version", self.version)
        rng = generator(*self.key, "conditions")
        self.water = self.site.water(rng)
        self.weather = self.site.weather(rng, settings.wind_m_per_s, settings.rain, settings.self_noise_db, self.version)
        self.sensitivity_db = SENSITIVITY_DB[self.site.serials[0]] if settings.sensitivity_db is None else settings.sensitivity_db
        self._noise = ShapedNoise((*self.key, "ambient"), self.rate)
        self._background = self._load_background()
        f = self._noise.frequency_hz.astype(np.float64)
        share = own_share = 1.0
        if self._background is not None:
            share = self._background.share_of_water(f, self._calm_psd(f))
            own_share = 1.0 if self.version == 1 else np.maximum(f > self._background.top_hz, 1e-3)
        colour_db = () if settings.steady else WEATHER[self.version].colour_db
        self.ambient = Ambient(self.key, self.weather, f, self.rate, self.duration_s, share, settings.steady, colour_db, own_share)
        self.boats = [BoatNoise(boat, (*self.key, "boat", i), self.water, self.rate) for i, boat in enumerate(self._draw_boats())]
        self.plan = self._plan_calls()
        self.faults = plan_faults(self.key, self.duration_s) if self.version > 1 and settings.confusers_per_min != 0 else []
        self._meter = NoiseMeter(self.rate)
        self._rows = boat_rows(self)
        self.confusers: list[tuple[str, float, float]] = []
        self._boat_on = [self._active_blocks(b) for b in self.boats]

    # what will happen

    def _load_background(self) -> Background | None:
        s = self.settings
        if s.background is None:
            return None
        told = (s.background, self.rate, s.background_sensitivity_db, self._calm_psd)
        return Background(*told) if self.version == 1 else PatchedBackground(self.key, *told)

    @property
    def held_hz(self) -> tuple[float, float]:
        """Band in which the recording holds noise to compare a call with: all of it, or the real background's."""
        return (0.0, self.rate / 2) if self._background is None else self._background.held_hz

    def _calm_psd(self, frequency_hz: np.ndarray) -> np.ndarray:
        """The synthetic ambient without gusts, where a real background has to fit in."""
        return Ambient(self.key, self.weather, frequency_hz, self.rate, 1.0, steady=True).psd(0.0)

    def _draw_boats(self) -> list:
        rng, s = generator(*self.key, "boats"), self.settings
        per_hour = self.site.boats_per_hour if s.boats_per_hour is None else s.boats_per_hour
        margin = 150.0
        times = list(rng.uniform(-margin, self.duration_s + margin, rng.poisson(per_hour * (self.duration_s + 2 * margin) / 3600)))
        if s.boats is False:
            times = []
        elif s.boats and not any(0 <= t <= self.duration_s for t in times):
            times.append(rng.uniform(0.1, 0.9) * self.duration_s)
        return [draw_boat(rng, self.site.boat_mix, t, self.water.depth_m, self.duration_s, boats.RANGES[self.version]) for t in times]

    def _plan_calls(self) -> list[PlannedCall]:
        s = self.settings
        rng = generator(*self.key, "calls")
        rate = self.site.calls_per_min if s.call_rate_per_min is None else s.call_rate_per_min
        if s.call_rate_per_min is None:
            rate *= float(np.exp(rng.normal(-0.15, 0.55)))  # some hours are livelier than others
        share = self.site.diphonic_share if s.diphonic_share is None else s.diphonic_share
        return plan_calls(rng, self.duration_s, rate, s.call_mix or self.site.call_mix, s.range_m or self.site.range_m, share, self.water, HABITS[self.version])

    def _active_blocks(self, boat: BoatNoise) -> np.ndarray:
        """For each block, whether the boat is within 14 dB of the ambient noise somewhere in it."""
        f = np.geomspace(100, 0.45 * self.rate, 60)
        here = []
        for i in range(-(-self.n // (BLOCK_S * self.rate))):
            t = np.arange(i * BLOCK_S, (i + 1) * BLOCK_S + 1, 2.0)
            quiet = self.ambient_psd(i * BLOCK_S, f)
            here.append(any((boat.boat.received_psd(f, s, self.water) > 0.04 * quiet).any() for s in t))
        return np.array(here)

    # what it sounds like

    def ambient_psd(self, time_s: float, frequency_hz: np.ndarray) -> np.ndarray:
        """Density of all but calls and boats, µPa²/Hz, at these frequencies."""
        psd = np.interp(frequency_hz, self._noise.frequency_hz, self.ambient.psd(time_s))
        return psd if self._background is None else psd + self._background.psd(frequency_hz)

    def noise_psd(self, time_s: float, frequency_hz: np.ndarray) -> np.ndarray:
        """Density of all but calls: the noise of `snr_db`."""
        psd = self.ambient_psd(time_s, frequency_hz)
        response = recorder_power_response(frequency_hz, self.rate)
        for boat in self.boats:
            psd = psd + response * boat.boat.received_psd(frequency_hz, time_s, self.water)
        return psd

    def blocks(self) -> Iterator[np.ndarray]:
        """Pressure at the hydrophone in µPa, float32, in blocks of `BLOCK_S` (the last one shorter)."""
        size = BLOCK_S * self.rate
        calls, others = iter(self.plan), iter(self._plan_confusers())
        call, other = next(calls, None), next(others, None)
        late = late_calls = np.zeros(0, dtype=np.float32)  # sound that reaches beyond its block
        opening = start_artefact(self.key, self.rate, self.sensitivity_db) if self.settings.start_artefact else late
        self.confusers += [(fault.kind, fault.start_s, fault.end_s) for fault in self.faults]
        for i, start in enumerate(range(0, self.n, size)):
            stop = min(start + size, self.n)
            block = self._noise.block(start, stop, self.ambient.psd)
            if self._background is not None:
                block += self._background.block(start, stop)
            for boat, active in zip(self.boats, self._boat_on):
                if active[i]:
                    block += boat.block(start, stop)
            sounds = [(0, late), (-start, opening)] if start < len(opening) else [(0, late)]
            noises = []
            while other is not None and other.start_s * self.rate < stop:
                noises.append((int(other.start_s * self.rate) - start, self._sound_confuser(other)))
                other = next(others, None)
            if self.version > 1:  # the noise is measured before the calls are added to it
                late, sounds, noises = _add(block, sounds + noises), [(0, late_calls)], []
                self._meter.add(block)
            while call is not None and call.start_s * self.rate < stop:
                sounds.append((int(round(call.start_s * self.rate)) - start, self._sound_call(call)))
                call = next(calls, None)
            rest = _add(block, sounds + noises)
            late, late_calls = (rest, late_calls) if self.version == 1 else (late, rest)
            apply_faults(block, start, self.rate, self.faults)
            yield block

    def _plan_confusers(self) -> list[PlannedConfuser]:
        s = self.settings
        per_min = CONFUSERS_PER_MIN[self.version] if s.confusers_per_min is None else s.confusers_per_min
        return plan_confusers(generator(*self.key, "confusers"), self.duration_s, per_min, self.version, s.confuser_mix)

    def _sound_confuser(self, planned: PlannedConfuser) -> np.ndarray:
        rng = generator(*self.key, "confuser", planned.draw)
        kind, sound = draw_confuser(rng, self.version, planned.kind)
        if self.version > 1 and len(sound) > LONG_S * SYNTHESIS_RATE_HZ:
            sound = at_rate(sound, self.rate)
        else:
            quiet = Path(1.0, surface=False, tail_gain=float(rng.uniform(0, 0.15)), tail_s=0.05)
            sound = receive(sound, quiet, self.water, self.rate, rng)
        self.confusers.append((kind, planned.start_s, min(planned.start_s + len(sound) / self.rate, self.duration_s)))
        return sound

    def _sound_call(self, call: PlannedCall) -> np.ndarray:
        """The call as received; its rows of truth are added."""
        said = make_call(call.label, generator(*self.key, "call", call.series), self.version, call.length_s)
        rng = generator(*self.key, "variation", call.number)
        source = said.waveform
        if said.click_s is None:  # a series says the same again, a little faster or slower
            step = float(np.exp(0.025 * rng.standard_normal()))
            source = np.interp(np.arange(0, len(source) - 1, step), np.arange(len(source)), source)
        source = source * 10 ** (call.source_level_db / 20)
        sound = receive(source, call.path, self.water, self.rate, rng, lambda f: orientation_loss_db(call.label, f, call.angle_deg))
        at = int(round(call.start_s * self.rate))
        heard = sound[: self.n - at]
        direct_s = min(len(source) / SYNTHESIS_RATE_HZ + 0.01, len(heard) / self.rate)
        keep = int((direct_s + tail_length_s(call.path)) * self.rate) + 1
        if self.version == 1:
            self._rows += truth.call_rows(heard, call, said.click_s, at / self.rate, direct_s, self.rate, self.noise_psd)
        else:
            self._rows += truth.measured_rows(heard[:keep], call, said, at / self.rate, self.rate, self._meter, self.held_hz)
        return sound[:keep]

    @property
    def truth(self) -> pd.DataFrame:
        """Rows of what has sounded so far, by time; columns of the truth table."""
        table = pd.DataFrame(self._rows, columns=[c for c in truth.COLUMNS if c not in ("recording", "site")])
        table.insert(0, "recording", self.name)
        table["site"] = self.site.name
        table = table[truth.COLUMNS].sort_values(["start_s", "call_id"], kind="stable").reset_index(drop=True)
        table = table.astype(truth.TYPES)
        return table if self.version == 1 else truth.only_true_pairs(table)

    def describe(self) -> dict:
        """Conditions, for the record."""
        return {
            "weather": asdict(self.weather), "water": asdict(self.water), "sensitivity_db": self.sensitivity_db,
            "boats": [{"kind": b.boat.kind, "nearest_m": b.boat.nearest_m, "nearest_at_s": b.boat.nearest_at_s} for b in self.boats],
        }  # fmt: skip


def _add(block: np.ndarray, sounds: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Add sounds, each from its sample on (negative: it has begun before), to a block in place; returns what reaches beyond the block."""
    late = np.zeros(max([0] + [at + len(x) - len(block) for at, x in sounds]), dtype=np.float32)
    for at, x in sounds:
        x, at = (x[-at:], 0) if at < 0 else (x, at)
        inside = min(len(x), max(len(block) - at, 0))
        block[at : at + inside] += x[:inside]
        late[: len(x) - inside] += x[inside:]
    return late


def simulate_recording(
    site: str | Site, seed: int, duration_s: float, sample_rate_hz: int | None = RATE_HZ, *, index: int = 0, name: str = "", **settings
) -> tuple[np.ndarray, pd.DataFrame]:
    """One recording in memory.

    Parameters
    ----------
    site : "RDL", "CAC", "BSM", "KAM" or a Site
    seed, index : the same pair gives the same recording
    duration_s, sample_rate_hz : of the recording
    **settings : fields of `Settings`, e.g. call_rate_per_min=0, boats=True, version=1

    Returns
    -------
    (waveform (n,) float32 in µPa, truth DataFrame)
    """
    scene = Scene(site, seed, duration_s, replace(Settings(sample_rate_hz=sample_rate_hz), **settings), index, name)
    wave = np.concatenate(list(scene.blocks()))
    return wave, scene.truth
