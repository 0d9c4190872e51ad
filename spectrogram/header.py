"""What the header of a sound file says, and where the sound really lies: one reader for files near and far.

A header's size can be wrong in both directions: never written, cut to 32 bits, the placeholder of a stream, the file's size in
place of the data's. The true end of the sound is found from the file itself: what lies behind the promised end is sound unless
it is a chunk (a name of four printable letters and a size that fits). RIFF, RF64, BW64, RIFX, W64, AIFF and FLAC; what else
libsndfile reads has no header here.

Sources: EBU Tech 3306 and ITU-R BS.2088 (RF64, BW64), Sony's W64, Apple's AIFF 1.3, RFC 9639 (FLAC); placeholders as sox,
ffmpeg, GStreamer and ALSA write them.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Read = Callable[[int, int], bytes]  # (first byte, how many) -> bytes, fewer at the end of the file

LOWEST_RATE_HZ, HIGHEST_RATE_HZ, MOST_CHANNELS = 10, 1_000_000, 256  # at 4 MHz a recording would take 2 GB of memory
NO_RECORDER_HZ = 20_000_000
BYTES = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
NEVER_WRITTEN = frozenset((0, 8, 36, 44))  # the size of a header, without the sound that came later
STREAM = frozenset(base - less for base in (1 << 31, 1 << 32) for less in (0, 1, 2, 36, 37, 44, 45, 256, 4096))
ALL_ONES = (1 << 48, 1 << 63, 1 << 64)  # sizes of 64 bits that nobody knew, less what came before the sound
MOST_BEFORE_SOUND = 1 << 16
COUNTED_TOO = (1, 8, 24, 36, 44)  # bytes of the header that some recorders count as sound, or forget
PROBES, PROBE_BYTES = 9, 4096
HEAD_BYTES = 4096


@dataclass
class Header:
    """What a header says of the sound, and what is true.

    container : "RIFF", "RF64", "BW64", "RIFX", "W64", "AIFF" or "FLAC". subtype : as soundfile names it; None: compressed.
    first_byte : where the sound begins. frames : how many the file holds. promised : how many the header says there are (`frames`
    where it cannot know: a stream, a recorder cut off). agrees : header and file do, or differ in a known way. unfinished : the
    recorder never came to write the size. notes : what is odd, one clear line each. chunks : name -> body of the small chunks.
    prefix : a header that is right, to be read in place of the file's own (FLAC). mended : the file's own misleads who reads it. format_number : of
    compressed sound in a WAV.
    """

    container: str
    subtype: str | None
    channels: int
    sample_rate_hz: int
    first_byte: int
    frames: int = 0
    promised: int = 0
    agrees: bool = True
    unfinished: bool = False
    big_endian: bool = False
    notes: list[str] = field(default_factory=list)
    chunks: dict[str, bytes] = field(default_factory=dict)
    prefix: bytes = b""
    mended: bool = False
    format_number: int | None = None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, all channels; 0 where frames have no fixed size."""
        return BYTES.get(self.subtype or "", 0) * self.channels

    def keep(self, name: str, body: bytes) -> None:
        """Note a chunk's body, behind that of another of its name."""
        name, body = ("id3 ", body) if name == "ID3 " else (name, body[4:] if name == "LIST" else body)  # the kind of list comes first
        self.chunks[name] = self.chunks.get(name, b"") + body

    @property
    def sane(self) -> bool:
        """Whether sound of this rate and so many channels can be processed."""
        return not beyond_limits(self.sample_rate_hz, self.channels)


def beyond_limits(rate_hz: int, channels: int) -> str:
    """What is wrong with a rate and a number of channels, and the mend; "" where they can be processed."""
    if HIGHEST_RATE_HZ < rate_hz <= NO_RECORDER_HZ and 0 < channels <= MOST_CHANNELS:
        return (f"sampled at {rate_hz} Hz; at most {HIGHEST_RATE_HZ} Hz fit into the memory of a usual machine, so resample it, "
                f"e.g. with sox in.wav out.wav rate {HIGHEST_RATE_HZ}")
    if not (LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ and 0 < channels <= MOST_CHANNELS):
        return f"its header says {rate_hz} Hz and {channels} channels, which no recorder has; it is damaged, copy the file again"
    return ""


