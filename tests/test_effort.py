"""Recorders, gaps, overlaps, clocks, schedules and continuous stretches: what the effort table tells about when was listened."""
import numpy as np
import pandas as pd
import pytest

from pipeline.effort import (can_show, clock_jumps, clock_rates, duty_cycle, gaps, impossible_dates, listened_pieces,
                             listened_s, listening, overlaps, recorders, segments, serials, with_places)
from pipeline.join import with_gaps
from pipeline.tables import EFFORT_TYPES, typed

START = pd.Timestamp("2022-07-16 02:00:00", tz="UTC")


def effort_of(*recordings, missing: str = "") -> pd.DataFrame:
    """Effort table of (name, start in s after START or None, duration in s)."""
    rows = []
    for name, start_s, duration_s in recordings:
        start = pd.NaT if start_s is None else START + pd.Timedelta(seconds=start_s)
        rows.append({"recording": name, "channel": 0, "start_utc": start, "end_utc": start + pd.Timedelta(seconds=duration_s), "duration_s": duration_s,
                     "sample_rate_hz": 192000, "status": "ok" if duration_s else "failed", "reason": "", "calibrated": True, "sensitivity_db": -176.0,
                     "missing_labels": missing})
    return typed(pd.DataFrame(rows, columns=list(EFFORT_TYPES)), EFFORT_TYPES)


def soundtrap(starts_s, duration_s: float, serial: str = "6872", folder: str = "") -> pd.DataFrame:
    return effort_of(*((f"{folder}{serial}.{START + pd.Timedelta(seconds=s):%y%m%d%H%M%S}.wav", s, duration_s) for s in starts_s))


def test_recorders_are_told_as_in_the_engine_and_sites_by_serial_or_folder():
    effort = effort_of(("a/6872.220716020000.wav", 0, 60), ("5725.220716020000.wav", 0, 60), ("b/AMAR123.1.20220716T020000Z.wav", 0, 60), ("c/hydrophone.wav", None, 60),
                       ("c/6872_20220716T020000.wav", 0, 60), ("c/20220716_020000.wav", 0, 60))
    assert serials(effort["recording"]).tolist() == ["6872", "5725", "AMAR123", "no serial", "6872", "no serial"]
    assert with_places(effort)["site"].tolist() == with_places(effort)["recorder"].tolist()  # nobody said that two hang together
    sites = {"6872": "bay", "5725": "flat", "c": "pier", "b": "cape"}
    assert with_places(effort, sites)["site"].tolist() == ["bay", "flat", "cape", "pier", "pier", "pier"]
    assert with_places(effort, {"c/": "pier", "6872": "x", "5725": "x", "b": "x"})["site"].tolist()[-1] == "pier"
    assert set(with_places(effort, "one")["site"]) == {"one"} and with_places(effort.assign(site="here"))["site"].tolist() == ["here"] * 6
    with pytest.raises(ValueError, match=r"sites: 1 recordings have no site \(b/AMAR123"):
        with_places(effort, {key: sites[key] for key in ("6872", "5725", "c")})


def test_each_recorder_has_its_own_gaps():
    effort = pd.concat([soundtrap([0, 300, 900, 1200.5], 300), soundtrap([100, 2000], 300, "5725"), effort_of(("x.wav", None, 50), ("6872.220716030000.wav", 3600, 0))])
    found = gaps(effort)
    assert found[["recorder", "gap_s"]].values.tolist() == [["5725", 1600.0], ["6872", 300.0]]
    assert found["start_utc"].tolist() == [START + pd.Timedelta(seconds=400), START + pd.Timedelta(seconds=600)]
    assert found.loc[1, "after"].endswith("020500.wav") and found.loc[1, "before"].endswith("021500.wav")
    assert len(gaps(effort, tolerance_s=0.4)) == 3  # half a second between files


