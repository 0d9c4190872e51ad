"""Presence per unit of time, corrected for effort: against a count second by second, over changes of the clock, and with intervals that hold what they promise."""
import numpy as np
import pandas as pd
import pytest

from pipeline.effort import epoch_s, segments
from pipeline.intervals import effective_minutes, resampled, wilson
from pipeline.minutes import ANY, bin_edges
from pipeline.presence import call_rates, hour_of_day, minutes_with, presence
from pipeline.sun import sun_elevation_deg
from pipeline.tables import event_types, typed
from spectrogram.names import zone
from spectrogram.profile import load_profile
from tests.test_effort import START, effort_of, soundtrap

TORONTO = "America/Toronto"
PROFILE = load_profile("beluga")


def events_of(effort: pd.DataFrame, *calls) -> pd.DataFrame:
    """Events of (row of effort, start in s, duration in s, labels)."""
    rows = []
    for row, start_s, duration_s, labels in calls:
        begin = effort["start_utc"].iloc[row] + pd.Timedelta(seconds=start_s)
        rows.append({"recording": effort["recording"].iloc[row], "channel": 0, "start_s": start_s, "end_s": start_s + duration_s, "low_hz": 2000.0, "high_hz": 90000.0,
                     "start_utc": begin, "end_utc": begin + pd.Timedelta(seconds=duration_s), "labels": labels, "diphonic": False, "snr_db": 10.0, "level_db": 110.0,
                     "calibrated": True, "model_id": "toy", "n_calls": 1, "overlap": False, "flags": "", **{f"score_{x}": 0.9 if x in labels.split("+") else 0.1 for x in PROFILE.labels}})
    types = event_types(PROFILE)
    return typed(pd.DataFrame(rows, columns=list(types)), types)


def row(table: pd.DataFrame, label: str, local: str) -> pd.Series:
    return table[(table["label"] == label) & (table["start_local"].dt.strftime("%Y-%m-%d %H:%M") == local)].squeeze()


def random_deployment(seed: int = 0, n: int = 60):
    """Two recorders, one of them blind to ECHO, recordings of odd lengths, some overlapping; and calls."""
    rng = np.random.default_rng(seed)
    parts = [soundtrap(np.cumsum(rng.integers(60, 900, n)), 1, serial) for serial in ("6872", "5725")]
    parts[1]["missing_labels"] = "ECHO"
    effort = pd.concat(parts, ignore_index=True)
    effort["duration_s"] = rng.integers(20, 500, len(effort)).astype(float)
    effort["end_utc"] = effort["start_utc"] + pd.to_timedelta(effort["duration_s"], unit="s")
    calls = []
    for r in rng.integers(0, len(effort), 300):
        start = rng.integers(0, int(effort["duration_s"].iloc[r]))
        labels = rng.choice(["Whistle", "HFPC+Whistle", "BBPC"] + (["ECHO"] if r < n else []))
        calls.append((r, float(start), float(min(rng.integers(1, 90), effort["duration_s"].iloc[r] - start)) - 0.5, labels))
    return effort, events_of(effort, *calls)


@pytest.mark.parametrize("label", ["ECHO", "Whistle", ANY])
def test_the_same_as_counting_second_by_second(label):
    effort, events = random_deployment()
    table = presence(events, effort, "hour", labels=[label], sites="bay")
    first = int(epoch_s(table["start_utc"])[0])
    seconds = len(table) * 3600
    heard, added, calls = np.zeros(seconds, bool), np.zeros(seconds, int), np.zeros(seconds, bool)
    for r in effort.itertuples():
        if label not in r.missing_labels.split("+"):
            a = int(r.start_utc.timestamp()) - first
            heard[a:a + int(r.duration_s)], added[a:a + int(r.duration_s)] = True, added[a:a + int(r.duration_s)] + 1
    mine = events[[label == ANY or label in x.split("+") for x in events["labels"]]]
    for e in mine.itertuples():
        calls[int(e.start_utc.timestamp()) - first:int(np.ceil(e.end_utc.timestamp())) - first] = True
    np.testing.assert_allclose(table["listened_s"], heard.reshape(-1, 3600).sum(axis=1))
    np.testing.assert_allclose(table["recorded_s"], added.reshape(-1, 3600).sum(axis=1))
    minutes_heard, minutes_called = heard.reshape(-1, 60).any(axis=1).reshape(-1, 60).sum(axis=1), calls.reshape(-1, 60).any(axis=1).reshape(-1, 60).sum(axis=1)
    assert table["minutes_listened"].tolist() == minutes_heard.tolist() and table["minutes_with_calls"].tolist() == minutes_called.tolist()
    np.testing.assert_allclose(table["share"], minutes_called / np.where(minutes_heard, minutes_heard, np.nan), rtol=1e-6)
    assert table["presence"].isna().tolist() == (minutes_heard == 0).tolist()
    assert table["events"].sum() == len(mine)
    np.testing.assert_allclose(table["events_per_hour"], table["events"] / np.where(table["recorded_s"] > 0, table["recorded_s"] / 3600, np.nan), rtol=1e-5)


