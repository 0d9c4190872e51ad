"""Outputs that cannot be written: full disks, read-only folders, links that lead elsewhere. Nothing half-written is taken for done, and nothing is
written outside the output folder."""
import errno
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.__main__ import main
from pipeline.drafts import CannotWrite, draft
from pipeline.tables import TABLES
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

GOOD = "6872.220716030000.wav"


@pytest.fixture
def source(tmp_path):
    for name in (NAME, GOOD):
        write(tmp_path / "in" / name, scene(6, 8000), 8000)
    return tmp_path / "in"


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small disk in memory; skips where that is not allowed."""
    places = []

    def mount(where: Path, options: str) -> Path:
        where.mkdir()
        try:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], capture_output=True)
        except OSError:
            pytest.skip("no `mount` on this system")
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        places.append(where)
        return where

    yield mount
    for where in places:
        subprocess.run(["umount", where], check=True)


def run(source, out, **kwargs):
    return run_multi_file_pipeline(source, out, ToyModel(), workers=1, progress=False, **kwargs)


def tables(out):
    return {table: pd.read_parquet(out / f"{table}.parquet") for table in TABLES}


def assert_same(out, other):
    for (table, a), b in zip(tables(out).items(), tables(other).values()):
        pd.testing.assert_frame_equal(a, b, obj=table)


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_small_disk_fills_up_and_gets_room(source, tmp_path, mounted, capsys):
    run(source, tmp_path / "expected")
    size = sum(p.stat().st_size for p in (tmp_path / "expected").rglob("*") if p.is_file())
    disk = mounted(tmp_path / "disk", f"size={size // 4096 * 4096 + 200_000}")
    ballast = disk / "ballast"
    failed = 0
    for room in (0, 30_000, 70_000, 120_000):  # for nothing; for a part; for both parts but not the final tables
        ballast.unlink(missing_ok=True)
        try:
            with open(ballast, "wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        except OSError:
            os.truncate(ballast, max(0, ballast.stat().st_size - room))
        try:
            run(source, disk / "out")
        except OSError as error:
            failed += 1
            assert "No space left on device" in str(error) and str(disk / "out") in str(error) and "\n" not in str(error)
        assert not list(disk.rglob("*.tmp"))
        for part in disk.rglob("*.zip"):
            assert part.read_bytes() == (tmp_path / "expected" / "parts" / part.name).read_bytes()
    assert failed >= 2
    ballast.unlink()
    run(source, disk / "out")
    assert_same(disk / "out", tmp_path / "expected")


def test_a_read_only_output_is_said_before_any_work(source, tmp_path, mounted, monkeypatch, capsys):
    disk = mounted(tmp_path / "disk", "size=1m,ro")
    monkeypatch.setattr("pipeline.parts.run_pipeline_single_audio", lambda *a, **k: pytest.fail("worked for nothing"))
    with pytest.raises(OSError, match="out: the output folder cannot be made .Read-only file system.; choose another one"):
        run(source, disk / "out")
    with pytest.raises(OSError, match=r"parts.claims: cannot be written .Read-only file system"):
        run(source, disk)


@pytest.mark.parametrize("what", ["os.replace", "os.fsync", "pyarrow.parquet.ParquetWriter.write_table", "filelock.FileLock.acquire"])
def test_a_full_disk_is_said_and_nothing_half_written_is_taken_for_done(what, source, tmp_path, monkeypatch):
    expected, out = run(source, tmp_path / "expected"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(what, full)
        with pytest.raises(OSError, match="cannot be written .No space left on device.*run again: finished recordings are kept") as caught:
            run(source, out)
    assert str(caught.value).count("cannot be written") == 1
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("*.parquet")) and not list(out.rglob("*.lock"))
    pd.testing.assert_frame_equal(run(source, out), expected)


@pytest.mark.parametrize("renames, parts", [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (6, 2)])
def test_a_disk_that_fills_up_in_the_middle_keeps_what_was_finished(renames, parts, source, tmp_path, monkeypatch):
    """Each recording's Raven table and part, then the four tables: the disk is full after so many of them."""
    run(source, tmp_path / "expected")
    out, replace, left = tmp_path / "out", os.replace, [renames]

    def fill_up(source, target):
        left[0] -= 1
        full() if left[0] < 0 else replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill_up)
        with pytest.raises(OSError, match="No space left"):
            run(source, out)
    first = {p: p.stat().st_mtime_ns for p in (out / "parts").glob("*.zip")}
    assert len(first) == parts and not list(out.rglob("*.tmp"))
    done = []
    monkeypatch.setattr("pipeline.parts.run_pipeline_single_audio", lambda recording, *a, **k: done.append(recording.name) or run_pipeline_single_audio(recording, *a, **k))
    run(source, out)
    assert done == [NAME, GOOD][parts:] and first == {p: p.stat().st_mtime_ns for p in first}
    assert_same(out, tmp_path / "expected")


def test_a_limit_on_the_size_of_files(source, tmp_path):
    """As on a machine with quotas."""
    resource = pytest.importorskip("resource", reason="limits of a process are Unix's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
    try:
        with pytest.raises(OSError, match="zip: cannot be written .File too large"):
            run(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "out").rglob("*.tmp")) and not list((tmp_path / "out").rglob("*.zip"))
    assert run(source, tmp_path / "out")["events"].tolist() == [2, 2]


def test_an_output_folder_that_cannot_be_made(tmp_path):
    path = write(tmp_path / NAME, noise(1, 8000), 8000)
    (tmp_path / "file").write_text("", encoding="utf-8")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="the output folder cannot be made.*choose another one"):
            run(path, output)
        with pytest.raises(OSError, match="cannot be written"):
            run_pipeline_single_audio(path, ToyModel()).save(output)
        assert main([str(path), str(output), "--quiet"]) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("folder", ["parts", "raven", "parts/claims"])
def test_a_folder_of_the_output_that_is_a_link_elsewhere_is_refused(folder, source, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out" / folder).parent.mkdir(parents=True)
    (tmp_path / "out" / folder).symlink_to(elsewhere)
    with pytest.raises(OSError, match="the output folder cannot be made .it leads to .*elsewhere"):
        run(source, tmp_path / "out")
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_in_the_place_of_files_are_replaced_not_followed(source, tmp_path):
    run(source, tmp_path / "out")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    for path in written:
        path.unlink()
        path.symlink_to(mine)
    run(source, tmp_path / "out")
    assert mine.read_text(encoding="utf-8") == "mine" and len(written) == 4 + len(TABLES)
    assert all(path.is_file() and not path.is_symlink() for path in written)


def test_a_draft_becomes_the_file_or_nothing(tmp_path):
    path = tmp_path / "deep" / "t.txt"
    with draft(path) as unfinished:
        unfinished.write_text("old", encoding="utf-8")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), draft(path) as unfinished:
        unfinished.write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    with pytest.raises(CannotWrite, match="other.txt"), draft(path), draft(tmp_path / "other.txt"):
        full()
    assert path.read_text(encoding="utf-8") == "old" and [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["t.txt"]
