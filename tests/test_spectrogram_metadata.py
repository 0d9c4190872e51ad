"""What a file, or the log beside it, says of itself beats its name; where they differ by more than a minute the recording says so."""
import struct
from datetime import datetime, timezone

import numpy as np
import pytest

from spectrogram import tags
from spectrogram.flac import word_only
from spectrogram.metadata import own_word
from spectrogram.recording import BadRecording, Recording
from spectrogram.sensitivity import HYDROPHONE_SENSITIVITY
from tests.signals import write
from tests.test_spectrogram_header import RATE, chunk, wav


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


def info(comment: bytes, name: bytes = b"ICMT") -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(name, comment + b"\0"))


def guano(text: str) -> bytes:
    return chunk(b"guan", b"GUANO|Version: 1.0\n" + text.encode())


def wamd(**fields) -> bytes:
    numbers = {"serial": 2, "start": 5, "slowed": 15}
    return chunk(b"wamd", b"".join(struct.pack("<HI", numbers[key], len(text)) + text.encode() for key, text in fields.items()))


BEXT = chunk(b"bext", bytes(320) + b"2023-11-17" + b"09:52:00" + bytes(264))
IXML = chunk(b"iXML", b"<BWFXML><BEXT><BWF_ORIGINATION_DATE>2023-11-17</BWF_ORIGINATION_DATE><BWF_ORIGINATION_TIME>09:52:00</BWF_ORIGINATION_TIME></BEXT></BWFXML>")
MOTH = b"Recorded at 01:00:00 28/09/2022 (UTC%b) by AudioMoth 0123456789ABCDEF at medium gain."


@pytest.mark.parametrize("name, more, start, source, serial", [
    ("SMM119_20231117_095200.wav", guano("Timestamp: 2023-11-17 09:52:00+11:00\nSerial: SMM00119"), utc(2023, 11, 16, 22, 52), "GUANO", "SMM00119"),
    ("note.wav", guano("Timestamp: 2023-11-17T09:52:00.250Z\nSerial: SMM00119"), utc(2023, 11, 17, 9, 52, 0, 250000), "GUANO", "SMM00119"),
    ("20220928_010000.WAV", info(MOTH % b"-3"), utc(2022, 9, 28, 4), "the AudioMoth's comment", "0123456789ABCDEF"),
    ("20220928_010000.WAV", info(MOTH % b"+5:30"), utc(2022, 9, 27, 19, 30), "the AudioMoth's comment", "0123456789ABCDEF"),
    ("20220928_010000.WAV", info(MOTH % b""), utc(2022, 9, 28, 1), "the AudioMoth's comment", "0123456789ABCDEF"),
    ("x.wav", info(b"2014-11-12T18:36:59.000+00", b"ICRD"), utc(2014, 11, 12, 18, 36, 59), "ICRD", None),
    ("x.wav", info(b"2014", b"ICRD"), None, "none", None),
    ("T001.WAV", BEXT, utc(2023, 11, 17, 9, 52), "bext", None), ("T001.WAV", IXML, utc(2023, 11, 17, 9, 52), "iXML", None),
    ("x.wav", wamd(serial="S4U09523", start="2016-09-23 23:55:08-05:00"), utc(2016, 9, 24, 4, 55, 8), "wamd", "S4U09523"),
    ("20231117_095200.250Z.wav", BEXT, utc(2023, 11, 17, 9, 52, 0, 250000), "name", None),  # the same moment, finer
    ("6872.231117095200.wav", guano("Timestamp: yesterday\nSerial:"), utc(2023, 11, 17, 9, 52), "name", "6872"),
])
def test_what_a_file_says_of_itself_beats_its_name(tmp_path, name, more, start, source, serial):
    for content in (wav(before=more), wav(after=more)):
        (tmp_path / name).write_bytes(content)
        recording = Recording(tmp_path / name)
        assert (recording.start_utc, recording.time_source, recording.serial) == (start, source, serial)


def vorbis(*fields: bytes) -> bytes:
    """A FLAC's block of comments."""
    body = struct.pack("<I", 3) + b"lib" + struct.pack("<I", len(fields)) + b"".join(struct.pack("<I", len(field)) + field for field in fields)
    return b"\x04" + struct.pack(">I", len(body))[1:] + body


