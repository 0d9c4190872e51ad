"""Joining: in order of the recordings' paths, whatever their rates, in bounded memory, with types that read back."""
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pipeline.join
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.join import PartChanged, join_parts, with_gaps
from pipeline.parts import pack
from pipeline.tables import EFFORT_TYPES, TABLES, event_types, read_provenance, region_types, typed, window_types
from spectrogram.profile import load_profile
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write

PROFILE = load_profile("beluga")
HOUR = pd.Timedelta("1h")


def part(folder, k, n_events=2, band="TOL_63", fingerprint="same", name=None):
    """A part without sound behind it: hour `k`, some events, two windows, one row of levels."""
    name, start = name or f"6872.{pd.Timestamp('2022-07-16') + k * HOUR:%y%m%d%H%M%S}.wav", pd.Timestamp("2022-07-16", tz="UTC") + k * HOUR
    common = {"recording": name, "channel": 0, "calibrated": True, "model_id": "toy"}
    common |= {"n_calls": 1, "overlap": False, "flags": ""}
    events = pd.DataFrame([common | {"start_s": i, "end_s": i + 1.0, "labels": "HFPC+Whistle" if i % 2 else "Whistle", "diphonic": i % 2 == 1} for i in range(n_events)])
    events = typed(events.reindex(columns=list(event_types(PROFILE))).astype({c: t for c, t in event_types(PROFILE).items() if t != "str" and c in common | {"diphonic": 0}})
                   if n_events else events, event_types(PROFILE))
    windows = typed(pd.DataFrame({"recording": name, "start_s": [0.0, 0.5], "start_utc": start, "p_Whistle": 0.5}), window_types(PROFILE))
    levels = pd.DataFrame({"UTC": [start], "recording": [name], "start_s": [0.0], "duration_s": [60.0], band: [100.0 + k]}).astype(
        {"UTC": "datetime64[us, UTC]", "recording": "str", band: "float32"})
    effort = typed(pd.DataFrame([common | {"start_utc": start, "end_utc": start + HOUR, "duration_s": 3600.0, "sample_rate_hz": 8000, "status": "ok",
                                           "reason": "", "sensitivity_db": -177.6, "missing_labels": ""}]), EFFORT_TYPES)
    path = folder / f"{k:04d}.zip"
    regions = typed(pd.DataFrame({"recording": name, "start_s": [1.0], "named": True, "labels": "Whistle", "band": "low", "channel": 0}), region_types(PROFILE))
    path.write_bytes(pack({"events": events, "regions": regions, "windows": windows, "levels": levels, "effort": effort}, {"fingerprint": fingerprint}))
    return path, "same"


def test_joined_tables_are_the_parts_one_after_another(tmp_path, monkeypatch):
    parts = [part(tmp_path, k, n_events=k % 4, band=f"TOL_{63 if k % 2 else 125}") for k in range(9)]
    (tmp_path / "once").mkdir()
    whole = join_parts(tmp_path / "once", parts, {"made": "so"}, PROFILE)
    monkeypatch.setattr(pipeline.join, "BATCH_BYTES", 1)
    monkeypatch.setattr(pipeline.join, "SMALL", 1)  # each part a row group
    (tmp_path / "bit by bit").mkdir()
    ticks = []
    pd.testing.assert_frame_equal(join_parts(tmp_path / "bit by bit", parts, {"made": "so"}, PROFILE, tick=lambda: ticks.append(1)), whole)
    assert len(ticks) == 18 and pq.ParquetFile(tmp_path / "bit by bit" / "windows.parquet").num_row_groups == 9
    for table in TABLES:
        a, b = (pd.read_parquet(tmp_path / x / f"{table}.parquet") for x in ("once", "bit by bit"))
        pd.testing.assert_frame_equal(a, b)
        assert read_provenance(tmp_path / "once" / f"{table}.parquet") == {"made": "so"}
    levels = pd.read_parquet(tmp_path / "once" / "levels.parquet")
    assert list(levels) == ["UTC", "recording", "start_s", "duration_s", "calibrated", "TOL_125", "TOL_63"]
    np.testing.assert_array_equal(levels["TOL_63"].isna(), [k % 2 == 0 for k in range(9)])
    assert whole["events"].tolist() == [k % 4 for k in range(9)] and whole["Whistle"].tolist() == whole["events"].tolist()
    assert whole["HFPC"].tolist() == whole["diphonic"].tolist() == [k % 4 // 2 for k in range(9)] and not whole["ECHO"].any()


def test_rates_of_all_kinds_give_one_table_of_levels(tmp_path):
    rates = {"6872.220716000000.wav": 8000, "6872.220716010000.wav": 96000, "6872.220716020000.wav": 48000}
    for name, rate in rates.items():
        write(tmp_path / "in" / name, scene(6, rate), rate)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), workers=1, csv=True, progress=False)
    joined = {table: pd.read_parquet(tmp_path / "out" / f"{table}.parquet") for table in TABLES}
    for name in rates:
        single = run_pipeline_single_audio(tmp_path / "in" / name, ToyModel())
        for table in ("events", "windows", "levels"):
            mine = joined[table][joined[table]["recording"] == name].reset_index(drop=True)
            pd.testing.assert_frame_equal(mine[list(getattr(single, table))], getattr(single, table), obj=f"{table} of {name}")
            assert mine.drop(columns=list(getattr(single, table))).isna().all(axis=None)
    csv = pd.read_csv(tmp_path / "out" / "windows.csv", parse_dates=["start_utc"])
    assert list(csv) == list(joined["windows"]) and (csv["start_utc"] == joined["windows"]["start_utc"]).all()


