"""From traces and boxes to events: hand-made traces with the truth written beside, and spans that change nothing."""
import numpy as np
import pandas as pd
import pytest

from ROI.detector import BOX
from pipeline.events import CONTEXT_S, LONGEST_SPAN_S, Span, SpanCutter, bridge, build_events, hysteresis
from spectrogram.profile import load_profile

PROFILE = load_profile("beluga")
LABELS = PROFILE.labels
RATE_HZ = 24.0  # of the trace and of the coarse picture
THRESHOLDS = {label: {"window": 0.5, "on": 0.5, "off": 0.25} for label in LABELS}
NYQUIST_HZ = 96_000.0


def boxes(*rows) -> np.ndarray:
    """(start_s, end_s, low_hz, high_hz) -> BOX records."""
    return np.array([(*row, 10.0, row[2], "low") for row in rows], dtype=BOX)


def span(seconds: float, *boxes_rows, psd: float = 1e5, **stretches) -> Span:
    """A quiet span; LABEL=[(start_s, end_s, probability), ...] writes on its trace."""
    n = round(seconds * RATE_HZ)
    trace = np.zeros((n, len(LABELS)), np.float32)
    for label, parts in stretches.items():
        for start, end, probability in parts:
            trace[round(start * RATE_HZ):round(end * RATE_HZ), LABELS.index(label)] = probability
    return Span(0.0, trace, RATE_HZ, np.full((n, PROFILE.n_bands), psd, np.float32), RATE_HZ, boxes(*boxes_rows))


def events_of(a_span: Span, nyquist_hz: float = NYQUIST_HZ, thresholds=THRESHOLDS) -> pd.DataFrame:
    return build_events(a_span, PROFILE, thresholds, nyquist_hz)


def bounds(events: pd.DataFrame) -> list[tuple]:
    return [(row.start_s, row.end_s, row.labels) for row in events.itertuples()]


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


def test_an_event_lasts_while_the_trace_is_above_off_and_scores_its_maximum():
    found = events_of(span(10, Whistle=[(1.0, 2.0, 0.3), (1.5, 1.75, 0.8), (4.0, 5.0, 0.4)]))
    assert bounds(found) == [(1.0, 2.0, "Whistle")]  # the second stretch never reaches `on`
    assert found.loc[0, "score_Whistle"] == pytest.approx(0.8)
    assert found.loc[0, "score_ECHO"] == 0.0
    assert tuple(found.loc[0, ["low_hz", "high_hz"]]) == PROFILE.label_band_hz["Whistle"]  # no region: the label's own band


def test_gaps_are_bridged_longer_in_click_trains_than_in_whistles():
    parts = [(1.0, 1.5, 0.9), (1.875, 2.25, 0.9)]  # 0.375 s apart
    assert bounds(events_of(span(5, ECHO=parts))) == [(1.0, 2.25, "ECHO")]
    assert bounds(events_of(span(5, Whistle=parts))) == [(1.0, 1.5, "Whistle"), (1.875, 2.25, "Whistle")]


def test_a_region_gives_frequencies_and_where_it_ends_near_the_exact_time():
    found = events_of(span(10, (1.07, 1.90, 5000, 9000), Whistle=[(1.0, 2.0, 0.9)]))
    assert bounds(found) == [(1.07, 1.90, "Whistle")]
    assert tuple(found.loc[0, ["low_hz", "high_hz"]]) == (5000, 9000)


def test_a_region_that_begins_long_before_the_stretch_gives_its_end_only():
    found = events_of(span(10, (0.5, 1.9, 5000, 9000), Whistle=[(1.0, 2.0, 0.9)]))  # 0.5 s before: not this call's beginning
    assert bounds(found) == [(1.0, 1.9, "Whistle")]


def test_regions_of_another_band_or_another_time_are_left_alone():
    found = events_of(span(10, (1.05, 1.95, 30000, 60000), (3.0, 4.0, 5000, 9000), Whistle=[(1.0, 2.0, 0.9)]))
    assert bounds(found) == [(1.0, 2.0, "Whistle")]
    assert tuple(found.loc[0, ["low_hz", "high_hz"]]) == PROFILE.label_band_hz["Whistle"]


def test_a_speck_under_a_long_call_and_a_long_region_over_a_short_one_both_count():
    speck = events_of(span(10, (1.4, 1.5, 6000, 6500), Whistle=[(1.0, 2.0, 0.9)]))      # wholly inside
    assert tuple(speck.loc[0, ["low_hz", "high_hz"]]) == (6000, 6500) and bounds(speck) == [(1.0, 2.0, "Whistle")]
    long = events_of(span(10, (0.0, 8.0, 5000, 9000), Whistle=[(4.0, 4.5, 0.9)]))       # holds all of the call
    assert tuple(long.loc[0, ["low_hz", "high_hz"]]) == (5000, 9000) and bounds(long) == [(4.0, 4.5, "Whistle")]


