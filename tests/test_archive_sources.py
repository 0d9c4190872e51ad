"""Where recordings lie: folders, links, a bucket behind a real S3 protocol, a web server; and that no name leads out of where it belongs."""
import errno
import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

import pipeline.sources
from pipeline import run_multi_file_pipeline, shelf
from pipeline.__main__ import main
from pipeline.parts import part_key
from pipeline.sources import NothingFound, OutOfRoom, Source, bring, find_recordings, is_remote, local_name
from pipeline.tables import TABLES
from tests.s3_server import s3_server
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
    monkeypatch.setattr(pipeline.sources, "PAUSE_S", 0.01)


# ------------------------------------------------------------------------------------------------------------ folders


def test_an_empty_folder_and_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "notes.txt").write_text("no sound", encoding="utf-8")
    with pytest.raises(NothingFound, match="0 recordings found in .*looked for .wav"):
        find_recordings(tmp_path)
    with pytest.raises(NothingFound, match="no such file or folder"):
        find_recordings(tmp_path / "nowhere")


def test_what_is_known_of_a_local_recording(deployment):
    found = find_recordings(deployment / "in")
    assert [source.name for source in found] == [NAME, "RDL/empty.flac", OTHER]
    first, stat = found[0], (deployment / "in" / NAME).stat()
    assert (first.where, first.size, first.changed) == (str(deployment / "in" / NAME), stat.st_size, str(stat.st_mtime_ns))
    assert first.log.size == len(LOG) and found[2].log is None and not first.remote
    assert find_recordings(deployment / "in" / NAME) == [first] == find_recordings((deployment / "in" / NAME).as_uri())
    assert bring(first).path == deployment / "in" / NAME


def test_drives_and_local_addresses_are_no_remote_places():
    assert [is_remote(x) for x in ("s3://b/x", "https://h/x", "memory://x", "C:\\data", "C:/data", "/data", "file:///data", "a/b://c")] == [True] * 3 + [False] * 5


@pytest.mark.parametrize("name", ["../x.wav", "..\\..\\x.wav", "a/../../x.wav", "/etc/x.wav", "C:\\x.wav", "C:x.wav", "..", "a/..", ". .", "", "a/", "x\0.wav",
                                  "con?<>|*.wav", "é" * 300 + ".wav", "..wav"])
def test_no_name_leads_elsewhere(name, tmp_path):
    for made in (local_name(name), f"{part_key(name)}.zip"):
        path = tmp_path / made
        path.write_bytes(b"")
        assert path.resolve().parent == tmp_path.resolve() and made in os.listdir(tmp_path)


def test_names_that_look_alike_have_parts_of_their_own():
    names = ["a/b.wav", "a_b.wav", "a b.wav", "b.wav", "./b.wav", "x" * 300 + "1.wav", "y" * 300 + "1.wav"]
    assert len({part_key(name) for name in names}) == len(names) and max(len(part_key(name)) for name in names) < 120


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_in_the_input(tmp_path):
    """A link to a file is that file; a link to a folder is not entered, so that none is entered twice or for ever."""
    write(tmp_path / "elsewhere" / NAME, scene(6, 8000), 8000)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.wav").symlink_to(tmp_path / "elsewhere" / NAME)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "lost.wav").symlink_to(tmp_path / "nowhere.wav")
    before = sorted(p for p in tmp_path.rglob("*"))
    summary = run(tmp_path / "in", tmp_path / "out")
    assert dict(zip(summary["recording"], summary["status"])) == {"link.wav": "ok", "lost.wav": "failed"}
    assert sorted(p for p in tmp_path.rglob("*") if (tmp_path / "out") not in (p, *p.parents)) == before


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


def test_a_recording_that_cannot_be_fetched_is_tried_again_by_the_next_run(web, tmp_path, capsys):
    address, _, failing = web
    failing += [True] * pipeline.sources.TRIES
    summary = run(address, tmp_path / "out").set_index("recording")
    assert (summary["status"] == "failed").sum() == 2 and "cannot be fetched" in capsys.readouterr().out
    assert (run(address, tmp_path / "out")["status"] == "failed").sum() == 1


def test_a_temporary_folder_without_room_stops_the_run(web, tmp_path, monkeypatch):
    class Full:
        def get_file(self, *args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

    found = find_recordings(web[0])
    monkeypatch.setattr("pipeline.multi.find_recordings", lambda where: found)
    monkeypatch.setattr(pipeline.sources, "file_system", lambda where, options: (Full(), where))
    with pytest.raises(OutOfRoom, match="no room for http.*let TMPDIR name a folder with more"):
        run(web[0], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.zip"))


def test_what_came_short_is_fetched_again(tmp_path, monkeypatch):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/short/a.wav", b"12345")
    source = Source("a.wav", "memory://short/a.wav", 6, "")
    with pytest.raises(OSError, match="5 bytes came of 6"):
        bring(source)
    near = bring(Source("a.wav", "memory://short/a.wav", 5, ""))
    assert near.path.read_bytes() == b"12345" and near.path.parent.parent == shelf.shelf()
    near.let_go()
    assert not near.path.exists()
    with pytest.raises(InterruptedError):
        bring(Source("a.wav", "memory://short/a.wav", 5, ""), wanted=lambda: False)
    assert [p.name for p in shelf.shelf().iterdir()] == ["owner.lock"]


def test_shelves_of_dead_processes_are_swept_and_those_of_living_ones_are_not(tmp_path):
    from filelock import FileLock

    for name in ("dead", "alive", "young"):
        (tmp_path / f"{shelf.PREFIX}{name}").mkdir()
        (tmp_path / f"{shelf.PREFIX}{name}" / "a.wav").write_bytes(b"")
    for name in ("dead", "alive"):
        os.utime(tmp_path / f"{shelf.PREFIX}{name}", (0, 0))
    with FileLock(tmp_path / f"{shelf.PREFIX}alive" / "owner.lock"):
        os.utime(tmp_path / f"{shelf.PREFIX}alive", (0, 0))
        shelf.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{shelf.PREFIX}alive", f"{shelf.PREFIX}young"]
