"""What a run tells: a bar of recordings wherever it runs, one closing line, and a log that keeps
what was said."""

import io
import json
import socket
import sys
from pathlib import Path

import pandas as pd
import pytest

import canary
from pipeline import run_multi_file_pipeline
from pipeline.__main__ import main
from pipeline.claims import Claims
from pipeline.progress import closing_line, logged, say
from tests.toy_model import ToyModel, save_random_model
from tests.toy_sound import noise, scene, write

NAMES = [f"6872.2207160{hour}0000.wav" for hour in range(3)]


@pytest.fixture
def audio(tmp_path):
    for seed, name in enumerate(NAMES):
        write(tmp_path / "in" / name, scene(7, 8000, seed), 8000)
    return tmp_path / "in"


def test_the_screen_of_a_run_deep_in_a_notebook_shows_its_bar_and_its_lines(
    audio, tmp_path, monkeypatch, capsys
):
    (audio / "bad.wav").write_bytes(b"no sound" * 20)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with canary.Screen() as screen:
        monkeypatch.setenv("SEA_CANARY_SCREEN", str(screen.path))
        run_multi_file_pipeline(audio, tmp_path / "out", ToyModel(), workers=1)
    shown = sys.stderr.getvalue()
    assert "4 of 4 recordings" in shown and "x real time" in shown and " left" in shown
    fault = next(line for line in shown.split("\n") if "not audio that can be read" in line)
    assert fault.split("\r")[-1].startswith(str(audio / "bad.wav")) and not screen.path.exists()


def test_closing_line_counts_everything():
    table = pd.DataFrame(
        {"status": ["ok", "partial", "failed", "gone"], "duration_s": 3600.0, "events": 2}
    )
    assert (
        closing_line(table, "out")
        == "4 recordings, 4.00 h: 8 events; 1 failed, 1 only in part, 1 no longer there. Tables in out"
    )
    assert (
        closing_line(table[:1], "out") == "1 recordings, 1.00 h: 2 events; 0 failed. Tables in out"
    )


def test_a_log_keeps_what_was_said_of_every_run(audio, tmp_path, capsys):
    model, log = str(save_random_model(tmp_path / "model")), tmp_path / "logs" / "run.txt"
    (audio / "bad.wav").write_bytes(b"no sound" * 20)
    for code, source in ((0, audio), (2, tmp_path / "none")):
        assert (
            main(
                [
                    str(source),
                    str(tmp_path / "out"),
                    "--model",
                    model,
                    "--quiet",
                    "--workers",
                    "1",
                    "--log",
                    str(log),
                ]
            )
            == code
        )
    said = capsys.readouterr()
    lines = log.read_text(encoding="utf-8").splitlines()
    assert all(pd.Timestamp(line.split(" ", 1)[0]).tz is not None for line in lines)
    told = [line.split(" ", 1)[1] for line in lines]
    assert (
        set((said.out + said.err).splitlines()) <= set(told)
        and any("not audio" in line for line in told)
        and any("4 recordings" in line for line in told)
    )
    say("after it")
    assert "after it" not in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_said_before_any_work_and_never_stops_one(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert (
        main([str(tmp_path), str(tmp_path / "out"), "--log", str(tmp_path / "file" / "log.txt")])
        == 2
    )
    assert (
        "the log cannot be written" in capsys.readouterr().err and not (tmp_path / "out").exists()
    )
    with logged(tmp_path / "log.txt"):
        (tmp_path / "log.txt").unlink()
        (tmp_path / "log.txt").mkdir()
        say("a full disk")
    assert "a full disk" in capsys.readouterr().out


# -------------------------------------------------------------------------------- make run


def ran(audio, output):
    run_multi_file_pipeline(audio, output, ToyModel(), workers=1, progress=False, csv=True)
    return output


def test_results_of_other_sound_in_the_default_folder_are_moved_aside(audio, tmp_path, capsys):
    output, other = (
        ran(audio, tmp_path / "output"),
        write(tmp_path / "other" / "a.wav", noise(2, 8000), 8000).parent,
    )
    for same in (audio, audio.parent, audio / NAMES[0]):
        assert canary.make_room(output, same, default=True) is None
    aside = canary.make_room(output, other, default=True)
    assert (
        aside.parent == tmp_path
        and not output.exists()
        and len(pd.read_parquet(aside / "effort.parquet")) == 3
    )
    assert (
        capsys.readouterr()
        .out.strip()
        .endswith(f"({audio}) that stood in {output} are now in {aside}")
    )
    assert canary.make_room(output, other, default=True) is None


def test_results_of_other_sound_elsewhere_or_of_a_run_at_work_are_not_touched(audio, tmp_path):
    output, other = ran(audio, tmp_path / "output"), tmp_path / "other"
    with pytest.raises(
        canary.Fault, match=r"holds results of other sound .*in.\. Give OUTPUT another folder"
    ):
        canary.make_room(output, other, default=False)
    claims = Claims(output / "parts" / "claims")
    claims.take("run.0123456789ab.00000000")
    with pytest.raises(canary.Fault, match="is at work there"):
        canary.make_room(output, other, default=True)
    claims.free_all()
    claims.soft = True  # a disk that knows no locks
    claims.take("run.0123456789ab.00000000")
    with pytest.raises(canary.Fault, match="is at work there"):
        canary.make_room(output, other, default=True)
    claims.free_all()
    (output / "parts" / "claims" / "a.lock").touch()  # of a run that was killed
    (output / "parts" / "claims" / "b.claim").write_text(f"{2 ** 22 + 1}\n{socket.gethostname()}\n")
    assert canary.make_room(output, other, default=True)


def test_make_run_ends_with_what_was_found_and_where_the_page_is(
    audio, tmp_path, monkeypatch, capsys
):
    commands, output = [], tmp_path / "out"
    (audio / "bad.wav").write_bytes(b"no sound" * 20)

    def run(command, env=None):
        commands.append([str(word) for word in command])
        if "papermill" in commands[-1]:
            assert Path(env["SEA_CANARY_SCREEN"]).exists()
            ran(audio, output)
        return 0

    monkeypatch.setattr(canary, "run", run)
    assert canary.run_notebook(str(audio), str(output), None) == 0
    assert "--no-progress-bar" in commands[0] and "nbconvert" in commands[1]
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == f"6 events in 3 of 4 recordings (1 failed); the page is {output / 'run.html'}, the tables lie beside it"
    )
    assert json.dumps(canary.found(tmp_path)) == '"Done"'
