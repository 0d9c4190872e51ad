"""Recordings in a bucket behind a real S3 protocol and on a web server: the same tables, and no key writes where it should not."""
import errno
import functools
import shutil
import signal
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

import pipeline.fetching
from pipeline import run_multi_file_pipeline, shelf
from pipeline.__main__ import main
from pipeline.fetching import Crowded, OutOfRoom, bring
from pipeline.sources import find_recordings
from pipeline.tables import TABLES
from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY
from tests.s3_server import s3_server
from tests.test_spectrogram_header import wav
from tests.test_spectrogram_metadata import guano
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, scene, write

LOG = '<ST><WAV SamplingStartTimeUTC="2022-07-16T06:14:53"/></ST>'
OTHER = "RDL/sub folder/6872.220716030000.WAV"


def run(source, out, **kwargs):
    return run_multi_file_pipeline(source, out, ToyModel(), workers=1, progress=False, **kwargs)


def assert_same(out, other):
    for table in TABLES:
        pd.testing.assert_frame_equal(*(pd.read_parquet(Path(x) / f"{table}.parquet") for x in (out, other)), obj=table)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """A folder with two recordings, a log, a damaged file and something else; and the tables of a run on it."""
    folder = tmp_path_factory.mktemp("deployment")
    write(folder / "in" / NAME, scene(6, 8000, 1), 8000)
    write(folder / "in" / OTHER, scene(6, 8000, 2), 8000)
    (folder / "in" / NAME.replace(".wav", ".log.xml")).write_text(LOG, encoding="utf-8")
    (folder / "in" / "RDL" / "empty.flac").write_bytes(b"")
    (folder / "in" / "notes.txt").write_text("calm sea", encoding="utf-8")
    run(folder / "in", folder / "out")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pipeline.fetching, "PAUSE_S", 0.01)


# ------------------------------------------------------------------------------------------------------------ S3


@pytest.fixture(scope="module")
def store():
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(store, monkeypatch):
    """The server's file system, with `.env` set for it."""
    import s3fs

    monkeypatch.setenv("S3_ENDPOINT", store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.delenv("S3_ANONYMOUS", raising=False)
    return s3fs.S3FileSystem(endpoint_url=store, use_listings_cache=False)


def upload(s3, bucket: str, files: dict[str, bytes]) -> None:
    s3.mkdir(bucket)
    for key, content in files.items():
        s3.call_s3("put_object", Bucket=bucket, Key=key, Body=content)


def folder_files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_bucket_gives_the_same_tables_as_the_folder(s3, deployment, tmp_path, monkeypatch, capsys):
    upload(s3, "season", {f"2022/{key}": content for key, content in folder_files(deployment / "in").items()} | {"2021/old.wav": b""})
    summary = run("s3://season/2022", tmp_path / "out")
    assert summary["status"].value_counts().to_dict() == {"ok": 2, "failed": 1}
    for table in ("events", "windows", "levels"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(x / "out" / f"{table}.parquet") for x in (tmp_path, deployment)))
    effort, expected = (pd.read_parquet(x / "out" / "effort.parquet") for x in (tmp_path, deployment))
    pd.testing.assert_frame_equal(effort.drop(columns="reason"), expected.drop(columns="reason"))
    reason = effort.set_index("recording")["reason"]["RDL/empty.flac"]
    assert reason.startswith("s3://season/2022/RDL/empty.flac: zero bytes") and reason in capsys.readouterr().out
    assert effort.set_index("recording")["start_utc"][NAME] == pd.Timestamp("2022-07-16T06:14:53Z")  # the log came along
    assert not any(p.is_file() for p in shelf.shelf().rglob("*.wav")) and len(list(shelf.shelf().iterdir())) == 1  # what was fetched is gone

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.parts.run_pipeline_single_audio", lambda *a, **k: pytest.fail("done twice"))
        pd.testing.assert_frame_equal(run("s3://season/2022/", tmp_path / "out"), summary)
    s3.call_s3("put_object", Bucket="season", Key=f"2022/{NAME}", Body=(deployment / "in" / OTHER).read_bytes())
    run("s3://season/2022", tmp_path / "out")
    assert "1 recordings are done anew: the file changed" in capsys.readouterr().out
    assert find_recordings(f"s3://season/2022/{NAME}")[0].name == NAME and find_recordings(f"s3://season/2022/{NAME}")[0].log is not None


