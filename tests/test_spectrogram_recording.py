"""Recordings as they come: formats, channels, and every kind of bad file, each with one clear line."""
import os
import re
import struct
from datetime import datetime, timezone

import numpy as np
import pytest
import soundfile

from spectrogram.header import header_of
from spectrogram.recording import BadRecording, Recording
from tests.signals import sine, white_noise, write

RATE = 8000
NAME = "6872.220716021453"


def samples(recording, block_s=1.0):
    return np.concatenate(list(recording.blocks(block_s)))


def wav_chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav_bytes(x, before=(), after=(), data_size=None) -> bytes:
    """A 16-bit WAV with further chunks before and after its data; `data_size` lies about the data's length."""
    data = (x * 32767).astype("<i2").tobytes()
    head = wav_chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, RATE * 2, 2, 16))
    body = head + b"".join(before) + b"data" + struct.pack("<I", len(data) if data_size is None else data_size) + data + b"".join(after)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


# ------------------------------------------------------------------------------------------------------------ formats

@pytest.mark.parametrize("name, subtype, format, step", [
    ("a.wav", "PCM_16", "WAV", 2 ** -15), ("a.wav", "PCM_24", "WAV", 2 ** -23), ("a.wav", "PCM_32", "WAV", 2 ** -23), ("a.wav", "FLOAT", "WAV", 0),
    ("a.wav", "DOUBLE", "WAV", 2 ** -24), ("a.wav", "PCM_U8", "WAV", 2 ** -7), ("a.wav", "PCM_24", "WAVEX", 2 ** -23), ("a.wav", "PCM_16", "RF64", 2 ** -15),
    ("a.w64", "PCM_16", "W64", 2 ** -15), ("a.w64", "FLOAT", "W64", 0), ("a.flac", "PCM_16", "FLAC", 2 ** -15), ("a.flac", "PCM_24", "FLAC", 2 ** -23),
    ("a.aiff", "PCM_16", "AIFF", 2 ** -15), ("a.aif", "PCM_24", "AIFF", 2 ** -23), ("A.WAV", "PCM_16", "WAV", 2 ** -15), ("A.FLAC", "PCM_16", "FLAC", 2 ** -15),
    ("A.AIFF", "PCM_16", "AIFF", 2 ** -15),
])
def test_every_format_is_read_to_its_last_bit(tmp_path, name, subtype, format, step):
    x = white_noise(RATE, 2.5, 0.1)
    recording = Recording(write(tmp_path / name, x, RATE, subtype, format))
    assert (recording.sample_rate_hz, recording.channels, recording.frames, recording.promised_frames) == (RATE, 1, len(x), len(x))
    y = samples(recording)
    assert y.dtype == np.float32 and len(y) == len(x)
    assert np.abs(y - x).max() <= 1.01 * step
    assert recording.complete and [f for f in recording.faults if "start time" not in f] == []


def test_each_channel_is_read_alone(tmp_path):
    left, right = white_noise(RATE, 1, 0.1, seed=1), white_noise(RATE, 1, 0.1, seed=2)
    for name, subtype in (("a.wav", "FLOAT"), ("a.flac", "PCM_24")):
        path = write(tmp_path / name, np.column_stack([left, right]), RATE, subtype)
        for channel, x in enumerate((left, right)):
            recording = Recording(path, channel=channel)
            assert recording.channels == 2 and np.abs(samples(recording, 0.3) - x).max() < 1e-6
            assert np.abs(recording.read(0.25, 0.5) - x[2000:4000]).max() < 1e-6


def test_chunks_before_and_after_the_data_are_not_sound(tmp_path):
    x = white_noise(RATE, 1, 0.1)
    bext, note = wav_chunk(b"bext", b"SoundTrap".ljust(602, b"\0")), wav_chunk(b"LIST", b"INFO" + wav_chunk(b"ICMT", b"odd"))
    odd = wav_chunk(b"xyzw", b"1234567")  # chunks of odd length are padded
    path = tmp_path / f"{NAME}.wav"
    path.write_bytes(wav_bytes(x, before=[bext, odd, note], after=[note]))
    recording = Recording(path)
    assert header_of(path).promised == recording.frames == RATE
    assert np.abs(samples(recording) - x).max() < 2 ** -14 and recording.complete and recording.faults == []


