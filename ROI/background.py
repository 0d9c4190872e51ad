"""The adaptive background: the mean noise power in every band, as it drifts over tens of seconds.

Definition, in three steps, each a function below:

1. Time is cut into canonical segments of SEGMENT_S, counted from the recording's first frame. In each segment and band the level is a quantile of
   the power. A high one follows noise that throbs, as under a propeller's blades, up to near its crests: better than the troughs,
   above which every beat would stand out.
2. By how much a quantile lies off the mean is known for noise (power averaged over n independent cells is gamma-distributed with shape n), so it is
   divided by its expectation. What comes out estimates the *mean* noise power, and "so many dB above the background" means the same in every band.
3. The background is the median over the segments of the span around, so that segments full of calls do not count as long as they are fewer than
   half; it runs in straight lines from segment centre to segment centre and is held before the first and after the last.

A recording shorter than half the span is a clip, cut around a call perhaps: there the background is one low quantile over all of it.

Nothing here depends on how the frames arrived, nor on the absolute level: +20 dB on the sound is +20 dB on the background. Power is in µPa^2/Hz, arrays
are (bands, time) with time last.

Source of step 2: Welch (1967), IEEE Trans. Audio Electroacoust. 15:70, variance of averaged, overlapping periodograms.
"""

from functools import lru_cache

import numpy as np

from spectrogram.bands import triangle_weights

SEGMENT_S = 2.0
LEVEL_CELLS = 2  # cells, two, averaged before the quantile: steadier in the narrow low bands, still finer than a click train
CLIP_QUANTILE = 0.2
SILENCE = 0.1  # µPa^2/Hz (-10 dB): quieter than sea or recorder ever is; a cell below it is digital silence or a masked band: no data


def noise_cells(profile, n_frames):
    """Independent cells that `n_frames` consecutive frames of one band amount to in white noise: (mean / standard deviation)^2 of their power.

    Returns an array (bands,), at least 1.
    """
    return _noise_cells(tuple(profile.band_edges_hz), profile.sample_rate_hz, profile.n_fft, profile.hop, n_frames)


