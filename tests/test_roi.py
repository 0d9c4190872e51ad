"""The region detector: what it finds, what it leaves alone, and that the way the frames arrive makes no difference."""
import warnings

import numpy as np
import pandas as pd
import pytest

from ROI import RoiBand, RoiDetector, detect_regions, explain
from ROI.background import interpolate_levels, noise_cells, segment_levels, smooth_levels
from ROI.cells import cell_power, power_of
from ROI.explore import with_knobs
from tests.roi_scene import scene_boxes, scene_picture  # noqa: F401 (the fixtures `boxes` and `picture`)
from tests.roi_scene import PROFILE, RATE, add_pulses, add_whistle, band_of, noise, pushed, to_db


@pytest.mark.parametrize("snr_db", [10, 20, 35])
@pytest.mark.parametrize("kind", ["whistle", "pulsed call", "click train"])
def test_a_call_gets_one_box_that_fits(kind, snr_db):
    power = noise(24, 5)
    if kind == "whistle":
        name, start, end, low, high = "low", 10.0, 10.8, 4000, 8000
        add_whistle(power, start, end, low, high, snr_db)
    elif kind == "pulsed call":
        name, start, end, low, high = "high", 12.0, 12.5, 45e3, 75e3
        add_pulses(power, [start], low, high, snr_db, frames=96)
    else:
        name, start, end, low, high = "high", 9.0, 11.0, 40e3, 80e3
        add_pulses(power, np.arange(start, end, 0.05), low, high, snr_db)
        end = end - 0.05 + 1 / RATE
    found = detect_regions(to_db(power), PROFILE)
    assert list(found.band) == [name]
    box = found.iloc[0]
    assert abs(box.start_s - start) <= 0.03 and abs(box.end_s - end) <= 0.03
    reach = 2 if name == "low" else 3  # bands; smoothing over five of them costs the edge a little
    assert abs(band_of(box.low_hz + 1) - band_of(low)) <= reach and abs(band_of(box.high_hz - 1) - band_of(high)) <= reach
    assert low * 0.9 <= box.peak_hz <= high * 1.1


def test_snr_is_the_power_in_excess_of_the_background():
    power = noise(24, 6)
    add_pulses(power, [10.0], 50e3, 70e3, 15, frames=192)
    box = detect_regions(to_db(power), PROFILE).iloc[0]
    assert box.snr_db == pytest.approx(15, abs=0.5)


def test_two_whistles_one_above_the_other_get_two_boxes():
    power = noise(24, 7)
    add_whistle(power, 10, 10.8, 3000, 4000, 15)
    add_whistle(power, 10.1, 10.9, 9000, 11000, 15)
    assert len(detect_regions(to_db(power), PROFILE)) == 2


def test_clicks_do_not_reach_the_whistle_band():
    power = noise(24, 8)
    add_pulses(power, np.arange(10, 14, 0.11), 1000, 85e3, 25)
    assert set(detect_regions(to_db(power), PROFILE).band) == {"high"}


# what it leaves alone

def test_stationary_noise_has_no_boxes():
    """Measured once on an hour: none. Here five minutes, so that it stays quick."""
    assert len(detect_regions(to_db(noise(300, 9)), PROFILE)) == 0


def test_the_same_sound_20_db_louder_gives_the_same_boxes(picture, boxes):
    louder = detect_regions(picture + np.float32(20), PROFILE)
    pd.testing.assert_frame_equal(louder.drop(columns="snr_db"), boxes.drop(columns="snr_db"))
    np.testing.assert_allclose(louder.snr_db, boxes.snr_db, atol=1e-2)


@pytest.mark.parametrize("level_db", [-200.0, -30.0, 60.0])
def test_constant_level_has_no_boxes(level_db):
    assert len(detect_regions(np.full((5000, PROFILE.n_bands), level_db, np.float32), PROFILE)) == 0


def test_noise_that_throbs_like_a_propeller_has_no_boxes():
    """Four beats a second, 8 dB from trough to crest."""
    power = noise(60, 18)
    power *= 10 ** (0.4 * np.sin(2 * np.pi * 4 * np.arange(len(power)) / RATE))[:, None]
    assert len(detect_regions(to_db(power), PROFILE)) == 0


def test_a_gap_of_digital_silence_is_no_data_and_makes_no_boxes():
    picture_db = to_db(noise(100, 10))
    picture_db[round(40.3 * RATE):round(71 * RATE)] = -30.0
    assert len(detect_regions(picture_db, PROFILE)) == 0


def test_a_boat_that_comes_is_soon_background():
    power = noise(100, 11)
    power[round(51 * RATE):] *= 10 ** 1.5
    steps = explain(to_db(power), PROFILE)
    assert (steps.boxes.start_s > 50.9).all() and (steps.boxes.end_s < 55).all()
    known = np.isfinite(steps.background_db[0])
    for part, level_db in ((slice(0, round(48 * RATE)), 60), (slice(round(54 * RATE), None), 75)):
        np.testing.assert_allclose(steps.background_db[part, known].mean(axis=0), level_db, atol=0.8)


def test_an_endless_sound_is_cut_into_boxes_of_at_most_max_duration(boxes):
    long = boxes[(boxes.low_hz > 13e3) & (boxes.high_hz < 18e3)]
    assert len(long) >= 2 and (long.end_s - long.start_s).max() <= 8.01
    assert np.all(np.diff(long.start_s) >= 7.9)