@pytest.mark.parametrize("block_s", [1e-9, 0.1, 0.37, 1.0, 7.3, 1e6])
def test_blocks_join_to_the_whole(tmp_path, block_s):
    x = white_noise(RATE, 3.3, 0.1)[:5000 if block_s < 1e-3 else None]
    for name in ("a.wav", "a.flac"):
        recording = Recording(write(tmp_path / name, x, RATE, "PCM_16"))
        blocks = list(recording.blocks(block_s))
        want = max(1, round(block_s * RATE))
        assert all(len(b) == want for b in blocks[:-1]) and 0 < len(blocks[-1]) <= want
        assert np.array_equal(np.concatenate(blocks), soundfile.read(recording.path, dtype="float32")[0])


def test_calibration_is_known_or_said_to_be_missing(tmp_path):
    x = white_noise(RATE, 0.1)
    known = Recording(write(tmp_path / f"{NAME}.wav", x, RATE))
    assert (known.serial, known.sensitivity_db, known.calibrated) == ("6872", -177.6, True)
    unknown = Recording(write(tmp_path / "4711.220716021453.wav", x, RATE))
    assert (unknown.serial, unknown.sensitivity_db, unknown.calibrated) == ("4711", -170.0, False)
    told = Recording(unknown.path, sensitivity_db=-165.5)
    assert (told.sensitivity_db, told.calibrated) == (-165.5, True)
    assert Recording(unknown.path, serial="6872").sensitivity_db == -177.6
    with pytest.raises(ValueError, match="4711.*minus sign"):
        Recording(unknown.path, sensitivity_db=176.3)


# ---------------------------------------------------------------------------------------------- files that cannot be

def one_line(error) -> str:
    line = str(error.value)
    assert "\n" not in line and len(line) < 400
    return line


def make_text(path):
    path.write_text("this is a note, not sound\n" * 50, encoding="utf-8")


def make_random(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


@pytest.mark.parametrize("name, make, fault, mend", [
    (f"{NAME}.wav", lambda p: p.touch(), "zero bytes", "copy it again or leave it out"),
    (f"{NAME}.wav", make_text, "not audio that can be read", "expected WAV, W64, FLAC or AIFF"),
    (f"{NAME}.flac", make_random, "not audio that can be read", "expected WAV, W64, FLAC or AIFF"),
    (f"{NAME}.wav", lambda p: None, "cannot be read", "check the path"),
    (f"{NAME}.wav", lambda p: p.mkdir(), "cannot be read", "check the path and its permissions"),
    (f"{NAME}.wav", lambda p: write(p, np.zeros(0, np.float32), RATE, "PCM_16"), "holds no samples", "cut off before it wrote the header"),
    (f"{NAME}.wav", lambda p: p.write_bytes(wav_bytes(white_noise(RATE, 1))[:30]), "not audio that can be read", "expected WAV"),
])
def test_hopeless_file_names_itself_its_fault_and_the_mend(tmp_path, name, make, fault, mend):
    make(tmp_path / name)
    with pytest.raises(BadRecording) as error:
        Recording(tmp_path / name)
    line = one_line(error)
    assert name in line and fault in line and mend in line


def test_channel_that_does_not_exist(tmp_path):
    mono = write(tmp_path / "mono.wav", white_noise(RATE, 0.1), RATE)
    stereo = write(tmp_path / "stereo.wav", np.zeros((800, 2), np.float32), RATE)
    for path, channel, have in ((mono, 1, "channel 0"), (stereo, 2, "channels 0 to 1"), (stereo, -1, "channels 0 to 1")):
        with pytest.raises(BadRecording, match=f"{path.name}: has no channel {channel}; it has {have}"):
            Recording(path, channel=channel)


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="permissions do not bind this user")
def test_file_without_permission(tmp_path):
    path = write(tmp_path / f"{NAME}.wav", white_noise(RATE, 0.1), RATE)
    path.chmod(0)
    with pytest.raises(BadRecording, match=f"{NAME}.wav: cannot be read .*permissions"):
        Recording(path)


# ------------------------------------------------------------------------------------- files with faults: read the rest

@pytest.mark.parametrize("name, subtype, format", [("a.wav", "PCM_16", "WAV"), ("a.wav", "PCM_24", "WAVEX"), ("a.wav", "FLOAT", "WAV"),
                                                   ("a.wav", "PCM_16", "RF64"), ("a.w64", "PCM_16", "W64"), ("a.aiff", "PCM_16", "AIFF"),
                                                   ("a.flac", "PCM_16", "FLAC")])
