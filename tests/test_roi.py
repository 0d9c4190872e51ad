"""The region detector: what it finds, what it leaves alone, and that the way the frames arrive makes no difference."""
import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

from ROI import RoiBand, RoiDetector, detect_regions, explain
from ROI.background import interpolate_levels, noise_cells, segment_levels, smooth_levels
from ROI.cells import cell_power, power_of, running_median, smooth_cells
from ROI.coverage import covered_share
from ROI.explore import turn_knobs, with_knobs
from ROI.regions import Cells, Rules, find_regions
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


@pytest.fixture(scope="module")
def picture():
    return scene()


@pytest.fixture(scope="module")
def boxes(picture):
    return detect_regions(picture, PROFILE)


# what it finds

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

def test_background_estimates_the_mean_of_noise_in_every_band():
    power = cell_power(power_of(to_db(noise(80, 16))), 2)
    for quantile in (0.2, 0.5, 0.8):
        levels = segment_levels(power, 192, quantile, noise_cells(PROFILE, 4))
        np.testing.assert_allclose(10 * np.log10(levels.mean(axis=1)), 60, atol=0.4)


def test_median_and_mean_against_scipy():
    from scipy.ndimage import median_filter, uniform_filter1d

    x = np.random.default_rng(0).random((9, 60)).astype(np.float32)
    for cells in (1, 3, 5):
        edge = cells // 2
        np.testing.assert_array_equal(running_median(x, cells), median_filter(x, size=(1, cells))[:, edge:60 - edge])
    expected = uniform_filter1d(uniform_filter1d(x, 3, axis=1)[:, 1:-1], 5, axis=0, mode="constant", cval=1.0)
    np.testing.assert_allclose(smooth_cells(x, 1, 1, 5), expected, rtol=1e-5)


def _cells(rows):
    """'.' nothing, 'o' above the grow threshold (ratio 3), 'S' above the seed threshold (ratio 11); the first row is the highest band."""
    letters = np.array([list(row) for row in rows[::-1]])
    ratio = np.select([letters == "o", letters == "S"], [3.0, 11.0], 1.0).astype(np.float32)
    return Cells(letters != ".", letters == "S", ratio, np.full(ratio.shape, 2.0, np.float32))


def _rules(**changes):
    return dataclasses.replace(Rules(min_seed_cells=1, gap_cells=0, join_bands=0, max_cells=100, grow=2.0, dynamic=1e4, widths_hz=np.ones(5)), **changes)


def _spans(regions):
    return sorted((int(r["first"]), int(r["last"]), int(r["low_band"]), int(r["high_band"])) for r in regions)


ROWS = ["..oS......oo..",
        ".o......S.....",
        "..............",
        "oSo...SS..Soo.",
        ".............."]


def test_regions_by_hand():
    cells = _cells(ROWS)
    spans = lambda **changes: _spans(find_regions(cells, _rules(**changes), True)[0])
    # patches with a seed: o-oS above left, S alone above, and three in band 1
    assert spans() == [(0, 2, 1, 1), (1, 3, 3, 4), (6, 7, 1, 1), (8, 8, 3, 3), (10, 12, 1, 1)]
    assert spans(min_seed_cells=2) == [(6, 7, 1, 1)]
    # gaps of two cells are bridged, of three not
    assert spans(gap_cells=2) == [(0, 2, 1, 1), (1, 3, 3, 4), (6, 12, 1, 1), (8, 8, 3, 3)]
    assert spans(gap_cells=3) == [(0, 12, 1, 1), (1, 3, 3, 4), (8, 8, 3, 3)]
    # cut every four cells from the start of each; pieces without a seed of their own go
    assert spans(gap_cells=3, max_cells=4) == [(0, 2, 1, 1), (1, 3, 3, 4), (6, 7, 1, 1), (8, 8, 3, 3), (10, 11, 1, 1)]


def test_region_snr_by_hand():
    region = find_regions(_cells(["oSSo"]), _rules(widths_hz=np.ones(1)), True)[0][0]
    assert region["snr"] == pytest.approx((2 + 10 + 10 + 2) / 4)


