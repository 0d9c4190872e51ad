"""The U-Net denoiser: blocks are the whole, a mask of 1 changes nothing, training is resumable and learns from noisy pairs; and the files that denoising writes."""
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from preprocessing.denoise import denoise, denoise_folder, load, main, write_denoised
from preprocessing.denoiser import BadDenoiser, Denoiser, cross_faded, make_net
from preprocessing.denoiser_training import CASES, KINDS, DenoiserSettings, Pairs, noise_of, train_denoiser
from preprocessing.gating import Gate
from preprocessing.mixtures import measured
from spectrogram.recording import BadRecording, Recording
from tests.signals import sine, white_noise

RATE = 4000
NAME = "6872.211003021500.wav"
SMALL = DenoiserSettings(width=4, depth=2, steps=40, batch_size=4, patch_frames=64, check_every=10, validation_pairs=8, learning_rate=1e-2, seed=3)


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(1)
    return Denoiser(make_net(3, 3), RATE, 0.032, 64, 3, 3)


def through(denoiser, x, rate=RATE, size=None):
    size = size or len(x)
    return np.concatenate(list(denoiser.denoised((x[k:k + size] for k in range(0, len(x), size)), rate)))


def toy_clips(count, seed):
    """Noisy tones: calls as they are recorded."""
    rng = np.random.default_rng(seed)
    clips = []
    for k in range(count):
        x = white_noise(RATE, 3, 0.01, seed=100 * seed + k)
        x[4000:8000] += sine(RATE, 1.0, rng.uniform(300, 1500), 0.05)
        clips.append(x)
    return clips


# ------------------------------------------------------------------------------------------------------------ inference


def test_blocks_are_the_whole(untrained, monkeypatch):
    x = white_noise(RATE, 25, 0.01, seed=2)
    x[50_000:60_000] += sine(RATE, 2.5, 800, 0.1)
    whole = through(untrained, x)
    assert len(whole) == len(x) and np.isfinite(whole).all() and 0.01 < whole.std() / x.std() < 1
    for size in (997, 33_333):
        np.testing.assert_array_equal(through(untrained, x, size=size), whole)
    monkeypatch.setattr("preprocessing.denoiser.cross_faded", lambda segments, answer: cross_faded(segments, answer, block=10 ** 6))
    np.testing.assert_allclose(through(untrained, x), whole, atol=1e-5 * np.abs(whole).max())  # asked once for all frames: windows leave no seam


@pytest.mark.parametrize("lengths", [[5], [384], [385], [250, 250, 3], [1000], [7] * 200, [100, 284], [250] * 4 + [128]])
def test_windows_give_every_row_once(lengths):
    rng = np.random.default_rng(0)
    segments = [rng.standard_normal((n, 3)).astype(np.float32) for n in lengths]
    asked = []

    def answer(rows):
        asked.append(len(rows))
        return rows * 2

    given = list(cross_faded(iter(segments), answer))
    assert [len(part) for part in given] == lengths and max(asked) <= 384
    for part, segment in zip(given, segments):
        np.testing.assert_allclose(part, 2 * segment, rtol=1e-5, atol=1e-6)
    assert list(cross_faded(iter([]), answer)) == []


def test_a_mask_of_one_gives_the_sound_back_and_one_of_nothing_the_floor(untrained, monkeypatch):
    x = white_noise(RATE, 20, 0.01, seed=5)
    monkeypatch.setattr(Denoiser, "mask", lambda self, above: np.ones_like(above))
    np.testing.assert_allclose(through(untrained, x), x, atol=1e-6 * np.abs(x).max())
    monkeypatch.setattr(Denoiser, "mask", lambda self, above: np.zeros_like(above))
    np.testing.assert_allclose(through(untrained, x), x * 10 ** (-30 / 20), atol=1e-6 * np.abs(x).max())


def test_silence_stays_silence_levels_do_not_matter_and_nothing_is_nan(untrained):
    assert not through(untrained, np.zeros(20 * RATE, np.float32)).any()
    x = white_noise(RATE, 20, 0.01, seed=6)
    np.testing.assert_allclose(through(untrained, 100 * x), 100 * through(untrained, x), rtol=1e-2, atol=1e-3)
    x[:RATE], x[30_000], x[40_000:50_000] = 0, np.inf, np.nan
    assert np.isfinite(through(untrained, x)).all()


@pytest.mark.parametrize("rate", [1000, 4410])
def test_other_sample_rates(untrained, rate):
    x = white_noise(rate, 18, 0.01, seed=7)
    y = through(untrained, x, rate, 1000)
    assert len(y) == len(x) and np.isfinite(y).all()
    np.testing.assert_array_equal(y, through(untrained, x, rate))