def test_a_part_of_another_making_or_none_is_not_joined(tmp_path):
    (tmp_path / "out").mkdir()
    parts = [part(tmp_path, 0), part(tmp_path, 1, fingerprint="other")]
    with pytest.raises(PartChanged, match="0001.zip: was made anew meanwhile"):
        join_parts(tmp_path / "out", parts, {}, PROFILE)
    with pytest.raises(PartChanged, match="nothing.zip: cannot be read .No such file"):
        join_parts(tmp_path / "out", [(tmp_path / "nothing.zip", "same")], {}, PROFILE)
    (tmp_path / "0001.zip").write_bytes((tmp_path / "0000.zip").read_bytes()[:-50])
    with pytest.raises(PartChanged, match="0001.zip: cannot be read"):
        join_parts(tmp_path / "out", parts, {}, PROFILE)
    assert not list((tmp_path / "out").iterdir())


def test_final_tables_are_replaced_together_or_not_at_all(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    join_parts(out, [part(tmp_path, 0)], {}, PROFILE, csv=True)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline.join, "_write_csv", fails)
    with pytest.raises(OSError, match="No space left"):
        join_parts(out, [part(tmp_path, 0), part(tmp_path, 1)], {}, PROFILE, csv=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before and len(before) == 2 * len(TABLES)


def test_no_recordings_give_empty_tables(tmp_path):
    summary = join_parts(tmp_path, [], {}, PROFILE, csv=True)
    assert summary.empty and "Whistle" in summary
    for table in TABLES:
        frame = pd.read_parquet(tmp_path / f"{table}.parquet")
        assert frame.empty and "recording" in frame and list(pd.read_csv(tmp_path / f"{table}.csv")) == list(frame)


def test_gaps_and_overlaps_are_each_recorders_own():
    start = pd.Timestamp("2022-07-16T02:00:00Z")
    rows = [("a/6872.x.wav", 0, 12), ("a/6872.y.wav", 8, 12), ("b/5725.z.wav", 9, 3), ("a/6872.v.wav", 30, 12), ("undated.wav", None, 5)]
    effort = pd.DataFrame([{"recording": name, "start_utc": start + pd.Timedelta(seconds=at) if at is not None else pd.NaT, "reason": "",
                            "end_utc": start + pd.Timedelta(seconds=at + lasts) if at is not None else pd.NaT} for name, at, lasts in rows])
    table = with_gaps(effort.sample(frac=1, random_state=1))
    assert table["recording"].tolist() == [name for name, *_ in rows]
    np.testing.assert_array_equal(table["gap_before_s"], [np.nan, -4.0, np.nan, 10.0, np.nan])
    assert table["reason"].tolist() == ["", "overlaps an earlier recording by 4.0 s; check the recorders' clocks", "", "", ""]


def test_the_footer_of_a_part_is_text_that_others_can_read(tmp_path):
    import zipfile

    path, _ = part(tmp_path, 0)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.comment) == {"fingerprint": "same"} and archive.testzip() is None
        assert archive.namelist() == [f"{table}.arrow" for table in TABLES]
