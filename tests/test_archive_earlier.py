"""Tables never shrink in silence: what vanished keeps its rows, what moved stands once, another
input is refused."""

import os
import shutil

import pandas as pd
import pytest

import pipeline.parts
from pipeline import run_multi_file_pipeline
from pipeline.__main__ import main
from pipeline.earlier import OtherInput, identities, root_of
from pipeline.overview import Run
from pipeline.tables import TABLES
from spectrogram.profile import load_profile
from tests.toy_model import ToyModel, save_random_model
from tests.toy_sound import scene, write

NAMES = [f"6872.2207160{hour}0000.wav" for hour in range(3)]


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(NAMES):
        write(tmp_path / "in" / name, scene(7, 8000, seed), 8000)
    return tmp_path


def run(source, out, **kwargs):
    return run_multi_file_pipeline(
        source, out, kwargs.pop("model", ToyModel()), workers=1, progress=False, **kwargs
    ).set_index("recording")


def tables(out):
    return {table: pd.read_parquet(out / f"{table}.parquet") for table in TABLES}


def assert_same_rows(out, before, but=("effort",)):
    for table, frame in tables(out).items():
        if table not in but:
            pd.testing.assert_frame_equal(frame, before[table], check_exact=True, obj=table)


def test_what_vanished_keeps_its_rows_until_the_user_drops_them(folder, capsys):
    run(folder / "in", folder / "out")
    before = tables(folder / "out")
    for name in NAMES[1:]:
        (folder / "in" / name).unlink()
    for _ in range(2):
        effort = run(folder / "in", folder / "out")
        assert effort["status"].to_dict() == dict(zip(NAMES, ("ok", "gone", "gone"))) and effort[
            "events"
        ].tolist() == [2, 2, 2]
        assert (
            effort["reason"][NAMES[1]]
            == f"{folder / 'in' / NAMES[1]} is not there any more, its rows are kept"
        )
        assert (
            "2 recordings of earlier runs are not in the input; their rows are kept"
            in capsys.readouterr().out
        )
        assert_same_rows(folder / "out", before)
    write(folder / "in" / NAMES[2], scene(7, 8000, 2), 8000)  # found again
    assert run(folder / "in", folder / "out")["status"].tolist() == ["ok", "gone", "ok"]
    capsys.readouterr()
    assert run(folder / "in", folder / "out", gone="drop").index.tolist() == [NAMES[0], NAMES[2]]
    assert (
        "1 recordings of earlier runs are not in the input; their rows are dropped"
        in capsys.readouterr().out
    )
    assert (
        len(list((folder / "out" / "raven").iterdir()))
        == len(list((folder / "out" / "parts").glob("*.zip")))
        == 2
    )
    assert run(folder / "in", folder / "out")["status"].tolist() == ["ok", "ok"]


def test_rows_that_are_kept_say_that_they_were_made_with_other_settings(folder):
    run(folder / "in", folder / "out")
    (folder / "in" / NAMES[1]).unlink()
    effort = run(folder / "in", folder / "out", thresholds={"Whistle": 0.6})
    assert (
        effort["status"].tolist() == ["ok", "gone", "ok"]
        and "its rows were made with other thresholds" in effort["reason"][NAMES[1]]
    )


def test_rows_of_another_profile_cannot_stand_in_one_table(folder):
    run(folder / "in", folder / "out")
    (folder / "in" / NAMES[1]).unlink()
    other = ToyModel(load_profile("humpback"), model_id="other")
    with pytest.raises(
        OtherInput,
        match="holds 1 recordings that the input lacks .* done with another profile .beluga.",
    ):
        run(folder / "in", folder / "out", model=other)
    assert len(tables(folder / "out")["effort"]) == 3
    assert run(folder / "in", folder / "out", model=other, gone="drop").index.tolist() == [
        NAMES[0],
        NAMES[2],
    ]


