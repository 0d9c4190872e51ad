"""From named regions to events: hand-made traces and regions with the truth written beside, and spans that change nothing."""
import numpy as np
import pandas as pd
import pytest

from pipeline.events import ENDS, LONGEST_S, bridge, build_events, energy_times, event_rows, hysteresis, parted
from pipeline.naming import Namer
from pipeline.spans import LONGEST_SPAN_S, Regions, Span, SpanCutter
from ROI.detector import BOX
from ROI.head import RegionHead
from spectrogram.profile import load_profile

PROFILE = load_profile("beluga")
LABELS = PROFILE.labels
CALLS = ["ECHO", "HFPC", "BBPC", "Whistle"]
RATE_HZ = 24.0  # of the trace and of the coarse picture
THRESHOLDS = {label: {"window": 0.5, "on": 0.5, "off": 0.25} for label in LABELS}
NYQUIST_HZ = 96_000.0
HEAD = RegionHead(tuple(CALLS), [], dict.fromkeys(CALLS, 0.5), np.inf, {name: np.zeros((1, 1)) for name in (
    "mean", "scale", "weight_1", "bias_1", "weight_2", "bias_2", "slope", "intercept")}, {})


def boxes(*rows, **changes) -> np.ndarray:
    """(start_s, end_s, low_hz, high_hz[, band]) -> BOX records."""
    out = np.zeros(len(rows), BOX)
    for box, row in zip(out, rows):
        box["start_s"], box["end_s"], box["low_hz"], box["high_hz"] = row[:4]
        box["band"] = row[4] if len(row) > 4 else ("low" if row[3] <= 22000 else "high")
        box["peak_hz"], box["snr_db"], box["n_parts"], box["drift"], box["impulse"] = row[2], 10.0, 1, 0.5, 0.1
        for name, value in changes.items():
            box[name] = value
    return out


def span(seconds: float, psd: float = 1e5, **stretches) -> Span:
    """A quiet span; LABEL=[(start_s, end_s, probability), ...] writes on its trace."""
    n = round(seconds * RATE_HZ)
    trace = np.zeros((n, len(LABELS)), np.float32)
    for label, parts in stretches.items():
        for start, end, probability in parts:
            trace[round(start * RATE_HZ):round(end * RATE_HZ), LABELS.index(label)] = probability
    coarse = np.full((n, PROFILE.n_bands), psd, np.float32)
    return Span(0.0, trace, RATE_HZ, coarse, coarse.copy(), RATE_HZ, np.full((1, PROFILE.n_bands), psd, np.float32), Regions.none(4))


def of_head(a_span: Span, *regions, thresholds=THRESHOLDS, nyquist_hz: float = NYQUIST_HZ, moments=(), **changes) -> pd.DataFrame:
    """Events where regions are (start_s, end_s, low_hz, high_hz, "LABEL+LABEL"[, band]), named by a region head."""
    named = np.array([[label in region[4].split("+") for label in CALLS] for region in regions], bool).reshape(-1, 4)
    rows = boxes(*((*region[:4], *region[5:]) for region in regions), **changes)
    a_span.regions = Regions(rows, np.where(named, 0.9, 0.1).astype(np.float32), named, np.zeros(len(rows), bool))
    return build_events(a_span, Namer(PROFILE, thresholds, nyquist_hz, HEAD, moments))


def of_trace(a_span: Span, *rows, nyquist_hz: float = NYQUIST_HZ, thresholds=THRESHOLDS) -> pd.DataFrame:
    """Events of a model without a region head, whose regions are (start_s, end_s, low_hz, high_hz)."""
    namer = Namer(PROFILE, thresholds, nyquist_hz)
    cutter = SpanCutter(PROFILE, namer, RATE_HZ, RATE_HZ)
    spans = cutter.push(a_span.trace, a_span.coarse_psd, a_span.coarse_peak, boxes(*rows), np.inf, True)[1]
    return pd.concat([build_events(part, namer) for part in spans], ignore_index=True)


def bounds(events: pd.DataFrame) -> list[tuple]:
    return [(round(row.start_s, 6), round(row.end_s, 6), row.labels) for row in events.itertuples()]


