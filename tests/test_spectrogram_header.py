"""One reader of headers: all the sound that lies in a file is processed, whatever its header says, and damage to it is no loss of sound."""
import io
import struct

import fsspec
import numpy as np
import pytest
import soundfile

from preprocessing.remote_sound import RemoteSound
from spectrogram.header import header_of
from spectrogram.recording import BadRecording, Recording
from tests.signals import white_noise, write

RATE, SECONDS = 8000, 10
X = white_noise(RATE, SECONDS, 0.1)
DATA = (X * 32767).astype("<i2").tobytes()
NAME = "6872.220716021453.wav"


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav(declared=len(DATA), before=b"", after=b"", data=DATA, rate=RATE, magic=b"RIFF") -> bytes:
    """A 16-bit WAV whose header says that its sound has `declared` bytes."""
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, rate * 2 % 2 ** 32, 2, 16))
    return magic + struct.pack("<I", (36 + declared) % 2 ** 32) + b"WAVE" + form + before + b"data" + struct.pack("<I", declared % 2 ** 32) + data + after


def ds64(declared: int, samples: int | None = None) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", min(declared + 72, 2 ** 64 - 1), declared, declared // 2 if samples is None else samples, 0))


def read(path) -> tuple[Recording, np.ndarray]:
    recording = Recording(path)
    return recording, np.concatenate(list(recording.blocks(3.0)))


