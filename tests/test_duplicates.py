"""The same sound in two places is found, whatever was done to it; sounds that are merely alike are not."""
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from preprocessing import peak_match
from preprocessing.duplicates import between_groups, find_duplicates, sound_hash
from preprocessing.fingerprint import LAYERS, PIECE_FRAMES, fingerprint_of
from preprocessing.peak_match import near_pairs
from preprocessing.splits import grouped_folds
from spectrogram.recording import Recording
from training.leaks import Leak, check_leaks, refuse_leaks

RATE = 24000
FINE, COARSE = LAYERS


def pink(seconds, seed, rate_hz=RATE):
    """(n,) float32 noise that falls with frequency, as the sea's does, of rms 1."""
    n = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    x = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + n / rate_hz * 100), n)
    return (x / x.std()).astype(np.float32)


def whistle(contour, seed, rate_hz=RATE):
    """One of some contours, as an animal repeats it: a little longer, higher and louder each time."""
    rng, shape = np.random.default_rng(seed), np.random.default_rng(contour)
    t = np.arange(round(rng.uniform(0.5, 0.9) * rate_hz)) / rate_hz
    low, high, waves = shape.uniform(2000, 8000), shape.uniform(2000, 8000), shape.uniform(1, 6)
    f = (low + (high - low) * t / t[-1] + 400 * np.sin(2 * np.pi * waves * t)) * rng.uniform(0.99, 1.01)
    return (rng.uniform(1, 4) * np.sin(2 * np.pi * np.cumsum(f) / rate_hz)).astype(np.float32)