def test_all_units_add_up_to_the_same():
    effort, events = random_deployment(1, 30)
    sums = {}
    for unit in ("minute", "hour", "day", "week", "month"):
        table = presence(events, effort, unit, time_zone=TORONTO)
        sums[unit] = table.groupby(["site", "label"], observed=True)[["listened_s", "recorded_s", "events"]].sum().round(3)
        assert sums[unit].equals(sums["hour"] if "hour" in sums else sums[unit])
        assert (table["start_utc"].to_numpy()[1:] == table["end_utc"].to_numpy()[:-1])[table["label"].to_numpy()[1:] == table["label"].to_numpy()[:-1]].all()
    joined = segments(effort).groupby("site")["recorded_s"].sum()
    for site, total in joined.items():  # time in which at least one recorded
        assert sums["hour"].loc[(site, "Whistle"), "listened_s"] == pytest.approx(total)


def test_what_was_not_listened_is_nan_and_never_0():
    effort = pd.concat([soundtrap([0, 7200], 600), effort_of(("5725.220716020000.wav", 0, 600), missing="ECHO")], ignore_index=True)
    events = events_of(effort, (0, 30, 1, "Whistle"))
    table = presence(events, effort, "hour")
    assert table.loc[(table["site"] == "6872") & (table["label"] == "Whistle"), "presence"].fillna(-1).tolist() == [1, -1, 0]
    assert table.loc[(table["site"] == "6872") & (table["label"] == "ECHO"), "presence"].fillna(-1).tolist() == [0, -1, 0]
    blind = table[(table["site"] == "5725") & (table["label"] == "ECHO")]
    assert blind["presence"].isna().all() and blind["share"].isna().all() and blind["events_per_hour"].isna().all() and (blind["listened_s"] == 0).all()
    assert not presence(events, effort, "hour", gaps=False)["presence"].isna().any()
    minute = presence(events, effort, "minute")
    assert minute[minute["label"] == "Whistle"]["presence"].fillna(-1).value_counts().to_dict() == {-1: 110, 0: 29, 1: 1}


def test_a_sliver_of_a_minute_is_not_listened_unless_it_holds_a_call():
    effort = effort_of(("6872.220716020000.wav", 59.5, 60.6))  # half a second, a whole minute, a tenth
    quiet, loud = (presence(events_of(effort, *calls), effort, "hour", labels=["Whistle"]).iloc[0] for calls in ([], [(0, 0.1, 0.2, "Whistle")]))
    assert (quiet["minutes_listened"], quiet["presence"], quiet["listened_s"]) == (1, 0.0, pytest.approx(60.6))
    assert (loud["minutes_listened"], loud["minutes_with_calls"]) == (2, 1)
    assert presence(events_of(effort), effort, "hour", labels=["Whistle"], least_s=0.05).iloc[0]["minutes_listened"] == 3