def test_a_recording_that_vanishes_before_it_is_done_anew_keeps_what_was_found_in_it(
    folder, monkeypatch
):
    run(folder / "in", folder / "out")
    before, make = tables(folder / "out"), pipeline.parts.make_part

    def pulled(job, near, model):
        near.path.unlink()
        return make(job, near, model)

    monkeypatch.setattr(pipeline.parts, "make_part", pulled)
    effort = run(folder / "in", folder / "out", again=True)
    assert (effort["status"] == "gone").all() and effort["events"].tolist() == [2, 2, 2]
    assert_same_rows(folder / "out", before)


@pytest.mark.parametrize(
    "how",
    [
        "into a folder",
        "another name",
        "the whole folder",
        "copied without its times",
        "a link from above",
    ],
)
def test_a_recording_that_moved_stands_once(how, folder, capsys):
    before = run(folder / "in", folder / "out")
    source = folder / "in"
    if how == "into a folder":
        (source / "july").mkdir()
        (source / NAMES[1]).rename(source / "july" / NAMES[1])
    elif how == "another name":
        os.utime(source / NAMES[1], ns=(1, 1_658_000_000_123_456_789))
        before = run(source, folder / "out")
        (source / NAMES[1]).rename(source / "call.wav")
    elif how == "the whole folder":
        source = source.rename(folder / "moved")
    elif how == "copied without its times":
        source = folder / "copy" / "2022"
        shutil.copytree(folder / "in", source, copy_function=shutil.copy)
        shutil.rmtree(folder / "in")
        (source / "deep").mkdir()
        [path.rename(source / "deep" / path.name) for path in source.glob("*.wav")]
    else:
        source = folder
    capsys.readouterr()
    effort = run(source, folder / "out")
    assert sorted(name.rsplit("/", 1)[-1] for name in effort.index) == sorted(
        "call.wav" if how == "another name" and name == NAMES[1] else name for name in NAMES
    )
    assert (effort["status"] == "ok").all() and effort["events"].sum() == before["events"].sum()
    assert (
        len(list((folder / "out" / "parts").glob("*.zip")))
        == len(list((folder / "out" / "raven").iterdir()))
        == 3
    )
    assert ("go by another name now" in capsys.readouterr().out) == (how != "the whole folder")


def test_two_recordings_alike_of_which_one_vanished_are_not_taken_for_one(tmp_path):
    """Sites whose recorders count from 1, files of one length, a disk that knows whole seconds."""
    for site in "AB":
        os.utime(
            write(tmp_path / "in" / site / "1.wav", scene(7, 8000, ord(site)), 8000),
            ns=(1, 1_658_000_000_000_000_000),
        )
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "A" / "1.wav").unlink()
    assert run(tmp_path / "in", tmp_path / "out")["status"].to_dict() == {
        "A/1.wav": "gone",
        "B/1.wav": "ok",
    }


def test_another_input_is_refused_before_anything_is_done(folder, monkeypatch):
    run(folder / "in", folder / "out")
    for seed in (7, 8):
        write(folder / "other" / f"5725.2207160{seed}0000.wav", scene(7, 8000, seed), 8000)
    files = sorted((folder / "out").rglob("*"))
    monkeypatch.setattr(pipeline.parts, "make_part", lambda *a: pytest.fail("worked for nothing"))
    for watch in (False, True):
        with pytest.raises(
            OtherInput,
            match=f"out: holds 3 recordings of {folder / 'in'}, and none of {folder / 'other'}; choose another output folder, or say",
        ):
            run(folder / "other", folder / "out", watch=watch)
    assert (
        sorted((folder / "out").rglob("*")) == files and len(tables(folder / "out")["effort"]) == 3
    )
    monkeypatch.undo()
    both = run(folder / "other", folder / "out", gone="keep")
    assert len(both) == 5 and (both["status"] == "ok").all() and both["events"].sum() == 10
    assert len(run(folder / "other", folder / "out", gone="drop")) == 2