def test_a_gap_is_counted_from_the_last_sound_and_not_from_the_last_file():
    effort = effort_of(("6872.220716020000.wav", 0, 1000), ("6872.220716020100.wav", 60, 100), ("6872.220716022000.wav", 1200, 60))
    assert gaps(effort)["gap_s"].tolist() == [200.0] and gaps(effort)["after"].tolist() == ["6872.220716020000.wav"]
    assert overlaps(effort)["overlap_s"].tolist() == [100.0]
    assert segments(effort)[["span_s", "recorded_s", "recordings"]].values.tolist() == [[1000, 1000, 2], [60, 60, 1]]


def test_overlaps_say_what_to_look_for():
    copies = effort_of(("a/6872.220716020000.wav", 0, 300), ("b/6872.220716020000.wav", 0, 300))
    assert overlaps(copies)["why"].tolist() == ["same start and length: a copy of the same sound?"] and not len(clock_jumps(copies))
    winter = soundtrap([0, 3600, 3600 + 1], 3600)  # at the end of summer time the clock shows the same hour twice
    assert "winter time" in overlaps(winter)["why"].iloc[0] and clock_jumps(winter)["jump_s"].tolist() == [-3599.0]
    set_back = soundtrap([0, 300, 520], 300)
    jumps = clock_jumps(set_back)
    assert jumps["kind"].tolist() == ["overlap"] and jumps["jump_s"].tolist() == [-80.0] and "lasts longer than the names allow" in jumps["why"].iloc[0]


def test_start_times_that_go_backwards_in_the_order_of_the_names():
    counted = [(f"rec_{i}.wav", 60 * i, 50) for i in range(1, 30)]
    counted[20] = ("rec_21.wav", 60 * 3 + 55, 5)  # lies in a gap between others: no overlap gives it away
    jumps = clock_jumps(effort_of(*counted))
    assert jumps["recording"].tolist() == ["rec_21.wav"] and jumps["kind"].tolist() == ["backwards"] and jumps["jump_s"].tolist() == [-(60 * 20 - 235)]
    shuffled = [(f"rec_{i}.wav", 60 * (i * 7 % 30), 50) for i in range(30)]
    assert not len(clock_jumps(effort_of(*shuffled)))  # names that know nothing of time


def test_start_and_name_that_stop_agreeing():
    """Names on local time, put right by a log.xml that one file lacks."""
    local = soundtrap(np.arange(6) * 900 - 4 * 3600, 300)
    local["start_utc"] += pd.Timedelta(hours=4)
    assert not len(clock_jumps(local))
    local.loc[3, "start_utc"] -= pd.Timedelta(hours=4)
    jumps = clock_jumps(local)
    assert jumps["kind"].tolist() == ["offset", "offset"] and sorted(jumps["jump_s"]) == [-4 * 3600, 4 * 3600]
    assert "differ by +0.00 h, in the recording before by +4.00 h" in jumps["why"].iloc[0]


def test_duty_cycles():
    schedule = np.arange(200) * 900.0
    found = duty_cycle(soundtrap(schedule, 300)).iloc[0]
    assert (found["kind"], found["period_s"], found["on_s"], found["explained"], found["stretches"]) == ("duty cycle", 900, 300, 1.0, 200)
    assert found["share_on"] == pytest.approx(1 / 3)
    lost = duty_cycle(soundtrap(np.delete(schedule, [20, 21, 90]), 300)).iloc[0]  # recordings that went missing leave the schedule as it is
    assert lost["kind"] == "duty cycle" and lost["explained"] == 1.0
    moved = np.concatenate([schedule[:150], schedule[150:] + 400])  # restarted at another moment: the first after it still has a neighbour
    assert duty_cycle(soundtrap(moved, 300)).iloc[0]["explained"] == 1.0
    odd = pd.concat([soundtrap(schedule[:150], 300), soundtrap(schedule[150:] + 17.0, 100)])
    assert duty_cycle(odd).iloc[0]["explained"] == pytest.approx(150 * 300 / (150 * 300 + 50 * 100))


def test_a_duty_cycle_of_several_files_and_jittering_starts():
    rng = np.random.default_rng(0)
    starts = (np.arange(0, 100)[:, None] * 3600 + np.array([0, 300, 600])).ravel()  # a quarter of an hour in three files, every hour
    found = duty_cycle(soundtrap(starts + rng.uniform(0, 0.8, len(starts)), 299.6)).iloc[0]
    assert found["kind"] == "duty cycle" and found["period_s"] == pytest.approx(3600, abs=1) and found["on_s"] == pytest.approx(900, abs=1) and found["explained"] == 1.0