def test_hysteresis_keeps_what_stays_above_off_and_reaches_on():
    trace = np.array([0, .3, .6, .3, .2, .3, .4, .3, 0, .5, 0, .25])
    #                    |--------|      |-------|      |--|    |--   the second and the last never reach 0.5
    assert hysteresis(trace, 0.5, 0.25).tolist() == [[1, 4], [9, 10]]
    assert hysteresis(trace, 0.9, 0.25).tolist() == []
    assert hysteresis(np.ones(3), 0.5, 0.25).tolist() == [[0, 3]]
    assert hysteresis(np.empty(0), 0.5, 0.25).tolist() == []


def test_bridge_joins_stretches_that_are_near():
    stretches = np.array([[0, 4], [6, 8], [11, 12], [12, 20]])
    #                         2       3         0
    assert bridge(stretches, 2).tolist() == [[0, 8], [11, 20]]
    assert bridge(stretches, 1).tolist() == [[0, 4], [6, 8], [11, 20]]
    assert bridge(stretches[:1], 9).tolist() == [[0, 4]]


# ------------------------------------------------------------------------------------------------- regions named by a head


def test_an_event_has_the_times_bounds_and_score_of_its_region():
    found = of_head(span(10), (1.07, 1.9, 5000, 9000, "Whistle"), (4.0, 5.0, 6000, 7000, ""))
    assert bounds(found) == [(1.07, 1.9, "Whistle")]  # the other region has no name
    assert tuple(found.loc[0, ["low_hz", "high_hz", "peak_hz"]]) == (5000, 9000, 5000)
    assert found.loc[0, "score_Whistle"] == pytest.approx(0.9) and found.loc[0, "score_ECHO"] == pytest.approx(0.1)
    assert found.loc[0, "n_calls"] == 1 and np.isnan(found.loc[0, "species_score"])


def test_without_regions_there_are_no_events_whatever_the_trace_says():
    everything = {label: [(1.0, 2.0, 0.99)] for label in LABELS}
    assert not len(of_head(span(5, **everything)))


def test_bounds_are_never_the_labels_band():
    found = of_head(span(5), (1.0, 2.0, 300, 2300, "Whistle"), (3.0, 3.5, 23000, 40000, "HFPC"))
    assert [tuple(row) for row in found[["low_hz", "high_hz"]].to_numpy()] == [(300, 2300), (23000, 40000)]  # bands: 400-22000, 25000-90000


def test_a_region_at_the_border_of_its_roi_band_reaches_on_where_the_picture_stands_out():
    loud = span(5)
    bands = (PROFILE.band_centres_hz > 9000) & (PROFILE.band_centres_hz < 60000)
    loud.coarse_peak[24:36, bands] *= 20.0  # 13 dB in the call's time
    found = of_head(loud, (1.0, 1.5, 22500, 60000, "HFPC"))
    assert 8000 < found.loc[0, "low_hz"] < 10000 and 59000 <= found.loc[0, "high_hz"] < 63000
    inner = of_head(loud, (1.0, 1.5, 40000, 60000, "HFPC"))  # far from the border: its own cells know
    assert inner.loc[0, "low_hz"] == 40000


def test_regions_of_one_label_that_follow_each_other_closely_are_one_call():
    apart = [(1.0, 1.5, 30000, 60000), (1.8, 2.25, 30000, 60000)]  # 0.3 s
    assert bounds(of_head(span(5), *((*r, "ECHO") for r in apart))) == [(1.0, 2.25, "ECHO")]
    assert bounds(of_head(span(5), *((*r, "HFPC") for r in apart))) == [(1.0, 1.5, "HFPC"), (1.8, 2.25, "HFPC")]


def test_no_event_is_longer_than_its_label_can_be():
    chorus = [(k * 0.5, k * 0.5 + 0.45 + 0.04 * (k != 15), 5000, 9000, "Whistle") for k in range(30)]  # 15 s, the widest gap after the 16th
    found = of_head(span(20), *chorus)
    assert (found["end_s"] - found["start_s"] <= LONGEST_S["Whistle"] + 1e-9).all()
    assert 8.0 in found["start_s"].tolist() and found["n_calls"].sum() == 30
    endless = of_head(span(20), (2.0, 10.0, 5000, 5300, "Whistle"))
    assert bounds(endless) == [(2.0, 6.0, "Whistle"), (6.0, 10.0, "Whistle")]