def test_regions_found_in_any_pieces_are_those_of_the_whole():
    """Random masks, random cuts: carrying what touches an edge equals never cutting at all."""
    rng = np.random.default_rng(17)
    for _ in range(60):
        n = 120
        ratio = rng.choice([1.0, 3.0, 11.0], size=(6, n), p=[0.8, 0.14, 0.06]).astype(np.float32)
        ratio *= rng.uniform(1, 1.2, ratio.shape).astype(np.float32)
        whole = Cells(ratio > 2, ratio > 10, ratio, rng.uniform(1, 2, ratio.shape).astype(np.float32))
        rules = _rules(min_seed_cells=int(rng.integers(1, 4)), gap_cells=int(rng.integers(0, 4)), join_bands=int(rng.integers(0, 2)), max_cells=10 ** 6,
                       widths_hz=np.linspace(1, 2, 6))
        expected = _spans(find_regions(whole, rules, True)[0])
        found, held, held_first = [], None, 0
        cuts = [0, *sorted(rng.choice(np.arange(1, n), 4, replace=False)), n]
        for first, last in zip(cuts, cuts[1:]):
            new = Cells(*(array[:, first:last] for array in vars(whole).values()))
            cells = new if held is None else held.then(new)
            regions, _, carry, open_from = find_regions(cells, rules, last == n)
            found += [(a + held_first, b + held_first, low, high) for a, b, low, high in _spans(regions)]
            held, held_first = dataclasses.replace(cells, mask=carry).after(open_from), held_first + open_from
        assert sorted(found) == expected


# the pictures

def test_explain_shows_what_the_detector_did(picture, boxes):
    steps = explain(picture, PROFILE)
    pd.testing.assert_frame_equal(steps.boxes, boxes)
    assert {a.shape for a in (steps.background_db, steps.excess_db, steps.smooth_db, steps.mask, steps.kept)} == {picture.shape}
    assert (steps.mask[steps.kept] >= 1).all() and steps.kept.sum() < (steps.mask >= 1).sum()
    box = boxes.iloc[0]
    inside = steps.kept[round(box.start_s * RATE):round(box.end_s * RATE), band_of(box.low_hz + 1):band_of(box.high_hz - 1) + 1]
    assert inside.any(axis=1).all() and inside.any(axis=0).all()


def test_plots_return_their_axes(picture, boxes):
    import matplotlib.pyplot as plt

    from ROI.plots import STEPS, plot_boxes, plot_steps

    fig, axes = plt.subplots(len(STEPS), 1)
    assert plot_steps(axes, explain(picture[:4000], PROFILE), 2.0, 20.0) is axes
    assert axes[0].get_xlim() == (2.0, 20.0) and "kHz" in axes[0].get_ylabel() and "(s)" in axes[-1].get_xlabel()
    fig.canvas.draw()
    plt.close(fig)
    fig, ax = plt.subplots()
    assert plot_boxes(ax, boxes, show_snr=True) is ax and len(ax.patches) == len(boxes)
    plt.close(fig)


def test_covered_share_by_hand():
    span = lambda start_s, end_s, low_hz=1000, high_hz=2000: dict(start_s=start_s, end_s=end_s, low_hz=low_hz, high_hz=high_hz)
    calls = pd.DataFrame([span(0, 1), span(2, 4), span(5, 6), span(7, 9)])
    found = pd.DataFrame([span(0.5, 3), span(2.5, 3.5), span(2.2, 2.4), span(5, 6, 3000, 4000), span(6, 10)])
    np.testing.assert_allclose(covered_share(calls, found), [0.5, 0.75, 0, 1])
    assert covered_share(calls, found[:0]).tolist() == [0, 0, 0, 0] and len(covered_share(calls[:0], found)) == 0


def test_knobs_are_turned_in_one_band_only(picture):
    import matplotlib.pyplot as plt

    deaf = with_knobs(PROFILE, "low", seed_db=60.0)
    assert set(detect_regions(picture, deaf).band) == {"high"} and deaf.hash() != PROFILE.hash()
    with pytest.raises(KeyError, match="middle"):
        with_knobs(PROFILE, "middle", seed_db=6.0)
    axes = turn_knobs(picture[:4000], PROFILE, "low", 5.0, 15.0, interactive=False)
    assert len(axes) == 4
    plt.close("all")
