"""Click trains in the crest: what is a train, what is none, and that the way the frames arrive makes no difference."""
import numpy as np
import pytest

from ROI import RoiDetector
from ROI.crest import MIN_CLICKS, find_clicks, regular
from tests.roi_scene import LEVEL, PROFILE, RATE, noise

BLOCKS = 4
SECONDS = 40


def crest_of(clicks_s, levels_db, seed=1, seconds=SECONDS) -> np.ndarray:
    """(frames, blocks) peaks of noise, with clicks so many dB above it."""
    crest = LEVEL * np.random.default_rng(seed).gumbel(8, 1.3, (round(seconds * RATE), BLOCKS)).clip(2).astype(np.float32)
    at = np.round(np.asarray(clicks_s) * RATE * BLOCKS).astype(int)
    np.maximum.at(crest.reshape(-1), at, np.float32(8 * LEVEL * 10 ** (np.asarray(levels_db) / 10)))
    return crest


def trains(crest, frames=10**9, power=None):
    detector = RoiDetector(PROFILE, crest_blocks=BLOCKS)
    power = noise(len(crest) / RATE, 3)[:len(crest)] if power is None else power
    parts = [detector.push_records(power[k:k + frames], crest[k:k + frames]) for k in range(0, len(crest), frames)]
    found = np.concatenate([*parts, detector.finish_records()])
    return np.sort(found[found["band"] == "crest"], order="start_s")


POWER = noise(SECONDS, 3)


@pytest.mark.parametrize("interval_s, last_s", [(0.05, 0.05), (0.2, 0.2), (0.08, 0.01)])
@pytest.mark.parametrize("level_db", [8, 30])
def test_a_train_is_found_also_where_it_accelerates(interval_s, last_s, level_db):
    clicks = 10 + np.cumsum(np.geomspace(interval_s, last_s, 24))
    found = trains(crest_of(clicks, np.full(24, level_db) + np.linspace(0, 3, 24)), power=POWER)
    assert len(found) == 1
    assert found["start_s"][0] == pytest.approx(clicks[0], abs=2.5 * interval_s) and found["end_s"][0] == pytest.approx(clicks[-1], abs=0.25)
    assert found["n_clicks"][0] >= 16 and last_s * 0.5 <= found["interval_s"][0] <= interval_s * 1.2


def test_echoes_of_each_click_leave_the_train_a_train():
    clicks = 10 + 0.09 * np.arange(20)
    late = np.concatenate([clicks, clicks + 0.013, clicks + 0.021])
    found = trains(crest_of(late, np.repeat([30, 18, 14], 20)), power=POWER)
    assert len(found) == 1 and found["n_clicks"][0] >= 16


@pytest.mark.parametrize("per_second", [3, 12, 40])
def test_shrimp_and_rain_are_no_trains(per_second):
    """Snaps at random moments and levels, a minute and a half in all."""
    found = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        snaps = np.sort(rng.uniform(1, SECONDS - 1, per_second * SECONDS))
        found += len(trains(crest_of(snaps, rng.exponential(6, len(snaps)) + 7, seed), power=POWER))
    assert found <= 2, found  # the region head has the last word


def test_a_few_clicks_or_a_single_bang_are_no_train():
    assert not len(trains(crest_of([10.0], [40]), power=POWER))
    assert not len(trains(crest_of(10 + 0.1 * np.arange(MIN_CLICKS - 1), np.full(MIN_CLICKS - 1, 20)), power=POWER))
    assert not len(trains(crest_of([], []), power=POWER))


@pytest.mark.parametrize("frames", [200, 1401, 3072])
def test_blocks_of_any_size_give_identical_trains(frames):
    rng = np.random.default_rng(5)
    clicks = np.concatenate([start + np.cumsum(np.full(30, rng.uniform(0.02, 0.2))) for start in (3.0, 14.9, 24.0, 31.5)])  # some over the edges of chunks
    crest = crest_of(clicks, rng.uniform(12, 16, len(clicks)))
    whole = trains(crest, power=POWER)
    assert len(whole) >= 4
    np.testing.assert_array_equal(trains(crest, frames, POWER), whole)


def test_settled_time_keeps_its_word_with_a_crest():
    clicks = 5 + 0.11 * np.arange(250)
    crest, detector, promised = crest_of(clicks, np.full(250, 15.0)), RoiDetector(PROFILE, crest_blocks=BLOCKS), 0.0
    for k in range(0, len(crest), 1000):
        found = detector.push_records(POWER[k:k + 1000], crest[k:k + 1000])
        assert (found["start_s"] >= promised).all()
        promised = detector.settled_s
    rest = detector.finish_records()
    assert (rest["start_s"] >= promised).all()
    long = trains(crest, power=POWER)
    assert (long["end_s"] - long["start_s"]).max() <= 8.3 and long["n_clicks"].sum() >= 230  # cut, and all of it


def test_clicks_and_their_regularity_by_hand():
    ratio = np.ones(60)
    ratio[[5, 6, 30, 31, 50]] = [10, 20, 9, 8, 3]
    assert find_clicks(ratio, 0.0013).tolist() == [6, 30]  # the highest of those together; 3 is not enough
    fits, _, interval = regular(np.array([0.0, 0.1, 0.2, 0.3, 0.9]), np.zeros(5))
    assert fits.tolist() == [False, True, True, False, False] and interval[1] == pytest.approx(0.1)
    assert not regular(np.array([0.0, 0.1, 0.2]), np.array([0.0, 20.0, 0.0]))[0].any()  # levels unlike