def foreign(chunk_: bytes) -> bytes:
    """A FLAC's block that keeps a chunk of the WAV it was made of."""
    return b"\x02" + struct.pack(">I", len(chunk_) + 4)[1:] + b"riff" + chunk_


def id3(version: int = 4, **frames: bytes) -> bytes:
    def sized(n: int) -> bytes:
        return bytes(n >> shift & 0x7F for shift in (21, 14, 7, 0)) if version == 4 else struct.pack(">I", n)

    body = b"".join(name.encode() + sized(len(text)) + b"\0\0" + text for name, text in frames.items())
    return b"ID3" + bytes([version, 0, 0]) + bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0)) + body


GUANO = b"GUANO|Version: 1.0\nTimestamp: 2023-11-17 09:52:00+11:00\nSerial: SMM00119"
MOTH_SAYS = (utc(2022, 9, 28, 4), "0123456789ABCDEF", "medium")


@pytest.mark.parametrize("block, start, serial, gain", [
    (vorbis(b"ARTIST=AudioMoth", b"COMMENT=" + MOTH % b"-3"), *MOTH_SAYS), (vorbis(b"description=" + MOTH % b"-3"), *MOTH_SAYS), (foreign(info(MOTH % b"-3")), *MOTH_SAYS),
    (vorbis(b"GUANO=" + GUANO), utc(2023, 11, 16, 22, 52), "SMM00119", None), (foreign(guano("Timestamp: 2023-11-17 09:52:00+11:00\nSerial: SMM00119\nOAD|Gain: low")), utc(2023, 11, 16, 22, 52), "SMM00119", "low"),
    (vorbis(b"RecordingStart=2023-11-17T09:52:00+1100", b"SensorUid=000112", b"MicrophoneGain=35dB"), utc(2023, 11, 16, 22, 52), "000112", None),
    (vorbis(b"DATE=2023-11-17T09:52:00Z", b"Serial_Number=X17"), utc(2023, 11, 17, 9, 52), "X17", None), (vorbis(b"date=2023-11-17", b"creation_time=09:52:00"), utc(2023, 11, 17, 14, 52), None, None),
    (foreign(BEXT), utc(2023, 11, 17, 14, 52), None, None), (vorbis(b"DATE=2023", b"TITLE=10:20", b"nonsense"), None, None, None), (vorbis(b"x=y")[:-3] + b"", None, None, None)])
def test_comments_of_a_flac_are_read_as_those_of_a_wav(tmp_path, block, start, serial, gain):
    whole = write(tmp_path / "plain.flac", np.random.default_rng(0).uniform(-0.1, 0.1, RATE).astype(np.float32), RATE, "PCM_16").read_bytes()
    block = block[:1] + struct.pack(">I", len(block) - 4)[1:] + block[4:]
    (tmp_path / "x.flac").write_bytes(whole[:42] + block + whole[42:])
    recording = Recording(tmp_path / "x.flac", clock="America/Toronto")
    assert (recording.start_utc, recording.serial, recording.gain) == (start, serial, gain)
    assert np.array_equal(recording.read(), Recording(tmp_path / "plain.flac").read())
    with open(tmp_path / "x.flac", "rb") as file:
        assert own_word(word_only(lambda at, count: file.seek(at) * 0 or file.read(count))).serial == serial


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("frames, serial", [({"COMM": b"\0eng\0" + MOTH % b"-3"}, "0123456789ABCDEF"), ({"TXXX": b"\x03Serial Number\0X17", "TDRC": b"\x032022-09-28T04:00:00Z"}, "X17"),
                                            ({"COMM": b"\x01eng\xff\xfe\0\0" + (MOTH % b"-3").decode().encode("utf-16")}, "0123456789ABCDEF")])
def test_id3_tags_of_a_wav_are_read_as_its_comments(tmp_path, version, frames, serial):
    for name in (b"id3 ", b"ID3 "):
        (tmp_path / "x.wav").write_bytes(wav(after=chunk(name, id3(version, **frames))))
        recording = Recording(tmp_path / "x.wav")
        assert (recording.start_utc, recording.serial) == (utc(2022, 9, 28, 4), serial)


