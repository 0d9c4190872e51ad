"""Where recordings lie: folders and links; fetching; and that no name leads out of where it belongs."""
import os

import pytest

import pipeline.fetching
from pipeline import run_multi_file_pipeline, shelf
from pipeline.fetching import bring, local_name
from pipeline.parts import part_key
from pipeline.sources import NothingFound, Source, find_recordings, is_remote
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, scene, write

LOG = '<ST><WAV SamplingStartTimeUTC="2022-07-16T06:14:53"/></ST>'
OTHER = "RDL/sub folder/6872.220716030000.WAV"


@pytest.fixture
def deployment(tmp_path):
    """A folder with two recordings, a log, a damaged file and something else."""
    write(tmp_path / "in" / NAME, noise(1, 8000), 8000)
    write(tmp_path / "in" / OTHER, noise(1, 8000), 8000)
    (tmp_path / "in" / NAME.replace(".wav", ".log.xml")).write_text(LOG, encoding="utf-8")
    (tmp_path / "in" / "RDL" / "empty.flac").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("calm sea", encoding="utf-8")
    return tmp_path


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
    summary = run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), workers=1, progress=False)
    assert dict(zip(summary["recording"], summary["status"])) == {"link.wav": "ok", "lost.wav": "failed"}
    assert sorted(p for p in tmp_path.rglob("*") if (tmp_path / "out") not in (p, *p.parents)) == before


def test_what_came_short_is_fetched_again(monkeypatch):
    import fsspec

    monkeypatch.setattr(pipeline.fetching, "PAUSE_S", 0.01)
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
