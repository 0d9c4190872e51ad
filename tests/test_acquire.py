"""Acquisition: clips are the recordings' own samples, only annotated spans cross the network, noise lies where nothing is annotated, faults are told and the rest goes on."""
import contextlib
import functools
import os
import socket
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocessing.acquire import NoisePlan, acquire, clip_span, noise_spans, read_clips
from preprocessing.annotations import BadAnnotation
from preprocessing.label_map import LabelMap
from preprocessing.remote_sound import RemoteSound
from spectrogram.recording import BadRecording
from tests.s3_server import s3_server

RATE = 8000
A, B, C = "6872.211003021500.wav", "deep/haro_20211026T031500Z.wav", "haro_20211028T041500Z.flac"
HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCall Type\n"
MAP = LabelMap.from_dict({"labels": {"Whup": ["wup"], "Moan": []}, "unsure": ["?"], "drop": ["boat"]}, "toy map")


def raven(*rows) -> str:
    return HEAD + "".join(f"{k}\tSpectrogram 1\t{channel}\t{start}\t{end}\t100\t900\t{label}\n" for k, (channel, start, end, label) in enumerate(rows, 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three recordings of 60 s, WAV of 16 and (two channels) 24 bit and FLAC, with their tables."""
    folder, rng = tmp_path_factory.mktemp("store"), np.random.default_rng(1)
    (folder / "deep").mkdir()
    for name, subtype, channels in ((A, "PCM_16", 1), (B, "PCM_24", 2), (C, "PCM_16", 1)):
        soundfile.write(folder / name, 0.1 * rng.standard_normal((60 * RATE, channels)), RATE, subtype=subtype)
    for name, rows in ((A, [(1, 10.0, 11.0, "Whup"), (1, 30.5, 32.0, "wup"), (1, 59.0, 60.0, "Moan")]), (B, [(2, 20.0, 20.4, "Moan"), (1, 0.2, 0.6, "Whup")]), (C, [(1, 5.0, 6.0, "Moan")])):
        (folder / f"{name.rsplit('.', 1)[0]}.Table.1.selections.txt").write_text(raven(*rows), encoding="utf-8")
    return folder


def got_from(where, folder, annotations=None, **told):
    lines = []
    return acquire(where, annotations, folder, **({"label_map": MAP, "noise": None} | told), progress=False, say=lines.append), lines


def test_clips_are_the_recordings_own_samples(store, tmp_path):
    got, lines = got_from(store, tmp_path, margin_s=0.25)
    assert [line.split(":")[0] for line in lines] == [C] and "fetched whole" in lines[0]
    assert len(got.clips) == got.new_clips == 6 and sorted(got.clips.label) == ["Moan", "Moan", "Moan", "Whup", "Whup", "Whup"]
    for row in got.clips.to_dict("records"):
        clip, rate = soundfile.read(tmp_path / row["file"], dtype="int32")
        first = round(row["start_s"] * RATE)
        source = soundfile.read(store / row["recording"], dtype="int32", always_2d=True)[0][first:first + len(clip), row["channel"]]
        np.testing.assert_array_equal(clip, source)
        assert rate == RATE and row["end_s"] - row["start_s"] == pytest.approx(len(clip) / RATE) and row["start_s"] == pytest.approx(max(0, row["call_start_s"] - 0.25))
        assert soundfile.info(tmp_path / row["file"]).subtype == soundfile.info(store / row["recording"]).subtype
    first = got.clips[got.clips.recording == A].iloc[0]
    assert first["file"] == "clips/Whup/6872.211003021500_00009750-00011250.wav" and first["start_utc"] == "2021-10-03T02:15:09.750000+00:00"
    pd.testing.assert_frame_equal(read_clips(tmp_path), got.clips)
    assert not list(tmp_path.rglob("*.unfinished"))


def test_clips_of_one_length_lie_around_the_call_and_inside_the_recording():
    assert clip_span(10.0, 11.0, 60.0, 5.0, 9.0) == (8.0, 13.0)
    assert clip_span(0.1, 0.3, 60.0, 5.0, 0.0) == (0.0, 5.0) and clip_span(59.0, 60.0, 60.0, 5.0, 0.0) == (55.0, 60.0) and clip_span(1.0, 2.0, 3.0, 5.0, 0.0) == (0.0, 3.0)
    assert clip_span(1.0, 2.0, 60.0, None, 2.0) == (0.0, 4.0)


# ------------------------------------------------------------------------------------------------------------ over a network


class Counter:
    """Stands before a server and counts the bytes that come from it."""

    def __init__(self, address: str):
        host, port = address.removeprefix("http://").split(":")
        self.behind, self.count, self.door = (host, int(port)), 0, socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.door.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                here, _ = self.door.accept()
            except OSError:
                return
            there = socket.create_connection(self.behind)
            for one, other, counted in ((here, there, False), (there, here, True)):
                threading.Thread(target=self._pass, args=(one, other, counted), daemon=True).start()

    def _pass(self, one, other, counted):
        try:
            while data := one.recv(65536):
                self.count += len(data) if counted else 0
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture(scope="module")
def bucket(store):
    """The store behind the S3 protocol, and what counts its bytes."""
    import s3fs

    told = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something", "S3_ANONYMOUS": ""}
    before = {name: os.environ.get(name) for name in (*told, "S3_ENDPOINT")}
    with s3_server() as address:
        counter = Counter(address)
        os.environ.update(told | {"S3_ENDPOINT": counter.address})
        s3 = s3fs.S3FileSystem(endpoint_url=address, use_listings_cache=False)
        s3.mkdir("acoustic")
        for path in store.rglob("*"):
            if path.is_file():
                s3.call_s3("put_object", Bucket="acoustic", Key=f"humpbacks/{path.relative_to(store).as_posix()}", Body=path.read_bytes())
        yield "s3://acoustic/humpbacks", counter, s3
        counter.door.close()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def test_only_the_spans_cross_the_network_and_finished_clips_are_kept(bucket, store, tmp_path):
    where, counter, s3 = bucket
    whole = sum((store / name).stat().st_size for name in (A, B))
    tables = [str(path) for path in sorted(store.rglob("*.txt")) if not path.name.startswith(C[:20])]
    counter.count = 0
    got, lines = got_from(where, tmp_path / "s3", tables, margin_s=0.25)
    assert not lines and len(got.clips) == 5 and got.bytes_there == whole
    spans = sum(round((row.end_s - row.start_s) * RATE) * (6 if row.recording == B else 2) for row in got.clips.itertuples())
    assert got.bytes_read == spans + 2 * 4096
    assert spans < counter.count < spans + 40_000 and counter.count < 0.07 * whole  # headers and listings on top
    folder, _ = got_from(store, tmp_path / "folder", tables, margin_s=0.25)
    pd.testing.assert_frame_equal(got.clips.drop(columns="source"), folder.clips.drop(columns="source"))
    assert all((tmp_path / "s3" / clip).read_bytes() == (tmp_path / "folder" / clip).read_bytes() for clip in got.clips.file)

    again, _ = got_from(where, tmp_path / "s3", tables, margin_s=0.25)
    assert (again.new_clips, again.bytes_read) == (0, 0)
    pd.testing.assert_frame_equal(again.clips, got.clips)
    (tmp_path / "s3" / got.clips.file[0]).unlink()
    third, _ = got_from(where, tmp_path / "s3", tables, margin_s=0.25)
    assert third.new_clips == 1 and third.bytes_read < 40_000


def test_a_flac_is_fetched_whole_once_and_tables_may_lie_in_the_bucket(bucket, store, tmp_path):
    where, _, s3 = bucket
    got, lines = got_from(where, tmp_path)
    assert len(got.clips) == 6 and [line for line in lines if "fetched whole" in line] == [line for line in lines if line.startswith(C)] != []
    assert (tmp_path / "annotations" / "deep" / "haro_20211026T031500Z.Table.1.selections.txt").is_file()
    again, lines = got_from(where, tmp_path)
    assert again.bytes_read == 0 and not lines


def test_a_web_server_that_answers_no_ranges(store, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def copyfile(self, source, outputfile):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked for a span stops listening
                super().copyfile(source, outputfile)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(store)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    table = str(store / f"{A[:-4]}.Table.1.selections.txt")
    got, lines = got_from(f"http://127.0.0.1:{server.server_port}/", tmp_path / "web", table)
    server.shutdown()
    server.server_close()
    assert len(lines) == 1 and lines[0].startswith(f"{A}: fetched whole")
    folder, _ = got_from(store, tmp_path / "folder", table)
    assert len(got.clips) == 3 and all((tmp_path / "web" / clip).read_bytes() == (tmp_path / "folder" / clip).read_bytes() for clip in folder.clips.file)


# ------------------------------------------------------------------------------------------------------------ faults


def test_each_fault_gets_a_line_and_the_rest_goes_on(store, tmp_path):
    for name in (A,):
        os.link(store / name, tmp_path / name)
    (tmp_path / "none.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"no sound at all, only words" * 10)
    (tmp_path / "cut.wav").write_bytes((store / A).read_bytes()[:RATE * 2 * 10])
    tables = {A: raven((1, 10.0, 11.0, "Whup"), (1, 59.5, 61.0, "Moan"), (1, 70.0, 71.0, "Moan"), (1, 20.0, 21.0, "wupp"), (1, 22.0, 23.0, "wupp"), (1, 25.0, 26.0, "?"), (3, 1.0, 2.0, "Moan")),
              "gone.wav": raven((1, 1.0, 2.0, "Whup")), "none.wav": raven((1, 1.0, 2.0, "Whup")), "text.wav": raven((1, 1.0, 2.0, "Whup")), "cut.wav": raven((1, 1.0, 2.0, "Whup"))}
    for name, text in tables.items():
        (tmp_path / f"{name[:-4]}.Table.1.selections.txt").write_text(text, encoding="utf-8")
    (tmp_path / "bad.Table.1.selections.txt").write_text(HEAD + "1\tSpectrogram 1\t1\tten\t11\t\t\tWhup\n", encoding="utf-8")
    got, lines = got_from(tmp_path, tmp_path / "out")
    assert sorted(zip(got.clips.recording, got.clips.label)) == [(A, "Moan"), (A, "Whup"), ("cut.wav", "Whup")]
    for words in ("line 4: 70.000 s to 71.000 s lies beyond the end", "line 3: runs 1.000 s past the end", "'wupp' is not in toy map (2 annotations)", "channel 2 of", "gone", "none.wav: zero bytes",
                  "text.wav: not audio", "cut.wav: truncated", "bad.Table.1.selections.txt, line 2"):
        assert sum(words in line for line in lines) == 1, words
    assert not any("\n" in line for line in lines) and got.faults == lines
    with pytest.raises(BadAnnotation, match="no annotations to acquire by"):
        got_from(tmp_path, tmp_path / "out2", str(tmp_path / "bad.Table.1.selections.txt"))
    with pytest.raises(OSError, match="0 recordings found|cannot be listed"):
        got_from(tmp_path / "nowhere", tmp_path / "out3")


def test_an_object_that_vanishes_after_the_listing(store):
    memory = fsspec.filesystem("memory")
    memory.pipe("/sea/a.wav", (store / A).read_bytes())
    with RemoteSound(memory, "/sea/a.wav", (store / A).stat().st_size, "a.wav") as sound:
        assert sound.duration_s == 60.0
    memory.rm("/sea/a.wav")
    with pytest.raises(BadRecording, match="a.wav: is not in the store any more"):
        RemoteSound(memory, "/sea/a.wav", 1000, "a.wav")


@pytest.mark.parametrize("format, subtype", [("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("WAV", "MS_ADPCM")])
def test_headers_of_every_kind(tmp_path, format, subtype):
    x = np.round(0.3 * np.random.default_rng(0).standard_normal((2000, 2)) * 100) / 100
    soundfile.write(tmp_path / "a.wav", x, RATE, subtype=subtype, format=format)
    with RemoteSound(fsspec.filesystem("file"), str(tmp_path / "a.wav"), (tmp_path / "a.wav").stat().st_size) as sound:
        read = sound.read(100, 900, 1)
        assert (sound.sample_rate_hz, sound.channels, sound.fetched_whole) == (RATE, 2, subtype == "MS_ADPCM") and not sound.truncated
        np.testing.assert_array_equal(read, soundfile.read(tmp_path / "a.wav", dtype=str(read.dtype), start=100, stop=900)[0][:, 1])


def test_a_header_with_a_long_chunk_before_the_sound(store):
    data = (store / A).read_bytes()
    note = b"LIST" + struct.pack("<I", 50_000) + bytes(50_000)
    memory = fsspec.filesystem("memory")
    memory.pipe("/sea/long.wav", data[:36] + note + data[36:])
    with RemoteSound(memory, "/sea/long.wav", len(data) + len(note)) as sound:
        assert sound.frames == 60 * RATE and sound.bytes_read < 5000
        np.testing.assert_array_equal(sound.read(5, 50), soundfile.read(store / A, dtype="int16", start=5, stop=50)[0])


# ------------------------------------------------------------------------------------------------------------ noise


def test_noise_lies_where_nothing_is_annotated():
    spans, plan = np.array([[30.0, 31.0], [12.0, 40.0], [60.0, 61.0]]), NoisePlan((2.0, 5.0), 1000, 3.0, 7)
    found = np.array(noise_spans(spans, 100.0, plan, "a.wav"))
    assert found[0, 0] < 5 and found[-1, 1] > 90 and (found >= 0).all() and (found <= 100).all()  # the first gap and the last, too
    assert (np.diff(found.ravel()) >= -1e-9).all()
    for start_s, end_s in spans:
        assert ((found[:, 1] <= start_s - 3 + 1e-9) | (found[:, 0] >= end_s + 3 - 1e-9)).all()
    lengths = found[:, 1] - found[:, 0]
    assert all(min(abs(length - 2), abs(length - 5)) < 1e-9 for length in lengths) and lengths.sum() > 0.8 * (9 + 14 + 36)  # gaps are filled but for less than the shortest
    assert noise_spans(spans, 100.0, plan, "a.wav") == noise_spans(spans, 100.0, plan, "a.wav") != noise_spans(spans, 100.0, plan, "b.wav")
    few = noise_spans(spans, 100.0, NoisePlan((2.0, 5.0), 3, 3.0, 7), "a.wav")
    assert len(few) == 3 and set(few) <= set(map(tuple, found))
    assert noise_spans(np.empty((0, 2)), 4.0, NoisePlan((5.0,)), "a") == [] and len(noise_spans(np.empty((0, 2)), 20.0, NoisePlan((5.0,)), "a")) == 4


def test_noise_is_cut_from_what_somebody_looked_through(store, tmp_path):
    table = str(store / f"{A[:-4]}.Table.1.selections.txt")
    got, _ = got_from(store, tmp_path, table, noise=NoisePlan((4.0,), 5, 1.0), without_calls=(C,))
    noise = read_clips(tmp_path, "noise")
    assert noise.groupby("recording").size().to_dict() == {A: 5, C: 5} and len(got.clips) == 13
    for row in noise[noise.recording == A].itertuples():
        assert all(row.end_s <= start - 1 + 1e-3 or row.start_s >= end + 1 - 1e-3 for start, end in ((10, 11), (30.5, 32), (59, 60)))
    for row in noise.itertuples():
        assert soundfile.info(tmp_path / row.file).frames == 4 * RATE and row.label == "noise" and np.isnan(row.call_start_s)


def test_names_that_lead_elsewhere_stay_in_the_folder(store, tmp_path):
    (tmp_path / "in").mkdir()
    os.link(store / A, tmp_path / "in" / "a b.wav")
    table = pd.DataFrame({"recording": "a b.wav", "start_s": [1.0, 2.0], "end_s": [2.0, 3.0], "label": ["../../x", " "]})  # made by hand
    got, _ = got_from(tmp_path / "in", tmp_path / "out", table, label_map=None)
    assert len(got.clips) == 2 and all((tmp_path / "out" / clip).resolve().is_relative_to((tmp_path / "out" / "clips").resolve()) for clip in got.clips.file)
    assert sorted(path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*.wav")) == [("in", "a b.wav"), ("out", "clips"), ("out", "clips")]


def test_the_humpback_map_mends_the_catalogues_names():
    names = LabelMap.read("humpback")
    assert [names.look_up(label) for label in ("Asc_moan", "Piccalo", "Unknown_1", "noise", "yodel")] == [("Ascending_moan",), ("Piccolo",), ("(unsure)",), (), None]