def test_damaged_comments_say_nothing_and_crash_nothing():
    rng = np.random.default_rng(3)
    for reader, body in ((tags.info, info(MOTH % b"-3")[12:]), (tags.vorbis, vorbis(b"COMMENT=" + MOTH % b"-3", b"a=b")[4:]), (tags.id3, id3(4, TXXX=b"\x03Serial\0X17", COMM=b"\1eng\0x"))):
        for _ in range(300):
            damaged = bytearray(body[:rng.integers(0, len(body) + 1)])
            for at in rng.integers(0, max(1, len(damaged)), 3):
                damaged[at:at + 1] = bytes([rng.integers(0, 256)])
            assert all(isinstance(text, str) for text in reader(bytes(damaged)).values())


def test_the_gain_that_a_file_says_chooses_among_calibrations(tmp_path, monkeypatch):
    monkeypatch.setattr(HYDROPHONE_SENSITIVITY, "_table", dict(HYDROPHONE_SENSITIVITY._table))
    for gain, value in (("medium", -160.0), ("low-medium", -155.0), ("high", -170.5)):
        HYDROPHONE_SENSITIVITY.add("0123456789ABCDEF", value, gain=gain, save=False)
    for gain, value in ((b"medium", -160.0), (b"low-medium", -155.0), (b"high", -170.5)):
        (tmp_path / "x.wav").write_bytes(wav(after=info((MOTH % b"").replace(b"medium", gain))))
        assert (Recording(tmp_path / "x.wav").sensitivity_db, Recording(tmp_path / "x.wav").calibrated) == (value, True)
    assert Recording(tmp_path / "x.wav", gain="medium").sensitivity_db == -160.0
    (tmp_path / "x.wav").write_bytes(wav(after=info((MOTH % b"").replace(b"medium", b"low"))))
    recording = Recording(tmp_path / "x.wav")
    assert not recording.calibrated and any("it was recorded at low" in fault for fault in recording.faults)


def test_a_clock_without_an_offset_runs_on_the_recorder_s_zone(tmp_path):
    (tmp_path / "T001.WAV").write_bytes(wav(before=BEXT))
    assert Recording(tmp_path / "T001.WAV", clock="America/Toronto").start_utc == utc(2023, 11, 17, 14, 52)


def test_a_difference_of_more_than_a_minute_is_said_and_is_the_same_line_for_all_files(tmp_path):
    lines = set()
    for day in (17, 18):
        path = tmp_path / f"SMM119_202311{day}_095200.wav"
        path.write_bytes(wav(after=guano(f"Timestamp: 2023-11-{day} 09:52:00+11:00")))
        lines |= set(Recording(path).faults)
        assert Recording(path, clock="Australia/Sydney").faults == []
    assert len(lines) == 1 and "11.00 h earlier than its name says" in lines.pop()


def test_sound_that_was_slowed_is_read_at_its_true_rate(tmp_path):
    for more, said in ((guano(f"TE: 10\nSamplerate: {10 * RATE}"), "slowed 10 times"), (guano("TE: 10"), "slowed 10 times"), (wamd(slowed="10"), "slowed 10 times")):
        (tmp_path / "bat.wav").write_bytes(wav(after=more))
        recording = Recording(tmp_path / "bat.wav")
        assert recording.sample_rate_hz == 10 * RATE and recording.duration_s == 1.0 and said in recording.faults[0]
    (tmp_path / "bat.wav").write_bytes(wav(after=guano(f"TE: 1\nSamplerate: {RATE}")))
    assert Recording(tmp_path / "bat.wav").sample_rate_hz == RATE


