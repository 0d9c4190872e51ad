"""From one metre off a source to the hydrophone: spreading, absorption, echoes.

Units: metres, hertz, dB. Sources: Ainslie & McColm (1998, J. Acoust. Soc. Am. 103, 1671) for absorption; Urick (1983) for spreading and the
Lloyd mirror; Rayleigh roughness for the loss at the sea surface. The diffuse tail is an assumption, of the look of recordings from shallow bays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

SOUND_SPEED_M_PER_S = 1470.0  # cold estuary water, 6 °C and 27 psu after Mackenzie (1981), rounded
SYNTHESIS_RATE_HZ = 192_000  # calls are made at this rate whatever the recording's


@dataclass(frozen=True)
class Water:
    """The water between source and hydrophone."""

    temperature_c: float = 6.0
    salinity_psu: float = 27.0
    depth_m: float = 30.0
    ph: float = 7.9
    wave_height_m: float = 0.1  # rms surface roughness


def absorption_db_per_km(frequency_hz: np.ndarray, water: Water = Water()) -> np.ndarray:
    """Absorption of sea water after Ainslie & McColm (1998), eq. 4: boric acid, magnesium sulphate, water. Below 1 MHz."""
    f = np.asarray(frequency_hz, dtype=np.float64) / 1e3
    t, s, d = water.temperature_c, water.salinity_psu, water.depth_m / 1e3
    f1 = 0.78 * np.sqrt(s / 35) * np.exp(t / 26)
    f2 = 42 * np.exp(t / 17)
    boron = 0.106 * f1 * f**2 / (f1**2 + f**2) * np.exp((water.ph - 8) / 0.56)
    magnesium = 0.52 * (1 + t / 43) * (s / 35) * f2 * f**2 / (f2**2 + f**2) * np.exp(-d / 6)
    return boron + magnesium + 0.00049 * f**2 * np.exp(-(t / 27 + d / 17))


def spreading_loss_db(range_m: float | np.ndarray, water: Water = Water()) -> np.ndarray:
    """Spherical (20 log r) as far as twice the depth, then between spherical and cylindrical (15 log r)."""
    turn = max(2 * water.depth_m, 10.0)
    r = np.maximum(np.asarray(range_m, dtype=np.float64), 1.0)
    return 20 * np.log10(np.minimum(r, turn)) + 15 * np.log10(np.maximum(r / turn, 1.0))


def path_gain(frequency_hz: np.ndarray, range_m: float, water: Water) -> np.ndarray:
    """Linear pressure gain of the direct path, from 1 m to `range_m`, at each frequency."""
    loss = spreading_loss_db(range_m, water) + absorption_db_per_km(frequency_hz, water) * (range_m / 1e3)
    return 10 ** (-loss / 20)


def surface_gain(frequency_hz: np.ndarray, range_m: float, z_source_m: float, z_receiver_m: float, water: Water) -> np.ndarray:
    """Strength of the echo from the rough surface: exp(-2 (k s sin a)²), s the rms wave height, a the grazing angle."""
    sine = (z_source_m + z_receiver_m) / np.hypot(range_m, z_source_m + z_receiver_m)
    rough = np.asarray(frequency_hz) * float(2 * np.pi / SOUND_SPEED_M_PER_S * water.wave_height_m * sine)
    return np.exp(-2 * np.minimum(rough, 5.0) ** 2)


def echo_delay_s(range_m: float, z_source_m: float, z_receiver_m: float) -> float:
    """How much later than the direct sound the surface echo comes."""
    direct = np.hypot(range_m, z_source_m - z_receiver_m)
    return float(np.hypot(range_m, z_source_m + z_receiver_m) - direct) / SOUND_SPEED_M_PER_S


def lloyd_mirror(frequency_hz: np.ndarray, range_m: float, z_source_m: float, z_receiver_m: float, water: Water) -> np.ndarray:
    """Power factor of direct sound and surface echo together, |1 - R exp(-i w t)|²; the fringes that a passing boat draws."""
    echo = surface_gain(frequency_hz, range_m, z_source_m, z_receiver_m, water)
    phase = np.asarray(frequency_hz) * (2 * np.pi * echo_delay_s(range_m, z_source_m, z_receiver_m))
    return 1 + echo**2 - 2 * echo * np.cos(phase)


@dataclass(frozen=True)
class Path:
    """Geometry of one call: where it is made, and how much of the bay's echo it carries."""

    range_m: float
    z_source_m: float = 5.0
    z_receiver_m: float = 10.0
    surface: bool = True
    bottom_gain: float = 0.0  # pressure gain of the bottom echo; 0 for none
    tail_gain: float = 0.0  # pressure of the diffuse tail's first arrivals; 0 for none
    tail_s: float = 0.1  # time in which the tail decays to 1/e