def test_keys_that_lead_elsewhere_write_nothing_there(s3, deployment, tmp_path, monkeypatch):
    sound = (deployment / "in" / NAME).read_bytes()
    keys = ["evil/../x.wav", "evil/../../../x.wav", "evil//etc/x.wav", "evil/a\\..\\x.wav", "evil/C:x.wav", "evil/good.wav"]
    upload(s3, "evil-bucket", dict.fromkeys(keys, sound))
    home = tmp_path / "a" / "b"
    (home / "tmp").mkdir(parents=True)
    monkeypatch.setattr(shelf, "shelf", lambda: home / "tmp")
    summary = run("s3://evil-bucket/evil", home / "out")
    assert len(summary) == len(keys) and (summary["status"] == "ok").sum() >= 4  # a client may refuse a key with dots, nothing worse
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and (home / "out") not in p.parents]
    assert outside == []
    assert sorted(p.parent.relative_to(home / "out").as_posix() for p in (home / "out").rglob("*.zip")) == ["parts"] * len(keys)


def test_keys_with_letters_that_mean_something_in_addresses_are_fetched(s3, deployment, tmp_path):
    keys = ["what?.wav", "?.wav", "a#b.wav", "a%20b.wav", "a*b.wav", "a[1].wav", "a::b.wav", "a+b c.wav", "x?y/a&b=c.wav", "é µPa².wav", "a@b:c.wav"]
    upload(s3, "odd-bucket", {f"2022/{key}": (deployment / "in" / NAME).read_bytes() for key in keys})
    summary = run("s3://odd-bucket/2022", tmp_path / "out")
    assert set(summary["recording"]) == set(keys) and (summary["status"] == "ok").all()
    for key in keys:  # one by one, as well
        found, = find_recordings(f"s3://odd-bucket/2022/{key}")
        near = bring(found)
        assert found.name == key.rsplit("/", 1)[-1] and near.path.suffix == ".wav"
        near.let_go()


def test_a_store_without_credentials_and_places_that_are_not_there(s3, tmp_path, monkeypatch, capsys):
    upload(s3, "open-bucket", {"a.wav": b""})
    monkeypatch.setenv("S3_ANONYMOUS", "1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert [x.name for x in find_recordings("s3://open-bucket")] == ["a.wav"]
    assert main(["s3://open-bucket/none", str(tmp_path / "out"), "--quiet"]) == 2
    assert "0 recordings found in s3://open-bucket/none" in capsys.readouterr().err
    assert main(["s3://no-such-bucket", str(tmp_path / "out"), "--quiet"]) == 2
    assert main(["nosuch://place", str(tmp_path / "out"), "--quiet"]) == 2
    assert "nosuch://place: " in capsys.readouterr().err
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    assert main(["s3://open-bucket", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "s3://open-bucket: cannot be listed" in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------------ HTTP


@pytest.fixture
def web(deployment):
    """(address, list of requests): the deployment's folder behind a web server; it says 503 while `failing` holds numbers."""
    requests, failing = [], []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            if self.path.lower().endswith(".wav") and failing and failing.pop():
                return self.send_error(503)
            super().do_GET()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(deployment / "in")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", requests, failing
    server.shutdown()
    server.server_close()


def test_a_web_folder_gives_the_same_tables_as_the_folder(web, deployment, tmp_path):
    address, requests, failing = web
    failing += [True, True]  # the network fails twice, and is asked again
    summary = run(address, tmp_path / "out")
    assert sorted(summary["recording"]) == sorted([NAME, OTHER, "RDL/empty.flac"])
    for table in ("events", "windows", "levels"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(x / "out" / f"{table}.parquet") for x in (tmp_path, deployment)))
    assert sum(path.lower().endswith(".wav") for path in requests) == 4
    requests.clear()
    run(address, tmp_path / "out")
    assert not any(path.lower().endswith(".wav") for path in requests)
    one = find_recordings(address + NAME)
    assert [x.name for x in one] == [NAME] and one[0].size == (deployment / "in" / NAME).stat().st_size and one[0].log


def test_a_remote_recording_s_own_word_tells_who_recorded_in_every_run_and_names_its_calibration(tmp_path, monkeypatch, capsys):
    """Override, own word, name, folder, as in a folder; also for one that holds no sound; and a new calibration has them done anew."""
    monkeypatch.setattr(HYDROPHONE_SENSITIVITY, "_table", dict(HYDROPHONE_SENSITIVITY._table))
    HYDROPHONE_SENSITIVITY.add("SMM00119", -165.0, save=False)
    says = guano("Timestamp: 2023-11-17 09:52:00+11:00\nSerial: SMM00119")
    files = {"a.wav": wav(after=says), "6872.220716021453.wav": wav(before=says), "none.wav": wav(0, says, data=b""), "name/5725_20220716_021453.wav": wav(), "folder/x.wav": wav(),
             "over.wav": wav(after=says)}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "over.csv").write_text("file,serial\nover.wav,T7\n", encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "in")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address, more = f"http://127.0.0.1:{server.server_port}/", {"overrides": tmp_path / "over.csv"}
        run(tmp_path / "in", tmp_path / "near", **more)
        run(address, tmp_path / "far", **more)
        near, far = (pd.read_parquet(tmp_path / x / "effort.parquet").set_index("recording").sort_index() for x in ("near", "far"))
        assert far["recorder"].to_dict() == {"a.wav": "SMM00119", "6872.220716021453.wav": "SMM00119", "none.wav": "SMM00119", "name/5725_20220716_021453.wav": "5725",
                                             "folder/x.wav": "folder", "over.wav": "T7"}
        columns = ["recorder", "start_utc", "sensitivity_db", "calibrated", "status", "duration_s"]
        done = far["status"] != "failed"
        pd.testing.assert_frame_equal(near.loc[done, columns], far.loc[done, columns])
        assert near["recorder"].equals(far["recorder"]) and (~done).sum() == 1
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "far" / "parts").glob("*.zip")}
        run(address, tmp_path / "far", **more)
        assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "far" / "parts").glob("*.zip")}
        HYDROPHONE_SENSITIVITY.add("SMM00119", -166.0, replace=True, save=False)
        capsys.readouterr()
        run(address, tmp_path / "far", **more)
        assert "3 recordings are done anew: settings changed" in capsys.readouterr().out
        again = pd.read_parquet(tmp_path / "far" / "effort.parquet").set_index("recording")
        assert again.loc[["a.wav", "6872.220716021453.wav"], "sensitivity_db"].tolist() == [-166.0, -166.0]
    finally:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_recording_that_cannot_be_fetched_is_tried_again_by_the_next_run(web, tmp_path, capsys):
    address, _, failing = web
    failing += [True] * pipeline.fetching.TRIES
    summary = run(address, tmp_path / "out").set_index("recording")
    assert (summary["status"] == "failed").sum() == 2 and "cannot be fetched" in capsys.readouterr().out
    assert (run(address, tmp_path / "out")["status"] == "failed").sum() == 1


