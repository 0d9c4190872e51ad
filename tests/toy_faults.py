"""Recordings with one fault each, as recorders, copies and cards make them; and what is to be said of each."""
import numpy as np
import soundfile

from tests.toy_sound import scene, write

RATE = 48000


def zero_bytes(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("Station RDL, 16 July, calm sea.\n" * 40, encoding="utf-8")


def header_only(path):
    soundfile.write(path, np.zeros(0, np.float32), RATE, subtype="PCM_16")


def truncated(path):
    write(path, scene(8, RATE), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[:round(44 + 6.0 * RATE * 2)])  # the header promises 8 s, 6 are there


def not_numbers(path):
    x = scene(8, RATE)
    x[5 * RATE:5 * RATE + 3] = np.nan, np.inf, -np.inf
    write(path, x, RATE, "FLOAT")


def silence(path):
    write(path, np.zeros(8 * RATE, np.float32), RATE, "PCM_16")


def clipping(path):
    x = scene(8, RATE)
    x[3 * RATE:3 * RATE + 480] = 1.5
    write(path, x, RATE, "PCM_16")


UNUSABLE = {zero_bytes: "zero bytes.*copy it again", text: "not audio that can be read.*expected WAV", header_only: "holds no samples"}
USABLE = {  # how: (status, the line, seconds that are processed, whistles found)
    truncated: ("partial", r"truncated: the header promises 8\.0 s, the file holds 6\.0 s.*copy the file again", 6.0, 2),
    not_numbers: ("partial", "3 samples are not numbers", 8.0, 2),
    silence: ("ok", "silence: every sample is the same; check the hydrophone", 8.0, 0),
    clipping: ("ok", r"clipping: 480 samples \(0\.12%\) at full scale", 8.0, 2),
}