def test_calls_that_follow_each_other_are_counted_and_parts_of_one_are_not():
    train = of_head(span(9), (1.0, 2.0, 30000, 60000, "ECHO"), (2.2, 3.0, 30000, 60000, "ECHO"))
    assert train["n_calls"].tolist() == [1]  # one train that pauses
    pair = of_head(span(9), (1.0, 2.0, 5000, 9000, "Whistle"), (2.05, 3.0, 5000, 9000, "Whistle"))
    assert pair["n_calls"].tolist() == [2] and bounds(pair) == [(1.0, 3.0, "Whistle")]
    both_bands = of_head(span(9), (1.0, 2.0, 1000, 21000, "BBPC"), (1.0, 1.9, 22500, 60000, "BBPC"))
    assert both_bands["n_calls"].tolist() == [1] and bounds(both_bands) == [(1.0, 2.0, "BBPC")]


def test_the_trace_parts_calls_that_have_grown_into_one_region():
    a_span = span(9, HFPC=[(1.0, 1.5, 0.9), (3.0, 3.5, 0.6)], BBPC=[(2.0, 2.5, 0.9)])
    region = (0.95, 3.6, 30000, 60000, "HFPC+BBPC")
    assert bounds(of_head(a_span, region, moments=LABELS)) == [(0.95, 1.5, "HFPC"), (2.0, 2.5, "BBPC"), (3.0, 3.6, "HFPC")]
    assert bounds(of_head(a_span, region)) == [(0.95, 3.6, "HFPC+BBPC")]  # a model that tells no moments
    assert bounds(of_head(span(9), region, moments=LABELS)) == [(0.95, 3.6, "HFPC+BBPC")]  # the head is surer than the trace


def test_a_cut_falls_into_the_widest_gap():
    starts, ends = np.array([0.0, 2.0, 4.3]), np.array([1.98, 4.25, 6.0])
    assert parted(starts, ends, "Whistle") == [[0, 1], [2]]


def test_a_whistle_in_a_broadband_call_is_named_beside_it_with_its_own_bounds():
    found = of_head(span(9), (1.0, 2.0, 1000, 21000, "BBPC+Whistle"), (1.3, 1.6, 6000, 7000, "Whistle", "tonal"), (1.0, 2.0, 22500, 60000, "BBPC"))
    by_label = found.set_index("labels")
    assert tuple(by_label.loc["Whistle", ["low_hz", "high_hz"]]) == (6000, 7000)
    assert tuple(by_label.loc["BBPC", ["low_hz", "high_hz"]]) == (1000, 60000)
    assert found["diphonic"].all() and found["overlap"].all()


@pytest.mark.parametrize("whistle, joined", [
    ((1.0, 2.0), True),    # the same time
    ((1.5, 2.5), True),    # half of each
    ((1.625, 2.5), False),  # 0.375 of 1.0 s
    ((1.0, 3.5), False),   # the burst is less than half of the whistle
])
def test_calls_that_share_half_of_the_longer_become_one_event(whistle, joined):
    found = of_head(span(6), (1.0, 2.0, 30000, 80000, "HFPC"), (*whistle, 5000, 9000, "Whistle"))
    if joined:
        assert bounds(found) == [(1.0, whistle[1], "HFPC+Whistle")]
        assert (found["low_hz"][0], found["high_hz"][0]) == (5000, 80000) and found["n_calls"][0] == 2
    else:
        assert sorted(bounds(found)) == sorted([(1.0, 2.0, "HFPC"), (*whistle, "Whistle")])
    assert found["overlap"].all()


@pytest.mark.parametrize("other, label, overlap, diphonic", [
    ((2.0, 3.0), "HFPC", False, False),     # they only touch
    ((1.75, 2.75), "HFPC", True, False),    # a quarter of the shorter
    ((1.25, 4.0), "BBPC", True, True),      # three quarters of the shorter
    ((1.0, 2.0), "ECHO", True, False),      # clicks are no pulsed call
])
def test_diphonic_is_a_whistle_and_a_pulsed_call_for_half_of_the_shorter(other, label, overlap, diphonic):
    found = of_head(span(6), (1.0, 2.0, 5000, 9000, "Whistle"), (*other, 30000, 60000, label))
    assert (found["overlap"] == overlap).all() and (found["diphonic"] == diphonic).all()


def test_a_neighbours_event_is_not_diphonic_for_being_near():
    found = of_head(span(9), (1.0, 2.0, 30000, 60000, "HFPC"), (1.25, 4.0, 5000, 9000, "Whistle"), (6.0, 7.0, 30000, 60000, "BBPC"))
    assert found.set_index("labels")["diphonic"].to_dict() == {"HFPC": True, "Whistle": True, "BBPC": False}


