"""A user's table of start times, serials and sensitivities."""
import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline
from pipeline.overrides import read_overrides
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write


@pytest.mark.parametrize("line, fault", [
    ("a.wav,tomorrow,,", "line 3.*tomorrow"), ("a.wav,2022-13-01T00:00:00Z,,", "line 3.*month"), ("a.wav,,,176.3", "line 3.*minus sign"),
    ("a.wav,,,loud", "line 3.*loud"), ("a.wav,2022-07-16", "line 3.*2 values for 4 columns"), (",2022-07-16T00:00:00,,", "line 3.*no file name"),
])
def test_a_bad_line_in_a_table_of_overrides_is_named(line, fault, tmp_path):
    table = tmp_path / "over.csv"
    table.write_text("file,start_utc,serial,sensitivity_db\nb.wav,2022-07-16T02:14:53Z,6872,-176.3\n" + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=fault) as caught:
        read_overrides(table)
    assert str(table) in str(caught.value) and "-176.3" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"name,start\na.wav,2022\n", b"file;start_utc\na.wav;2022-07-16\n", "file,start_utc\né.wav,\n".encode("latin-1"),
                                     b"start_utc\n2022-07-16\n"])
def test_a_table_of_overrides_that_is_none_is_named(content, tmp_path):
    table = tmp_path / "over.csv"
    table.write_bytes(content)
    with pytest.raises(ValueError, match="over.csv: (columns|not a CSV)"):
        read_overrides(table)


def test_overrides_date_and_calibrate_by_path_or_by_name(tmp_path, capsys):
    for path in ("RDL/one.wav", "KAM/one.wav", "KAM/two.wav"):
        write(tmp_path / "in" / path, scene(6, 8000), 8000)
    table = tmp_path / "over.csv"
    table.write_bytes("\ufefffile,start_utc,serial,sensitivity_db\r\n one.wav ,2022-07-16T02:00:00-04:00,,\r\nKAM\\one.wav,2022-07-17 03:00,6872,\r\n\r\ntwo.wav,,,-180.1\r\n"
                      "three.wav,,6872,\r\n".encode("utf-8"))
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), overrides=table, progress=False)
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").set_index("recording")
    assert effort.loc["RDL/one.wav", "start_utc"] == pd.Timestamp("2022-07-16T06:00:00Z")
    assert effort.loc["KAM/one.wav", "start_utc"] == pd.Timestamp("2022-07-17T03:00:00Z")
    assert effort["sensitivity_db"].to_dict() == {"RDL/one.wav": -170.0, "KAM/one.wav": -177.6, "KAM/two.wav": -180.1}
    assert effort["calibrated"].to_dict() == {"RDL/one.wav": False, "KAM/one.wav": True, "KAM/two.wav": True}
    assert f"{table}: no recording is called three.wav" in capsys.readouterr().out