@lru_cache
def _noise_cells(corners_hz, sample_rate_hz, n_fft, hop, n_frames):
    weights = triangle_weights(np.array(corners_hz), sample_rate_hz / n_fft, n_fft // 2 + 1).T
    neighbours = (1.0, 4.0 / 9.0, 1.0 / 36.0)  # squared correlation of DFT bins 0, 1 and 2 apart under a Hann window
    in_frequency = sum((1 if lag == 0 else 2) * rho2 * (weights[:, lag:] * weights[:, :weights.shape[1] - lag]).sum(axis=1)
                       for lag, rho2 in enumerate(neighbours))
    hann = np.hanning(n_fft + 1)[:-1]
    lags = np.arange(n_frames)
    rho = np.array([hann[k:] @ hann[:n_fft - k] if k < n_fft else 0.0 for k in lags * hop]) / (hann @ hann)
    in_time = np.sum(np.where(lags == 0, 1, 2) * (1 - lags / n_frames) * rho ** 2) / n_frames
    return 1.0 / np.minimum(in_frequency * in_time, 1.0)


def quantile_of_noise(cells, quantile):
    """Quantile of noise power over its mean, (bands,), for power averaged over `cells` (bands,) independent cells: of the gamma distribution."""
    return _quantile_of_noise(tuple(cells), quantile)


@lru_cache
def _quantile_of_noise(cells, quantile):
    from scipy.special import gammaincinv

    return gammaincinv(cells, quantile) / np.array(cells)


def segment_levels(power, segment_cells, quantile, cells, least_share=0.5):
    """Mean noise power in each segment, from the `quantile` of the power there.

    Parameters
    ----------
    power : (bands, cells) float32, µPa^2/Hz; values not above SILENCE (NaN too) count as no data
    segment_cells : cells in a segment, a multiple of LEVEL_CELLS
    quantile : 0..1
    cells : (bands,) independent cells in LEVEL_CELLS cells of noise, see `noise_cells`
    least_share : a segment with a smaller share of data has no level

    Returns
    -------
    (bands, segments) float32, NaN where there is no level. The last segment may be short.
    """
    bands, n = power.shape
    n_segments = -(-n // segment_cells)
    if n < n_segments * segment_cells:
        power = np.pad(power, ((0, 0), (0, n_segments * segment_cells - n)), constant_values=np.nan)
    blocks = power[:, ::LEVEL_CELLS] + power[:, 1::LEVEL_CELLS]
    blocks = blocks.reshape(bands, n_segments, segment_cells // LEVEL_CELLS)
    length = blocks.shape[2]
    to_mean = (1.0 / quantile_of_noise(cells, quantile) / LEVEL_CELLS).astype(np.float32)[:, None]
    empty = ~(blocks > SILENCE * LEVEL_CELLS)
    if not empty.any():
        rank = int(quantile * (length - 1))
        return np.partition(blocks, rank, axis=2)[:, :, rank] * to_mean
    blocks = np.sort(np.where(empty, np.inf, blocks), axis=2)
    n_valid = length - empty.sum(axis=2)
    rank = (quantile * np.maximum(n_valid - 1, 0)).astype(int)[:, :, None]
    level = np.take_along_axis(blocks, rank, axis=2)[:, :, 0] * to_mean
    return np.where((n_valid > 0) & (n_valid >= least_share * length), level, np.nan).astype(np.float32)


def clip_level(power, cells):
    """The one level (bands, 1) of a recording too short for segments: cut around a call as it may be, only its quietest parts are sure to be noise."""
    whole = -(-power.shape[1] // LEVEL_CELLS) * LEVEL_CELLS
    return segment_levels(power, whole, CLIP_QUANTILE, cells, least_share=0.0)


def smooth_levels(levels, half_span, first=0, last=None):
    """Median over the segments s - half_span .. s + half_span, for s from `first` to `last` - 1 (all, if None); segments that do not exist or are NaN are left out.

    `levels` is (bands, segments); the result is (bands, last - first), NaN where no segment of the span has a level.
    """
    last = levels.shape[1] if last is None else last
    missing = max(0, half_span - first), max(0, last + half_span - levels.shape[1])
    near = np.pad(levels[:, max(0, first - half_span):last + half_span], ((0, 0), missing), constant_values=np.nan)
    span = np.lib.stride_tricks.sliding_window_view(near, 2 * half_span + 1, axis=1)
    if not np.isnan(near).any():
        return np.partition(span, half_span, axis=2)[:, :, half_span]
    span = np.sort(span, axis=2)  # NaN last
    n_valid = np.isfinite(span).sum(axis=2)[:, :, None]
    lower, upper = (np.take_along_axis(span, np.maximum(k, 0), axis=2)[:, :, 0] for k in ((n_valid - 1) // 2, n_valid // 2))
    return np.where(n_valid[:, :, 0] % 2 == 1, lower, np.float32(0.5) * (lower + upper))


def interpolate_levels(levels, segment_cells):
    """Straight lines between segment centres.

    `levels` is (bands, segments + 2): the segments wanted, with one neighbour on either side (at a recording's end the
    same level again, so that it is held). Returns (bands, segments * segment_cells) float32.
    """
    middle, half_step = levels[:, 1:-1], np.float32(0.5)
    to_left, to_right = (half_step * np.where(np.isnan(side), 0, side - middle) for side in (levels[:, :-2], levels[:, 2:]))
    start = np.stack([middle + to_left, middle], axis=2)[..., None]  # (bands, segments, halves, 1)
    slope = np.stack([-to_left, to_right], axis=2)[..., None]
    half = segment_cells // 2
    ramp = ((np.arange(half) + 0.5) / half).astype(np.float32)
    return (start + slope * ramp).reshape(levels.shape[0], -1)
