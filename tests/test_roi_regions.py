"""The steps of the region detector by hand: background, cells, regions; and what shows them."""
import dataclasses

import numpy as np
import pandas as pd
import pytest

from ROI import detect_regions, explain
from ROI.background import noise_cells, segment_levels
from ROI.cells import cell_power, power_of, running_median, smooth_cells
from ROI.coverage import covered_share
from ROI.explore import turn_knobs, with_knobs
from ROI.regions import Cells, Rules, find_regions
from tests.roi_scene import scene_boxes, scene_picture  # noqa: F401 (the fixtures `boxes` and `picture`)
from tests.roi_scene import PROFILE, RATE, band_of, noise, to_db


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

    def spans(**changes):
        return _spans(find_regions(cells, _rules(**changes), True)[0])

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
    def span(start_s, end_s, low_hz=1000, high_hz=2000):
        return {"start_s": start_s, "end_s": end_s, "low_hz": low_hz, "high_hz": high_hz}

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
