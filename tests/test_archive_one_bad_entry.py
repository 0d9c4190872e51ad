"""One bad entry never stops the rest: pipes, devices, headers that lead nowhere, names that no calendar holds, links that are dead. Each is a row of its
own in `effort`, the others are done, and the tables are there."""

import importlib
import os
import random
import signal
import socket
import threading
import time
from collections import namedtuple
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import soundfile

import pipeline.fetching
import pipeline.parts
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.archive import Archive
from pipeline.ripening import is_whole
from pipeline.tables import TABLES
from pipeline.time_limit import LEAST_S, TookTooLong, limit_of, within
from spectrogram.recording import BadRecording, Recording
from tests.toy_model import ToyModel
from tests.toy_sound import noise, scene, write

GOOD = ["6872.220716000000.wav", "6872.220716010000.wav"]
BAD = "6872.220716000500.wav"


def run(folder, out=None, **kwargs) -> pd.DataFrame:
    """The effort of a run, which has all its tables, by recording."""
    out = out or folder / "out"
    source = kwargs.pop("source", folder / "in")
    run_multi_file_pipeline(source, out, ToyModel(), workers=1, progress=False, **kwargs)
    for table in TABLES:
        assert (out / f"{table}.parquet").exists()
    return pd.read_parquet(out / "effort.parquet").set_index("recording")


@pytest.fixture
def folder(tmp_path):
    for name in GOOD:
        write(tmp_path / "in" / name, scene(6, 8000), 8000)
    return tmp_path


@pytest.fixture
def hurry(monkeypatch):
    """Gives the recordings of these names so many seconds, and all others as many as they need, however busy the machine is."""

    def give(seconds, *names):
        job = Archive.job
        monkeypatch.setattr(
            Archive,
            "job",
            lambda self, source: replace(
                job(self, source), time_limit_s=seconds if source.name in names else float("inf")
            ),
        )

    return give


# ------------------------------------------------------------------------------------------------------------ what is no file, or no header


def pipe(path):
    os.mkfifo(path)


def link_to_a_pipe(path):
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


def device_without_end(path):
    path.symlink_to("/dev/zero")


def listening_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have a hundred letters
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.skipif(os.name == "nt", reason="files on Windows are files")
@pytest.mark.parametrize(
    "make, kind",
    [
        (pipe, "a pipe"),
        (link_to_a_pipe, "a pipe"),
        (device_without_end, "a device"),
        (listening_socket, "a socket"),
    ],
)
def test_what_is_no_file_is_not_read_and_the_others_are_done(make, kind, folder):
    make(folder / "in" / BAD)
    assert not is_whole(folder / "in" / BAD)
    for _ in range(2):  # again: whether it failed for good is not found out by reading it
        effort = run(folder)
        assert effort["status"].to_dict() == {GOOD[0]: "ok", BAD: "failed", GOOD[1]: "ok"}
        assert (
            effort["reason"][BAD]
            == f"{folder / 'in' / BAD}: {kind} and no file; nothing is read from it, leave it out"
        )
    with pytest.raises(BadRecording, match=kind):
        run_pipeline_single_audio(folder / "in" / BAD, ToyModel())


def w64(size: int):
    """A W64 with a chunk before its data that says to be of this size."""

    def make(path):
        soundfile.write(path, noise(3, 8000), 8000, format="W64", subtype="PCM_16")
        data, guid = path.read_bytes(), bytes.fromhex("f3acd3118cd100c0")
        at = data.find(b"data" + guid)
        path.write_bytes(
            data[:at]
            + b"junk"
            + guid
            + bytes.fromhex("4f8edb8a")
            + size.to_bytes(8, "little")
            + data[at:]
        )

    return make


def rate(hz: int):
    def make(path):
        write(path, noise(1, 8000), 8000, "PCM_16")
        data = bytearray(path.read_bytes())
        data[24:28] = hz.to_bytes(4, "little")
        data[28:32] = (2 * hz % 2**32).to_bytes(4, "little")  # else bytes per second tell the rate
        path.write_bytes(data)

    return make


@pytest.mark.parametrize(
    "make",
    [
        w64(0),
        w64(8),
        w64(2**63),
        w64(2**64 - 1),
        rate(1),
        rate(2**31 - 1),
        rate(2**32 - 1),
        rate(20_000_000),
    ],
)
def test_a_header_that_leads_nowhere_is_given_up_in_time_and_the_others_are_done(
    make, folder, hurry
):
    bad = folder / "in" / BAD.replace(".wav", ".w64")
    make(bad)
    is_whole_in_time(bad)
    hurry(2, bad.name)
    effort = run(folder)
    assert (effort.loc[GOOD, "status"] == "ok").all() and bad.name in effort.index