def test_days_of_23_and_25_hours_and_the_hour_that_comes_twice():
    """Toronto: clocks went on at 2022-03-13 02:00 (UTC-5 to -4) and back at 2022-11-06 02:00."""
    for date, hours, changes in (("2022-03-13", 23, "2022-03-13 06:30"), ("2022-11-06", 25, "2022-11-06 05:30")):
        begin = (pd.Timestamp(changes, tz="UTC") - START).total_seconds()
        effort = effort_of(("6872.whole.wav", begin - 86400, 3 * 86400))
        day = row(presence(events_of(effort), effort, "day", labels=["Whistle"], time_zone=TORONTO), "Whistle", f"{date} 00:00")
        assert day["listened_s"] == hours * 3600 and day["minutes_listened"] == hours * 60
        table = presence(events_of(effort), effort, "hour", labels=["Whistle"], time_zone=TORONTO)
        assert ((table["end_utc"] - table["start_utc"]).dt.total_seconds() == 3600).all()
        mine = table[table["start_local"].dt.strftime("%Y-%m-%d") == date]["start_local"].dt.hour.tolist()
        assert mine == ([0, 1, *range(3, 24)] if hours == 23 else [0, 1, 1, *range(2, 24)])


def test_a_call_belongs_to_its_local_hour_and_day():
    effort = effort_of(("6872.220716020000.wav", 0, 6 * 3600))  # 02:00 to 08:00 UTC: 22:00 to 04:00 in Toronto
    events = events_of(effort, (0, 3 * 3600 + 60, 1, "Whistle"))  # 05:01 UTC
    days = presence(events, effort, "day", labels=["Whistle"], time_zone=TORONTO)
    assert days["start_local"].dt.strftime("%m-%d").tolist() == ["07-15", "07-16"] and days["events"].tolist() == [0, 1] and days["presence"].tolist() == [0, 1]
    assert days["listened_s"].tolist() == [2 * 3600, 4 * 3600]
    hours = hour_of_day(presence(events, effort, "hour", labels=["Whistle"], time_zone=TORONTO))
    assert hours.loc[hours["events"] == 1, "hour"].tolist() == [1] and hours.loc[hours["listened_s"] > 0, "hour"].tolist() == [0, 1, 2, 3, 22, 23]


