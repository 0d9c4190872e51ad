"""Disks and desks of labs: drives without locks, spreadsheets that run formulas, terminals that obey control bytes, logs and names of any size and kind."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock._unix
import pandas as pd
import pytest
from filelock import SoftFileLease

import pipeline.archive
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.__main__ import main
from pipeline.claims import LEASE_S, Claims
from pipeline.darwin_core import to_darwin_core
from pipeline.drafts import cannot_write
from pipeline.effort import clock_jumps
from pipeline.exchange import to_csv
from pipeline.overrides import given_for, read_overrides
from pipeline.progress import say, shown
from pipeline.runs import OtherSettings, enter
from pipeline.sources import LOG_BYTES, find_recordings
from pipeline.tables import TABLES, defused
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

ROOT = Path(__file__).resolve().parents[1]
GOOD = "6872.220716030000.wav"
WITHOUT_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]


def run(source, out, **kwargs):
    return run_multi_file_pipeline(source, out, ToyModel(), workers=1, progress=False, **kwargs)


# ------------------------------------------------------------------------------------------------------------ drives without locks


@pytest.fixture(params=WITHOUT_LOCKS, ids=[errno.errorcode[number] for number in WITHOUT_LOCKS])
def without_locks(request, monkeypatch):
    """A disk that answers so to whoever asks for a lock."""
    if not hasattr(filelock._unix, "lock_fd_nonblocking"):
        pytest.skip("locks of Unix")

    def refuse(descriptor):
        raise OSError(request.param, "no locks here")

    monkeypatch.setattr(filelock._unix, "lock_fd_nonblocking", refuse)


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("without_locks")
def test_a_run_on_a_drive_without_locks_says_so_once_and_gives_the_same_tables(
    tmp_path, capsys, monkeypatch
):
    for name in (NAME, GOOD):
        write(tmp_path / "in" / name, scene(6, 8000), 8000)
    run(tmp_path / "in", tmp_path / "out")
    assert capsys.readouterr().out.count("this disk knows no locks") == 1
    assert not list((tmp_path / "out" / "parts" / "claims").iterdir())
    monkeypatch.undo()
    run(tmp_path / "in", tmp_path / "other")
    assert "knows no locks" not in capsys.readouterr().out
    for table in TABLES:
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(tmp_path / x / f"{table}.parquet") for x in ("out", "other")),
            obj=table,
        )


@pytest.mark.usefixtures("without_locks")
def test_a_soft_claim_is_one_processs_until_it_is_given_back(tmp_path):
    ours, others = Claims(tmp_path), Claims(tmp_path)
    assert ours.take("a") and ours.take("a") and not others.take("a") and others.take("b")
    others.free_all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.claim"]
    ours.free("a")
    assert others.take("a")
    others.free_all()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_locks")
def test_a_soft_claim_of_a_process_that_was_killed_is_taken_over(tmp_path):
    code = "import os, sys\nfrom filelock import SoftFileLease\nlock = SoftFileLease(sys.argv[1])\nlock.acquire()\nos._exit(9)"
    for key in ("a", "b"):
        assert (
            subprocess.run([sys.executable, "-c", code, tmp_path / f"{key}.claim"]).returncode == 9
        )
    claims = Claims(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 and claims.take("a")
    claims.free_all()  # clears away what nobody took again, too
    assert not list(tmp_path.iterdir())


@pytest.fixture
def short_lease(monkeypatch):
    monkeypatch.setattr("pipeline.claims.LEASE_S", 1.0)
    monkeypatch.setattr("pipeline.claims.RENEW_S", 0.1)


def claimed_elsewhere(claim, seconds_ago=0.0):
    """The claim of a process on another machine, which nobody here can look for."""
    claim.parent.mkdir(parents=True, exist_ok=True)
    claim.write_text("filelock/2\npid=4711\nhost=elsewhere\nmode=lease\ntoken=a\nduration=1.0\n")
    os.utime(claim, (time.time() - seconds_ago,) * 2)


@pytest.mark.parametrize("without_locks", [errno.ENOLCK], indirect=True)
@pytest.mark.usefixtures("without_locks", "short_lease")
@pytest.mark.parametrize("seconds_ago", [0, 3600, -3600])
def test_a_soft_claim_of_another_machine_lapses_when_it_is_not_renewed_whatever_its_clock(
    seconds_ago, tmp_path
):
    """It is watched for as long as a claim holds, also where its time lies in the past or to come."""
    said = []
    claims, began = Claims(tmp_path, said.append), time.monotonic()
    claimed_elsewhere(tmp_path / "a.claim", seconds_ago)
    while not claims.take("a"):
        assert time.monotonic() < began + 60
        time.sleep(0.05)
    assert time.monotonic() - began >= 1.0
    assert len(said) == 2 and "a.claim: taken over from process 4711 on elsewhere" in said[1]
    claims.free_all()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("without_locks", [errno.ENOLCK], indirect=True)
@pytest.mark.usefixtures("without_locks", "short_lease")
def test_a_soft_claim_that_is_renewed_is_kept_however_long_the_work_takes(tmp_path):
    ours, others = Claims(tmp_path), Claims(tmp_path)
    assert ours.take("a")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert not others.take("a")
        time.sleep(0.05)
    ours.free("a")
    assert others.take("a")
    others.free_all()


@pytest.mark.parametrize("without_locks", [errno.ENOLCK], indirect=True)
@pytest.mark.usefixtures("without_locks", "short_lease")
def test_a_run_with_other_settings_that_died_on_another_machine_is_forgotten_and_one_that_lives_is_not(
    tmp_path,
):
    claims = tmp_path / "out" / "parts" / "claims"
    claim, said = claims / "run.0123456789ab.00000000.claim", []
    claimed_elsewhere(claim)
    ours = Claims(claims, said.append)
    with pytest.raises(OtherSettings):  # young, so it may live
        enter(ours, {"a": 1})
    claimed_elsewhere(claim, seconds_ago=3600)
    threading.Timer(0.3, os.utime, (claim, (1.0, 1.0))).start()  # its clock is wrong, but it lives
    with pytest.raises(OtherSettings):
        enter(ours, {"a": 1})
    enter(ours, {"a": 1})  # it has died
    assert not claim.exists() and sum("waiting for a sign of it" in line for line in said) == 2
    ours.free_all()
    assert not list(claims.iterdir())


@pytest.mark.usefixtures("without_locks")
def test_who_waits_for_a_soft_claim_does_the_recording_when_it_is_free(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pipeline.archive, "LOOK_S", 0.05)
    write(tmp_path / "in" / NAME, scene(6, 8000), 8000)
    run(tmp_path / "in", tmp_path / "alone")
    key = next((tmp_path / "alone" / "parts").glob("*.zip")).stem
    claims = tmp_path / "out" / "parts" / "claims"
    claims.mkdir(parents=True)
    other = SoftFileLease(claims / f"{key}.claim", lease_duration=LEASE_S, thread_local=False)
    other.acquire()
    threading.Timer(0.5, other.release).start()
    assert run(tmp_path / "in", tmp_path / "out")["status"].tolist() == ["ok"]
    assert "another run works on 1 of the recordings" in capsys.readouterr().out


@pytest.mark.parametrize(
    "number, mend",
    [
        (errno.ENOSPC, "free disk space"),
        (errno.EROFS, "make the disk writable"),
        (errno.EACCES, "allow writing there"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "check the disk and its connection"),
        (errno.ESTALE, "check the disk and its connection"),
    ],
)
def test_what_to_do_fits_what_is_wrong(number, mend):
    line = str(cannot_write(Path("out/events.parquet"), OSError(number, "its own words")))
    assert (
        line.startswith("out/events.parquet: cannot be written (its own words); ")
        and mend in line
        and line.endswith("finished recordings are kept")
    )
    assert (number in (errno.ENOSPC, errno.EDQUOT)) == ("disk space" in line)


# ------------------------------------------------------------------------------------------------------------ spreadsheets

FORMULAS = ["=1+1.wav", "+1.wav", "-2+3.wav", "@SUM(1).wav", "\tx.wav"]


def test_a_cell_that_a_spreadsheet_would_run_is_a_text_in_every_csv_and_itself_in_the_tables(
    tmp_path,
):
    names = FORMULAS if sys.platform != "win32" else FORMULAS[:4]
    for name in names:
        write(tmp_path / "in" / name, scene(6, 8000), 8000)
    run(tmp_path / "in", tmp_path / "out", csv=True)
    for table in TABLES:
        frame, text = (
            pd.read_parquet(tmp_path / "out" / f"{table}.parquet"),
            pd.read_csv(tmp_path / "out" / f"{table}.csv"),
        )
        assert set(frame["recording"]) == set(names) and set(text["recording"]) == {
            f"'{name}" for name in names
        }
    events, effort = (
        pd.read_parquet(tmp_path / "out" / f"{table}.parquet") for table in ("events", "effort")
    )
    to_csv(events, tmp_path / "more" / "all.csv")
    to_darwin_core(
        events,
        effort.assign(start_utc=pd.Timestamp("2022-07-16", tz="UTC")),
        tmp_path / "more",
        dataset="=BSM",
    )
    run_pipeline_single_audio(tmp_path / "in" / names[0], ToyModel()).save(
        tmp_path / "more", csv=True
    )
    files = list((tmp_path / "more").glob("*.csv"))
    assert len(files) == 1 + 2 + len(TABLES)
    for path in files:
        for cells in (
            pd.read_csv(path, dtype=str, keep_default_na=False)
            .select_dtypes(["str", "object"])
            .to_numpy()
        ):
            assert not [
                cell
                for cell in cells
                if cell.startswith(("=", "+", "@", "\t"))
                or cell.startswith("-")
                and not is_number(cell)
            ], path


def is_number(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return False


def test_numbers_and_other_texts_stay_as_they_are():
    frame = pd.DataFrame(
        {"recording": ["a=b.wav", "'quoted", None], "low_hz": [-1.5, 0, 2], "n": [-1, 2, 3]}
    )
    pd.testing.assert_frame_equal(defused(frame), frame)


def test_names_copied_from_our_csv_are_found_again(tmp_path):
    (tmp_path / "o.csv").write_text(
        "file,serial\n'=1+1.wav,6872\n'quoted.wav,5725\n", encoding="utf-8"
    )
    given = read_overrides(tmp_path / "o.csv")
    assert given_for(given, "=1+1.wav") == {"serial": "6872"} and given_for(
        given, "'quoted.wav"
    ) == {"serial": "5725"}


# ------------------------------------------------------------------------------------------------------------ terminals


CONTROL = [
    "\x1b[31mred.wav",
    "\x07bell.wav",
    "new\nline.wav",
    "\u202egnp.wav",
    "\x9bcsi.wav",
    "zero\u200bwidth.wav",
]


@pytest.mark.skipif(sys.platform == "win32", reason="names on Windows hold no control bytes")
def test_control_bytes_in_names_never_reach_the_terminal_and_the_tables_keep_the_names(
    tmp_path, capsys, monkeypatch
):
    for name in CONTROL:
        write(tmp_path / "in" / name, noise(1, 8000), 8000)
        (tmp_path / "in" / f"bad{name}").write_bytes(b"no sound" * 9)
    monkeypatch.setattr(pipeline.archive, "SAY_AT_MOST", 99)
    monkeypatch.setattr("pipeline.single.load", lambda *args: ToyModel())
    monkeypatch.setattr("pipeline.multi.load", lambda *args: ToyModel())
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"]) == 0
    assert (
        main([str(tmp_path / "in" / "none\x1b[31m"), str(tmp_path / "out"), "--workers", "1"]) == 2
    )
    said = capsys.readouterr()
    lines = said.out.splitlines() + said.err.replace("\r", "\n").splitlines()  # the bar's own
    assert (
        all(line.isprintable() for line in lines)
        and len([line for line in lines if "red.wav: " in line]) == 2
        and "\\x1b[31mred.wav" in said.out
    )
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet")
    assert (
        set(effort["recording"]) == {*CONTROL, *(f"bad{name}" for name in CONTROL)}
        and effort["reason"].map(str.isprintable).all()
    )


@pytest.mark.parametrize("line", ["Été 2022, carte n°1: 12 µPa², 50 % ✓ 日本", "a  b"])
def test_a_line_of_plain_text_is_said_as_it_is(line, capsys):
    say(line)
    assert capsys.readouterr().out == line + "\n" and shown(line) == line


# ------------------------------------------------------------------------------------------------------------ logs and names


def test_a_log_too_large_to_be_one_is_not_fetched_or_believed(tmp_path):
    write(tmp_path / NAME, noise(1, 8000), 8000)
    log = tmp_path / NAME.replace(".wav", ".log.xml")
    for size, believed in ((1000, True), (LOG_BYTES + 1, False)):
        with open(log, "wb") as file:
            file.truncate(size)  # of a sparse file: takes no disk
        assert (find_recordings(tmp_path)[0].log is not None) == believed


def test_digits_that_are_none_are_letters_in_the_order_of_names():
    effort = pd.DataFrame(
        {
            "recording": ["1²2.wav", "1³1.wav", "٣٤٥٦.220716021453.wav"],
            "start_utc": pd.Timestamp("2022-07-16", tz="UTC"),
            "duration_s": 5.0,
        }
    )
    assert isinstance(clock_jumps(effort), pd.DataFrame)
