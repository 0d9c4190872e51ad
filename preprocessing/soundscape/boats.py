"""Boats that come, pass and go: cavitation modulated by propeller and shaft, tonal lines, echo sounders.

A boat's cavitation is shaped noise (see noise.py) whose density follows range, absorption and the Lloyd mirror from frame to frame, times a modulation at shaft and blade
rate. Its lines are sines with the received level of the moment. Sources: Wales & Heitmeyer (2002, J. Acoust. Soc. Am. 111, 1211) for
merchant ships; Ross (1976, Mechanics of Underwater Noise) for the 20 dB per decade of cavitation noise and the modulation; Erbe (2002, Mar.
Mamm. Sci. 18, 394) and Lagrois et al. (2023, Sensors 23, 1674) for whale-watching and recreational boats, 140-170 dB re 1 µPa broadband.
The raised band above 20 kHz, throttle, lines and sounders are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import firwin, resample_poly

from .ambient import recorder_power_response
from .noise import ShapedNoise
from .propagation import SOUND_SPEED_M_PER_S, Water, absorption_db_per_km, lloyd_mirror, spreading_loss_db
from .randomness import generator, log_uniform, smooth_walk

LINE_RATE_HZ = 8000  # lines (below 2.4 kHz) and modulation are made at about this rate and interpolated
# kind: level at 1 kHz (dB re 1 µPa²/Hz at 1 m), spread, speed m/s, blades, shaft rate Hz, hump of cavitation Hz, draught m, lines' firing rate Hz
KINDS = {
    "outboard": (126, 6, (4, 16), (3, 4), (12, 50), (800, 5000), (0.3, 1.0), (30, 110)),
    "launch": (124, 6, (2.5, 11), (3, 5), (7, 30), (300, 2000), (0.6, 2.0), (15, 60)),
    "ferry": (132, 5, (5, 9), (4, 5), (2, 6), (100, 600), (2.0, 4.5), (8, 30)),
    "ship": (131, 5, (4, 8), (4, 6), (1, 2.5), (40, 200), (4.0, 8.0), (6, 15)),
}


@dataclass(frozen=True)
class Boat:
    """One passage. Times are seconds of the recording, ranges metres; curves are given per second from `curve_start_s` on."""

    kind: str
    level_db: float  # at 1 kHz
    hump_hz: float
    slope_db: float  # per decade above the hump
    high_gain_db: float  # raised band at 20-60 kHz
    high_hz: float
    nearest_m: float
    nearest_at_s: float
    speed_m_per_s: float
    draught_m: float
    receiver_m: float
    shaft_hz: float
    blades: int
    modulation: float
    firing_hz: float
    line_gain_db: float
    whine_hz: float
    sounder: tuple[float, float, float] | None  # frequency Hz, interval s, ping length s
    throttle_db: np.ndarray
    curve_start_s: float

    def range_m(self, time_s):
        return np.hypot(self.nearest_m, self.speed_m_per_s * (np.asarray(time_s) - self.nearest_at_s))

    def throttle(self, time_s):
        """Level in dB relative to cruise; the engine's rate follows it a little."""
        return np.interp(np.asarray(time_s) - self.curve_start_s, np.arange(len(self.throttle_db)), self.throttle_db)

    def source_psd(self, frequency_hz: np.ndarray) -> np.ndarray:
        """Density at 1 m, µPa²/Hz: rising to the hump, falling above it, with the raised high band."""
        f = np.maximum(np.asarray(frequency_hz, dtype=np.float64), 1.0)
        if self.kind == "ship":  # Wales & Heitmeyer (2002), here continued above 1.2 kHz
            shape = -35.94 * np.log10(f) + 9.17 * np.log10(1 + (f / 340) ** 2)
            level = shape - (-107.82 + 9.17 * np.log10(1 + (1000 / 340) ** 2))
        else:
            level = -self.slope_db / 2 * np.log10((1 + (f / self.hump_hz) ** 2) / (1 + (1000 / self.hump_hz) ** 2)) - 10 * np.log10(1 + (self.hump_hz / 3 / f) ** 2)
        level = level + self.high_gain_db * np.exp(-0.5 * (np.log2(f / self.high_hz) / 0.6) ** 2)
        return 10 ** ((self.level_db + level) / 10)

    def received_psd(self, frequency_hz: np.ndarray, time_s: float, water: Water) -> np.ndarray:
        """Density (bins,) at the hydrophone, without lines, µPa²/Hz."""
        return self.source_psd(frequency_hz) * self.gain(frequency_hz, time_s, water)

    def gain(self, frequency_hz: np.ndarray, time_s: float, water: Water, loss_db_per_km: np.ndarray | None = None) -> np.ndarray:
        """Power gain (bins,) from 1 m to the hydrophone at this time, throttle included."""
        r = float(self.range_m(time_s))
        loss = absorption_db_per_km(frequency_hz, water) if loss_db_per_km is None else loss_db_per_km
        fixed = float(self.throttle(time_s)) - float(spreading_loss_db(r, water))
        mirror = lloyd_mirror(frequency_hz, r, self.draught_m, self.receiver_m, water)
        return np.exp((fixed - loss * (r / 1e3)) * (np.log(10) / 10)) * (0.15 + 0.85 * mirror)  # the bottom fills the troughs

    def line_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies (k,) and source levels (k,), dB re 1 µPa at 1 m, of the lines at cruise."""
        rng = generator(int(self.firing_hz * 1e6), "lines")
        engine = self.firing_hz * np.arange(1, 19)
        blade = self.shaft_hz * self.blades * np.arange(1, 6)
        f = np.concatenate([engine, blade, self.whine_hz * np.array([1.0, 2.0])])
        near = 10 * np.log10(self.source_psd(f)) + self.line_gain_db
        return f, near + rng.normal(0, 5, len(f)) - np.concatenate([1.0 * np.arange(18), 3.0 * np.arange(5), [4, 10]])


@dataclass(frozen=True)
class BoatRanges:
    """What the boats of a version of the simulator are drawn from; in 2 cavitation reaches 100 kHz more often and spectra spread wider."""

    spread: float = 1.0  # of source levels, as a factor
    slope_db: tuple[float, float] = (15, 24)
    high_share: float = 0.3  # of boats with a raised high band
    high_gain_db: tuple[float, float] = (4, 14)
    high_hz: tuple[float, float] = (20e3, 60e3)
    near: float = 1.0  # factor on the nearest ranges
    sounder_share: float = 0.25
    sounder_hz: tuple[float, ...] = (38e3, 50e3, 83e3)
    modulation: tuple[float, float] = (0.1, 0.75)


RANGES = {1: BoatRanges(), 2: BoatRanges(1.4, (10, 28), 0.5, (3, 22), (12e3, 95e3), 0.7, 0.35, (28e3, 33e3, 38e3, 50e3, 70e3, 83e3), (0.05, 0.9))}


def draw_boat(
    rng: np.random.Generator, mix: dict[str, float], nearest_at_s: float, depth_m: float, duration_s: float, ranges: BoatRanges = RANGES[1]
) -> Boat:
    """A boat of a kind from `mix`, nearest at the given time."""
    kinds, weights = list(mix), np.array(list(mix.values()), dtype=float)
    kind = str(rng.choice(kinds, p=weights / weights.sum()))
    level, spread, speed, blades, shaft, hump, draught, firing = KINDS[kind]
    n = int(duration_s) + 8
    throttle = rng.uniform(0.3, 2) * smooth_walk(rng, n, 0.03, 1.0)
    if rng.uniform() < 0.25 and kind != "ship":  # the boat stops, starts or changes its pace
        change = rng.uniform(0, duration_s)
        throttle += rng.uniform(-15, 8) / (1 + np.exp(-(np.arange(n) - change) / rng.uniform(0.5, 3)))
    low, high = (60, 900) if kind in ("outboard", "launch") else (200, 3000)
    sounder = None
    if rng.uniform() < ranges.sounder_share:
        sounder = (float(rng.choice(ranges.sounder_hz)), log_uniform(rng, 0.08, 1.0), log_uniform(rng, 0.0002, 0.0015))
    return Boat(
        kind=kind, level_db=float(level + ranges.spread * spread * np.clip(rng.standard_normal(), -2, 2)), hump_hz=log_uniform(rng, *hump),
        slope_db=rng.uniform(*ranges.slope_db), high_gain_db=rng.uniform(*ranges.high_gain_db) if rng.uniform() < ranges.high_share else 0.0,
        high_hz=log_uniform(rng, *ranges.high_hz), nearest_m=log_uniform(rng, ranges.near * low, high), nearest_at_s=nearest_at_s, speed_m_per_s=rng.uniform(*speed),
        draught_m=rng.uniform(*draught), receiver_m=max(depth_m - rng.uniform(1, 5), 2.0), shaft_hz=log_uniform(rng, *shaft),
        blades=int(rng.integers(blades[0], blades[1] + 1)), modulation=rng.uniform(*ranges.modulation), firing_hz=log_uniform(rng, *firing),
        line_gain_db=rng.uniform(2, 18), whine_hz=log_uniform(rng, 700, 2800), sounder=sounder, throttle_db=throttle, curve_start_s=-2.0,
    )  # fmt: skip


class BoatNoise:
    """The sound of one boat, block by block."""

    def __init__(self, boat: Boat, key: tuple, water: Water, sample_rate_hz: int):
        self.boat, self.key, self.water, self.rate = boat, key, water, sample_rate_hz
        self.noise = ShapedNoise((*key, "cavitation"), sample_rate_hz)
        f = self.noise.frequency_hz
        self._f = f
        self._source = (boat.source_psd(f) * recorder_power_response(f, sample_rate_hz)).astype(np.float32)
        self._loss = absorption_db_per_km(f, water).astype(np.float32)
        self.down = max(sample_rate_hz // LINE_RATE_HZ, 1)
        rng = generator(*key, "modulation")
        self._harmonics = np.array([1, 2, boat.blades, 2 * boat.blades, 3 * boat.blades])
        self._weights = rng.uniform(0.2, 1, 5) * np.array([0.4, 0.25, 1, 0.5, 0.3])
        self._phases = rng.uniform(0, 2 * np.pi, 5)
        self._line_phases = rng.uniform(0, 2 * np.pi, 64)
        self._wander = rng.uniform(0.0005, 0.006)
        self._smoother = firwin(10 * self.down + 1, 1 / self.down, window=("kaiser", 6.0)).astype(np.float32) if self.down > 1 else None

    def psd(self, time_s: float) -> np.ndarray:
        """Mean density (bins,) of the cavitation noise on `noise.frequency_hz`."""
        return self._source * self.boat.gain(self._f, time_s, self.water, self._loss).astype(np.float32)

    def _turns(self, t: np.ndarray) -> np.ndarray:
        """Seconds of engine time: runs faster and slower by a little, in a closed form so that any block can be made alone."""
        return t + self._wander * (7 * np.sin(t / 7) + 3.1 * np.sin(t / 3.1 + 1)) + 0.1 * self._wander * np.sin(2 * np.pi * 1.3 * t)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop), µPa float32."""
        sound = self.noise.block(start, stop, self.psd)
        margin = 64
        low_rate = self.rate / self.down
        first, last = start // self.down - margin, -(-stop // self.down) + margin
        t = np.arange(first, last) / low_rate
        turns = self._turns(t)
        angle = 2 * np.pi * self.boat.shaft_hz * turns
        wave = sum(w * np.cos(h * angle + p) for w, h, p in zip(self._weights, self._harmonics, self._phases))
        wave = np.maximum(1 + self.boat.modulation * wave / self._weights.sum() * 1.6, 0.05)
        wave /= np.sqrt(1 + 0.5 * np.sum((self.boat.modulation * 1.6 * self._weights / self._weights.sum()) ** 2))
        f, level = self.boat.line_table()
        lines = np.zeros_like(t)
        seconds = np.arange(np.floor(t[0]), np.ceil(t[-1]) + 1)
        gains = np.array([self.boat.gain(f, s, self.water) for s in seconds])  # (second, line)
        for k in range(len(f)):
            if f[k] < 0.3 * low_rate:
                amplitude = np.interp(t, seconds, np.sqrt(2 * gains[:, k]) * 10 ** (level[k] / 20))
                lines += amplitude * np.sin(2 * np.pi * f[k] * turns + self._line_phases[k])
        both = np.stack([wave, lines]).astype(np.float32)
        if self.down > 1:
            both = resample_poly(both, self.down, 1, axis=1, window=self._smoother)
        offset = start - first * self.down
        both = both[:, offset : offset + stop - start]
        sound *= both[0]
        sound += both[1]
        if self.boat.sounder:
            self._add_pings(sound, start, stop)
        return sound

    def _add_pings(self, sound: np.ndarray, start: int, stop: int) -> None:
        """Echo-sounder pings leak sideways: 165 dB re 1 µPa at 1 m off the beam (assumed), each with two weak echoes."""
        f, every, length = self.boat.sounder
        if f > 0.47 * self.rate:
            return
        t = np.arange(int(length * self.rate)) / self.rate
        ping = np.sin(np.pi * t / length) * np.sin(2 * np.pi * f * t)
        for i in range(int(np.floor(start / self.rate / every)) - 1, int(np.ceil(stop / self.rate / every)) + 1):
            loss = absorption_db_per_km(np.array([f]), self.water)[0] * float(self.boat.range_m(i * every)) / 1e3
            peak = 10 ** ((165 - float(spreading_loss_db(self.boat.range_m(i * every), self.water)) - loss) / 20)
            for echo, delay in ((1.0, 0.0), (0.4, 2 * self.water.depth_m / SOUND_SPEED_M_PER_S), (0.15, 4 * self.water.depth_m / SOUND_SPEED_M_PER_S)):
                at = int((i * every + delay) * self.rate) - start
                a, b = max(at, 0), min(at + len(ping), len(sound))
                if a < b:
                    sound[a:b] += (peak * echo * ping[a - at : b - at]).astype(np.float32)