def test_frequencies_stay_within_the_labels_band_and_below_nyquist():
    found = events_of(span(5, (1.0, 2.0, 300, 30000), Whistle=[(1.0, 2.0, 0.9)]))
    assert tuple(found.loc[0, ["low_hz", "high_hz"]]) == PROFILE.label_band_hz["Whistle"]
    low_rate = events_of(span(5, Whistle=[(1.0, 2.0, 0.9)]), nyquist_hz=4000.0)
    assert tuple(low_rate.loc[0, ["low_hz", "high_hz"]]) == (400.0, 4000.0)


def test_what_the_rate_cannot_show_makes_no_event_and_has_no_score():
    everything = {label: [(1.0, 2.0, 0.9)] for label in LABELS}
    found = events_of(span(5, **everything), nyquist_hz=4000.0)
    assert bounds(found) == [(1.0, 2.0, "Whistle")]
    assert found.loc[0, ["score_ECHO", "score_HFPC", "score_BBPC"]].isna().all() and found.loc[0, "score_Boat"] == pytest.approx(0.9)


def test_boats_and_labels_without_thresholds_make_no_events():
    without = {label: t for label, t in THRESHOLDS.items() if label != "BBPC"}
    assert not len(events_of(span(5, Boat=[(1.0, 2.0, 0.9)], BBPC=[(3.0, 4.0, 0.9)]), thresholds=without))


@pytest.mark.parametrize("whistle, joined", [
    ((1.0, 2.0), True),    # the same time
    ((1.5, 2.5), True),    # half of each
    ((1.625, 2.5), False),  # 0.375 of 1.0 s
    ((1.0, 3.5), False),   # the burst is less than half of the whistle
])
def test_calls_that_share_half_of_the_longer_become_one_event(whistle, joined):
    found = events_of(span(6, HFPC=[(1.0, 2.0, 0.9)], Whistle=[(*whistle, 0.8)]))
    if joined:
        assert bounds(found) == [(1.0, whistle[1], "HFPC+Whistle")]
        assert found["score_HFPC"][0] == pytest.approx(0.9) and found["score_Whistle"][0] == pytest.approx(0.8)
        assert (found["low_hz"][0], found["high_hz"][0]) == (400.0, 90000.0)  # bands of both
    else:
        assert sorted(bounds(found)) == sorted([(1.0, 2.0, "HFPC"), (*whistle, "Whistle")])
    assert found["diphonic"].all()  # all of these sound at once for more than 40 ms


def test_diphonic_needs_a_high_frequency_call_and_a_whistle_at_the_same_time():
    apart = events_of(span(6, HFPC=[(1.0, 2.0, 0.9)], Whistle=[(2.0, 3.0, 0.9)]))
    assert len(apart) == 2 and not apart["diphonic"].any()                       # they only touch
    two_high = events_of(span(6, ECHO=[(1.0, 2.0, 0.9)], HFPC=[(1.0, 2.0, 0.9)]))
    assert bounds(two_high) == [(1.0, 2.0, "ECHO+HFPC")] and not two_high["diphonic"].any()
    third = events_of(span(9, HFPC=[(1.0, 2.0, 0.9)], Whistle=[(1.75, 4.0, 0.9)], BBPC=[(6.0, 7.0, 0.9)]))
    assert third.set_index("labels")["diphonic"].to_dict() == {"HFPC": True, "Whistle": True, "BBPC": False}


def test_an_empty_span_gives_an_empty_table_with_the_same_columns():
    nothing, something = events_of(span(3)), events_of(span(3, Whistle=[(1.0, 2.0, 0.9)]))
    assert len(nothing) == 0 and list(nothing) == list(something)


def test_level_and_snr_are_those_of_the_box():
    a_span = span(30, (10.0, 11.0, 4000, 8000), psd=1e5, Whistle=[(10.0, 11.0, 0.9)])   # background 50 dB re 1 µPa^2/Hz
    a_span.coarse_psd[240:264] = 1e7                                                    # 70 dB for the second of the call
    found = events_of(a_span)
    assert found["level_db"][0] == pytest.approx(70 + 10 * np.log10(4000), abs=0.01)    # 4 kHz wide
    assert found["snr_db"][0] == pytest.approx(10 * np.log10(99), abs=0.01)             # (100 - 1) / 1


def test_level_of_silence_is_missing_not_minus_infinity():
    found = events_of(span(5, psd=0.0, Whistle=[(1.0, 2.0, 0.9)]))
    assert np.isnan(found["snr_db"][0]) and np.isnan(found["level_db"][0])


# ------------------------------------------------------------------------------------------------- long recordings: spans