def tail_length_s(path: Path) -> float:
    """Sound that comes after the direct sound has ended, at most."""
    return 0.02 + (3 * path.tail_s if path.tail_gain > 0 else 0.0)


def receive(source: np.ndarray, path: Path, water: Water, sample_rate_hz: int, rng: np.random.Generator, extra_loss_db=None) -> np.ndarray:
    """What the hydrophone hears of a call.

    Parameters
    ----------
    source : (n,) pressure at 1 m in µPa, at `SYNTHESIS_RATE_HZ`
    path, water : geometry and water
    sample_rate_hz : rate of the result; what lies above its Nyquist frequency is gone, not aliased
    rng : draws the echoes
    extra_loss_db : function of frequency in Hz, or None; loss at the source, for its direction

    Returns
    -------
    (m,) float32 µPa at `sample_rate_hz`; the direct sound begins at index 0, echoes follow the call for `tail_length_s`.
    """
    step = SYNTHESIS_RATE_HZ // np.gcd(SYNTHESIS_RATE_HZ, sample_rate_hz)
    n = len(source) + int(tail_length_s(path) * SYNTHESIS_RATE_HZ)
    n = 2 * step * next_fast_len(-(-n // (2 * step)), real=True)
    spectrum = rfft(np.asarray(source, dtype=np.float32), n)
    f = rfftfreq(n, 1 / SYNTHESIS_RATE_HZ)
    keep = min(n // 2, n // 2 * sample_rate_hz // SYNTHESIS_RATE_HZ) + 1
    spectrum, f = spectrum[:keep], f[:keep]
    coarse = np.linspace(0, f[-1], 400)

    def on_bins(gain_at: np.ndarray) -> np.ndarray:
        return np.interp(f, coarse, gain_at).astype(np.float32)

    response = np.ones(keep, dtype=np.complex64)
    if path.surface:
        delay = echo_delay_s(path.range_m, path.z_source_m, path.z_receiver_m)
        gain = on_bins(surface_gain(coarse, path.range_m, path.z_source_m, path.z_receiver_m, water))
        response -= gain * np.exp(-2j * np.pi * f * delay).astype(np.complex64)
    if path.bottom_gain > 0:
        up = max(water.depth_m - path.z_source_m, 0.5)
        delay = echo_delay_s(path.range_m, up, max(water.depth_m - path.z_receiver_m, 0.5))
        response += (path.bottom_gain * np.exp(-2j * np.pi * f * delay)).astype(np.complex64)
    if path.tail_gain > 0:
        tail = np.zeros(n, dtype=np.float32)
        taps = int(rng.integers(12, 60))
        when = np.minimum(0.001 + rng.exponential(path.tail_s, taps), 3 * path.tail_s)
        strength = path.tail_gain * np.exp(-when / path.tail_s) * rng.standard_normal(taps)
        np.add.at(tail, (when * SYNTHESIS_RATE_HZ).astype(np.int64), strength.astype(np.float32))
        response += rfft(tail)[:keep] * on_bins(1 / (1 + (coarse / 40e3) ** 2))
    gain = path_gain(coarse, path.range_m, water)
    if extra_loss_db is not None:
        gain = gain * 10 ** (-extra_loss_db(coarse) / 20)
    edge = np.clip((f / sample_rate_hz - 0.475) / 0.025, 0, 1).astype(np.float32)  # the recorder's anti-alias filter
    spectrum *= response * on_bins(gain) * np.cos(0.5 * np.pi * edge) ** 2
    n_out = n * sample_rate_hz // SYNTHESIS_RATE_HZ
    return irfft(spectrum, n_out) * np.float32(n_out / n)


def at_rate(sound: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """A sound of `SYNTHESIS_RATE_HZ` at another rate, float32; no echoes and no loss."""
    import soxr

    sound = np.asarray(sound, dtype=np.float32)
    return sound if sample_rate_hz == SYNTHESIS_RATE_HZ else soxr.resample(sound, SYNTHESIS_RATE_HZ, sample_rate_hz, quality="HQ")
