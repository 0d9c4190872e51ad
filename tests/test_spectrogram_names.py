"""Start times and serials from file names."""
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from spectrogram.logs import read_log
from spectrogram.names import parse_name, utc_times, zone


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


@pytest.mark.parametrize("name, start, serial", [
    ("6872.220716021453.wav", utc(2022, 7, 16, 2, 14, 53), "6872"),
    ("671379494.201231235959.WAV", utc(2020, 12, 31, 23, 59, 59), "671379494"),
    ("6872.220716021453.flac", utc(2022, 7, 16, 2, 14, 53), "6872"),
    ("BSM_20220716T021453Z.wav", utc(2022, 7, 16, 2, 14, 53), None),
    ("SanctSound_CI01_01_bocaccio_20181101T100353Z.flac", utc(2018, 11, 1, 10, 3, 53), None),
    ("BSM_20220716T021453.250Z.wav", utc(2022, 7, 16, 2, 14, 53, 250000), None),
    ("BSM_2022-07-16T02:14:53Z.wav", utc(2022, 7, 16, 2, 14, 53), None),
    ("2022-07-16_02-14-53.wav", utc(2022, 7, 16, 2, 14, 53), None),
    ("AMAR171.1.16000.20220716T021453Z.wav", utc(2022, 7, 16, 2, 14, 53), "AMAR171"),
    ("AMAR171.20220716T021453.5Z.wav", utc(2022, 7, 16, 2, 14, 53, 500000), "AMAR171"),
    ("20220716_021453.WAV", utc(2022, 7, 16, 2, 14, 53), None),
    ("24F31901603712C8_20220716_021453.WAV", utc(2022, 7, 16, 2, 14, 53), "24F31901603712C8"),
    ("5725_20220716_021453.wav", utc(2022, 7, 16, 2, 14, 53), "5725"),
    ("PAM_20220716_021453_000.wav", utc(2022, 7, 16, 2, 14, 53), None),
    ("site-220716-021453.aif", utc(2022, 7, 16, 2, 14, 53), None),
    ("SanctSound_FK01_04_671117353_200411022449_Exemplar.flac", utc(2020, 4, 11, 2, 24, 49), None),
    ("Soundscape_20200331103927Z.flac", utc(2020, 3, 31, 10, 39, 27), None),
    ("5AFFE5D0.WAV", utc(2018, 5, 19, 8, 52, 32), None),
])
def test_each_pattern(name, start, serial):
    assert parse_name(name) == (start, serial)


@pytest.mark.parametrize("name, serial", [
    ("6872.221316021453.wav", "6872"),   # month 13
    ("6872.220732021453.wav", "6872"),   # day 32
    ("6872.220716251453.wav", "6872"),   # hour 25
    ("6872.22071602145.wav", "6872"),    # a digit short
    ("6872.2207160214533.wav", "6872"),  # a digit too many
    ("20220716.wav", None),              # a day without a time
    ("20220716_996199.wav", None),
    ("62018001.flac", None),             # an archive's number that would be a hexadecimal time
    ("beluga.wav", None),
    ("", None),
])
def test_digits_that_are_no_time_are_not_taken_for_one(name, serial):
    start, found = parse_name(name)
    assert start is None
    if serial:
        assert found == serial


def test_the_end_behind_the_start_is_no_offset():
    assert parse_name("a_2022-07-16_09-00-00-09-05-00.wav")[0] == utc(2022, 7, 16, 9)


