"""Pictures with known calls in known noise, for the tests of the region detector."""
import numpy as np
import pandas as pd
import pytest

from ROI import RoiDetector, detect_regions
from spectrogram.bands import triangle_weights
from spectrogram.profile import load_profile

PROFILE = load_profile("beluga")
RATE = PROFILE.frame_rate_hz
LEVEL = 1e6  # of the noise in all tests: 60 dB re 1 µPa^2/Hz
WEIGHTS = triangle_weights(PROFILE.band_edges_hz, PROFILE.sample_rate_hz / PROFILE.n_fft, PROFILE.n_fft // 2 + 1)


def noise(seconds, seed):
    """Power (frames, bands) of Gaussian noise: exponential in each bin, neighbouring bins related as a Hann window relates them."""
    rng, n, bins = np.random.default_rng(seed), round(seconds * RATE), len(WEIGHTS)
    power = np.empty((n, PROFILE.n_bands), np.float32)
    for k in range(0, n, 4096):
        z = rng.standard_normal((2, min(4096, n - k), bins + 2), dtype=np.float32)
        x = 0.5 * z[..., 1:-1] - 0.25 * (z[..., :-2] + z[..., 2:])
        power[k:k + 4096] = (x ** 2).sum(axis=0) / 0.75 @ WEIGHTS
    return LEVEL * power


def to_db(power):
    return (10 * np.log10(power)).astype(np.float32)


def band_of(hz):
    return int(np.searchsorted(PROFILE.band_high_hz, hz))


def add_whistle(power, start_s, end_s, low_hz, high_hz, snr_db):
    """A rising tone; `snr_db` in the strongest band of each frame."""
    frames = np.arange(round(start_s * RATE), round(end_s * RATE))
    for i, hz in zip(frames, np.linspace(low_hz, high_hz, len(frames))):
        shape = WEIGHTS[max(0, round(hz / 93.75) - 1):][:3].T @ np.array([1, 4, 1])
        power[i] += LEVEL * 10 ** (snr_db / 10) * shape / shape.max()


def add_pulses(power, times_s, low_hz, high_hz, snr_db, frames=1):
    """Broadband pulses, each `frames` long."""
    for t in times_s:
        i = round(t * RATE)
        power[i:i + frames, band_of(low_hz):band_of(high_hz) + 1] += LEVEL * 10 ** (snr_db / 10)


def scene(seconds=75.53, seed=3):
    """Calls of all kinds, some across the edges of the detector's 16-s chunks, and one sound that outlasts a chunk."""
    power = noise(seconds, seed)
    add_whistle(power, 15.5, 16.5, 5000, 9000, 14)
    add_whistle(power, 31.8, 32.4, 9000, 12000, 16)
    add_whistle(power, 38.0, 62.0, 15000, 15500, 14)
    add_pulses(power, np.arange(30, 34.5, 0.045), 40e3, 80e3, 14)
    add_pulses(power, [47.9], 45e3, 85e3, 12, frames=60)
    return to_db(power)


def in_order(boxes):
    return boxes.sort_values(["start_s", "low_hz"], kind="stable", ignore_index=True)


def pushed(picture_db, size, profile=PROFILE):
    detector = RoiDetector(profile)
    boxes = [detector.push(picture_db[k:k + size]) for k in range(0, len(picture_db), size)]
    return in_order(pd.concat([*boxes, detector.finish()], ignore_index=True))


@pytest.fixture(name="picture", scope="module")
def scene_picture():
    return scene()


@pytest.fixture(name="boxes", scope="module")
def scene_boxes(picture):
    return detect_regions(picture, PROFILE)


# what it finds