def read_header(read: Read, size: int) -> Header | None:
    """The header of a file of `size` bytes, or None where it is none that is known here.

    Never raises for a damaged header; what `read` raises goes through.
    """
    from spectrogram import aiff, flac, riff, w64

    head = read(0, HEAD_BYTES)
    for parse in (riff.parse, w64.parse, aiff.parse, flac.parse):
        header = parse(read, size, head)
        if header is not None:
            return header
    return None


def header_of(path: Path) -> Header | None:
    """`read_header` of a file that lies here. OSError where it cannot be read."""
    return _read_from(path, read_header)


def comments_of(path: Path) -> Header | None:
    """A header of which only the chunks are asked for: a FLAC's end, which takes longer to find, is not looked for."""
    from spectrogram import flac

    return _read_from(path, lambda read, size: flac.word_only(read) or read_header(read, size))


def _read_from(path: Path, reader: Callable[[Read, int], Header | None]) -> Header | None:
    with open(path, "rb") as file:
        size = file.seek(0, 2)

        def read(at: int, count: int) -> bytes:
            if not 0 <= at < size:  # a damaged header leads anywhere
                return b""
            file.seek(at)
            return file.read(count)

        return reader(read, size)


def settle(header: Header, declared: int, there: int, ends: Callable[[int], bool], tail: Callable[[], int], read: Read,
           wraps: bool = True) -> None:
    """Find how many frames lie in the file and compare them with what the header promises; sets `frames`, `promised`, `agrees`,
    `unfinished` and `notes`.

    Parameters
    ----------
    declared : bytes of sound by the header. there : bytes from the first of the sound to the end of the file.
    ends : whether the sound can end after so many bytes: the file does, or a chunk follows.
    tail : bytes of sound up to chunks at the very end of the file; `there` where there are none.
    wraps : the size has 32 bits.
    """
    width, rate_hz = header.frame_bytes, header.sample_rate_hz
    size = declared
    while size <= there:
        if ends(size):
            header.frames = header.promised = size // width
            if size != declared:
                header.notes.append(f"the header's 32 bits cannot hold the size of the sound; all {span(header.frames, rate_hz)} "
                                    "that the file holds are processed")
            return
        if not wraps:
            break
        size += 1 << 32
    end = tail()
    header.frames = header.promised = end // width
    if declared > end and is_placeholder(declared):
        return
    if declared in NEVER_WRITTEN and declared < end:
        header.unfinished = True
        header.notes.append(f"the header was never finished; all {span(header.frames, rate_hz)} that the file holds are processed")
        return
    if abs(declared - end) < width or abs(declared - end) in (*COUNTED_TOO, header.first_byte, header.first_byte - 8):
        return
    header.promised, header.agrees = declared // width, False
    if declared > end:
        header.notes.append(f"truncated: the header promises {span(header.promised, rate_hz)}, the file holds "
                            f"{span(header.frames, rate_hz)}; what is there is processed, copy the file again for the rest")
    elif _all_zero(read, header.first_byte + declared, end - declared):
        header.frames, header.agrees = header.promised, True  # room that the recorder set aside and did not need
    else:
        header.notes.append(f"{span(header.frames - header.promised, rate_hz)} of sound lie behind the end that the header promises "
                            f"({span(header.promised, rate_hz)}); they are processed too, check what wrote the file")


def is_placeholder(size: int) -> bool:
    """Whether a size is what programs write that do not know it."""
    return size in STREAM or any(base - MOST_BEFORE_SOUND <= size <= base for base in ALL_ONES)


def span(frames: int, rate_hz: int) -> str:
    return f"{frames / rate_hz:.1f} s" if frames >= rate_hz / 10 else f"{frames} samples"


def _all_zero(read: Read, first: int, count: int) -> bool:
    """Whether nothing but zeros lies in a stretch of a file, as far as probes tell."""
    step = max(1, (count - PROBE_BYTES) // (PROBES - 1))
    places = range(first, first + max(1, count - PROBE_BYTES + 1), step)
    return not any(read(at, min(PROBE_BYTES, first + count - at)).strip(b"\0") for at in places)