def test_what_is_no_duty_cycle():
    rng = np.random.default_rng(1)
    assert duty_cycle(soundtrap(np.arange(50) * 300, 300)).iloc[0]["kind"] == "continuous"
    assert duty_cycle(soundtrap(np.cumsum(rng.uniform(400, 4000, 60)), 300)).iloc[0]["kind"] == "irregular"
    few = duty_cycle(soundtrap([0, 900], 300)).iloc[0]
    assert few["kind"] == "too few" and np.isnan(few["period_s"])
    assert duty_cycle(effort_of(("x.wav", None, 10))).empty


def test_segments_join_within_the_tolerance_and_no_recorder_joins_another():
    effort = pd.concat([soundtrap([0, 301.5, 620], 300), soundtrap([300], 300, "5725")])
    found = segments(effort)
    assert found[["recorder", "span_s", "recorded_s", "recordings"]].values.tolist() == [["5725", 300, 300, 1], ["6872", 601.5, 600, 2], ["6872", 300, 300, 1]]
    assert found["first"].iloc[1] == "6872.220716020000.wav" and found["last"].iloc[1] == "6872.220716020501.wav"
    assert len(segments(effort, tolerance_s=20)) == 2
    assert found["recorded_s"].sum() == effort["duration_s"].sum()


def test_listening_time_leaves_out_what_could_not_show_a_label():
    effort = pd.concat([soundtrap([0, 900], 300, folder="a/"), effort_of(("b/5725.220716020000.wav", 0, 600), missing="ECHO+HFPC"), effort_of(("b/broken.wav", None, 0), missing="ECHO")])
    assert can_show(effort, "HFPC").tolist() == [True, True, False, True]
    table = listening(with_places(effort, {"a": "A", "b": "B"}), ["ECHO", "Whistle"])
    assert table.values.tolist() == [["A", "ECHO", 2, 600.0], ["A", "Whistle", 2, 600.0], ["B", "ECHO", 0, 0.0], ["B", "Whistle", 1, 600.0]]
    assert not can_show(effort_of(("x.wav", 0, 1), missing="ECHO"), "ECHO")[0] and can_show(effort_of(("x.wav", 0, 1), missing="ECHOES"), "ECHO")[0]


@pytest.mark.parametrize("what", [gaps, overlaps, clock_jumps, segments, duty_cycle])
def test_every_table_exists_when_there_is_nothing(what):
    full = what(soundtrap([0, 100, 500, 900], 300))
    for nothing in (effort_of(), effort_of(("x.wav", None, 20)), effort_of(("6872.220716020000.wav", 0, 0))):
        table = what(nothing)
        assert len(table) == 0 and list(table) == list(full)
    assert list(listening(effort_of(), ["ECHO"])) == ["site", "label", "recordings", "recorded_s"]


# --- clocks, dates, recorders and what was listened to ---

def follow_on(hours: float, count: int, ppm: float, lost_s: float = 0.0) -> pd.DataFrame:
    """Files of so many hours by their names, at a crystal that is so much fast; `lost_s` between two of them."""
    step_s = hours * 3600
    return soundtrap(np.arange(count) * step_s, step_s * (1 + ppm * 1e-6) - lost_s)


@pytest.mark.parametrize("hours", [4, 12, 24, 72])
@pytest.mark.parametrize("ppm", [-150, -57, 57, 150])
def test_a_crystal_that_is_off_is_no_fault_of_the_clock(hours, ppm):
    effort = follow_on(hours, 20, ppm)
    assert not len(overlaps(effort)) and not len(clock_jumps(effort)) and not len(gaps(effort))
    assert (with_gaps(effort)["reason"] == "").all() and len(segments(effort)) == 1