@pytest.mark.parametrize("content, complete, said", [
    (wav(), True, None),
    (wav(0), True, "never finished; all 10.0 s"), (wav(44), True, "never finished"), (wav(36), True, "never finished"),
    (wav(0xFFFFFFFF), True, None), (wav(0x7FFFFFFF), True, None), (wav(0x7FFFF000), True, None), (wav(0x80000000), True, None),
    (wav(len(DATA) + 44), True, None), (wav(len(DATA) - 44), True, None), (wav(len(DATA) + 36), True, None), (wav(len(DATA) - 8), True, None),
    (wav(len(DATA) // 2), False, "5.0 s of sound lie behind the end that the header promises"),
    (wav(2 * len(DATA)), False, "truncated: the header promises 20.0 s, the file holds 10.0 s"),
    (wav(0xFFFFFFFF, ds64(len(DATA)), magic=b"RF64"), True, None), (wav(0xFFFFFFFF, ds64(len(DATA)), magic=b"BW64"), True, None),
    (wav(0xFFFFFFFF, ds64(len(DATA) // 2), magic=b"RF64"), False, "5.0 s of sound lie behind"),
    (wav(0xFFFFFFFF, ds64(0), magic=b"BW64"), True, "never finished"),
    *((wav(size32, ds64(size, samples), magic=magic), True, None) for magic in (b"RF64", b"BW64") for size32 in (0xFFFFFFFF, 0, len(DATA))
      for size in (2 ** 64 - 1, 2 ** 63 - 1, 2 ** 64 - 2, 2 ** 64 - 80, 2 ** 63, 2 ** 48 - 1) for samples in (None, 2 ** 64 - 1, 0)),
    (wav(0xFFFFFFFF, ds64(2 ** 32 - 1), magic=b"RF64"), True, None), (wav(0, ds64(len(DATA), 2 ** 64 - 1), magic=b"RF64"), True, None),
    (wav(0xFFFFFFFF, ds64(2 * len(DATA)), magic=b"RF64"), False, "truncated: the header promises 20.0 s"),
])
def test_all_sound_of_a_file_is_read_whatever_size_its_header_says(tmp_path, content, complete, said):
    (tmp_path / NAME).write_bytes(content)
    recording, samples = read(tmp_path / NAME)
    assert len(samples) == recording.frames == len(X) and np.abs(samples - X).max() < 2 ** -14
    assert recording.complete is complete and recording.unfinished == (said is not None and "never" in said)
    assert [said in fault for fault in recording.faults] == ([True] if said else [])
    assert np.array_equal(recording.read(4.0, 4.5), samples[4 * RATE:4 * RATE + RATE // 2])


@pytest.mark.parametrize("after", [chunk(b"guan", b"GUANO|Version: 1.0"), chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"odd")), b"Q" + chunk(b"LIST", b"INFO"),
                                   chunk(b"xtra", b"12345678"), b"TAG" + bytes(125), bytes(4096)])
def test_what_follows_the_sound_is_no_sound_where_it_is_a_chunk_or_room_set_aside(tmp_path, after):
    for declared in (len(DATA), 0xFFFFFFFF, 0) if after[:4] in (b"guan", b"LIST") else (len(DATA),):
        (tmp_path / NAME).write_bytes(wav(declared, after=after))
        recording, samples = read(tmp_path / NAME)
        assert len(samples) == len(X) and recording.complete


def test_a_size_that_32_bits_cannot_hold(tmp_path):
    """Sparse on the disk: 4.4 GB by name."""
    path, size = tmp_path / NAME, (1 << 32) + 400_000_000
    path.write_bytes(wav(size))
    with open(path, "r+b") as file:
        file.truncate(44 + size)
    recording = Recording(path)
    assert recording.frames == size // 2 and recording.complete and "32 bits" in recording.faults[0]
    assert np.abs(recording.read(3, 4) - X[3 * RATE:4 * RATE]).max() < 2 ** -14 and not recording.read(size / 2 / RATE - 1).any()


@pytest.mark.parametrize("format, at, size", [("AIFF", None, 4), ("W64", None, 8)])
def test_sizes_of_other_containers(tmp_path, format, at, size):
    path = write(tmp_path / f"a.{format.lower()}", X, RATE, "PCM_16", format)
    content = bytearray(path.read_bytes())
    places = {"AIFF": [content.find(b"SSND") + 4, content.find(b"COMM") + 10], "W64": [content.find(b"data") + 16]}[format]
    for place in places:
        number = int.from_bytes(content[place:place + size], "big" if format == "AIFF" else "little")
        content[place:place + size] = (number // 2).to_bytes(size, "big" if format == "AIFF" else "little")
    path.write_bytes(content)
    recording, samples = read(path)
    assert len(samples) == len(X) and not recording.complete and "lie behind the end" in recording.faults[0]


@pytest.mark.parametrize("length, complete", [(2 ** 64 - 1, True), (2 ** 63 - 1, True), (2 ** 64 - 25, True), (0, True), (24, True), (len(DATA), True), (2 * len(DATA), False)])
@pytest.mark.parametrize("behind", [b"", b"levl"])
def test_a_w64_whose_size_was_never_known_is_whole(tmp_path, length, complete, behind):
    path = write(tmp_path / "a.w64", X, RATE, "PCM_16", "W64")
    content = bytearray(path.read_bytes())
    at = content.find(b"data") + 16
    content[at:at + 8] = length.to_bytes(8, "little")
    if behind:
        content += bytes(-len(content) % 8) + behind + content[at - 12:at] + (40).to_bytes(8, "little") + bytes(range(16))
    path.write_bytes(content)
    recording, samples = read(path)
    assert len(samples) == len(X) and np.abs(samples - X).max() < 2 ** -14 and recording.complete is complete
    assert recording.unfinished == (length in (0, 24))


@pytest.mark.parametrize("subtype, blocks", [("PCM_16", 4), ("PCM_24", 4)])
def test_a_flac_of_unknown_or_wrong_length_is_read_to_its_last_sample(tmp_path, subtype, blocks):
    path = write(tmp_path / "6872.220716021453.flac", X[:-1234], RATE, subtype)
    whole, want = bytearray(path.read_bytes()), soundfile.read(path, dtype="float32")[0]
    for total, complete in ((0, True), (len(want), True), (2 * len(want), False), (len(want) // 2, False), (2 ** 36 - 1, False)):
        whole[21:26] = bytes([whole[21] & 0xF0 | total >> 32]) + (total & 0xFFFFFFFF).to_bytes(4, "big")
        path.write_bytes(whole)
        recording, samples = read(path)
        assert np.array_equal(samples, want) and recording.complete is complete
        assert recording.end_utc.year == 2022 and len(recording.read(9.5, None)) == len(want) - round(9.5 * RATE)


def test_a_rate_or_a_number_of_channels_that_no_recorder_has_is_refused_or_mended(tmp_path):
    path = tmp_path / NAME
    content = bytearray(wav())
    content[24:28] = (2 ** 31).to_bytes(4, "little")  # bytes per second still tell the rate
    path.write_bytes(content)
    recording, samples = read(path)
    assert recording.sample_rate_hz == RATE and len(samples) == len(X) and "contradicts" in recording.faults[0]
    path.write_bytes(wav(rate=2 ** 31))
    with pytest.raises(BadRecording, match="2147483648 Hz and 1 channels, which no recorder has"):
        Recording(path)
    for rate in (1_500_000, 4_000_000):  # rates that there are: not damaged, too much
        path.write_bytes(wav(rate=rate))
        with pytest.raises(BadRecording, match=f"sampled at {rate} Hz; at most 1000000 Hz fit into the memory .* so resample it, e.g. with sox"):
            Recording(path)
    path.write_bytes(wav(rate=1_000_000))
    assert Recording(path).sample_rate_hz == 1_000_000


def test_chunks_of_no_size_or_beyond_the_file_do_not_loop(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * 200_000)
    with pytest.raises(BadRecording):
        Recording(path)
    path.write_bytes(wav(before=b"LIST\0\0\0\0" * 3 + b"JUNK\xff\xff\xff\x7f"))
    assert len(read(path)[1]) == len(X)


def seeds() -> list[tuple[str, bytes]]:
    """A second of sound in each container, some with what recorders say in their headers."""
    files = []
    for name, subtype, format in (("a.wav", "PCM_16", "WAV"), ("b.wav", "PCM_24", "WAVEX"), ("c.wav", "FLOAT", "WAV"), ("d.wav", "PCM_16", "RF64"),
                                  ("e.w64", "PCM_16", "W64"), ("f.aiff", "PCM_16", "AIFF"), ("g.flac", "PCM_16", "FLAC")):
        buffer = io.BytesIO()
        soundfile.write(buffer, X[:RATE], RATE, subtype, format=format)
        files.append((name, buffer.getvalue()))
    plain = wav(data=DATA[:2 * RATE], declared=2 * RATE)
    guano = chunk(b"guan", b"GUANO|Version: 1.0\nTimestamp: 2023-11-17 09:52:00+11:00\nSerial: SMM00119\n")
    return [*files, ("h.wav", plain + guano), ("i.wav", plain[:36] + guano + plain[36:])]


def test_flipped_bytes_of_a_header_crash_nothing_and_refuse_no_whole_sound(tmp_path):
    """One to three bytes of the header, 450 times. AIFF may lose its rate, which it says once."""
    rng, refused = np.random.default_rng(7), []
    for k, (name, content) in enumerate(seeds() * 50):
        damaged, reach = bytearray(content), 80 if name.endswith("flac") else 100
        for at in rng.integers(0, reach, rng.integers(1, 4)):
            damaged[at] ^= int(rng.integers(1, 256))
        path = tmp_path / f"{k % 9}{name}"
        path.write_bytes(damaged)
        try:
            recording, samples = read(path)
        except BadRecording:
            refused.append(name)
            continue
        assert len(samples) >= RATE - 60 and recording.sample_rate_hz <= 1_000_000
        assert recording.start_utc is None or 1900 <= recording.start_utc.year < 2100
    assert len(refused) <= 8 and set(refused) <= {"f.aiff", "g.flac"}


def test_flipped_bytes_of_the_first_frames_of_a_flac_are_a_fault_or_a_refusal_and_never_a_crash(tmp_path):
    rng, content, refused = np.random.default_rng(8), dict(seeds())["g.flac"], 0
    for k in range(200):
        damaged = bytearray(content)
        for at in rng.integers(80, 200, 2):
            damaged[at] ^= int(rng.integers(1, 256))
        (tmp_path / f"{k % 9}.flac").write_bytes(damaged)
        try:
            recording = Recording(tmp_path / f"{k % 9}.flac")
            heard = sum(len(block) for block in recording.blocks())
            assert heard == recording.frames or any("damaged" in fault or "truncated" in fault for fault in recording.faults)
        except BadRecording as error:
            refused += "not audio that can be read" in str(error)
    assert 0 < refused < 100


def test_files_near_and_far_are_read_alike(tmp_path):
    for name, content in [*seeds(), ("half.wav", wav(len(DATA) // 2)), ("none.wav", wav(0)), ("BW.wav", wav(0xFFFFFFFF, ds64(len(DATA)), magic=b"BW64"))]:
        path = tmp_path / f"20220716_021453_{name}"
        path.write_bytes(content)
        near = Recording(path)
        with RemoteSound(fsspec.filesystem("file"), str(path), len(content), path.name) as far:
            assert (far.sample_rate_hz, far.channels, far.frames, far.subtype) == (near.sample_rate_hz, near.channels, near.frames, near.subtype)
            assert far.timeline.start_utc == near.start_utc and far.notes == header_of(path).notes
            stored = far.read(100, 900).astype(np.float32) * np.float32(near.scale)
            assert np.array_equal(stored, near.read(100 / RATE, 900 / RATE))


def test_sound_in_a_second_data_chunk_is_said_and_an_empty_first_one_hides_none(tmp_path):
    path, half = tmp_path / NAME, len(DATA) // 2
    for between in (b"", chunk(b"LIST", b"INFO")):
        path.write_bytes(wav(half, data=DATA[:half], after=between + chunk(b"data", DATA[half:])))
        recording, samples = read(path)
        assert len(samples) == len(X) // 2 and not recording.complete
        assert [fault for fault in recording.faults if "5.0 s of sound lie in a second data chunk" in fault]
    path.write_bytes(wav(before=chunk(b"data", b"")))
    recording, samples = read(path)
    assert len(samples) == len(X) and recording.complete and not recording.faults


EXTENSION = struct.pack("<HHI", 22, 8, 4)  # of the format chunk: its size, true bits, where the speakers stand
GUID = bytes.fromhex("000000001000800000aa00389b71")


@pytest.mark.parametrize("subtype", ["ALAW", "ULAW"])
def test_compressed_samples_are_what_they_are_in_either_form_of_the_header(tmp_path, subtype):
    plain, extended = write(tmp_path / "a.wav", X, RATE, subtype), tmp_path / "b.wav"
    want, number = soundfile.read(plain, dtype="float32")[0], {"ALAW": 6, "ULAW": 7}[subtype]
    content = plain.read_bytes()
    coded = content[content.find(b"data") + 8:][:len(X)]
    form = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, RATE, 1, 8) + EXTENSION + struct.pack("<H", number) + GUID
    extended.write_bytes(b"RIFF" + struct.pack("<I", 60 + len(coded)) + b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", coded))
    for path in (plain, extended):
        recording, samples = read(path)
        assert np.array_equal(samples, want) and sum(f"compressed with loss ({subtype})" in fault for fault in recording.faults) == 1


@pytest.mark.parametrize("number, byte_rate, align, bits", [(0x161, 8004, 2972, 16), (0xFF, 16000, 1024, 16), (0x160, 12000, 288, 0), (0xF1AC, 16000, 2, 12),
                                                            (0x45, 4000, 1, 4)])
def test_sound_of_a_kind_that_cannot_be_read_is_refused_and_never_taken_for_samples(tmp_path, number, byte_rate, align, bits):
    path = tmp_path / NAME
    form = struct.pack("<HHIIHH", number, 1, RATE, byte_rate, align, bits) + b"\0\0"
    path.write_bytes(b"RIFF" + struct.pack("<I", 38 + len(DATA)) + b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", DATA))
    with pytest.raises(BadRecording, match=f"compressed sound .format {number:#x}. that cannot be read; convert it to WAV or FLAC"):
        Recording(path)