@pytest.mark.parametrize("region, changes, flag", [
    ((1.0, 4.0, 12000, 12200, "Whistle"), {"drift": 0.0}, "steady_tone"),
    ((1.0, 1.06, 1000, 60000, "BBPC"), {}, "single_impulse"),
    ((1.0, 2.0, 1000, 60000, "BBPC"), {"impulse": 0.8}, "single_impulse"),
    ((1.0, 2.0, 5000, 9000, "Whistle"), {}, ""),
    ((1.0, 2.0, 30000, 60000, "ECHO", "crest"), {"n_clicks": 12, "impulse": 0.8}, ""),  # a train
])
def test_flags_say_what_speaks_against_an_event(region, changes, flag):
    loud = span(9)
    loud.coarse_psd[24:96] *= 10
    assert of_head(loud, region, **changes)["flags"].tolist() == [flag]


def test_what_does_not_stand_above_the_background_is_flagged():
    assert of_head(span(9), (1.0, 2.0, 5000, 9000, "Whistle"))["flags"].tolist() == ["below_snr"]


def test_seconds_at_full_scale_are_flagged():
    a_span = span(9)
    a_span.coarse_psd[:] *= 10
    a_span.regions = Regions(boxes((1.2, 1.9, 5000, 9000), (4.2, 4.9, 5000, 9000)), np.full((2, 4), 0.9, np.float32), np.array([[False] * 3 + [True]] * 2), np.array([False, True]))
    rows = event_rows(a_span, Namer(PROFILE, THRESHOLDS, NYQUIST_HZ, HEAD), clipped_s=np.array([1.0]))
    assert [row["flags"] for row in rows] == ["clipped", "out_of_domain"]


def test_boats_and_labels_without_thresholds_make_no_events():
    without = {label: t for label, t in THRESHOLDS.items() if label != "BBPC"}
    assert not len(of_head(span(5, Boat=[(1.0, 2.0, 0.9)]), (3.0, 4.0, 1000, 9000, "BBPC"), thresholds=without))


def test_an_empty_span_gives_an_empty_table_with_the_same_columns():
    nothing, something = of_head(span(3)), of_head(span(3), (1.0, 2.0, 5000, 9000, "Whistle"))
    assert len(nothing) == 0 and list(nothing) == list(something)


def test_level_and_snr_are_those_of_the_box():
    a_span = span(30)                       # background 50 dB re 1 µPa^2/Hz
    a_span.coarse_psd[240:264] = 1e7        # 70 dB for the second of the call
    found = of_head(a_span, (10.0, 11.0, 4000, 8000, "Whistle"))
    assert found["level_db"][0] == pytest.approx(70 + 10 * np.log10(4000), abs=0.01)    # 4 kHz wide
    assert found["snr_db"][0] == pytest.approx(10 * np.log10(99), abs=0.01)             # (100 - 1) / 1


def test_level_of_silence_is_missing_not_minus_infinity():
    found = of_head(span(5, psd=0.0), (1.0, 2.0, 4000, 8000, "Whistle"))
    assert np.isnan(found["snr_db"][0]) and np.isnan(found["level_db"][0])


# ------------------------------------------------------------------------------------------------- regions named by the trace


def test_regions_in_a_stretch_of_the_trace_are_the_event_and_the_stretch_alone_is_marked():
    found = of_trace(span(10, Whistle=[(1.0, 2.0, 0.3), (1.5, 1.75, 0.8), (4.0, 5.0, 0.4), (7.0, 8.0, 0.6)]), (1.07, 1.9, 5000, 9000), (4.0, 5.0, 5000, 9000))
    assert bounds(found) == [(1.07, 1.9, "Whistle"), (7.0, 8.0, "Whistle")]  # the stretch between never reaches `on`
    assert found.loc[0, "score_Whistle"] == pytest.approx(0.8) and found.loc[0, "score_ECHO"] == 0.0
    assert "region_missing" not in found.loc[0, "flags"] and "region_missing" in found.loc[1, "flags"]
    assert found.loc[1, ["low_hz", "high_hz", "peak_hz"]].isna().all()  # nothing stands out there: no bounds are made up


def test_a_region_that_begins_long_before_the_stretch_gives_its_end_only():
    found = of_trace(span(10, Whistle=[(1.0, 2.0, 0.9)]), (0.5, 1.9, 5000, 9000))  # 0.5 s before: not this call's beginning
    assert bounds(found) == [(1.0, 1.9, "Whistle")]