@pytest.mark.parametrize("name, minute", [("America/St_Johns", 30), ("Asia/Kathmandu", 15), ("Australia/Lord_Howe", 30)])
def test_zones_that_are_not_whole_hours_off(name, minute):
    clock = zone(name)
    first = int(pd.Timestamp("2022-03-30", tz="UTC").timestamp() // 60)
    edges = bin_edges(first, first + 20 * 1440, "hour", clock)
    local = pd.to_datetime(edges * 60, unit="s", utc=True).tz_convert(clock)
    odd = local[local.minute != 0]
    assert len(odd) <= (1 if name == "Australia/Lord_Howe" else 0) and (edges % 60 == minute).any()  # Lord Howe's clock moved by half an hour on 3 April
    assert set(np.diff(edges)) <= {60, 30, 90}
    days = bin_edges(first, first + 20 * 1440, "day", clock)
    assert (pd.to_datetime(days * 60, unit="s", utc=True).tz_convert(clock).strftime("%H:%M") == "00:00").all() and days[0] <= first and days[-1] >= first + 20 * 1440


def test_weeks_begin_on_monday_and_months_on_the_first():
    first = int(pd.Timestamp("2022-07-16 02:00", tz="UTC").timestamp() // 60)
    week, month = (pd.to_datetime(bin_edges(first, first + 30 * 1440, unit, zone(TORONTO)) * 60, unit="s", utc=True).tz_convert(TORONTO) for unit in ("week", "month"))
    assert (week.day_name() == "Monday").all() and (month.day == 1).all() and month[0].month == 7 and len(month) == 3


def test_unknown_words_are_told():
    effort = soundtrap([0], 60)
    with pytest.raises(ValueError, match="unit 'fortnight': use one of minute"):
        presence(events_of(effort), effort, "fortnight")
    with pytest.raises(ValueError, match="unknown time zone"):
        presence(events_of(effort), effort, time_zone="Mars/Olympus")


def test_nothing_with_a_time_gives_empty_tables_and_rates_all_the_same():
    effort = effort_of(*((f"{i}.wav", None, 600) for i in range(6)))
    events = events_of(effort, *((i, 1.0, 1.0, "Whistle") for i in (0, 0, 1, 3)))
    dated = soundtrap([0], 60)
    for unit in ("minute", "hour", "day"):
        assert list(presence(events, effort, unit)) == list(presence(events, dated, unit)) and presence(events, effort, unit).empty
    assert hour_of_day(presence(events, effort)).empty
    rates = call_rates(events, effort, labels=["Whistle", "ECHO"]).set_index("label")
    assert rates.loc["Whistle", ["events", "recorded_s", "block", "blocks"]].tolist() == [4, 3600, "recording", 6]
    assert 0 <= rates.loc["Whistle", "rate_low"] < 4 < rates.loc["Whistle", "rate_high"] and np.isnan(rates.loc["Whistle", "share"])
    assert rates.loc["ECHO", "rate_high"] == pytest.approx(3.689, abs=1e-3)  # nothing in an hour
    assert call_rates(events_of(effort), effort_of()).empty


def test_wilson_against_published_values():
    """Newcombe (1998), doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3."""
    for x, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        assert np.round(wilson(x, n), 4).tolist() == [low, high]
    assert np.isnan(wilson(0, 0)).all() and float(wilson(29, 29)[1]) == 1.0


def test_minutes_of_a_bout_count_as_few():
    """Days that are all calls or none: 30 minutes of each of 20 days say no more than 20 draws."""
    k = np.full(20, 30.0)
    x = np.where(np.arange(20) % 2, 30.0, 0.0)
    few = float(effective_minutes(x.sum(), k.sum(), (x * x).sum(), (x * k).sum(), (k * k).sum(), 20))
    assert 14 < few < 20
    x = np.random.default_rng(0).binomial(30, 0.5, 20).astype(float)  # independent minutes stay many
    assert float(effective_minutes(x.sum(), k.sum(), (x * x).sum(), (x * k).sum(), (k * k).sum(), 20)) > 300


def clustered(rng, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Events and hours of days on which whales come (one in three) and then call by the hundred; 3 events per hour on average."""
    return rng.negative_binomial(1.0, 1 / (1 + 72.0), days) * (rng.random(days) < 1 / 3) * 1.0, np.full(days, 8.0)


def test_the_rate_s_interval_holds_for_calls_that_cluster_where_poisson_s_does_not():
    rng = np.random.default_rng(3)
    held = poisson = 0
    for _ in range(200):
        y, t = clustered(rng, 60)
        _, low, high = resampled(y, t, 400, rng)
        held += low <= 3.0 <= high
        half = 1.96 * np.sqrt(y.sum()) / t.sum()
        poisson += abs(y.sum() / t.sum() - 3.0) <= half
    assert held / 200 > 0.87 and poisson / 200 < 0.4


def test_blocks_are_days_where_there_are_enough_else_hours_and_few_blocks_give_no_interval():
    long, short, one = soundtrap(np.arange(30) * 86400, 600), soundtrap(np.arange(10) * 3600, 600), soundtrap([0], 600)
    for effort, block, blocks in ((long, "day", 30), (short, "hour", 10), (one, "hour", 1)):
        found = call_rates(events_of(effort, (0, 5, 1, "Whistle"), (0, 90, 1, "Whistle")), effort, labels=["Whistle"]).iloc[0]
        assert (found["block"], found["blocks"], found["events"]) == (block, blocks, 2)
        assert found["events_per_hour"] == pytest.approx(2 / (len(effort) / 6)) and found["share"] == pytest.approx(2 / (len(effort) * 10))
        assert np.isnan(found["rate_low"]) == (blocks < 5) and (blocks < 5 or found["rate_low"] <= found["events_per_hour"] <= found["rate_high"])


def test_two_recorders_at_one_site_are_listened_once_and_counted_twice():
    effort = pd.concat([soundtrap([0], 3600), soundtrap([0], 3600, "5725")], ignore_index=True)
    events = events_of(effort, (0, 100, 1, "Whistle"), (1, 100, 1, "Whistle"))
    found = presence(events, effort, "hour", labels=["Whistle"], sites="bay").iloc[0]
    assert (found["listened_s"], found["recorded_s"], found["events"], found["minutes_with_calls"], found["events_per_hour"]) == (3600, 7200, 2, 1, 1.0)


def test_minutes_with_boats_from_windows_on_disk_and_in_memory(tmp_path):
    effort = soundtrap([0, 3600], 300)
    at = np.arange(0, 300, 0.5)
    windows = pd.concat([pd.DataFrame({"recording": r.recording, "start_s": at, "start_utc": r.start_utc + pd.to_timedelta(at, unit="s"),
                                       "p_Boat": np.where((at > 65) & (at < 130), 0.9, 0.1) * (i == 0)}) for i, r in enumerate(effort.itertuples())], ignore_index=True)
    windows.to_parquet(tmp_path / "windows.parquet")
    boats = minutes_with(tmp_path / "windows.parquet", "Boat", 0.5)
    assert boats.equals(minutes_with(windows, "Boat", 0.5)) and len(boats) == 2
    found = presence(boats, effort, "hour", labels=["Boat"])
    assert found["minutes_with_calls"].tolist() == [2, 0] and found["presence"].tolist() == [1, 0]
    assert minutes_with(windows, "Boat", 0.95).empty and presence(minutes_with(windows, "Boat", 0.95), effort, "hour", labels=["Boat"])["presence"].tolist() == [0, 0]


def test_two_years_of_recordings_in_few_arrays():
    """100 000 recordings: what is kept for each label is a few numbers for each minute, whatever is asked."""
    import tracemalloc

    starts = (START + pd.to_timedelta(np.arange(100_000) * 630, unit="s")).as_unit("us")
    effort = pd.DataFrame({"recording": "6872." + starts.strftime("%y%m%d%H%M%S") + ".wav", "start_utc": starts, "duration_s": 300.0, "missing_labels": "",
                           "recorder": "6872", "site": "bay"})
    which = np.sort(np.random.default_rng(0).integers(0, len(effort), 200_000))
    begin = starts[which] + pd.to_timedelta(10, unit="s")
    events = pd.DataFrame({"recording": effort["recording"].to_numpy()[which], "start_utc": begin, "end_utc": begin, "labels": "Whistle"})
    tracemalloc.start()
    table = presence(events, effort, "day", labels=["Whistle"], time_zone=TORONTO)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table["recorded_s"].sum() == 30_000_000 and table["events"].sum() == 200_000 and len(table) in (730, 731) and peak < 400e6


def test_the_sun():
    at = lambda text: pd.Timestamp(text, tz="UTC").timestamp()  # noqa: E731
    assert sun_elevation_deg(at("2022-03-20 12:07"), 0, 0) > 89  # over the equator at the equinox
    assert sun_elevation_deg(at("2022-06-21 12:00"), 90, 0) == pytest.approx(23.44, abs=0.02)
    # Greenwich, 2022-06-21: sunrise 03:43, sunset 20:21 UTC (almanac)
    assert sun_elevation_deg(at("2022-06-21 03:43"), 51.4779, 0) == pytest.approx(-0.83, abs=0.15) and sun_elevation_deg(at("2022-06-21 20:21"), 51.4779, 0) == pytest.approx(-0.83, abs=0.15)


def test_years_between_two_seasons_are_not_counted_minute_by_minute():
    effort = pd.concat([soundtrap([0, 600], 300), soundtrap([6e7, 6e7 + 600], 300)], ignore_index=True)
    events = events_of(effort, (0, 10, 1, "ECHO"), (3, 10, 1, "ECHO"))
    minutes = presence(events, effort, "minute", labels=["ECHO"])
    assert len(minutes) == 30 and minutes["presence"].sum() == 2 and minutes["start_utc"].is_monotonic_increasing
    rates = call_rates(events, effort, labels=["ECHO"], block="hour")
    assert rates[["events", "recorded_s", "listened_s", "blocks"]].values.tolist() == [[2, 1200.0, 1200.0, 2]]


def test_minutes_that_were_muted_are_unknown_and_rates_are_of_what_was_heard():
    effort = soundtrap([0], 600).assign(unlistened="60-240", listened_s=420.0)
    events = events_of(effort, (0, 10, 1, "ECHO"), (0, 300, 1, "ECHO"))
    minutes = presence(events, effort, "minute", labels=["ECHO"])
    np.testing.assert_array_equal(minutes["presence"], [1, np.nan, np.nan, np.nan, 0, 1, 0, 0, 0, 0])
    hour = presence(events, effort, "hour", labels=["ECHO"]).iloc[0]
    assert (hour["listened_s"], hour["minutes_listened"], hour["minutes_with_calls"]) == (420.0, 7, 2)
    assert hour["events_per_hour"] == pytest.approx(2 / (420 / 3600))
    assert call_rates(events, effort, labels=["ECHO"])["recorded_s"].tolist() == [420.0]
