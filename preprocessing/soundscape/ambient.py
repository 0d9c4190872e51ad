"""Power spectral densities of what is always there: wind, rain, distant shipping, turbulence, heat, and the recorder's own noise.

All functions give the one-sided density in µPa²/Hz for frequencies in Hz. Sources: Wenz (1962, J. Acoust. Soc. Am. 34, 1936) and Knudsen et al.
(1948) in the closed forms of Zimmer (2011, Passive Acoustic Monitoring of Cetaceans, ch. 1) for wind, shipping and turbulence; Mellen (1952) for thermal
noise; Ma & Nystuen (2005, J. Atmos. Oceanic Technol. 22, 1225) for rain; Ocean Instruments' data sheet of the ST300 for self-noise
(below 36 dB above 2 kHz; its rise towards low frequencies is assumed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .randomness import generator, smooth_walk


def from_db(level_db: np.ndarray) -> np.ndarray:
    return 10 ** (np.asarray(level_db, dtype=np.float64) / 10)


def wind_psd(frequency_hz: np.ndarray, wind_m_per_s: float) -> np.ndarray:
    """Wind noise: 44 dB at 1 kHz in a calm, 61 dB at 5 m/s, -17 dB per decade above."""
    f, w = np.maximum(frequency_hz, 1.0) / 1e3, max(wind_m_per_s, 0.0) ** 0.75
    return from_db(44 + 28 * np.log10(1 + w) + 19 * np.log10(f) - 18 * np.log10(f**2 + 1 / (2.78 + 0.14 * w) ** 2))


def shipping_psd(frequency_hz: np.ndarray, traffic: float) -> np.ndarray:
    """Distant shipping, `traffic` 0 light to 2 heavy; matters below 1 kHz."""
    f = np.maximum(frequency_hz, 1.0) / 1e3
    return from_db(20 + 12 * traffic + 20 * np.log10(f) - 30 * np.log10(f**2 + (15 + 4 * traffic) / 1e4))


def turbulence_psd(frequency_hz: np.ndarray) -> np.ndarray:
    return from_db(17 - 30 * np.log10(np.maximum(frequency_hz, 2.0) / 1e3))


def thermal_psd(frequency_hz: np.ndarray) -> np.ndarray:
    """Heat: -15 dB at 1 kHz, +20 dB per decade (Mellen 1952)."""
    return from_db(-15 + 20 * np.log10(np.maximum(frequency_hz, 1.0) / 1e3))


def rain_psd(frequency_hz: np.ndarray, rain_mm_per_h: float) -> np.ndarray:
    """Rain: 42.4 + 15.4 log R at 5 kHz, nearly flat 1-10 kHz, the light-rain bump near 15 kHz; its fall above 20 kHz (-20 dB per decade) is assumed."""
    if rain_mm_per_h <= 0:
        return np.zeros(np.shape(frequency_hz))
    f = np.maximum(frequency_hz, 1.0)
    level = 42.4 + 15.4 * np.log10(rain_mm_per_h) - 8 * np.log10(1 + (500 / f) ** 2) - 10 * np.log10(1 + (f / 20e3) ** 2)
    bump = max(9 - 4 * np.log10(rain_mm_per_h), 0) * np.exp(-0.5 * (np.log2(f / 15e3) / 0.35) ** 2)
    return from_db(level + bump)


def self_noise_psd(frequency_hz: np.ndarray, floor_db: float) -> np.ndarray:
    """Recorder: `floor_db` above 2 kHz, rising by 10 dB per decade below."""
    f = np.maximum(frequency_hz, 5.0)
    return from_db(floor_db) * np.maximum(2000 / f, 1.0)


def recorder_power_response(frequency_hz: np.ndarray, sample_rate_hz: int, high_pass_hz: float = 20.0) -> np.ndarray:
    """Power response of a SoundTrap: -3 dB at 20 Hz (data sheet), flat, then the anti-alias filter above 0.475 of the rate (assumed)."""
    f = np.asarray(frequency_hz, dtype=np.float64)
    low = f**4 / np.maximum(f**4 + high_pass_hz**4, 1e-12) if high_pass_hz > 0 else 1.0
    edge = np.clip((f / sample_rate_hz - 0.475) / 0.025, 0, 1)
    return low * np.cos(0.5 * np.pi * edge) ** 4


def spectral_colour_db(
    rng: np.random.Generator, frequency_hz: np.ndarray, uneven_db: float, tilt_db: float, mean_tilt_db: float = 0.0
) -> np.ndarray:
    """Smooth random curve (bins,), dB, that makes each place its own: independent at every octave, stronger towards low frequencies, on a tilt per decade about 3 kHz."""
    octave = np.log2(np.clip(frequency_hz, 20, 120e3) / 3e3)
    knots = np.arange(-8, 7)
    uneven = np.interp(octave, knots, uneven_db * (1 + 0.3 * np.maximum(-knots, 0)) * rng.standard_normal(len(knots)))
    return uneven + (mean_tilt_db + tilt_db * rng.standard_normal()) * octave / np.log2(10)


@dataclass(frozen=True)
class Weather:
    """What the water sounds like in one recording."""

    wind_m_per_s: float = 4.0
    rain_mm_per_h: float = 0.0
    traffic: float = 1.0
    self_noise_db: float = 36.0


class Ambient:
    """Ambient and recorder noise density as it changes with gusts and showers.

    Parameters
    ----------
    key : names the random curves
    weather : Weather
    frequency_hz : (bins,) grid; where a real background stands in for the water, `water_share` (bins,) is 0
    sample_rate_hz, duration_s : of the recording
    own_share : (bins,) the same for the recorder's own noise, which a real background brings along
    steady : bool
        No gusts (for tests and calibration).
    colour_db : tuple
        What `spectral_colour_db` takes; drawn once for the recording. Empty for none.
    """

    def __init__(self, key, weather, frequency_hz, sample_rate_hz, duration_s, water_share=1.0, steady=False, colour_db=(), own_share=1.0):
        f = np.asarray(frequency_hz, dtype=np.float64)
        water = recorder_power_response(f, sample_rate_hz) * water_share
        if any(colour_db):
            water = water * from_db(spectral_colour_db(generator(*key, "colour"), f, *colour_db))
        edge = recorder_power_response(f, sample_rate_hz, 0.0) * own_share
        self._wind = (water * wind_psd(f, weather.wind_m_per_s)).astype(np.float32)
        self._rain = (water * rain_psd(f, weather.rain_mm_per_h)).astype(np.float32)
        self._ships = (water * (shipping_psd(f, weather.traffic) + turbulence_psd(f))).astype(np.float32)
        self._still = (water * thermal_psd(f) + edge * self_noise_psd(f, weather.self_noise_db)).astype(np.float32)
        rng = generator(*key, "weather")
        n = int(duration_s) + 4
        self._curves_db = np.stack([
            rng.uniform(0.3, 1.5) * smooth_walk(rng, n, 0.15, 1.0),
            rng.uniform(1.0, 4.0) * smooth_walk(rng, n, 0.05, 1.0),
            rng.uniform(0.5, 2.0) * smooth_walk(rng, n, 0.05, 1.0),
        ])  # (wind, rain, ships; second)
        if steady:
            self._curves_db[:] = 0
        self._rainy = weather.rain_mm_per_h > 0

    def psd(self, time_s: float) -> np.ndarray:
        """Density (bins,) float32 at this time."""
        x = min(max(time_s, 0.0), self._curves_db.shape[1] - 1.001)
        i = int(x)
        wind, rain, ships = 10 ** ((self._curves_db[:, i] * (1 - x + i) + self._curves_db[:, i + 1] * (x - i)) / 10)
        total = self._still + np.float32(wind) * self._wind + np.float32(ships) * self._ships
        return total + np.float32(rain) * self._rain if self._rainy else total
