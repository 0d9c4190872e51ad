"""A call as something to see and to hear: a picture, and sound slowed down until an ear can follow it, small enough to lie in a page of HTML."""
from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import soundfile

from spectrogram.recording import Recording

HEARD_HZ = 12_000          # a call's highest frequency is brought below this
MAX_RATE_HZ = 48_000       # all browsers play it
SLOWER = (1, 2, 4, 5, 8, 10, 16, 20)
LONGEST_S = 15.0           # of slowed sound
EDGE_S = 0.25              # before and after the call
FADE_S = 0.01


def slower(high_hz: float, rate_hz: int) -> int:
    """How many times slower, and lower, a sound is played so that its highest frequency can be heard.

    >>> slower(9000, 192000), slower(90000, 192000), slower(20000, 48000)
    (1, 8, 2)
    """
    high_hz = min(high_hz, rate_hz / 2)
    return next((factor for factor in SLOWER if high_hz / factor <= HEARD_HZ), SLOWER[-1])


def listen_to(recording: Recording, start_s: float, end_s: float, low_hz: float, high_hz: float) -> tuple[np.ndarray, int, int]:
    """A call, ready to be heard.

    Returns
    -------
    samples (n,) float32, loudest at 0.7; their rate in Hz, at most 48 000; how many times slower than life they play. What lies below half of
    the call's lowest frequency is taken out, so that boats do not drown it.
    """
    import soxr
    from scipy.signal import butter, sosfiltfilt

    factor = slower(high_hz, recording.sample_rate_hz)
    begin_s = max(0.0, start_s - EDGE_S)
    x = recording.read(begin_s, min(recording.duration_s, end_s + EDGE_S, begin_s + LONGEST_S / factor))
    if not len(x):
        return x, min(recording.sample_rate_hz, MAX_RATE_HZ), factor
    cut_hz = max(50.0, low_hz / 2)
    if cut_hz < 0.45 * recording.sample_rate_hz and len(x) > 30:
        x = sosfiltfilt(butter(4, cut_hz, "highpass", fs=recording.sample_rate_hz, output="sos"), x).astype(np.float32)
    rate_hz = recording.sample_rate_hz / factor
    if rate_hz > MAX_RATE_HZ or rate_hz != int(rate_hz):
        target_hz = min(MAX_RATE_HZ, int(rate_hz))
        x, rate_hz = soxr.resample(x, rate_hz, target_hz), target_hz
    fade = np.minimum(1.0, np.minimum(np.arange(len(x)), np.arange(len(x))[::-1]) / (FADE_S * rate_hz))
    loudest = np.abs(x).max()
    return (x * fade * (0.7 / loudest if loudest > 0 else 0.0)).astype(np.float32), int(rate_hz), factor


def sound_uri(samples: np.ndarray, rate_hz: int) -> str:
    """`data:` address of the sound: MP3 where libsndfile can write it and the rate is one of MP3's, else WAV of 16 bit."""
    out = BytesIO()
    if "MP3" in soundfile.available_formats() and rate_hz in (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000):
        soundfile.write(out, samples, rate_hz, format="MP3", subtype="MPEG_LAYER_III")
        kind = "audio/mpeg"
    else:
        soundfile.write(out, samples, rate_hz, format="WAV", subtype="PCM_16")
        kind = "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def picture_uri(figure, dpi: int = 110) -> str:
    """`data:` address of a figure as PNG; the figure is closed."""
    import matplotlib.pyplot as plt

    out = BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