def test_bins_above_the_networks_get_the_classical_gate(untrained, monkeypatch):
    monkeypatch.setattr(Denoiser, "mask", lambda self, above: np.ones_like(above))
    x = white_noise(9600, 18, 0.01, seed=8)
    y, freqs = through(untrained, x, 9600), np.fft.rfftfreq(18 * 9600, 1 / 9600)
    before, after = (np.abs(np.fft.rfft(z)) ** 2 for z in (x, y))
    above, below = freqs > 2200, freqs < 1800
    assert 10 * np.log10(after[above].sum() / before[above].sum()) < -18 and abs(10 * np.log10(after[below].sum() / before[below].sum())) < 0.1


# ------------------------------------------------------------------------------------------------------------ on disk


def test_saved_and_loaded_it_is_the_same(untrained, tmp_path):
    untrained.save(tmp_path / "net")
    x = white_noise(RATE, 5, 0.01, seed=9)
    np.testing.assert_array_equal(through(load(tmp_path / "net"), x), through(untrained, x))
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["model.json", "model.safetensors"]


def test_folders_that_hold_no_denoiser(untrained, tmp_path):
    for name in ("cut", "format", "kind", "width"):
        untrained.save(tmp_path / name)
        told = json.loads((tmp_path / name / "model.json").read_text())
        (tmp_path / name / "model.json").write_text(json.dumps(told | {"format": {"format": 99}, "kind": {"kind": "classifier"}, "width": {"width": 5}}.get(name, {})))
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"\0" * 40)
    for name, words in (("cut", "no denoiser that can be read"), ("format", "format 99"), ("kind", "not that of a denoiser"), ("width", "no denoiser that can be read")):
        with pytest.raises(BadDenoiser, match=words) as error:
            load(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no denoiser 'magic'"):
        load("magic")


# ------------------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("kind", KINDS)
def test_noises_have_mean_0_and_rms_1(kind):
    rng = np.random.default_rng(4)
    x = noise_of(kind, 20_000, rng, [white_noise(RATE, 1, 0.1)])
    assert x.shape == (20_000,) and x.dtype == np.float32 and abs(x.mean()) < 1e-5 and np.sqrt(np.mean(x ** 2)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_pairs(case):
    pairs = Pairs(toy_clips(2, 1), [white_noise(RATE, 2, 0.01)], RATE, SMALL)
    seen, given, wanted, weight = pairs.draw(np.random.default_rng(0), case)
    assert seen.shape == given.shape == wanted.shape == (2, 64, 64) and all(np.isfinite(x).all() for x in (seen, given, wanted))
    assert weight.shape == (1, 64, 64) and (weight > 0).all() and (weight <= 1).all()
    np.testing.assert_allclose(seen[0], np.log10(1 + (given ** 2).sum(axis=0)), atol=1e-4)  # what is seen is what the gain is put on
    same = np.isclose(given, wanted, atol=1e-6).all(axis=0)
    shares = {"noisy": same.mean() < 0.01, "noisier": same.mean() < 0.01, "masked": (wanted == 0).mean() > 0.5 > same.mean(), "mask": (same | (wanted == 0).all(axis=0)).all() and 0 < same.mean() < 0.5,
              "nothing": not wanted.any()}
    assert shares[case]


def test_two_noises_of_a_pair_have_nothing_in_common():
    silent = np.full(3 * RATE, 1e-4, np.float32) * sine(RATE, 3, 20)
    pairs = Pairs([silent], [white_noise(RATE, 9, 0.01)], RATE, SMALL)
    drawn = [pairs.draw(np.random.default_rng(k), "noisy")[1:3] for k in range(12)]
    alike = sum((a[:, 8:] * b[:, 8:]).sum() for a, b in drawn) / np.sqrt(sum((a[:, 8:] ** 2).sum() for a, _ in drawn) * sum((b[:, 8:] ** 2).sum() for _, b in drawn))
    assert abs(alike) < 0.05


def test_what_cannot_be_trained_on():
    with pytest.raises(ValueError, match="no clip with a sound"):
        Pairs([np.zeros(9000, np.float32)], [], RATE, SMALL)
    with pytest.raises(ValueError, match="a multiple of 4"):
        Pairs(toy_clips(1, 1), [], RATE, DenoiserSettings(width=4, depth=2, patch_frames=63))
    without = Pairs(toy_clips(1, 1), [], RATE, SMALL)
    assert "recorded" not in without.kinds and set(without.cases) == {"noisy", "masked", "mask"}


def test_training_is_resumable_and_takes_noise_away(tmp_path):
    told = (toy_clips(6, 1), [white_noise(RATE, 4, 0.01, seed=k) for k in range(3)], RATE)
    validation = (toy_clips(3, 2), [white_noise(RATE, 4, 0.01, seed=9)])
    whole = train_denoiser(*told, tmp_path / "whole", SMALL, validation, progress=False)
    train_denoiser(*told, tmp_path / "parts", SMALL, validation, progress=False, stop_after=20)
    assert not (tmp_path / "parts" / "model.json").exists()
    resumed = train_denoiser(*told, tmp_path / "parts", SMALL, validation, progress=False)
    for one, other in zip(whole.net.state_dict().values(), resumed.net.state_dict().values()):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    history = whole.info["history"]
    assert [row["step"] for row in history] == [10, 20, 30, 40] and history[-1]["val_loss"] < 0.8 * history[0]["val_loss"]
    for changed in ((*told, tmp_path / "parts", DenoiserSettings(steps=5)), (told[0][1:], *told[1:], tmp_path / "parts", SMALL)):
        with pytest.raises(ValueError, match="with other settings or sounds"):
            train_denoiser(*changed, progress=False)
    calls = [sine(RATE, 1.0, hz, 0.1) for hz in (400, 700, 1100)]
    table = measured(calls, [white_noise(RATE, 6, 0.02, seed=k) for k in (31, 32)], RATE, {"U-Net": tmp_path / "whole"}, (0.0,))
    assert table["si_sdr_gain_db"].min() > 4 and table["level_db"].min() > -6


# ------------------------------------------------------------------------------------------------------------ files


def test_a_denoised_recording_keeps_rate_length_name_and_time(tmp_path):
    x = white_noise(RATE, 12, 0.05, seed=11)
    x[20_000:30_000] += sine(RATE, 2.5, 800, 0.3)
    for subtype, channels in (("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 1)):
        source = tmp_path / subtype / NAME
        source.parent.mkdir()
        soundfile.write(source, np.stack([x] * channels, axis=1), RATE, subtype=subtype)
        source.with_suffix(".log.xml").write_text('<ST SamplingStartTimeUTC="2021-10-03T06:15:00"/>', encoding="utf-8")
        path = write_denoised(source, tmp_path / "out" / subtype)
        assert path == tmp_path / "out" / subtype / NAME
        made, before = Recording(path), Recording(source)
        assert (made.sample_rate_hz, made.frames, made.subtype, made.channels, made.serial, made.start_utc) == (RATE, len(x), subtype, 1, before.serial, before.start_utc)
        np.testing.assert_allclose(made.read(), np.concatenate(list(denoise(before, "gate", block_s=1.7))), atol=2e-4 if subtype == "PCM_16" else 1e-6)
        stamp = path.stat().st_mtime_ns
        assert write_denoised(source, tmp_path / "out" / subtype).stat().st_mtime_ns == stamp  # a file that exists is done
        with pytest.raises(ValueError, match="is the recording itself"):
            write_denoised(source, source.parent)
    assert not list(tmp_path.rglob("*.unfinished"))


def test_what_is_broken_off_leaves_no_file(tmp_path, monkeypatch):
    soundfile.write(tmp_path / NAME, white_noise(RATE, 3, 0.05), RATE)

    def breaks(*args):
        yield np.zeros(100, np.float32)
        raise KeyboardInterrupt

    monkeypatch.setattr("preprocessing.denoise.denoise", breaks)
    with pytest.raises(KeyboardInterrupt):
        write_denoised(tmp_path / NAME, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_with_a_broken_file(tmp_path, capsys):
    for name in (NAME, "RDL/" + NAME):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, white_noise(RATE, 3, 0.05), RATE)
    (tmp_path / "in" / "bad.wav").write_bytes(b"nothing")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and "bad.wav: not audio" in said[0] and said[1].startswith("2 recordings")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav")) == [NAME, "RDL/" + NAME]
    assert denoise_folder(tmp_path / "in", tmp_path / "out", progress=False) == [tmp_path / "out" / NAME, tmp_path / "out" / "RDL" / NAME]
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--how", "magic"]) == 2


def test_what_can_be_denoised(tmp_path):
    x = white_noise(RATE, 3, 0.05)
    soundfile.write(tmp_path / NAME, x, RATE, subtype="FLOAT")
    ways = [denoise(x, "gate", RATE), denoise(iter([x[:500], x[500:]]), Gate(), RATE), denoise(tmp_path / NAME), denoise(str(tmp_path / NAME), block_s=0.1), denoise(Recording(tmp_path / NAME))]
    first, *others = [np.concatenate(list(way)) for way in ways]
    assert all(np.array_equal(first, other) for other in others) and first.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(list(denoise(x, None, RATE))), x)
    with pytest.raises(ValueError, match="without a rate"):
        denoise(x)
    with pytest.raises(ValueError, match="give one channel"):
        denoise(np.zeros((5, 2)), "gate", RATE)
    with pytest.raises(BadRecording):
        denoise(Path("nowhere.wav"))
