"""Recorders, gaps, overlaps, clocks, schedules and continuous stretches: what the effort table tells about when was listened."""
import numpy as np
import pandas as pd
import pytest

from pipeline.effort import can_show, clock_jumps, duty_cycle, gaps, listening, overlaps, segments, serials, with_places
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
