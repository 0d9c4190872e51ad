"""The simulated contest: the same bits each time, truth that is exact, neighbours that resemble each other."""
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocessing import upcall_sounds, upcalls
from preprocessing.kaggle_whales import kaggle_clips
from preprocessing.soundscape.randomness import generator
from preprocessing.upcalls import AUDIBLE_DB, CLIP_S, RATE_HZ, SENSITIVITY_DB, draw_hour, exact_truth, hourly_shares, make_clip, simulate_upcalls

HOURS, EACH = 8, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_upcalls(tmp_path_factory.mktemp("simulated"), seed=3, hours=HOURS, clips_per_hour=EACH)


def test_the_layout_is_the_contests(folder):
    table = pd.read_csv(folder / "train.csv")
    assert list(table) == ["clip_name", "label"] and table["clip_name"].tolist() == [f"train{k + 1}.aif" for k in range(HOURS * EACH)]
    info = soundfile.info(folder / "train" / "train7.aif")
    assert (info.format, info.subtype, info.samplerate, info.frames, info.channels) == ("AIFF", "PCM_16", 2000, 4000, 1)
    about = json.loads((folder / "simulation.json").read_text())
    assert about["simulated"] is True and about["upcall_clips"] == table["label"].sum() > 10
    clips = kaggle_clips(folder, block_clips=about["clips_per_hour"], guard_clips=0)
    assert len(clips) == HOURS * EACH and clips.attrs["faults"] == [] and clips["group"].nunique() == HOURS
    assert pd.crosstab(clips["group"], pd.read_csv(folder / "clips.csv")["hour"].to_numpy()).gt(0).to_numpy().sum() == HOURS


def test_the_same_seed_gives_the_same_bits(folder, tmp_path):
    again = simulate_upcalls(tmp_path / "again", seed=3, hours=HOURS, clips_per_hour=EACH)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == HOURS * EACH + 4
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in files)
    other = simulate_upcalls(tmp_path / "other", seed=4, hours=1, clips_per_hour=2)
    assert (other / "train" / "train1.aif").read_bytes() != (folder / "train" / "train1.aif").read_bytes()


def test_labels_say_what_the_truth_says(folder):
    table, truth = pd.read_csv(folder / "train.csv"), pd.read_csv(folder / "truth.csv")
    heard = set(truth["recording"][(truth["kind"] == "UpCall") & (truth["snr_db"] >= AUDIBLE_DB)])
    assert set(table["clip_name"][table["label"] == 1]) == heard
    assert (truth["start_s"] >= 0).all() and (truth["end_s"] <= CLIP_S).all() and (truth["start_s"] < truth["end_s"]).all() and (truth["low_hz"] < truth["high_hz"]).all()
    calls = truth[truth["kind"] == "UpCall"]
    exact = exact_truth(folder)
    assert set(exact["label"]) == {"UpCall"} and set(exact["recording"][exact["audible"]]) == heard and len(exact) == len(calls) > len(heard)
    assert calls["low_hz"].min() >= 40 and calls["low_hz"].median() < 130 < calls["high_hz"].median() < 400 and 0.5 < (calls["end_s"] - calls["start_s"]).median() < 1.5


def test_sounds_lie_where_the_truth_says_and_are_as_loud(monkeypatch):
    """Without noise, what is left is the sounds of the truth: nothing outside their spans, their SNR against the noise that was taken away."""
    monkeypatch.setattr(upcalls, "_shaped", lambda rng, psd: np.zeros(upcalls.N, np.float32))
    seen = 0
    for index in range(60):
        hour = replace(draw_hour(5, 1, 0.6), ship=None)
        sound, rows, _ = make_clip(hour, (5, "t", index), 60.0 * index)
        if len(rows) != 1:
            assert rows or not sound.any()
            continue
        row, power, t = rows[0], sound.astype(float) ** 2, np.arange(len(sound)) / RATE_HZ
        inside = (t >= row["start_s"]) & (t < row["end_s"])
        assert power[inside].sum() > 0.95 * power.sum()
        energy = np.abs(np.fft.rfft(sound)) ** 2
        f = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
        band = (f >= row["low_hz"] - 8) & (f <= row["high_hz"] + 8)
        assert energy[band].sum() > 0.9 * energy[f > 30].sum()
        noise_psd = np.interp(np.median(f[energy > 0.3 * energy.max()]), upcalls.FREQUENCY_HZ, upcalls._sea_psd(hour, 60.0 * index))
        loudest = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(sound, 256)[::16] * np.hanning(256), axis=1)) ** 2 * 2 / (RATE_HZ * np.sum(np.hanning(256) ** 2))
        assert 10 * np.log10(loudest.max() / noise_psd) == pytest.approx(row["snr_db"] + 4, abs=6)  # the peak stands above the mean of its cells
        seen += 1
    assert seen > 15


def test_noise_reads_its_level_through_the_file(folder):
    clips = pd.read_csv(folder / "clips.csv")
    quiet = clips[~clips["recording"].isin(pd.read_csv(folder / "truth.csv")["recording"]) & (clips["ship_db"] < -100)]
    assert len(quiet) > 10
    errors = []
    for name, level_db in zip(quiet["recording"], quiet["noise_db"]):
        x = soundfile.read(folder / "train" / name)[0] * 10 ** (-SENSITIVITY_DB / 20)
        spectrum = np.abs(np.fft.rfft(x)) ** 2 * 2 / len(x) ** 2
        f = np.fft.rfftfreq(len(x), 1 / RATE_HZ)
        errors.append(10 * np.log10(spectrum[(f >= 50) & (f <= 350)].sum()) - level_db)
    assert np.abs(np.mean(errors)) < 0.3 and np.abs(errors).max() < 1.5


def test_an_up_call_rises():
    for k in range(20):
        whale = draw_hour(8, k, 0.3).whale
        x = upcall_sounds.upcall(generator(8, "call", k), whale | {"echo": 0.0})
        voiced = len(x) if whale["echo"] == 0 else int(whale["length_s"] * RATE_HZ * 0.9)
        parts = np.array_split(x[:voiced], 3)
        f = [np.fft.rfftfreq(4096, 1 / RATE_HZ)[np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part)), 4096)))] for part in (parts[0], parts[-1])]
        assert 40 < f[0] < f[1] < 350


def test_neighbours_are_alike(folder):
    """Noise differs more between hours than within; labels gather in hours; a fifth of the hours have none."""
    clips = pd.read_csv(folder / "clips.csv")
    level = clips.groupby("hour")["noise_db"]
    assert level.mean().std() > 3 * level.std().mean()
    share = clips.groupby("hour")["label"].mean()
    assert share.var() > 2 * share.mean() * (1 - share.mean()) / EACH  # the variance if each clip were drawn by itself
    assert (hourly_shares(3, 20, 0.23) == 0).sum() == 4 and hourly_shares(3, 20, 0.23).mean() == pytest.approx(0.23, abs=0.01)


def test_what_cannot_be_simulated_is_said(tmp_path):
    with pytest.raises(ValueError, match="a share from 0 to 0.6"):
        simulate_upcalls(tmp_path, upcall_share=0.9)
    with pytest.raises(ValueError, match="at least one each"):
        simulate_upcalls(tmp_path, hours=0)