def is_whole_in_time(path):
    """Watching asks this of every file, in between all else: it ends, and never raises."""
    import pipeline.ripening

    before, pipeline.ripening.LOOK_AT_MOST_S = pipeline.ripening.LOOK_AT_MOST_S, 1.0
    try:
        assert is_whole(path) in (True, False)
    finally:
        pipeline.ripening.LOOK_AT_MOST_S = before


@pytest.mark.parametrize(
    "hz, fault",
    [(2**31 - 1, "2147483647 Hz and 1 channels, which no recorder has"), (1, "its header says 1 Hz")],
)
def test_a_rate_that_no_hydrophone_has_is_refused_before_any_memory_is_taken_for_it(
    hz, fault, tmp_path
):
    rate(hz)(tmp_path / BAD)
    with pytest.raises(BadRecording, match=fault):
        Recording(tmp_path / BAD)


@pytest.mark.parametrize(
    "name",
    [
        "x_99991231T235959.999999999999999999Z.wav",
        "99991231_235959.wav",
        "00010101_000000.wav",
        "20220716T021453.99999999999999999999Z.wav",
        "1²2.wav",
        "²³¹.220716021453.wav",
        "٣٤٥٦.220716021453.wav",
    ],
)
@pytest.mark.parametrize("clock", [None, "Asia/Tokyo", "America/Toronto"])
def test_a_name_that_no_calendar_holds_has_a_row_and_the_others_are_done(name, clock, folder):
    write(folder / "in" / name, noise(1, 8000), 8000)
    effort = run(folder, clock=clock)
    assert (effort.loc[GOOD, "status"] == "ok").all() and name in effort.index
    from pipeline.effort import clock_jumps

    clock_jumps(effort.reset_index())


def test_headers_with_chance_bytes_end_the_run_for_nobody(tmp_path, hurry):
    """Every kind of sound file with bytes of its header changed at random; SEA_CANARY_FUZZ asks for more of them."""
    chance = random.Random(os.environ.get("SEA_CANARY_SEED", "1"))
    write(tmp_path / "in" / GOOD[0], scene(6, 8000), 8000)
    for k in range(int(os.environ.get("SEA_CANARY_FUZZ", "24"))):
        ending, form, subtype = chance.choice(
            [
                ("wav", "WAV", "PCM_16"),
                ("wav", "RF64", "PCM_24"),
                ("w64", "W64", "PCM_16"),
                ("aiff", "AIFF", "PCM_16"),
                ("flac", "FLAC", "PCM_16"),
            ]
        )
        path = tmp_path / "in" / f"5725.2207160{k // 60}{k % 60:02d}00.{ending}"
        soundfile.write(path, noise(0.5, 8000, k), 8000, format=form, subtype=subtype)
        data = bytearray(path.read_bytes())
        for _ in range(chance.choice([1, 2, 8])):
            data[chance.randrange(min(120, len(data)))] = chance.choice(
                [0, 1, 127, 128, 255, chance.randrange(256)]
            )
        path.write_bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
        is_whole_in_time(path)
    hurry(10, *(path.name for path in (tmp_path / "in").glob("5725*")))
    effort = run(tmp_path)
    assert (
        len(effort) == len(list((tmp_path / "in").iterdir())) and effort["status"][GOOD[0]] == "ok"
    )


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="no signals to threads on this system"
)
def test_watching_goes_on_over_entries_that_can_never_be_read(folder, monkeypatch):
    for what, seconds in {
        "pipeline.watch.LIST_S": 0.05,
        "pipeline.engine.PAUSE_S": 0.02,
        "pipeline.ripening.PATIENCE": 2,
    }.items():
        monkeypatch.setattr(what, seconds)
    pipe(folder / "in" / BAD)
    w64(2**63)(folder / "in" / "bad.w64")
    main, table, until = (
        threading.main_thread().ident,
        folder / "out" / "effort.parquet",
        time.monotonic() + 300,
    )

    def stop():
        while time.monotonic() < until and not (
            table.exists() and len(pd.read_parquet(table)) == 4
        ):
            time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=stop).start()
    effort = run(folder, watch=True, settle_s=0.2)
    assert (
        (effort.loc[GOOD, "status"] == "ok").all()
        and effort["status"][BAD] == "failed"
        and "bad.w64" in effort.index
    )


# ------------------------------------------------------------------------------------------------------------ the time limit