def test_a_long_region_over_a_short_call_is_cut_to_the_stretch():
    found = of_trace(span(10, Whistle=[(4.0, 4.5, 0.9)]), (0.0, 8.0, 5000, 9000))
    assert bounds(found) == [(4.0, 4.5, "Whistle")] and tuple(found.loc[0, ["low_hz", "high_hz"]]) == (5000, 9000)


def test_regions_of_another_band_or_another_time_are_left_alone():
    found = of_trace(span(10, Whistle=[(1.0, 2.0, 0.9)]), (1.05, 1.95, 30000, 60000), (3.0, 4.0, 5000, 9000))
    assert bounds(found) == [(1.0, 2.0, "Whistle")] and "region_missing" in found.loc[0, "flags"]


def test_what_the_rate_cannot_show_makes_no_event_and_has_no_score():
    everything = {label: [(1.0, 2.0, 0.9)] for label in LABELS}
    found = of_trace(span(5, **everything), (1.0, 2.0, 1000, 3500), nyquist_hz=4000.0)
    assert bounds(found) == [(1.0, 2.0, "Whistle")]
    assert found.loc[0, ["score_ECHO", "score_HFPC", "score_BBPC"]].isna().all() and found.loc[0, "score_Boat"] == pytest.approx(0.9)


# ------------------------------------------------------------------------------------------------- long recordings: spans