@pytest.mark.parametrize("name, start", [
    ("S20240815T091156.982648+1000_E20240815T091251.967555+1000.wav", utc(2024, 8, 14, 23, 11, 56, 982648)),
    ("8537_20210614T120000-0300_every1d.wav", utc(2021, 6, 14, 15)),
    ("HB_20221125_102500+1000.WAV", utc(2022, 11, 25, 0, 25)),
    ("2017-06-13T16-00-00+00.wav", utc(2017, 6, 13, 16)),
    ("123_20131012_123456-09_456.wav", utc(2013, 10, 12, 21, 34, 56)),
    ("a_2022-07-16 02:14:53+05:30.wav", utc(2022, 7, 15, 20, 44, 53)),
    ("rpi_orcasound_lab_2020_07_25_19_05_47_PDT.wav", utc(2020, 7, 26, 2, 5, 47)),
    ("20220716_021453_UTC.wav", utc(2022, 7, 16, 2, 14, 53)),
    ("2022-07-16T16-00-00_UTC+10.wav", utc(2022, 7, 16, 6)), ("20220716_160000UTC-3.wav", utc(2022, 7, 16, 19)),
    ("20220716_160000_GMT+0930.wav", utc(2022, 7, 16, 6, 30)), ("20220716_160000_-0700.wav", utc(2022, 7, 16, 23)),
    ("20220716_160000UTC.wav", utc(2022, 7, 16, 16)), ("2022-07-16T16-00-00+05-30.wav", utc(2022, 7, 16, 10, 30)),
])
def test_an_offset_in_the_name_beats_the_clock(name, start):
    for clock in ("UTC", "America/Toronto", "Asia/Kolkata"):
        assert parse_name(name, clock)[0] == start


@pytest.mark.parametrize("name, start", [
    ("DUB_20200623_000152_885.wav", utc(2020, 6, 23, 0, 1, 52, 885000)),
    ("sg639_MHI_Apr2023_230411-221029.038.wav", utc(2023, 4, 11, 22, 10, 29, 38000)),
    ("ARIZONA-1_20161023$195550.wav", utc(2016, 10, 23, 19, 55, 50)),
    ("OLONG-CH1_0+1_20171121$143444.wav", utc(2017, 11, 21, 14, 34, 44)),
    ("2013-09-30--04.05.06.wav", utc(2013, 9, 30, 4, 5, 6)),
    ("short_time_180801_1630_test.wav", utc(2018, 8, 1, 16, 30)),
    ("20220716_021453_192kHz.wav", utc(2022, 7, 16, 2, 14, 53)),
    ("20220716_021453_WEST.wav", utc(2022, 7, 16, 2, 14, 53)),  # a place, no zone
    ("99991231_235959.wav", None), ("00010101_000000+1000.wav", None), ("20220716_021453+9999.wav", None), ("20220716_021453_IST.wav", None),
    ("20220716_0214_53.wav", None), ("16-07-2022_02-14-53.wav", None),
])
def test_names_of_all_makers(name, start):
    assert parse_name(name)[0] == start


@pytest.mark.parametrize("name, serial", [
    ("ICLISTENHF1353_20180101T020000.000Z.wav", "ICLISTENHF1353"), ("SBW1712_20180101_020000.wav", "SBW1712"), ("S4U09523_20180101_020000.wav", "S4U09523"),
    ("SM304290_0+1_20180101_020000.wav", "SM304290"), ("WISPR1_180101_020000.wav", "WISPR1"), ("SMM00119_20231117_095200.wav", "SMM00119"),
    ("sg639_MHI_Apr2023_230411-221029.038.wav", "sg639"), ("8537_20210614T120000-0300.wav", "8537"),
    ("2020_07_25_19_05_47.wav", None), ("220716_021453.wav", None), ("20220716_notes.wav", None), ("220716_notes.wav", None),
    ("20220715_leg2_20220716_021453.wav", None), ("FK01_20220716_021453.wav", None), ("REC0001_20220716_021453.wav", None), ("ZOOM0012.wav", None),
    ("RBW6674_20231105_000000.wav", "RBW6674"), ("RTS0401_20220716_021453.wav", "RTS0401"), ("R0001_20220716_021453.wav", None), ("CH0001_20220716_021453.wav", None),
    ("16072022_021453.wav", None), ("07162022_021453.wav", None), ("2022197_021453.wav", None), ("67416073_021453.wav", "67416073"), ("2022900_021453.wav", "2022900"),
])
def test_serials_with_letters_and_dates_that_are_no_serial(name, serial):
    assert parse_name(name)[1] == serial


