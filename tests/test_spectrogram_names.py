"""Start times and serials from file names."""
from datetime import datetime, timezone

import pandas as pd
import pytest

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