def random_recording(seconds: int, seed: int, busy: float = 0.25):
    """Trace, coarse picture and boxes of a recording with random calls; `busy`: share of the time with a call."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    trace = rng.uniform(0, 0.2, (n, len(LABELS))).astype(np.float32)
    rows = []
    for label in CALLS:
        for start in np.sort(rng.uniform(0, seconds - 3, int(seconds * busy / 4))):
            end = start + rng.uniform(0.1, 2.5)
            first, last = int(start * RATE_HZ), int(end * RATE_HZ) + 1
            trace[first:last, LABELS.index(label)] = rng.uniform(0.2, 1.0, last - first)
            low, high = PROFILE.label_band_hz[label]
            early, late = rng.choice([0.05, 4.0], p=[0.7, 0.3]), rng.choice([0.05, 4.0], p=[0.7, 0.3])  # some boxes reach far
            rows.append((max(0.0, start - early), end + late, low, low + rng.uniform(0.1, 1.0) * (high - low)))
    coarse = rng.gamma(4.0, 1e5, (n, PROFILE.n_bands)).astype(np.float32)
    return trace, coarse, boxes(*sorted(rows))


class ByHash(Namer):
    """A namer with a head that names regions by chance, the same region always alike."""

    def __init__(self):
        super().__init__(PROFILE, THRESHOLDS, NYQUIST_HZ, HEAD)

    def name(self, found, near, scene):
        prob = np.stack([np.modf(found["high_hz"] * (k + 0.37))[0] for k in range(4)], axis=1).astype(np.float32)
        return prob, prob > 0.6, np.zeros(len(found), bool)


def by_trace():
    return Namer(PROFILE, THRESHOLDS, NYQUIST_HZ)


def in_spans(namer, trace, coarse, all_boxes, piece_s: float = 16.0, lag_s: float = 20.0):
    """Events by way of a SpanCutter that is fed `piece_s` at a time and whose boxes come `lag_s` late; also the spans and the named regions."""
    cutter = SpanCutter(PROFILE, namer, RATE_HZ, RATE_HZ)
    step, given, spans, parts, regions = round(piece_s * RATE_HZ), 0, [], [], Regions.none(4)
    for first in range(0, len(trace), step):
        final = first + step >= len(trace)
        until_s = np.inf if final else max(0.0, (first + step) / RATE_HZ - lag_s)
        ready = all_boxes[(all_boxes["start_s"] < until_s) & (np.arange(len(all_boxes)) >= given)]
        given += len(ready)
        news, ended = cutter.push(trace[first:first + step], coarse[first:first + step], coarse[first:first + step] * 2, ready, until_s, final)
        regions = regions.then(news)
        for part in ended:
            spans.append((part.start_s, part.start_s + len(part.trace) / RATE_HZ))
            parts.append(build_events(part, namer))
    return pd.concat(parts, ignore_index=True), spans, regions


@pytest.mark.parametrize("make", [by_trace, ByHash])
@pytest.mark.parametrize("seed, busy", [(1, 0.1), (2, 0.3)])
def test_many_spans_give_the_events_and_regions_of_one_row_for_row(make, seed, busy):
    trace, coarse, all_boxes = random_recording(900, seed, busy)
    whole, _, named = in_spans(make(), trace, coarse, all_boxes, piece_s=900)
    cut, spans, cut_named = in_spans(make(), trace, coarse, all_boxes)
    assert len(spans) > 3 and len(whole) > 30
    assert all(b == c for (_, b), (c, _) in zip(spans, spans[1:])) and spans[0][0] == 0 and spans[-1][1] == 900  # no time lost or doubled
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)
    order = [np.lexsort((r.boxes["high_hz"], r.boxes["start_s"])) for r in (named, cut_named)]
    assert len(named) == len(cut_named) == len(all_boxes)
    for one, other in zip(vars(named[order[0]]).values(), vars(cut_named[order[1]]).values()):
        np.testing.assert_array_equal(one, other)


def test_unbroken_calling_is_cut_at_a_fixed_place_and_nothing_is_lost_or_doubled():
    trace, coarse, _ = random_recording(900, 4, 0.0)
    chain = boxes(*((k * 1.5, k * 1.5 + 1.49, 5000, 9000.0 + k) for k in range(60, 530)))

    class Whistles(ByHash):
        def name(self, found, near, scene):
            prob = np.tile(np.float32([0, 0, 0, 0.9]), (len(found), 1))
            return prob, prob > 0.5, np.zeros(len(found), bool)

    tables = [in_spans(Whistles(), trace, coarse, chain, piece_s) for piece_s in (16.0, 4.0)]
    for events, spans, _ in tables:
        assert max(b - a for a, b in spans) <= LONGEST_SPAN_S + 60
        assert events["n_calls"].sum() == len(chain) and (events["end_s"] - events["start_s"] <= LONGEST_S["Whistle"]).all()
        assert 0 <= events["start_s"].min() - 90.0 <= ENDS * LONGEST_S["Whistle"] and 0 <= 529 * 1.5 + 1.49 - events["end_s"].max() <= ENDS * LONGEST_S["Whistle"]


def test_labels_that_never_make_events_keep_no_span_open():
    trace, coarse, all_boxes = random_recording(400, 5, 0.1)
    trace[:, LABELS.index("Boat")] = 0.99  # a boat all the time
    assert len(in_spans(by_trace(), trace, coarse, all_boxes)[1]) > 3


def test_memory_does_not_grow_with_the_recording():
    cutter = SpanCutter(PROFILE, by_trace(), RATE_HZ, RATE_HZ)
    rng = np.random.default_rng(6)
    longest = 0
    for k in range(200):
        trace = rng.uniform(0, 0.2, (384, len(LABELS))).astype(np.float32)
        some, coarse = boxes((k * 16.0 + 1, k * 16.0 + 9, 1000, 2000)), np.ones((384, PROFILE.n_bands), np.float32)
        cutter.push(trace, coarse, coarse, some, k * 16.0 + 16, final=False)
        longest = max(longest, len(cutter.coarse), len(cutter.mean_ratio))
    assert longest < 160 * RATE_HZ and len(cutter.near) < 20 and len(cutter.named) < 20 and len(cutter.levels) < 20


def test_quiet_ends_are_cut_off_in_the_same_place_whatever_stands_before_the_span():
    """A call of 2 s at full power but for a tenth at either end, which is 20 dB fainter."""
    rate, bands = 24.0, PROFILE.n_bands
    psd = np.ones((240, bands), np.float32)
    low, high = (int(np.searchsorted(PROFILE.band_centres_hz, hz)) for hz in (5000, 8000))
    psd[96:144, low:high] = 100.0
    psd[[96, 97, 98, 99, 140, 141, 142, 143], low:high] = 4.0
    whole = Span(0.0, np.zeros((240, len(LABELS)), np.float32), rate, psd, psd, rate, np.ones((1, bands), np.float32), Regions.none(4))
    later = Span(3.0, whole.trace[72:], rate, psd[48:], psd[48:], rate, whole.background, Regions.none(4), coarse_start_s=2.0)
    times = [energy_times(5000, 8000, 4.0, 6.0, span, PROFILE) for span in (whole, later)]
    assert times[0] == times[1]
    start, end = times[0]
    assert 4.15 < start <= 4.0 + 2 * ENDS and 6.0 - 2 * ENDS <= end < 5.85
    assert energy_times(50_000, 60_000, 4.0, 6.0, whole, PROFILE) == (4.0, 6.0)  # nothing stands above the background there