def test_the_limit_is_generous_unless_told():
    assert (
        limit_of(0, None) == limit_of(-1, None) == LEAST_S == 3600
        and limit_of(10**9, None) == 7600
        and limit_of(10**9, 5.0) == 5.0
    )


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_a_limit_that_is_none(wrong, folder):
    with pytest.raises(ValueError, match="time_limit_s = .*give seconds, more than 0"):
        run(folder, time_limit_s=wrong)


def loops(reached, free):
    reached.set()
    while True:
        time.sleep(0.001)


def hangs_in_the_system(reached, free):
    reached.set()
    free.wait()  # of one wait, without a look at anything: as a read from a drive that does not answer


@pytest.mark.parametrize("wait", [loops, hangs_in_the_system])
def test_a_recording_that_never_ends_is_failed_after_its_time_and_the_others_are_done(
    wait, folder, monkeypatch, capsys, hurry
):
    write(folder / "in" / BAD, scene(6, 8000), 8000)
    reached, free = threading.Event(), threading.Event()

    def hung(recording, *args, **kwargs):
        return (
            wait(reached, free)
            if recording.name == BAD
            else run_pipeline_single_audio(recording, *args, **kwargs)
        )

    monkeypatch.setattr(pipeline.parts, "run_pipeline_single_audio", hung)
    monkeypatch.setattr("pipeline.time_limit.STOP_S", 0.2)
    hurry(0.5, BAD)
    effort = run(folder)
    assert reached.is_set() and effort["status"].to_dict() == {
        GOOD[0]: "ok",
        BAD: "failed",
        GOOD[1]: "ok",
    }
    assert (
        "not done within 0.5 s; see whether it and its disk can be read" in effort["reason"][BAD]
        and effort["reason"][BAD] in (said := capsys.readouterr().out)
    )
    assert ("could not be stopped" in said) == (wait is hangs_in_the_system)
    if wait is loops:
        assert not [thread for thread in threading.enumerate() if thread.name == "recording"]
    free.set()
    monkeypatch.undo()
    assert (run(folder)["status"] == "ok").all()  # it is tried again


def test_what_is_done_within_the_limit_comes_out_as_it_is_raised_or_returned():
    assert within(10, divmod, 7, 2) == (3, 1) == within(float("inf"), divmod, 7, 2)
    with pytest.raises(ZeroDivisionError):
        within(10, divmod, 7, 0)
    with pytest.raises(TookTooLong):
        within(0.05, time.sleep, 0.4)


def test_an_import_is_not_broken_off_half_done(tmp_path, monkeypatch):
    """Else the module would stay behind half made, and break all recordings after."""
    begun = tmp_path / "begun.txt"
    (tmp_path / "takes_long.py").write_text(
        f"import time\nopen({str(begun)!r}, 'a').write('x')\nfor _ in range(50): time.sleep(0.01)\nwhole = True\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def late():
        return importlib.import_module("takes_long").whole

    with pytest.raises(TookTooLong):
        within(0.1, late)
    assert late() and begun.read_text(encoding="utf-8") == "x"


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="no signals to threads on this system"
)
def test_ctrl_c_reaches_a_run_while_its_recording_hangs(folder, monkeypatch):
    reached, free = threading.Event(), threading.Event()
    monkeypatch.setattr(
        pipeline.parts, "run_pipeline_single_audio", lambda *args, **kwargs: loops(reached, free)
    )
    main = threading.main_thread().ident
    threading.Thread(
        target=lambda: (reached.wait(60), signal.pthread_kill(main, signal.SIGINT))
    ).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    assert time.monotonic() - began < 300 and not list((folder / "out").rglob("*.lock"))


# ------------------------------------------------------------------------------------------------------------ on the web