def test_a_temporary_folder_without_room_stops_the_run(web, tmp_path, monkeypatch):
    class Full:
        def get_file(self, *args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

    found = find_recordings(web[0])
    monkeypatch.setattr("pipeline.multi.find_recordings", lambda where: found)
    monkeypatch.setattr(pipeline.fetching, "file_system", lambda where, options: (Full(), where))
    with pytest.raises(OutOfRoom, match="no room for http.*let TMPDIR name a folder with more"):
        run(web[0], tmp_path / "out")
    monkeypatch.setattr(pipeline.fetching, "new_folder", Full().get_file)  # no room for a folder, even
    with pytest.raises(OutOfRoom, match="no room for http.*let TMPDIR name a folder with more"):
        run(web[0], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.zip"))


def test_room_that_an_earlier_recording_takes_is_waited_for(web, monkeypatch):
    """Of two large recordings the second is fetched when the first is done with; where somebody else's files take the room, that is said at once."""
    first, second = [source for source in find_recordings(web[0]) if source.size > 0][:2]
    usage, held = shutil.disk_usage, []
    monkeypatch.setattr(pipeline.fetching.shutil, "disk_usage", lambda path: usage(path)._replace(free=first.size if not held else 0))
    held.append(bring(first))
    threading.Timer(0.3, lambda: held.pop().let_go()).start()
    bring(second).let_go()
    assert not held
    monkeypatch.setattr(pipeline.fetching.shutil, "disk_usage", lambda path: usage(path)._replace(free=0))
    with pytest.raises(Crowded, match="has room for 0 MB; let TMPDIR"):
        bring(second)
    monkeypatch.setattr(pipeline.fetching, "_check_room", lambda source, folder: None)
    with pytest.raises(OutOfRoom, match="free disk space"):
        bring(second)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_does_not_wait_for_a_server_that_does_not_answer(web, tmp_path, monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    class Silent:
        def get_file(self, *args, **kwargs):
            asked.set()
            answer.wait(60)

    found = find_recordings(web[0])
    monkeypatch.setattr("pipeline.multi.find_recordings", lambda where: found)
    monkeypatch.setattr(pipeline.fetching, "file_system", lambda where, options: (Silent(), where))
    threading.Thread(target=lambda: asked.wait(60) and signal.raise_signal(signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run(web[0], tmp_path / "out")
    assert not answer.is_set()
    answer.set()
    assert not list((tmp_path / "out").rglob("*.lock"))
