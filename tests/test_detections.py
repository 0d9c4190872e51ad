"""Detection tables: what people write in them, and where in which recording each detection lies."""
import datetime as dt

import numpy as np
import openpyxl
import pandas as pd
import pytest

from preprocessing.detection_places import place_detections
from preprocessing.detections import read_detections
from preprocessing.moments import utc_times
from preprocessing.text_table import BadAnnotation
from preprocessing.verdicts import read_verdicts

NOON = pd.Timestamp("2017-06-23 12:00:00", tz="UTC")


def recordings(*rows):
    """(name, seconds after noon, duration_s, site)."""
    table = pd.DataFrame(rows, columns=["recording", "after_s", "duration_s", "site"])
    return table.assign(start_utc=NOON + pd.to_timedelta(table.pop("after_s"), unit="s"))


def a_csv(tmp_path, text, name="found.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def at(tmp_path, *after_s, length_s=1.0, **how):
    """Detections this many seconds after noon."""
    lines = "".join(f"{(NOON + pd.Timedelta(seconds=s)).strftime('%Y-%m-%d %H:%M:%S.%f')},B\n" for s in after_s)
    return read_detections(a_csv(tmp_path, "UTC,Species\n" + lines), length_s=length_s, **how)


# --- instants and verdicts

@pytest.mark.parametrize("text", ["2017-06-23 12:00:00", "2017-06-23T12:00:00Z", "2017-06-23 12:00:00.000", "6/23/2017 12:00", "6/23/17 12:00:00", "06/23/2017 12:00:00 PM",
                                  "23-Jun-2017 12:00:00.000", "20170623_120000", "170623120000", "2017-06-23T04:00:00-08:00", "2017-06-23 12:00:00 UTC", "42909.5",
                                  "2017-06-23T22:00:00+10", "2017-06-23 08:00:00 -0400", "2017-06-23T17:30:00.000+0530", "20170623T220000+1000", "2017-06-23 08:00 UTC-4", "6/23/2017 8:00 AM -04:00",
                                  "23-Jun-2017 08:00:00 \u22124:00", "2017-06-23 12:00:00,000Z"])
def test_an_instant_however_written(text):
    assert utc_times([text]).tolist() == [NOON]


def test_a_clock_on_local_time_and_the_hours_it_repeats_or_skips():
    winter, summer, twice, never = utc_times(["2017-12-01 00:00:00", "2017-07-01 00:00:00", "2017-11-05 01:30:00", "2017-03-12 02:30:00"], "America/Anchorage")
    assert (winter.hour, summer.hour) == (9, 8) and pd.isna(twice) and pd.isna(never)


def test_nonsense_is_no_instant():
    assert utc_times(["", "noon", "31.6.17", "2017-13-01 00:00:00", "7", "2017-06-23 12:00:00+15:30", "2017-06-23 12:00:00+10:75", "2017-06-23 12:00:00 EST"]).isna().all()


def test_digits_in_one_are_read_place_by_place_or_not_at_all():
    """Twelve digits are a recorder's yymmddHHMMSS; where they may be yyyymmddHHMM as well, nobody knows."""
    noon = ["20170623120000", "20170623_120000", "20170623T120000", "20170623-120000", "170623120000", "170623_120000", "170623-120000", "20170623_1200", "170623_1200", "20170623T1200Z"]
    assert utc_times(noon).tolist() == [NOON] * len(noon)
    assert utc_times(["220716021453"]).tolist() == [pd.Timestamp("2022-07-16 02:14:53", tz="UTC")]
    assert utc_times(["202207160214", "1657937705", "1657937705123", "2207160214", "2022071602145", "2017623_140509"]).isna().all()
    assert utc_times(["9999-01-01 00:00:00", "1/1/1601 00:00:00", "0001-01-01 00:00:00+10:00", "9999-12-31 23:59:59-10:00"]).isna().all()


def test_a_column_may_mix_offsets_with_texts_that_have_none():
    texts = ["2017-06-23T22:00:00+10", "2017-06-23 08:00:00 -0400", "2017-06-23 04:00:00", "2017-06-23T12:00:00Z"]
    assert utc_times(texts, "America/Anchorage").tolist() == [NOON] * 4


def test_verdicts_and_own_spellings():
    said, unknown = read_verdicts(["B", "f", " TRUE ", "False_Positive", "?", "", "orca", "KW", 1], {"KW": False})
    assert said.tolist() == ["true", "false", "true", "false", "unsure", "unsure", "unsure", "false", "true"]
    assert unknown.tolist() == [False] * 6 + [True] + [False] * 2


# --- files

def test_an_excel_sheet_with_true_dates_behind_an_empty_and_a_foreign_sheet(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "empty"
    about = book.create_sheet("about")
    about.append(["who", "when"])
    about.append(["NOAA", "2017"])
    sheet = book.create_sheet("detections")
    sheet.append(["UTC", "UTCMilliseconds", "Serial", "Species", "lowFreq (kHz)"])
    sheet.append([dt.datetime(2017, 6, 23, 12, 0, 1), 250, 671658014, "B", 2])
    sheet.append([None] * 5)
    sheet.append([dt.datetime(2017, 6, 23, 12, 0, 9), 0, 671658014.0, "F", 2])
    book.save(tmp_path / "found.xlsx")
    table = read_detections(tmp_path / "found.xlsx", length_s=0.5)
    assert table["start_utc"].tolist() == [NOON + pd.Timedelta(seconds=1.25), NOON + pd.Timedelta(seconds=9)]
    assert table["verdict"].tolist() == ["true", "false"] and set(table["serial"]) == {"671658014"} and table["line"].tolist() == [2, 4]
    assert ((table["end_utc"] - table["start_utc"]) == pd.Timedelta(seconds=0.5)).all() and table.attrs["notes"] == []


@pytest.mark.parametrize("epoch, form", [("1904", "General"), ("1904", "yyyy-mm-dd hh:mm:ss"), ("1900", "General")])
def test_day_numbers_count_from_the_day_that_the_workbook_says(tmp_path, epoch, form):
    from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904 if epoch == "1904" else CALENDAR_WINDOWS_1900
    book.active.append(["UTC", "end_utc", "species"])
    book.active.append([dt.datetime(2017, 6, 23, 12), dt.datetime(2017, 6, 23, 12, 0, 2), "B"])
    for cell in ("A2", "B2"):
        book.active[cell].number_format = form
    book.save(tmp_path / "days.xlsx")
    found = read_detections(tmp_path / "days.xlsx")
    assert found[["start_utc", "end_utc"]].iloc[0].tolist() == [NOON, NOON + pd.Timedelta(seconds=2)]


def test_a_day_and_a_time_of_day_may_be_numbers_in_two_columns(tmp_path):
    assert read_detections(a_csv(tmp_path, "date,time,duration,species\n42909,0.5,2,B\n"))["start_utc"].tolist() == [NOON]


def test_detections_in_other_units_and_in_kaleidoscopes_columns(tmp_path):
    heads = {"file,start_ms,end_ms,low_khz,species": "a.wav,12000,12800,2.5,B", "IN FILE,OFFSET,DURATION,DATE,TIME,Fmin,MANUAL ID": "a.wav,12,0.8,2017-06-23,12:00:00,2500,B"}
    for head, row in heads.items():
        found = read_detections(a_csv(tmp_path, f"{head}\n{row}\n"))
        assert found[["recording", "start_s", "end_s", "low_hz"]].iloc[0].tolist() == ["a.wav", 12.0, 12.8, 2500.0]
    with pytest.raises(BadAnnotation, match="'begin_sample' counts samples"):
        read_detections(a_csv(tmp_path, "file,begin_sample,end_sample,species\na.wav,1,2,B\n"))


def test_date_and_time_in_two_columns_and_an_end(tmp_path):
    table = read_detections(a_csv(tmp_path, "Date;Time;End UTC;Verdict;Mooring\n6/23/2017;12:00:01;2017-06-23 12:00:04;yes;M1\n"))
    assert table["start_utc"][0] == NOON + pd.Timedelta(seconds=1) and table["end_utc"][0] == NOON + pd.Timedelta(seconds=4) and table["site"][0] == "M1"


def test_rows_that_cannot_be_used_are_told_in_one_line_each_and_the_rest_goes_on(tmp_path):
    path = a_csv(tmp_path, "start_utc,duration_s,verdict\n2017-06-23 12:00:01,1,true\nnever,1,true\n,1,true\n2017-06-23 12:00:01,-2,true\n2017-06-23 12:00:01,96000,false\n2017-06-23 12:00:05,2,orca\n")
    table = read_detections(path)
    assert table["line"].tolist() == [2, 7] and table["verdict"].tolist() == ["true", "unsure"]
    notes = table.attrs["notes"]
    assert len(notes) == 4 and all(note.startswith(str(path)) and "\n" not in note for note in notes)
    assert "line 3: has no start time" in notes[0] and "2 detections of 6" in notes[0] and "line 5: ends before" in notes[1] and "line 6: lasts longer" in notes[2]
    assert "'orca' is in no map" in notes[3]


@pytest.mark.parametrize("text, fault", [("a,b\n1,2\n", "no column of start times"), ("utc,b\n2017-06-23 12:00,2\n", "hold verdicts"),
                                         ("utc,verdict\n7/8/2017 12:00,B\n1/2/2017 12:00,B\n", "line 2: '7/8/2017 12:00' may be day/month or month/day.* day_first=True or day_first=False"),
                                         ("utc,end_utc,verdict\n2017-06-23 12:00:00,7/8/2017 12:00,B\n", "line 2: '7/8/2017 12:00' may be"),
                                         ("utc,verdict\n23/6/2017 12:00,B\n7/8/2017 12:00,B\n6/23/2017 12:00,B\n", "line 2, '23/6/2017 12:00', has its day before the month, and line 4")])
def test_a_table_that_cannot_be_read_says_what_to_do(tmp_path, text, fault):
    with pytest.raises(BadAnnotation, match=fault):
        read_detections(a_csv(tmp_path, text))


@pytest.mark.parametrize("dates, day_first, days", [
    (["23/6/2017", "7/8/2017"], None, ["2017-06-23", "2017-08-07"]), (["7/8/2017", "6/23/2017"], None, ["2017-07-08", "2017-06-23"]), (["7/8/2017", "07/08/17"], True, ["2017-08-07"] * 2),
    (["7/8/2017"], False, ["2017-07-08"]), (["7/7/2017"], None, ["2017-07-07"]), (["2017-08-07", "7-Aug-2017"], None, ["2017-08-07"] * 2)])
def test_days_and_months_are_told_apart_by_other_rows_or_by_the_user_and_never_guessed(tmp_path, dates, day_first, days):
    for head, rows in (("utc,verdict", [f"{date} 12:00:00,B" for date in dates]), ("date,time,verdict", [f"{date},12:00:00,B" for date in dates])):
        found = read_detections(a_csv(tmp_path, "\n".join([head, *rows]) + "\n"), day_first=day_first)
        assert found["start_utc"].dt.strftime("%Y-%m-%d").tolist() == days
        assert ["day/month" in note for note in found.attrs["notes"]] == ([True] if dates[0].startswith("23") else [])
    if dates[0].startswith("23"):
        with pytest.raises(BadAnnotation, match="give day_first=True"):
            read_detections(a_csv(tmp_path, "utc,verdict\n" + f"{dates[0]} 12:00,B\n"), day_first=False)


def test_a_file_that_is_no_workbook(tmp_path):
    with pytest.raises(BadAnnotation, match="cannot be read as an Excel workbook"):
        read_detections(a_csv(tmp_path, "utc,verdict\n", "found.xlsx"))


def test_raven_and_csv_by_recording_give_the_same_places_and_utc(tmp_path):
    two = recordings(("a.wav", 0, 60, "M"), ("b.wav", 60, 60, "M"))
    raven = a_csv(tmp_path, "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tVerdict\n1\t62\t63\tb.wav\t2\tB\n", "x.selections.txt")
    csv = a_csv(tmp_path, "file,start_s,end_s,verdict\nB.WAV,2,3,B\n")
    places = [place_detections(read_detections(path, recordings=two), two) for path in (raven, csv)]
    for placed in places:
        assert placed[["recording", "start_s", "end_s", "verdict", "cut"]].values.tolist() == [["b.wav", 2.0, 3.0, "true", False]]
        assert placed["start_utc"][0] == NOON + pd.Timedelta(seconds=62)


# --- places

def test_over_a_files_end_into_both_or_only_the_first(tmp_path):
    two = recordings(("a.wav", 0, 60, "M"), ("b.wav", 60, 5, "M"), ("c.wav", 65, 60, "M"))
    found = at(tmp_path, 58.5, 10, length_s=9)
    both = place_detections(found, two)
    assert both[["recording", "start_s", "end_s", "cut", "detection"]].values.tolist() == [["a.wav", 10, 19, False, 1], ["a.wav", 58.5, 60, True, 0], ["b.wav", 0, 5, True, 0],
                                                                                         ["c.wav", 0, 2.5, True, 0]]
    assert both.attrs["notes"] == [] and (both["start_utc"] + pd.Timedelta(seconds=9) == both["end_utc"]).all()
    assert place_detections(found, two, across="first")["recording"].tolist() == ["a.wav", "a.wav"]
    with pytest.raises(ValueError, match="across"):
        place_detections(found, two, across="none")


def test_outside_all_recordings_and_past_an_end_are_one_line_each(tmp_path):
    two = recordings(("a.wav", 0, 60, "M"), ("b.wav", 100, 60, "M"))
    placed = place_detections(at(tmp_path, 59.5, 70, 80, -1, 120, 99.5, 160), two)
    assert placed[["recording", "start_s", "end_s", "cut"]].values.tolist() == [["a.wav", 59.5, 60, True], ["b.wav", 0, 0.5, True], ["b.wav", 20, 21, False]]
    assert len(placed.attrs["notes"]) == 2
    assert "line 3" in placed.attrs["notes"][0] and "2017-06-23 12:01:10 UTC" in placed.attrs["notes"][0] and "4 detections of 7" in placed.attrs["notes"][0]
    assert "0.50 s past the end of a.wav" in placed.attrs["notes"][1]


def test_a_detection_that_names_its_recording_may_be_outside_too(tmp_path):
    one = recordings(("a.wav", 0, 60, "M"))
    placed = place_detections(read_detections(a_csv(tmp_path, "file,start_s,end_s,verdict\na,59,61,B\na,60,61,B\nz,1,2,B\n")), one)
    assert placed[["recording", "start_s", "end_s", "cut"]].values.tolist() == [["a.wav", 59, 60, True]]
    assert ["line 3" in placed.attrs["notes"][0], "2 detections of 3" in placed.attrs["notes"][0], "1.00 s past" in placed.attrs["notes"][1]] == [True] * 3


def test_recorders_side_by_side_are_told_apart_by_serial_or_site_and_never_guessed(tmp_path):
    both = recordings(("N/6872.170623120000.wav", 0, 60, "N"), ("S/5675.170623120000.wav", 0, 60, "S"))
    assert place_detections(at(tmp_path, 5, serial="5675"), both)["recording"].tolist() == ["S/5675.170623120000.wav"]
    assert place_detections(at(tmp_path, 5, site="N"), both)["recording"].tolist() == ["N/6872.170623120000.wav"]
    unnamed = place_detections(at(tmp_path, 5, length_s=0), both)
    assert not len(unnamed) and "side by side" in unnamed.attrs["notes"][0] and "serial or site" in unnamed.attrs["notes"][0]
    stranger = place_detections(at(tmp_path, 5, serial="1234"), both)
    assert not len(stranger) and "serial 1234" in stranger.attrs["notes"][0] and "no recording has a serial" in stranger.attrs["notes"][0]


def test_whole_seconds_in_names_make_no_second_recorder(tmp_path):
    table = recordings(("a.wav", 0, 60.4, "M"), ("b.wav", 60, 60, "M"))
    placed = place_detections(at(tmp_path, 60.2, length_s=0.1), table)
    assert placed[["recording", "start_s"]].values.tolist() == [["b.wav", pytest.approx(0.2)]] and placed.attrs["notes"] == []


def test_a_table_on_local_time_is_suspected(tmp_path):
    placed = place_detections(at(tmp_path, *(-8 * 3600 + np.arange(5.0))), recordings(("a.wav", 0, 60, "M")))
    assert not len(placed) and "+8 h would put 100%" in placed.attrs["notes"][0]
    right = read_detections(tmp_path / "found.csv", clock="Etc/GMT+8", length_s=1)
    assert len(place_detections(right, recordings(("a.wav", 0, 60, "M")))) == 5


def test_broken_and_undated_recordings_do_not_stop_the_rest(tmp_path):
    table = recordings(("a.wav", 0, 60, "M"), ("b.wav", 0, 60, "M"), ("c.wav", 0, np.nan, "M")).assign(fault=["", "", "c.wav: empty"])
    table.loc[1, "start_utc"] = pd.NaT
    placed = place_detections(at(tmp_path, 5), table)
    assert placed["recording"].tolist() == ["a.wav"] and placed.attrs["notes"][0] == "c.wav: empty" and placed.attrs["notes"][1].startswith("b.wav: no start time")


def test_vectorised_join_equals_comparing_all_with_all(tmp_path):
    rng = np.random.default_rng(0)
    starts = np.cumsum(rng.uniform(10, 100, 200))
    table = recordings(*((f"r{k}.wav", s, float(rng.uniform(1, nxt - s)), "M") for k, (s, nxt) in enumerate(zip(starts, [*starts[1:], starts[-1] + 50])))).sample(frac=1, random_state=1)
    after_s, length_s = np.round(rng.uniform(0, starts[-1], 300), 3), np.round(rng.uniform(0, 150, 300), 3)
    lines = "".join(f"{(NOON + pd.Timedelta(seconds=s)).isoformat()},{d},F\n" for s, d in zip(after_s, length_s))
    placed = place_detections(read_detections(a_csv(tmp_path, "utc,duration_s,verdict\n" + lines)), table)
    begin = (table["start_utc"] - NOON).dt.total_seconds().to_numpy()
    expected = {(row, name) for row, (s, d) in enumerate(zip(after_s, length_s)) for name, b, lasts in zip(table["recording"], begin, table["duration_s"])
                if s < b + lasts - 1e-6 and s + d > b + 1e-6}
    assert set(zip(placed["detection"], placed["recording"])) == expected
    lasts = placed["recording"].map(dict(zip(table["recording"], table["duration_s"])))
    assert (placed["start_s"] >= 0).all() and (placed["end_s"] <= lasts + 1e-6).all() and (placed["start_s"] <= placed["end_s"]).all()