def random_recording(seconds: int, seed: int, busy: float = 0.25):
    """Trace, coarse picture and boxes of a recording with random calls; `busy`: share of the time with a call."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    trace = rng.uniform(0, 0.2, (n, len(LABELS))).astype(np.float32)
    rows = []
    for label in ("ECHO", "HFPC", "BBPC", "Whistle"):
        for start in np.sort(rng.uniform(0, seconds - 3, int(seconds * busy / 4))):
            end = start + rng.uniform(0.1, 2.5)
            first, last = int(start * RATE_HZ), int(end * RATE_HZ) + 1
            trace[first:last, LABELS.index(label)] = rng.uniform(0.2, 1.0, last - first)
            low, high = PROFILE.label_band_hz[label]
            early, late = rng.choice([0.05, 4.0], p=[0.7, 0.3]), rng.choice([0.05, 4.0], p=[0.7, 0.3])  # some boxes reach far
            rows.append((max(0.0, start - early), end + late, low, low + rng.uniform(0.1, 1.0) * (high - low)))
    coarse = rng.gamma(4.0, 1e5, (n, PROFILE.n_bands)).astype(np.float32)
    return trace, coarse, boxes(*sorted(rows))


def in_spans(trace, coarse, all_boxes, piece_s: float = 16.0, lag_s: float = 20.0):
    """Events by way of a SpanCutter that is fed `piece_s` at a time and whose boxes come `lag_s` late; also the spans."""
    cutter = SpanCutter(PROFILE, THRESHOLDS, RATE_HZ, RATE_HZ)
    step, given, spans, parts = round(piece_s * RATE_HZ), 0, [], []
    for first in range(0, len(trace), step):
        final = first + step >= len(trace)
        until_s = np.inf if final else max(0.0, (first + step) / RATE_HZ - lag_s)
        ready = all_boxes[(all_boxes["start_s"] < until_s) & (np.arange(len(all_boxes)) >= given)]
        given += len(ready)
        for part in cutter.push(trace[first:first + step], coarse[first:first + step], ready, until_s, final):
            spans.append((part.start_s, part.start_s + len(part.trace) / RATE_HZ))
            parts.append(build_events(part, PROFILE, THRESHOLDS, NYQUIST_HZ))
    return pd.concat(parts, ignore_index=True), spans


@pytest.mark.parametrize("seed, busy", [(1, 0.1), (2, 0.3), (3, 0.6)])
def test_many_spans_give_the_events_of_one_row_for_row(seed, busy):
    trace, coarse, all_boxes = random_recording(900, seed, busy)
    whole = build_events(Span(0.0, trace, RATE_HZ, coarse, RATE_HZ, all_boxes), PROFILE, THRESHOLDS, NYQUIST_HZ)
    cut, spans = in_spans(trace, coarse, all_boxes)
    assert len(spans) > 5 and len(whole) > 30
    assert all(b == c for (_, b), (c, _) in zip(spans, spans[1:])) and spans[0][0] == 0 and spans[-1][1] == 900  # no time lost or doubled
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)


def test_a_call_longer_than_the_longest_span_is_cut_at_a_fixed_place_and_the_rest_stays():
    trace, coarse, all_boxes = random_recording(900, 4, 0.1)
    trace[:, LABELS.index("BBPC")] = 0
    trace[round(100 * RATE_HZ):round(800 * RATE_HZ), LABELS.index("BBPC")] = 0.9
    whole = build_events(Span(0.0, trace, RATE_HZ, coarse, RATE_HZ, all_boxes[:0]), PROFILE, THRESHOLDS, NYQUIST_HZ)
    by_piece = []
    for piece_s in (16.0, 4.0):
        cut, spans = in_spans(trace, coarse, all_boxes[:0], piece_s)
        by_piece.append(cut)
        assert max(b - a for a, b in spans) <= LONGEST_SPAN_S + 60
        long = cut[cut["labels"].str.contains("BBPC") & (cut["end_s"] - cut["start_s"] > 50)]
        assert long["start_s"].iloc[0] == 100 and long["end_s"].iloc[-1] == 800
        assert (long["start_s"].iloc[1:].to_numpy() == long["end_s"].iloc[:-1].to_numpy()).all()  # in pieces, but all of it
        cut_at = long["end_s"].iloc[:-1].tolist()
        away = [np.abs(frame[["start_s", "end_s"]].to_numpy()[:, :, None] - np.array([100, 800, *cut_at])).min(axis=(1, 2)) > 3 for frame in (cut, whole)]
        pd.testing.assert_frame_equal(cut[away[0]].reset_index(drop=True), whole[away[1]].reset_index(drop=True), check_exact=True)


def test_labels_that_never_make_events_keep_no_span_open():
    trace, coarse, all_boxes = random_recording(400, 5, 0.1)
    trace[:, LABELS.index("Boat")] = 0.99  # a boat all the time
    assert len(in_spans(trace, coarse, all_boxes)[1]) > 3


def test_memory_does_not_grow_with_the_recording():
    cutter = SpanCutter(PROFILE, THRESHOLDS, RATE_HZ, RATE_HZ)
    rng = np.random.default_rng(6)
    longest = 0
    for k in range(200):
        trace = rng.uniform(0, 0.2, (384, len(LABELS))).astype(np.float32)
        some = boxes((k * 16.0 + 1, k * 16.0 + 9, 1000, 2000))
        cutter.push(trace, np.ones((384, PROFILE.n_bands), np.float32), some, k * 16.0 + 16, final=False)
        longest = max(longest, len(cutter.coarse), len(cutter.boxes))
    assert longest < (60 + 2 * CONTEXT_S + 32) * RATE_HZ and len(cutter.boxes) < 20