def clip(seed, seconds=3.0):
    """Noise with a few whistles; every third with regular clicks, every fourth with a steady hum."""
    rng, x = np.random.default_rng(seed), pink(seconds, seed)
    for k in range(rng.integers(1, 4)):
        call = whistle(rng.integers(5), 100 * seed + k)
        at = rng.integers(0, len(x) - len(call))
        x[at:at + len(call)] += call
    if seed % 3 == 0:
        x[rng.integers(1000)::RATE // 20] += 15
    if seed % 4 == 0:
        x += 3 * np.sin(2 * np.pi * 180 * np.arange(len(x)) / RATE).astype(np.float32)
    return 0.02 * x


def write(folder, **sounds):
    """name=samples, or name=(samples, rate) -> {name: path of a 24-bit WAV}."""
    paths = {}
    for name, sound in sounds.items():
        samples, rate_hz = sound if isinstance(sound, tuple) else (sound, RATE)
        soundfile.write(folder / f"{name}.wav", samples, int(rate_hz), subtype="PCM_24")
        paths[name] = folder / f"{name}.wav"
    return paths


# ------------------------------------------------------------------------------------------------------------- copies

def test_the_hash_is_that_of_the_sound(tmp_path):
    x = np.round(clip(1) * 2 ** 15) / 2 ** 15
    files = {"a.wav": "PCM_16", "b.flac": "PCM_16", "c.wav": "PCM_24", "d.wav": "FLOAT", "e.aiff": "PCM_16", "f.w64": "PCM_32"}
    for name, subtype in files.items():
        soundfile.write(tmp_path / name, x, RATE, subtype=subtype)
    assert len({sound_hash(Recording(tmp_path / name)) for name in files}) == 1
    y = x.copy()
    y[1000] += 2 ** -15
    soundfile.write(tmp_path / "other.wav", y, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "two.wav", np.column_stack([y, x]), RATE, subtype="PCM_16")
    other, left, right = (sound_hash(Recording(tmp_path / name, channel=k)) for name, k in (("other.wav", 0), ("two.wav", 0), ("two.wav", 1)))
    assert left == other and right == sound_hash(Recording(tmp_path / "a.wav")) != other


def test_copies_are_paired_with_the_first(tmp_path):
    x = np.round(clip(2) * 2 ** 15) / 2 ** 15
    for name in ("a.wav", "again.flac", "deep.wav"):
        soundfile.write(tmp_path / name, x, RATE, subtype="PCM_24" if name == "deep.wav" else "PCM_16")
    soundfile.write(tmp_path / "other.wav", clip(3), RATE)
    found = find_duplicates(tmp_path, near=False)  # the folder
    assert found[["a", "b", "kind", "score"]].to_numpy().tolist() == [["a.wav", "again.flac", "same samples", 1.0], ["a.wav", "deep.wav", "same samples", 1.0]]


def test_what_cannot_be_compared_is_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    for name in ("silent", "silent_too"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "tiny.wav", clip(1)[:50], RATE)
    found = find_duplicates(sorted(tmp_path.glob("*.wav")))
    assert len(found) == 0 and list(found)[:4] == ["a", "b", "kind", "score"]
    assert [("zero bytes" in line, "every sample is the same" in line) for line in found.attrs["left_out"]] == [(True, False), (False, True), (False, True)]
    with pytest.raises(ValueError, match="listed twice"):
        find_duplicates([tmp_path / "tiny.wav", tmp_path / "tiny.wav"])
    with pytest.raises(ValueError, match="no column path; it has file"):
        find_duplicates(pd.DataFrame({"file": ["a.wav"]}))


# ------------------------------------------------------------------------------------------------------ nearly the same

def changed(x, how, rng):
    """The sound as it may come back: (samples, rate), and where it begins in the original, s."""
    def noise(db):
        return x + np.float32(x.std() * 10 ** (-db / 20)) * pink(len(x) / RATE, 999)

    return {
        "fainter": ((0.02 * x, RATE), 0.0),
        "cut elsewhere": ((x[8887:], RATE), 8887 / RATE),
        "a passage": ((x[round(1.1 * RATE):round(2.2 * RATE)], RATE), 1.1),
        "at 16 kHz": ((soxr.resample(x, RATE, 16000), 16000), 0.0),
        "at 30.3 kHz, cut": ((soxr.resample(x, RATE, 30300)[9090:], 30300), 0.3),
        "in noise, 10 dB": ((noise(10)[4321:], RATE), 4321 / RATE),
        "in noise, 5 dB": ((noise(5), RATE), 0.0),
        "in 8 bits": ((np.round(x / np.abs(x).max() * 100) / 128, RATE), 0.0),
        "through a poor filter": ((np.convolve(x, np.hanning(5) / 2, "same"), RATE), 0.0),
    }[how]


@pytest.mark.parametrize("how", ["fainter", "cut elsewhere", "a passage", "at 16 kHz", "at 30.3 kHz, cut", "in noise, 10 dB", "in noise, 5 dB", "in 8 bits",
                                 "through a poor filter"])
def test_the_same_sound_is_found_and_where_it_begins(tmp_path, how):
    rng = np.random.default_rng(0)
    for seed in (1, 4, 6):
        x = clip(seed)
        sound, begins_s = changed(x, how, rng)
        paths = write(tmp_path, original=x, other=clip(seed + 50), changed=sound)
        found = find_duplicates(paths)
        assert found[["a", "b", "kind"]].to_numpy().tolist() == [["original", "changed", "same sound"]]
        assert found["offset_s"][0] == pytest.approx(begins_s, abs=0.02) and found["score"][0] > 0.1
        assert found["overlap_s"][0] == pytest.approx(len(sound[0]) / sound[1], abs=0.02)


def test_recordings_that_overlap_in_time(tmp_path):
    """One hydrophone, two files: the last 1.5 s of the one are the first 1.5 s of the other."""
    x = clip(7, 8)
    paths = write(tmp_path, late=0.5 * x[4 * RATE:], early=x[:round(5.5 * RATE)], other=clip(60, 8))
    found = find_duplicates(paths)
    assert found[["a", "b"]].to_numpy().tolist() == [["late", "early"]]
    assert found["offset_s"][0] == pytest.approx(-4, abs=0.02) and found["overlap_s"][0] == pytest.approx(1.5, abs=0.02)


def test_a_clip_within_a_long_recording(tmp_path):
    x = pink(120, 5)
    x[RATE * 50:RATE * 52] *= 2
    found = find_duplicates(write(tmp_path, long=0.02 * x, short=0.05 * x[round(90.3 * RATE):round(91.5 * RATE)]))  # noise alone, no call in it
    assert len(found) == 1 and found["offset_s"][0] == pytest.approx(90.3, abs=0.02)


def test_low_rates_have_their_own_layer():
    """Half a minute at 600 Hz with 20-Hz pulses, as of a fin whale, and its second half in noise."""
    rate = 600
    pulse = np.sin(2 * np.pi * np.cumsum(np.linspace(26, 17, rate)) / rate) * np.hanning(rate)

    def song(seed):
        x = pink(30, seed, rate)
        for at in np.cumsum(np.random.default_rng(seed).uniform(3, 5, 6)):
            x[int(at * rate):int(at * rate) + rate] += 4 * pulse[:len(x) - int(at * rate)]
        return x

    songs = [song(k) for k in range(6)]
    songs.append(songs[2][15 * rate + 77:] + 0.3 * pink(30, 99, rate)[15 * rate + 77:])
    prints = [fingerprint_of([x.astype(np.float32)], rate, COARSE) for x in songs]
    (a, b, score, sure, offset), = near_pairs(prints)
    assert (a, b) == (2, 6) and offset * COARSE.hop_s == pytest.approx(15 + 77 / rate, abs=0.15)


def test_sounds_that_are_merely_alike_are_not_taken_for_the_same(monkeypatch):
    """60 clips of five whistle contours, clicks and hum: 1770 pairs in each layer, none believed, and none near it."""
    prints = [[fingerprint_of([clip(seed)], RATE, layer) for seed in range(200, 260)] for layer in LAYERS]
    assert [pair for layer in prints for pair in near_pairs(layer)] == []
    for limit, low in (("SURE", 0.0), ("FALSE_SETS", -99.0), ("LEAST_SCORE", 0.0)):
        monkeypatch.setattr(peak_match, limit, low)
    assert max((sure for layer in prints for _, _, _, sure, _ in near_pairs(layer)), default=0) < 4.5


def test_planted_duplicate_is_reported_before_training(tmp_path):
    """Twelve clips of six sources; a call of one source comes back, fainter and cut, in another."""
    sounds = {f"clip_{k}": clip(300 + k) for k in range(12)}
    sounds["clip_11"] = 0.3 * sounds["clip_0"][2400:]
    table = pd.DataFrame({"recording": list(sounds), "source": [f"tape {k // 2}" for k in range(12)]})
    found = find_duplicates(write(tmp_path, **sounds))
    assert between_groups(found, table.set_index("recording")["source"])[["a", "b", "group_a", "group_b"]].to_numpy().tolist() == [["clip_0", "clip_11", "tape 0", "tape 5"]]
    apart = pd.Series(np.where(table["source"] == "tape 5", "test", "train"), name="split")
    with pytest.raises(Leak, match="same sound, clip_11 begins at 0.10 s of clip_0"):
        refuse_leaks(check_leaks(table, apart, ("recording", "source"), found))
    refuse_leaks(check_leaks(table, grouped_folds(table, "source", 3, same=found), ("recording", "source"), found))


# --------------------------------------------------------------------------------------------------------- fingerprint

@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_the_fingerprint_does_not_depend_on_the_blocks(layer):
    rate = 4000
    x = 0.1 * pink(1.1 * PIECE_FRAMES * layer.hop_s + 30, 1, rate)  # longer than the piece in which peaks are sought
    whole = fingerprint_of([x], rate, layer)
    parts = fingerprint_of(np.split(x, np.sort(np.random.default_rng(0).integers(0, len(x), 40))), rate, layer)
    assert len(whole.peaks) > 500 and np.array_equal(whole.peaks, parts.peaks) and np.array_equal(whole.hashes, parts.hashes)


def test_silence_and_sound_too_short_have_no_landmarks():
    for x in (np.zeros(RATE), np.zeros(0), clip(1)[:100], np.full(RATE, 0.25)):
        for layer in LAYERS:
            assert len(fingerprint_of([x.astype(np.float32)], RATE, layer).hashes) == 0
    assert list(near_pairs([])) == [] and list(near_pairs([fingerprint_of([np.zeros(RATE, np.float32)], RATE, FINE)] * 2)) == []