def test_another_input_with_the_same_names_is_refused_and_only_replaced_when_it_is_said(tmp_path):
    for site, seconds in (("A", 7), ("B", 12)):
        write(tmp_path / site / "1.wav", scene(seconds, 8000), 8000)
    write(tmp_path / "A" / "2.wav", scene(7, 8000), 8000)
    run(tmp_path / "A", tmp_path / "out")
    for gone in (None, "keep"):
        with pytest.raises(
            OtherInput, match="holds another recording of the name 1.wav, of another input"
        ):
            run(tmp_path / "B", tmp_path / "out", gone=gone)
    assert len(tables(tmp_path / "out")["effort"]) == 2
    assert run(tmp_path / "B", tmp_path / "out", gone="drop")["duration_s"].to_dict() == {
        "1.wav": 12.0
    }


def test_single_files_of_one_folder_gather_in_one_output(folder):
    for k, name in enumerate(NAMES):
        effort = run(folder / "in" / name, folder / "out")
        assert effort.index.tolist() == NAMES[: k + 1] and (effort["status"] == "ok").all()


def test_from_the_shell(folder, capsys):
    model, out = str(save_random_model(folder / "model")), folder / "out"

    def call(source, *options):
        code = main(
            [
                str(folder / source),
                str(out),
                "--model",
                model,
                "--quiet",
                "--workers",
                "1",
                *options,
            ]
        )
        return code, capsys.readouterr()

    assert call("in")[0] == 0
    write(folder / "other" / "5725.220716070000.wav", scene(7, 8000), 8000)
    code, said = call("other")
    assert code == 2 and "--gone keep or --gone drop" in said.err and said.err.count("\n") == 1
    assert call("other", "--gone", "keep")[0] == 0 and len(tables(out)["effort"]) == 4
    shutil.rmtree(folder / "other")
    code, said = call("in")
    assert (
        code == 0
        and said.out.splitlines()[-1].startswith("4 recordings")
        and "1 no longer there" in said.out
    )


def test_a_first_picture_is_of_a_recording_that_is_there(folder):
    write(folder / "in" / "6872.220716050000.wav", scene(17, 8000), 8000)  # where most happens
    run(folder / "in", folder / "out")
    (folder / "in" / "6872.220716050000.wav").unlink()
    run(folder / "in", folder / "out")
    opened = Run(folder / "in", folder / "out")
    assert (
        opened.passage(10.0)[0] in NAMES
        and opened.recording(opened.passage(10.0)[0]).duration_s == 7
    )


def test_files_that_a_recorder_wrote_side_by_side_are_two_when_one_of_them_vanishes(folder):
    """They have one size, and one time to the nanosecond."""
    for name in NAMES:
        os.utime(folder / "in" / name, ns=(1658000000123456789,) * 2)
    run(folder / "in", folder / "out")
    before = tables(folder / "out")
    (folder / "in" / NAMES[1]).unlink()
    assert run(folder / "in", folder / "out")["status"].tolist() == ["ok", "gone", "ok"]
    assert_same_rows(folder / "out", before)
    (folder / "in" / NAMES[0]).rename(folder / "in" / "6872.220716050000.wav")
    assert run(folder / "in", folder / "out")["status"].tolist() == ["gone", "ok", "ok"]


def test_what_tells_that_two_recordings_are_one():
    made = {
        "input": "a/6872.220716021453.wav",
        "where": "/x/a/6872.220716021453.wav",
        "input_size": 5,
        "input_changed": "1658000000123456789",
    }
    assert (
        len(identities(made)) == 3
        and len(identities(made | {"input": "a/1.wav"})) == 2
        and len(identities(made | {"input_size": -1})) == 1
    )
    assert ("state", 5, "1658000000000000000") not in identities(
        made | {"input_changed": "1658000000000000000"}
    ) and ("state", 5, "etag") in identities(made | {"input_changed": "etag"})
    assert root_of("a/b.wav", "s3://bucket/2022/a/b.wav") == "s3://bucket/2022" and root_of(
        "a/b.wav", os.path.abspath("/x/a/b.wav")
    ) == os.path.abspath("/x")
