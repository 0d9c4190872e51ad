"""The shell command: exit codes, options, and messages without a traceback; and what `import pipeline` may cost."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.__main__ import main
from pipeline.tables import TABLES, read_provenance
from tests.toy_model import save_random_model
from tests.toy_sound import NAME, scene, write

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_random_model(tmp_path_factory.mktemp("models") / "random"))


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    write(folder / "a" / NAME, scene(6, 8000), 8000)
    (folder / "empty.wav").write_bytes(b"")
    return folder


def call(*arguments) -> int:
    return main([*map(str, arguments), "--quiet"])


def test_a_folder_with_csv(audio, model, tmp_path, capsys):
    assert call(audio, tmp_path / "out", "--model", model, "--csv") == 0
    said = capsys.readouterr()
    assert "2 recordings" in said.out and "1 failed" in said.out and f"{audio / 'empty.wav'}: zero bytes" in said.out and said.err == ""
    for table in TABLES:
        frame, csv = pd.read_parquet(tmp_path / "out" / f"{table}.parquet"), pd.read_csv(tmp_path / "out" / f"{table}.csv")
        assert list(csv) == list(frame) and len(csv) == len(frame)
        for column in frame.select_dtypes("number"):
            np.testing.assert_allclose(csv[column].astype(float), frame[column].astype(float), rtol=1e-5)
    assert len(list((tmp_path / "out" / "raven").iterdir())) == 1


def test_nothing_found_is_2(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert call(tmp_path / "in", tmp_path / "out") == 2
    assert f"0 recordings found in {tmp_path / 'in'}" in capsys.readouterr().err
    assert call(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_processed_is_3(audio, model, tmp_path, capsys):
    assert call(audio / "empty.wav", tmp_path / "out", "--model", model) == 3
    assert "1 recordings, 0.00 h: 0 events; 1 failed" in capsys.readouterr().out
    assert call(audio / "empty.wav", tmp_path / "out", "--model", model) == 3
    assert "1 recordings failed before and have not changed" in capsys.readouterr().out


def test_thresholds_are_taken_and_noted(audio, model, tmp_path):
    assert call(audio / "a", tmp_path / "none", "--model", model, "--threshold", "Whistle=1", "--no-raven") == 0
    assert call(audio / "a", tmp_path / "all", "--model", model, "--threshold", "Whistle=0.0", "--threshold", "Boat = 0.25") == 0
    assert len(pd.read_parquet(tmp_path / "none" / "events.parquet")) == 0 and not (tmp_path / "none" / "raven").exists()
    everything = pd.read_parquet(tmp_path / "all" / "events.parquet")
    regions = pd.read_parquet(tmp_path / "all" / "regions.parquet")
    assert len(everything) and everything["end_s"].max() <= 6.0 and regions.loc[regions["band"] == "low", "named"].all()  # every region is one
    made = read_provenance(tmp_path / "all" / "events.parquet")["thresholds"]
    assert made["Whistle"] == {"window": 0.0, "on": 0.0, "off": 0.0} and made["Boat"]["window"] == 0.25


@pytest.mark.parametrize("threshold, fault", [
    ("Whistle", "--threshold Whistle: write LABEL=P"), ("Whistle=high", "--threshold Whistle=high: write LABEL=P"),
    ("Whistle=1.5", "thresholds of Whistle.*from 0 to 1"), ("Whistel=0.5", "no label 'Whistel'; the model knows ECHO"),
])
def test_a_threshold_that_is_none(threshold, fault, audio, model, tmp_path, capsys):
    assert call(audio, tmp_path / "out", "--model", model, "--threshold", threshold) == 2
    pd.testing.assert_series_equal(pd.Series(capsys.readouterr().err).str.contains(fault), pd.Series([True]))


def test_overrides(audio, model, tmp_path, capsys):
    table = tmp_path / "over.csv"
    table.write_text(f"file,start_utc,sensitivity_db\n{NAME},2023-01-02T03:04:05Z,-160\n", encoding="utf-8")
    assert call(audio / "a", tmp_path / "out", "--model", model, "--overrides", table) == 0
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet")
    assert effort["start_utc"][0] == pd.Timestamp("2023-01-02T03:04:05Z") and effort["sensitivity_db"][0] == -160
    table.write_text(f"file,start_utc\n{NAME},yesterday\n", encoding="utf-8")
    assert call(audio / "a", tmp_path / "out", "--model", model, "--overrides", table) == 2
    assert f"{table}, line 2: " in capsys.readouterr().err
    assert call(audio / "a", tmp_path / "out", "--model", model, "--overrides", tmp_path / "none.csv") == 2
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.parametrize("option, value, fault", [
    ("--clock", "Mars/Olympus", "unknown time zone 'Mars/Olympus'"), ("--level-row-s", "0", "level_row_s = 0"), ("--profile", "unicorn", "unicorn"),
    ("--workers", "0", "workers = 0: give 1 or more"), ("--scheduler", "tcp://127.0.0.1:9", "no Dask scheduler answers"), ("--scheduler", "head", "head"),
])
def test_other_wrong_arguments(option, value, fault, audio, tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.engine.CONNECT_S", 0.5)
    with_model = [] if option == "--profile" else ["--model", model]
    assert call(audio, tmp_path / "out", *with_model, option, value) == 2
    said = capsys.readouterr()
    assert fault in said.err and "Traceback" not in said.err and said.err.count("\n") == 1


def test_arguments_that_argparse_refuses(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["only-one"])
    assert stopped.value.code == 2 and "OUTPUT" in capsys.readouterr().err.upper()


def damage(folder: Path, how: str) -> None:
    text = (folder / "model.json").read_text(encoding="utf-8")
    if how == "json":
        text = text[:100]
    elif how == "bands":
        text = text.replace('"bands": 96', '"bands": 80')
    elif how == "label":
        text = text.replace('"Whistle"', '"Song"', 1)
    elif how == "format":
        text = text.replace('"format": 1', '"format": 99')
    (folder / "model.json").write_text(text, encoding="utf-8")
    if how == "weights":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])


@pytest.mark.parametrize("how", ["json", "bands", "label", "format", "weights", "nothing there"])
def test_a_model_that_does_not_fit(how, audio, tmp_path, capsys):
    folder = tmp_path / "model" if how == "nothing there" else save_random_model(tmp_path / "model")
    if how != "nothing there":
        damage(folder, how)
    assert call(audio, tmp_path / "out", "--model", folder) == 2
    said = capsys.readouterr().err
    assert str(folder) in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(audio, model, tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert call(audio, tmp_path / "file", "--model", model) == 2
    assert "the output folder cannot be made" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(audio, model, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.parts.run_pipeline_single_audio", interrupted)
        assert call(audio, tmp_path / "out", "--model", model) == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err
    assert call(audio, tmp_path / "out", "--model", model) == 0


def test_from_a_real_shell_in_another_folder(audio, model, tmp_path):
    command = [sys.executable, "-m", "pipeline", "a", str(tmp_path / "out"), "--model", model]
    done = subprocess.run(command, cwd=audio, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert "1 recordings" in done.stdout and "Traceback" not in done.stderr
    assert "Warning" not in done.stdout + done.stderr
    assert pd.read_parquet(tmp_path / "out" / "effort.parquet")["status"].tolist() == ["ok"]


def test_import_leaves_the_heavy_libraries_alone():
    code = ("import sys, pipeline, spectrogram; pipeline.run_pipeline_single_audio, pipeline.run_multi_file_pipeline; "
            "print([m for m in ('torch', 'torchaudio', 'lightning', 'matplotlib', 'sklearn', 'librosa', 'scipy.signal', 'training', 'dask', 'distributed', 'fsspec', "
            "'s3fs', 'filelock', 'psutil') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def environment() -> dict:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