def test_truncated_file_is_read_to_where_it_breaks_off(generator, tmp_path, name, subtype, format):
    x = white_noise(RATE, 8, 0.1)
    path = write(tmp_path / name, x, RATE, subtype, format)
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2 + 1])
    reads = []
    for block_s in (0.5, 100):
        recording = Recording(path)
        assert recording.promised_frames == len(x)
        reads.append(samples(recording, block_s))
        assert not recording.complete
        fault = [f for f in recording.faults if f.startswith(("truncated", "damaged"))]
        assert len(fault) == 1 and "8.0 s" in fault[0] and "processed" in fault[0] and "copy the file again" in fault[0]
    assert np.array_equal(*reads) and 2.9 < len(reads[0]) / RATE <= 4.1
    assert np.abs(reads[0] - x[:len(reads[0])]).max() < 1e-4
    frames = np.concatenate([p.picture_db for p in generator.stream(Recording(path))])
    assert len(frames) == len(reads[0]) * 192 // RATE


def test_damaged_passage_of_a_flac(generator, tmp_path):
    """What came before is processed; looking into the damage names the file."""
    path = write(tmp_path / f"{NAME}.flac", white_noise(RATE, 20, 0.1), RATE, "PCM_16")
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle:middle + 5000] = np.random.default_rng(0).bytes(5000)
    path.write_bytes(whole)
    recording = Recording(path)
    assert 8 < len(samples(recording)) / RATE < 11 and not recording.complete
    assert [f for f in recording.faults if re.match(r"damaged: the data break off after \d+\.\d s of 20.0 s .*; what came before is processed", f)]
    assert len(recording.read(1, 5)) == 4 * RATE
    with pytest.raises(BadRecording) as error:
        generator.spectrogram(recording, 9, 18)
    assert f"{NAME}.flac: damaged between" in one_line(error)


def test_samples_that_are_no_numbers_count_as_silence(generator, tmp_path):
    x = white_noise(RATE, 3, 0.1)
    x[[100, 9000, 9001]] = np.nan, np.inf, -3e38
    recording = Recording(write(tmp_path / f"{NAME}.wav", x, RATE, "FLOAT"))
    y = samples(recording)
    assert np.isfinite(y).all() and (y[[100, 9000, 9001]] == 0).all() and recording.bad_samples == 3
    assert [f for f in recording.faults if f.startswith("3 samples are not numbers")]
    assert np.isfinite(recording.read(0, 3)).all()
    table = generator.levels(recording)
    assert np.isfinite(table.filter(regex="BB_|TOL_|PSD_").to_numpy()).all()


def test_silence_is_said(generator, tmp_path):
    recording = Recording(write(tmp_path / f"{NAME}.wav", np.zeros(3 * RATE, np.float32), RATE, "PCM_16"))
    assert generator.levels(recording).filter(regex="BB_|TOL_|PSD_").isna().to_numpy().all()  # nobody listened
    assert recording.complete and len(recording.faults) == 1 and recording.faults[0].startswith("silence: ") and "check the hydrophone" in recording.faults[0]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_clipping_is_counted(tmp_path, subtype):
    x = np.clip(sine(RATE, 2, 440, amplitude=1.5), -1, 1)
    recording = Recording(write(tmp_path / f"{NAME}.wav", x, RATE, subtype))
    samples(recording)
    assert recording.clipped_samples == pytest.approx((np.abs(x) >= 1).sum(), abs=20)
    assert [f for f in recording.faults if f.startswith("clipping: ") and "levels there are too low" in f]
    clean = Recording(write(tmp_path / "b.wav", 0.6 * x, RATE, subtype))
    samples(clean)
    assert clean.clipped_samples == 0 and not [f for f in clean.faults if "clipping" in f]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_a_few_samples_are_a_recording_without_a_frame_or_with_one(generator, tmp_path, name, n):
    recording = Recording(write(tmp_path / name, white_noise(RATE, 1, 0.1)[:n], RATE, "PCM_16"))
    pieces = list(generator.stream(recording))
    assert recording.complete and len(pieces) == 1 and len(pieces[0].picture_db) == n * 192 // RATE
    assert not [f for f in recording.faults if "silence" in f]
    assert len(generator.levels(recording)) == n * 192 // RATE