@pytest.mark.parametrize("behind, hours_ahead", [
    ("_pdt", -7), ("_est", -5), ("est", -5), ("_utc", 0), ("_z", 0), ("z", 0), ("-PDT", -7), (".est", -5), ("_PDT-1", -7), ("_885z", 0),
    ("+1", 1), ("-3", -3), ("_+1", 1), ("+530", 5.5), ("+1_2", 1), ("-0900_456", -9), ("-0900-20220716", -9), ("\u22120300", -3), ("\u20133", -3), ("\u22123", -3), (" (UTC\u22123)", -3),
    ("-0900-10", None), ("-0900_10", None), ("+1000-5", None), ("-09-05", None), ("-330", None), ("+10.5", None), ("+10000", None), ("+10m", None), ("-0300every", None), ("-13", None),
    ("_UTC10", None), ("_PDT2", None), ("Z1", None), ("_Est", None), ("_ist", None),
    ("_west", 2), ("_z1", 2), ("-10m", 2), ("-456", 2), ("-09-05-10", 2), ("-090510", 2), ("-192kHz", 2)])
def test_what_stands_behind_a_time_is_its_zone_or_the_name_tells_no_time_or_it_is_something_else(behind, hours_ahead):
    """The recorder's clock runs on Berlin's summer time, two hours ahead, where the name says nothing."""
    start = parse_name(f"20220716_021453{behind}.wav", "Europe/Berlin")[0]
    assert (start and start.replace(microsecond=0)) == (None if hours_ahead is None else utc(2022, 7, 16, 2, 14, 53) - timedelta(hours=hours_ahead))


@pytest.mark.parametrize("name, serial", [
    ("20220230_021453.wav", None), ("20220230T021453.wav", None), ("20220230T021453Z.wav", None), ("A20220230_021453.wav", None), ("99990101_120000.wav", None),
    ("00010101_120000.wav", None), ("99990101T120000Z.wav", None), ("20221316_021453.wav", None), ("20220716_250000.wav", None), ("220230_021453.wav", None),
    ("220230_notes.wav", None), ("20220230021453_x.wav", None), ("220230021453_x.wav", None), ("2022-02-30_02-14-53.wav", None), ("5725_20220230_021453.wav", "5725"),
    ("20220230_021453_20220716_021453.wav", None),  # its end alone is no start
    ("67416073_021453.wav", "67416073"), ("6872.229916021453.wav", "6872")])
def test_an_impossible_date_is_neither_a_time_nor_a_serial(name, serial):
    assert parse_name(name) == (None, serial)


def test_an_impossible_date_before_the_time_is_no_serial_but_a_serial_is():
    for first, serial in (("20220230", None), ("99990101", None), ("220230", None), ("67416073", "67416073"), ("20136882", "20136882")):
        assert parse_name(f"{first}_leg_20220716_021453.wav") == (utc(2022, 7, 16, 2, 14, 53), serial)


def test_an_hour_that_summer_time_skips_is_no_time():
    """02:30 did not exist in Toronto that night: the recorder's clock does not run on this zone, and an hour later would be a guess."""
    assert parse_name("20220313_023000.WAV", "America/Toronto")[0] is None
    assert parse_name("20220313_023000.WAV", "UTC")[0] == utc(2022, 3, 13, 2, 30)
    assert parse_name("20220313_033000.WAV", "America/Toronto")[0] == utc(2022, 3, 13, 7, 30)


DATES = ("%Y%m%d", "%y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d")
TIMES = ("%H%M%S", "%H-%M-%S", "%H.%M.%S", "%H_%M_%S", "%H:%M:%S", "%H%M")
PREFIXES = ("", "6872.", "5725_", "PAM_", "ICLISTENHF1353_", "S4U09523_", "SM304290_0+1_", "site-", "boat 12 ", "2019_", "A1_", "WISPR1_", "CH1-4_")
SUFFIXES = ("", "_every1d", "-HPF", ".x", "_test", " copy", "_REC", "_192kHz", "_E20240815T091251")
HOURS = {"Z": 0, "+1000": 10, "-0300": -3, "-03": -3, "+05:30": 5.5, "+00": 0, "_PDT": -7, "_UTC": 0, "z": 0, "_z": 0, "_pdt": -7, "_est": -5, "-cest": 2,
         "+1": 1, "-3": -3, "_-3": -3, "\u22120330": -3.5, "\u201303": -3, "\u22123": -3, "UTC-3": -3, "_utc+5:45": 5.75, " (GMT+1)": 1}