class Hostile(BaseHTTPRequestHandler):
    """Good recordings, and links that are dead, lead elsewhere, or never end."""

    LINKS = [
        GOOD[0],
        "gone.wav",
        "broken.wav",
        "to_a_file.wav",
        "half.wav",
        "slow.wav",
        "shut/",
        "deep/",
        "../outside.wav",
        "%2e%2e%2foutside2.wav",
        "..%5cback.wav",
        "deep/../../up.wav",
        "http://localhost:1/else.wav",
        "//localhost:1/proto.wav",
        "file:///etc/hostname.wav",
        "/absolute.wav",
        "?C=N;O=D",
    ]

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        sound, name = self.server.sound, path.rsplit("/", 1)[-1]
        if path == "/data/":
            return self.answer(
                200, "".join(f'<a href="{link}">x</a>' for link in self.LINKS).encode(), "text/html"
            )
        if path.startswith("/data/deep/") and path.endswith("/"):  # without end
            return self.answer(
                200,
                f'<a href="deeper/">x</a>{f"<a href={chr(34)}{GOOD[1]}{chr(34)}>x</a>" if path == "/data/deep/" else ""}'.encode(),
                "text/html",
            )
        if name == "slow.wav" and self.command == "GET":
            self.send_response(200)
            self.end_headers()
            while True:
                try:
                    self.wfile.write(bytes(70_000))
                    time.sleep(0.05)
                except OSError:
                    return None
        code = {"gone.wav": 404, "": 500, "broken.wav": 500}.get(name, 200)
        if name == "to_a_file.wav":
            self.send_response(302)
            self.send_header("Location", f"file://{self.server.file}")
            return self.end_headers()
        self.answer(
            code,
            b"" if code != 200 or name == "slow.wav" else sound,
            "audio/wav",
            len(sound) if name == "half.wav" else None,
        )

    do_HEAD = do_GET

    def answer(self, code, body, kind, length=None):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if not self.path.endswith("slow.wav"):
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if length is not None else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.fetching, "PAUSE_S", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    server.file = write(tmp_path / GOOD[0], scene(6, 8000), 8000)
    server.sound, server.asked = server.file.read_bytes(), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_dead_links_and_links_that_lead_elsewhere_stop_no_others(web, tmp_path, capsys, hurry):
    hurry(0.5, "slow.wav")
    effort = run(tmp_path, source=f"http://127.0.0.1:{web.server_port}/data/")
    expected = dict.fromkeys(
        ["gone.wav", "broken.wav", "to_a_file.wav", "half.wav", "slow.wav"], "failed"
    ) | {GOOD[0]: "ok", f"deep/{GOOD[1]}": "ok"}
    assert effort["status"].to_dict() == expected
    for name, why in {
        "gone.wav": "cannot be fetched",
        "broken.wav": "500",
        "to_a_file.wav": "cannot be fetched",
        "slow.wav": "not fetched within 0.5 s",
    }.items():
        assert why in effort["reason"][name] and "\n" not in effort["reason"][name]
    assert all(
        unquote(path).startswith("/data/") and ".." not in unquote(path) for path in web.asked
    )
    assert "/data/shut/: cannot be listed (500" in capsys.readouterr().out
    assert max(path.count("deeper/") for path in web.asked) < 40


Usage = namedtuple("Usage", "total used free")


def test_a_recording_without_end_or_too_large_for_the_disk_is_a_failure_of_its_own(
    web, tmp_path, monkeypatch
):
    monkeypatch.setattr(Hostile, "LINKS", [GOOD[0], "slow.wav"])
    free = [10**12]
    monkeypatch.setattr(
        pipeline.fetching.shutil, "disk_usage", lambda folder: Usage(10**12, 0, free[0])
    )
    free[0] = pipeline.fetching.SPARE_BYTES - 1
    effort = run(tmp_path, source=f"http://127.0.0.1:{web.server_port}/data/")
    assert (
        effort["status"].to_dict() == {GOOD[0]: "ok", "slow.wav": "failed"}
        and "no end of it" in effort["reason"]["slow.wav"]
    )
    free[0] = 1000
    effort = run(
        tmp_path, tmp_path / "small", source=f"http://127.0.0.1:{web.server_port}/data/{GOOD[0]}"
    )
    assert (
        effort["status"].tolist() == ["failed"]
        and "let TMPDIR name a folder with more" in effort["reason"][GOOD[0]]
    )


def test_a_web_folder_that_cannot_be_listed_at_all_is_said(web, tmp_path):
    with pytest.raises(OSError, match="/data/shut/: cannot be listed .500"):
        run(tmp_path, source=f"http://127.0.0.1:{web.server_port}/data/shut/")


def test_reading_many_channels_takes_one_at_a_time(tmp_path, monkeypatch):
    """What is read of all channels at once is bounded, and the samples are the same."""
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 16)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    whole = np.concatenate(list(Recording(tmp_path / "a.wav", channel=11).blocks()))
    read, most = soundfile.SoundFile.read, []
    monkeypatch.setattr("spectrogram.recording.PIECE_SAMPLES", 1600)
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, *a, **k: most.append(frames) or read(self, frames, *a, **k),
    )
    pieces = np.concatenate(list(Recording(tmp_path / "a.wav", channel=11).blocks()))
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_array_equal(whole, x[:, 11])
    assert max(most) == 100


def test_where_a_recording_is_looked_for_says_what_it_is(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes on this system")
    os.mkfifo(tmp_path / BAD)
    with pytest.raises(FileNotFoundError, match=f"{BAD}: neither a file nor a folder"):
        run(tmp_path, source=Path(tmp_path / BAD))