def harp(pieces, seconds: float) -> bytes:
    """The chunk of an x.wav: (hour, minute, second) of each piece, all of one length."""
    n = round(seconds * RATE)
    head = struct.pack("<B10s4s4s8sB8sHiih8s", 1, b"V2.01", b"DL55", b"BEL1", b"TEST01", 1, b"00000001", len(pieces), -6960000, 4810000, 60, b"")
    for k, (hour, minute, second) in enumerate(pieces):
        head += struct.pack("<6BHIIIIB7s", 22, 7, 16, hour, minute, second, 250, 2 * n * k, 2 * n, n // 250, RATE, 1, b"")
    return chunk(b"harp", head)


def test_the_clock_of_a_recorder_that_paused_inside_a_file(tmp_path):
    path = tmp_path / "BEL_A_220716_021500.x.wav"
    path.write_bytes(wav(before=harp([(2, 15, 0), (2, 15, 2), (2, 30, 0), (2, 30, 2), (2, 45, 0)], 2.0)))
    recording = Recording(path)
    assert recording.recorder == "DL55" and recording.time_source == "harp" and "paused 2 times" in recording.faults[0]
    stretches = recording.timeline.stretches(recording.duration_s)
    assert [(begin, end) for begin, end, _ in stretches] == [(0.0, 4.0), (4.0, 8.0), (8.0, 10.0)]  # pieces without a pause are one
    assert [start for *_, start in stretches] == [utc(2022, 7, 16, 2, minute, 0, 250000) for minute in (15, 30, 45)]
    times = recording.utc([0.0, 3.75, 4.0, 9.0])
    assert list(times) == [utc(2022, 7, 16, 2, 15, 0, 250000), utc(2022, 7, 16, 2, 15, 4), utc(2022, 7, 16, 2, 30, 0, 250000), utc(2022, 7, 16, 2, 45, 1, 250000)]
    assert list(recording.utc([4.5], [3.9])) == [utc(2022, 7, 16, 2, 15, 4, 750000)]  # nothing lasts through a pause
    assert recording.end_utc == utc(2022, 7, 16, 2, 45, 2, 250000)
    moved = Recording(path, start_utc=utc(2022, 7, 16, 3, 15, 0, 250000))
    assert moved.utc([4.0])[0] == utc(2022, 7, 16, 3, 30, 0, 250000)


def test_a_list_of_pieces_that_goes_back_in_time_is_not_believed(tmp_path):
    path = tmp_path / "BEL_A_220716_021500.x.wav"
    path.write_bytes(wav(before=harp([(2, 15, 0), (1, 30, 0)], 5.0)))
    recording = Recording(path)
    assert not recording.timeline.breaks and recording.start_utc == utc(2022, 7, 16, 2, 15, 0, 250000) and any("damaged" in fault for fault in recording.faults)


# ------------------------------------------------------------------------------------------------------------ logs


LOG = """<ST><CFG ID="4" FTYPE="wav"><FS> 8000 </FS><SUFFIX> wav </SUFFIX></CFG><CFG ID="12" FTYPE="wav"><SUFFIX> dwv </SUFFIX></CFG>
<PROC_EVENT ID="4"><WavFileHandler SamplingStartTimeUTC="2021-06-10T03:36:54"/></PROC_EVENT><PROC_EVENT ID="4"><WavFileHandler SamplingStopTimeUTC="{stop}"/></PROC_EVENT>
{more}<PROC_EVENT ID="4"><WavFileHandler CumulativeSamplingGap="{gap} us"/></PROC_EVENT>
<PROC_EVENT ID="12"><WavFileHandler CumulativeSamplingGap="292971001 us"/></PROC_EVENT></ST>"""


def with_log(folder, gap_s, stop="2021-06-10T03:37:04", more=""):
    """Ten seconds of sound, and what its log says."""
    path = write(folder / "67416073.210610033655.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 10 * RATE).astype(np.float32), RATE, "PCM_16")
    path.with_suffix(".log.xml").write_text(LOG.format(gap=round(gap_s * 1e6), stop=stop, more=more), encoding="utf-8")
    return Recording(path)


def test_gaps_that_the_log_tells(tmp_path):
    assert with_log(tmp_path, -0.004).faults == []  # that of the click detector's file (292 s) is none of the sound's
    lost = with_log(tmp_path, 280.0, "2021-06-10T03:41:54")
    assert lost.faults == ["280 s of 300 s are missing, says the log; times in it may be late by as much"] and lost.unlistened == []
    said = '<PROC_EVENT ID="4"><WavFileHandler Info="Sampling Gap 4000000 us at sample 24000 (3 s), chunk 7"/></PROC_EVENT>'
    paused = with_log(tmp_path, 4.0, "2021-06-10T03:37:08", said)
    assert paused.utc([2.0, 4.0])[1] - paused.utc([2.0, 4.0])[0] == np.timedelta64(6, "s") and paused.unlistened == []
    zeros = '<PROC_EVENT ID="4"><WavFileHandler Info="added 32000 zeros"/></PROC_EVENT>'
    filled = with_log(tmp_path, 4.0, "2021-06-10T03:37:04", said + zeros)
    assert [span[:2] for span in filled.unlistened] == [(3.0, 7.0)] and not filled.timeline.breaks and "filled with zeros" in filled.faults[0]


@pytest.mark.parametrize("ppm, said", [(57, "60 ppm fast"), (-131, "130 ppm slow"), (4, ""), (80_000, "")])
def test_the_drift_that_a_log_tells_is_said(tmp_path, ppm, said):
    more = f'<PROC_EVENT ID="4"><WavFileHandler SamplingTimePeriod="300000000 us" SampleCount="{round(300 * 8000 * (1 + ppm * 1e-6))}"/></PROC_EVENT>'
    recording = with_log(tmp_path, 0.0, more=more)
    assert [said in fault for fault in recording.faults] == ([True] if said else [])


def test_a_gain_in_the_log_is_the_recording_s(tmp_path):
    assert with_log(tmp_path, 0.0, more="<CFG ID=\"1\"><GAIN> High </GAIN></CFG>").gain == "High"


def test_a_sensitivity_in_the_log_calibrates_where_the_table_does_not(tmp_path):
    more = '<PROC_EVENT ID="4"><WavFileHandler EndToEndSensitivity="176.1"/></PROC_EVENT>'
    recording = with_log(tmp_path, 0.0, more=more)
    assert (recording.sensitivity_db, recording.calibrated) == (-172.8, True)  # 67416073 is in the table
    path = recording.path.rename(tmp_path / "4711.210610033655.wav")
    (tmp_path / "67416073.210610033655.log.xml").rename(path.with_suffix(".log.xml"))
    assert (Recording(path).sensitivity_db, Recording(path).calibrated) == (-176.1, True)


def test_a_date_that_no_set_clock_shows_is_named(tmp_path):
    for name, said in (("19700101_000010.WAV", "not set"), ("20700101_000010.WAV", "in the future"), ("20000101_000010.WAV", "not set"), ("20220716_021453.WAV", "")):
        (tmp_path / name).write_bytes(wav())
        assert [said in fault for fault in Recording(tmp_path / name).faults] == ([True] if said else [])


def test_a_date_of_its_own_that_cannot_be_right_does_not_beat_a_name_that_can(tmp_path):
    unset = chunk(b"bext", bytes(320) + b"1970-01-01" + b"00:00:00" + bytes(264))
    for name, start, source, said in (("a_20231117_095200.wav", utc(2023, 11, 17, 9, 52), "name", "the file itself (bext) says 1970-01-01, which cannot be right; its name is believed"),
                                      ("a_19700101_000010.wav", utc(1970, 1, 1), "bext", "cannot be right: it is where a clock begins"), ("a.wav", utc(1970, 1, 1), "bext", "cannot be right: it is")):
        (tmp_path / name).write_bytes(wav(before=unset))
        recording = Recording(tmp_path / name)
        assert recording.start_utc.replace(second=0) == start and recording.time_source in (source, "name")
        assert [said in fault for fault in recording.faults] == [True]


@pytest.mark.parametrize("text", ["TE: inf", "TE: nan", "TE: 1e9", "TE: 10\nSamplerate: inf", "TE: 10\nSamplerate: nan", "TE: -3"])
def test_numbers_of_a_guano_text_that_are_none_refuse_no_sound(tmp_path, text):
    (tmp_path / "a.wav").write_bytes(wav(after=guano(text)))
    recording = Recording(tmp_path / "a.wav")
    assert recording.sample_rate_hz in (RATE, 10 * RATE) and (recording.sample_rate_hz == RATE) == ("TE: 10" not in text)


def test_gaps_of_a_log_that_are_longer_than_any_deployment_are_not_believed(tmp_path):
    absurd = 10 ** 22
    for cumulative in (absurd, 2_000_000):
        texts = (f'CumulativeSamplingGap="{cumulative} us"', f'Info="Sampling Gap {absurd} us at sample 5"')
        (tmp_path / "6872.220716021453.wav").write_bytes(wav())
        (tmp_path / "6872.220716021453.log.xml").write_text("".join(f'<PROC_EVENT ID="4"><WavFileHandler {text}/></PROC_EVENT>' for text in texts), encoding="utf-8")
        recording = Recording(tmp_path / "6872.220716021453.wav")
        assert not recording.timeline.breaks and not any("e+" in fault or "00000 s" in fault for fault in recording.faults)


@pytest.mark.parametrize("name", ["6872.220716021453.sud", "a.x3"])
def test_packed_sound_is_named_with_how_to_unpack_it(tmp_path, name):
    (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(BadRecording, match=f"{name} are .*packed sound; unpack them with"):
        Recording(tmp_path / name)