OFFSETS = ("", *HOURS)
CLOCKS = ("UTC", "America/Toronto", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata")


@settings(max_examples=5000, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
@given(st.datetimes(datetime(1970, 1, 1), datetime(2069, 12, 31)), st.sampled_from(PREFIXES), st.sampled_from(DATES), st.sampled_from("T _-$.") | st.sampled_from(["", "--"]),
       st.sampled_from(TIMES), st.sampled_from(["", ".", "_"]), st.sampled_from(OFFSETS), st.sampled_from(SUFFIXES), st.sampled_from(CLOCKS))
@example(datetime(2022, 3, 13, 2, 30), "", "%Y%m%d", "_", "%H%M%S", "", "", "", "America/Toronto")
@example(datetime(2007, 2, 21, 4, 35), "ICLISTENHF1353_", "%Y%m%d", "", "%H%M", "", "-03", "", "UTC")
def test_a_name_gives_the_right_instant_or_none(wall, prefix, date, between, time, fraction, offset, suffix, clock):
    digits = "" if not fraction or "%S" not in time else f"{fraction}{wall.microsecond // 1000:03d}"
    wall = wall.replace(microsecond=wall.microsecond // 1000 * 1000 if digits else 0, second=wall.second if "%S" in time else 0)
    found = parse_name(f"{prefix}{wall.strftime(date)}{between}{wall.strftime(time)}{digits}{offset}{suffix}.wav", clock)[0]
    if offset:
        right = {(wall - timedelta(hours=HOURS[offset])).replace(tzinfo=timezone.utc)}
    else:
        right = {wall.replace(tzinfo=zone(clock), fold=fold).astimezone(timezone.utc) for fold in (0, 1)}  # the hour that comes twice
    twice = prefix in ("6872.", "5725_", "2019_") and (date, between, time) == ("%Y%m%d", "", "%H%M")  # twelve digits behind a serial are a SoundTrap's
    assert found is None or found in right or twice
    if prefix in ("", "PAM_", "ICLISTENHF1353_") and date == "%Y%m%d" and between in ("T", "_") and time == "%H%M%S" and (offset or clock == "UTC"):
        assert found is not None


def test_local_clock_is_brought_to_utc_in_summer_and_in_winter():
    assert parse_name("6872.220716021453.wav", "America/Toronto")[0] == utc(2022, 7, 16, 6, 14, 53)
    assert parse_name("6872.220116021453.wav", "America/Toronto")[0] == utc(2022, 1, 16, 7, 14, 53)
    assert parse_name("6872.220716021453.wav", "UTC")[0] == utc(2022, 7, 16, 2, 14, 53)


def test_z_in_the_name_beats_the_clock():
    for name in ("BSM_20220716T021453Z.wav", "20220716_021453Z.wav", "220716_021453Z.wav", "BSM_2022-07-16T02-14-53Z.wav"):
        assert parse_name(name, "America/Toronto")[0] == utc(2022, 7, 16, 2, 14, 53)


def test_time_zone_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="unknown time zone 'Quebec': use UTC or a name such as America/Toronto"):
        zone("Quebec")
    assert zone(None) is zone("") is timezone.utc


def test_log_beside_the_recording(tmp_path):
    path = tmp_path / "6872.220716021453.wav"
    assert read_log(path) is None
    (tmp_path / "6872.220716021453.log.xml").write_text('<X SamplingStartTimeUTC="2022-07-16T02:14:52"/>', encoding="utf-8")
    assert read_log(path).start_utc == utc(2022, 7, 16, 2, 14, 52)
    (tmp_path / "6872.220716021453.log.xml").write_text('<X SamplingStartTimeUTC="yesterday"/>', encoding="utf-8")
    assert read_log(path).start_utc is None


def test_times_of_a_table_are_exact_and_in_utc():
    times = utc_times(utc(2022, 7, 16, 2, 14, 53), [0, 0.5, 7200.000001])
    assert str(times.dt.tz) == "UTC" and times[2] == pd.Timestamp("2022-07-16 04:14:53.000001", tz="UTC")
    unknown = utc_times(None, [0, 1])
    assert unknown.isna().all() and unknown.dtype == times.dtype and len(utc_times(None, [])) == 0