def test_a_fast_crystal_is_told_once_for_each_recorder_and_never_guessed():
    told = clock_rates(pd.concat([follow_on(24, 20, 57), soundtrap([0, 1000], 300, "5725")]))
    assert told[["recorder", "joints"]].values.tolist() == [["6872", 19]] and told["ppm"][0] == pytest.approx(57, abs=1)
    for unknown in (follow_on(24, 20, -57), follow_on(1, 20, 0, lost_s=0.3), follow_on(0.1, 20, 57), follow_on(24, 3, 57)):
        assert not len(clock_rates(unknown))


def test_what_no_crystal_explains_is_still_an_overlap_and_a_gap():
    effort = soundtrap([0, 3590, 7190, 10800], 3600)
    assert overlaps(effort)["overlap_s"].tolist() == [10.0] and gaps(effort)["gap_s"].tolist() == [10.0]
    assert with_gaps(effort)["reason"].str.startswith("overlaps an earlier recording by 10.0 s").sum() == 1


def dated_effort(*groups) -> pd.DataFrame:
    """Hourly recordings: (serial or "", first start, how many)."""
    rows = [(f"{serial}.{t:%Y%m%d_%H%M%S}.wav".lstrip("."), (t - START).total_seconds(), 3600) for serial, first, count in groups
            for t in pd.date_range(first, periods=count, freq="h", tz="UTC")]
    return effort_of(*rows)


@pytest.mark.parametrize("wrong", [("", "1970-01-01 00:00:10", 1), ("", "2000-01-01", 1), ("", "2070-03-01", 1), ("", "1980-02-11", 3), ("", "2015-01-01 00:01", 1), ("", "2008-06-01", 1),
                                   ("", "1970-01-03", 90), ("6872", "1970-01-01", 90)])
def test_a_date_that_cannot_be_right_is_named_and_takes_no_part_in_time(wrong):
    right = dated_effort(("", "2022-07-16", 30))
    effort = pd.concat([right, dated_effort(wrong)], ignore_index=True)
    named = impossible_dates(effort)
    assert len(named) == wrong[2] and set(named["recording"]) == set(effort["recording"][30:])
    assert (clock_jumps(effort)["kind"] == "date").sum() == wrong[2]
    assert not len(gaps(effort)) and not len(overlaps(effort)) and segments(effort)["recordings"].tolist() == [30]
    said = with_gaps(effort).set_index("recording")
    assert said.loc[named["recording"], "reason"].str.contains("cannot be right").all() and said.loc[named["recording"], "gap_before_s"].isna().all()
    assert (said.loc[right["recording"], "reason"] == "").all()


@pytest.mark.parametrize("groups", [[("", "1970-01-01", 9)], [("", "2019-01-01", 300), ("", "2022-07-16", 200)], [("6872", "2005-03-01", 9), ("5725", "2022-07-16", 50)],
                                    [("", "2021-12-31 20:00", 9)], [("6872", "2021-01-01", 4), ("6872", "2022-07-16", 4)]])
def test_dates_that_may_be_right_are_believed(groups):
    assert not len(impossible_dates(dated_effort(*groups)))


def test_recorders_are_those_of_the_table_where_it_tells_them():
    effort = effort_of(("6872.220716020000.wav", 0, 60), ("x.wav", 100, 60), ("5725.220716020500.wav", 300, 60)).assign(recorder=["A", "A", ""])
    assert recorders(effort).tolist() == with_places(effort)["recorder"].tolist() == ["A", "A", "5725"]
    assert gaps(effort)[["recorder", "gap_s"]].values.tolist() == [["A", 40.0]]
    assert with_gaps(effort)["gap_before_s"].tolist()[1] == 40.0


def test_only_what_was_listened_to_is_listening_time():
    effort = soundtrap([0, 300], 100).assign(unlistened=["10-20; 60-100", ""], listened_s=[50.0, np.nan])
    row, begin_s, end_s = listened_pieces(effort)
    zero = START.timestamp()
    assert row.tolist() == [0, 0, 1] and (begin_s - zero).tolist() == [0, 20, 300] and (end_s - zero).tolist() == [10, 60, 400]
    assert listened_s(effort).tolist() == [50.0, 100.0] and listening(effort, ["ECHO"])["recorded_s"].tolist() == [150.0]