# the way the frames arrive

@pytest.mark.parametrize("frames", [1, 200, 1401, 3072, 5000])
def test_blocks_of_any_size_give_identical_boxes(picture, boxes, frames):
    assert len(boxes) >= 6
    pd.testing.assert_frame_equal(pushed(picture, frames), boxes, check_exact=True)


def test_a_call_across_a_chunk_edge_comes_out_once(boxes):
    for start_s, end_s, low_hz in ((15.5, 16.5, 6000), (31.8, 32.4, 10000), (30, 34.46, 60e3), (47.9, 48.21, 60e3)):
        here = boxes[(boxes.start_s < end_s) & (boxes.end_s > start_s) & (boxes.low_hz < low_hz) & (boxes.high_hz > low_hz)]
        assert len(here) == 1
        assert abs(here.start_s.iloc[0] - start_s) < 0.03 and abs(here.end_s.iloc[0] - end_s) < 0.03


def test_the_background_of_a_stream_is_that_of_the_definition():
    picture_db = to_db(noise(70, 12))
    levels = segment_levels(cell_power(power_of(picture_db), 2), 192, 0.65, noise_cells(PROFILE, 4))
    smooth = smooth_levels(levels, 6)
    whole = interpolate_levels(np.concatenate([smooth[:, :1], smooth, smooth[:, -1:]], axis=1), 192)
    changes = dict(background_quantile=0.65, background_span_s=24.0)
    steps = explain(picture_db, with_knobs(with_knobs(PROFILE, "low", **changes), "high", **changes))
    known = ~np.isnan(steps.background_db[0])
    np.testing.assert_allclose(steps.background_db[::2, known], 10 * np.log10(whole.T[:len(steps.background_db) // 2, known]), atol=1e-3)


def test_settled_time_keeps_its_word(picture):
    detector, promised = RoiDetector(PROFILE), 0.0
    for k in range(0, len(picture), 1000):
        found = detector.push(picture[k:k + 1000])
        assert (found.start_s >= promised).all()
        assert detector.settled_s >= promised
        promised = detector.settled_s
    assert promised > 30 and (detector.finish().start_s >= promised).all()


def test_memory_does_not_grow_with_the_recording():
    detector, piece, held = RoiDetector(PROFILE), to_db(noise(16, 13)), []
    for _ in range(12):
        detector.push(piece)
        band = detector.bands[0]
        held.append((len(band.powers), band.levels.shape[1], detector._n_waiting))
    assert held[-1] == held[5]


# bad and short input

@pytest.mark.parametrize("frames", [0, 1, 2, 3, 30])
def test_next_to_nothing_is_no_fault(frames):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = detect_regions(to_db(noise(1, 14))[:frames], PROFILE)
        assert len(explain(to_db(noise(1, 14))[:frames], PROFILE).mask) == frames
    assert len(found) == 0


def test_empty_frame_has_the_columns_and_types_of_a_full_one(boxes):
    empty = detect_regions(np.zeros((0, PROFILE.n_bands), np.float32), PROFILE)
    assert list(empty.columns) == ["start_s", "end_s", "low_hz", "high_hz", "snr_db", "peak_hz", "band"]
    assert (empty.dtypes == boxes.dtypes).all()


def test_a_call_that_fills_most_of_a_short_clip_is_found():
    power = noise(1.5, 15)
    add_whistle(power, 0.3, 1.2, 4000, 8000, 15)
    found = detect_regions(to_db(power), PROFILE)
    assert len(found) == 1 and abs(found.start_s[0] - 0.3) < 0.03 and abs(found.end_s[0] - 1.2) < 0.03


def test_masked_bands_are_ignored_without_a_word(picture, boxes):
    nyquist_hz = 24000.0
    masked = np.where(PROFILE.visible_bands(nyquist_hz), picture, np.nan).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_nan, by_nyquist = detect_regions(masked, PROFILE), detect_regions(masked, PROFILE, nyquist_hz)
        nothing = detect_regions(np.full_like(masked, np.nan), PROFILE)
    assert len(nothing) == 0 and (by_nan.high_hz < nyquist_hz).all()
    pd.testing.assert_frame_equal(by_nan[by_nan.band == "low"], by_nyquist[by_nyquist.band == "low"])
    pd.testing.assert_frame_equal(by_nyquist[by_nyquist.band == "low"].reset_index(drop=True), boxes[boxes.band == "low"].reset_index(drop=True))


def test_frames_without_data_hide_only_themselves(picture, boxes):
    holed = picture.copy()
    holed[round(20 * RATE):round(21 * RATE)] = np.nan
    pd.testing.assert_frame_equal(detect_regions(holed, PROFILE)[["start_s", "band"]], boxes[["start_s", "band"]])


def test_a_wrong_knob_is_named():
    knobs = dict(PROFILE.roi_bands[0])
    with pytest.raises(ValueError, match="treshold"):
        RoiBand.from_dict(knobs | {"treshold": 3})
    with pytest.raises(ValueError, match="grow_db"):
        RoiBand.from_dict(knobs | {"grow_db": knobs["seed_db"] + 1})


# the parts, by hand