def test_reading_twice_tells_each_fault_once(tmp_path):
    recording = Recording(write(tmp_path / "a.wav", np.full(RATE, 1.0, np.float32), RATE))
    first, second = samples(recording), samples(recording)
    assert np.array_equal(first, second) and len(recording.faults) == len(set(recording.faults)) == 3  # no time, silence, clipping


def test_headers_that_are_cut_promise_nothing(tmp_path):
    whole = wav_bytes(white_noise(RATE, 0.1))
    for n in (0, 3, 11, 14, 20, 38, 43):
        path = tmp_path / "a.wav"
        path.write_bytes(whole[:n])
        assert header_of(path) is None or header_of(path).frames == 0
        with pytest.raises(BadRecording):
            Recording(path)
    path.write_bytes(wav_bytes(white_noise(RATE, 0.1), data_size=0xFFFFFFFF))  # a streamed WAV does not know its length
    recording = Recording(path)
    assert recording.complete and recording.frames == recording.promised_frames == 800


# ------------------------------------------------------------------------------------------------------------- times

def test_start_time_can_be_given_and_must_have_a_zone(tmp_path):
    path = write(tmp_path / f"{NAME}.wav", white_noise(RATE, 2), RATE)
    told = Recording(path, start_utc=datetime(2020, 1, 1, 12, tzinfo=timezone.utc))
    assert told.start_utc == datetime(2020, 1, 1, 12, tzinfo=timezone.utc) and told.time_source == "argument"
    assert told.end_utc == datetime(2020, 1, 1, 12, 0, 2, tzinfo=timezone.utc)
    with pytest.raises(ValueError, match=f"{NAME}.wav: start_utc .* has no time zone"):
        Recording(path, start_utc=datetime(2020, 1, 1))


def test_recording_without_a_time_says_so_and_how_to_mend_it(tmp_path):
    recording = Recording(write(tmp_path / "boat ramp.wav", white_noise(RATE, 1), RATE))
    assert recording.start_utc is None and recording.time_source == "none" and recording.end_utc is None
    assert len(recording.faults) == 1 and "no start time" in recording.faults[0] and "table of start times" in recording.faults[0]


def test_log_beside_the_recording_knows_utc(tmp_path):
    """A clock on local time: the name is hours off, the recorder's own log is right. Seconds apart, the name is finer."""
    path = write(tmp_path / "6872.220716021453.wav", white_noise(RATE, 1), RATE)
    log = tmp_path / "6872.220716021453.log.xml"
    log.write_text('<ST><PROC_EVENT ID="4"><WavFileHandler SamplingStartTimeUTC="2022-07-16T06:14:52"/></PROC_EVENT></ST>', encoding="utf-8")
    local = Recording(path)
    assert local.start_utc == datetime(2022, 7, 16, 6, 14, 52, tzinfo=timezone.utc) and local.time_source == "log.xml"
    told = Recording(path, clock="America/Toronto")
    assert told.start_utc == datetime(2022, 7, 16, 6, 14, 53, tzinfo=timezone.utc) and told.time_source == "name"
    log.write_text("<ST>cut off in the mid", encoding="utf-8")
    assert Recording(path).start_utc == datetime(2022, 7, 16, 2, 14, 53, tzinfo=timezone.utc)


def test_clock_from_the_environment(tmp_path, monkeypatch):
    path = write(tmp_path / f"{NAME}.wav", white_noise(RATE, 1), RATE)
    monkeypatch.setenv("TIMEZONE", "America/Toronto")
    assert Recording(path).start_utc == datetime(2022, 7, 16, 6, 14, 53, tzinfo=timezone.utc)


def test_soundtrap_recordings_start_when_their_logs_say(soundtrap):
    for path in soundtrap:
        log = path.with_suffix(".log.xml").read_text(encoding="utf-8")
        said = datetime.fromisoformat(re.search(r'SamplingStartTimeUTC="([^"]+)"', log).group(1)).replace(tzinfo=timezone.utc)
        recording = Recording(path)
        assert abs((recording.start_utc - said).total_seconds()) <= 1
        assert (recording.serial, recording.sensitivity_db, recording.calibrated) == ("67416073", -172.8, True)
        assert recording.faults == ["its crystal is some 130 ppm fast, says the log; times late in the file are off by as much"]
