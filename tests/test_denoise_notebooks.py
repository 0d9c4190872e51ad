"""Notebooks 09 and 10 run without a reader, on little simulated sound, and show every figure; the simulated store is what it says."""
import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocessing.acquire import read_clips
from preprocessing.annotations import read_annotations
from preprocessing.denoise import load
from preprocessing.humpbacks import CALLS, humpback_call, sea_noise, simulate_store
from preprocessing.label_map import LabelMap
from preprocessing.recordings import list_recordings
from tests.preprocessing_notebook import outputs_of


def run(name, tmp_path, **parameters):
    """Printed text, number of figures and of players of a notebook, executed."""
    outputs, printed = outputs_of(name, tmp_path, parameters)
    return printed, *(sum(kind in o.get("data", {}) and mark in o["data"][kind] for o in outputs) for kind, mark in (("image/png", ""), ("text/html", "<audio")))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return simulate_store(tmp_path_factory.mktemp("store"), recordings=2, seconds=20.0, calls=5, rate_hz=4000)


def test_the_simulated_store_holds_what_its_tables_say(store):
    recordings = list_recordings(store)
    assert [str(name).rsplit(".", 1)[1] for name in recordings.recording] == ["wav", "flac"] and recordings.duration_s.tolist() == [20, 20] and recordings.start_utc.notna().all()
    table = read_annotations(store, recordings)
    cleaned, _ = LabelMap.read("humpback").apply(table)
    assert len(table) == 10 and set(cleaned.label) <= set(CALLS) and (table.high_hz > table.low_hz).all()
    before = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    assert simulate_store(store, recordings=2, seconds=20.0, calls=5, rate_hz=4000) == store and {path: path.stat().st_mtime_ns for path in store.iterdir()} == before


@pytest.mark.parametrize("label", CALLS)
def test_simulated_calls(label):
    x, low_hz, high_hz = humpback_call(label, np.random.default_rng(1))
    again = humpback_call(label, np.random.default_rng(1))[0]
    assert np.array_equal(x, again) and np.sqrt(np.mean(x ** 2)) == pytest.approx(1, abs=1e-3) and abs(x[0]) < 0.2 and abs(x[-1]) < 0.2
    spectrum, freqs = np.abs(np.fft.rfft(x)) ** 2, np.fft.rfftfreq(len(x), 1 / 16000)
    assert spectrum[(freqs > 0.5 * low_hz) & (freqs < 1.2 * high_hz)].sum() > 0.8 * spectrum.sum()


def test_simulated_noise():
    for ship in (False, True):
        x = sea_noise(5, np.random.default_rng(2), 4000, ship)
        assert x.shape == (20_000,) and x.std() == pytest.approx(1, abs=1e-3) and np.isfinite(x).all()


def test_09_acquire_and_10_denoise_run(store, tmp_path):
    printed, figures, _ = run("09_acquire", tmp_path, store=str(store), output=str(tmp_path / "clips"), noise_s=[1.5], noise_per_recording=4, noise_away_s=0.3)
    clips = read_clips(tmp_path / "clips")
    assert figures == 3 and "10 calls and" in printed and "fetched whole" in printed and clips.kind.value_counts()["call"] == 10 and (clips.kind == "noise").any()
    printed, figures, players = run("10_denoise", tmp_path, acquired=str(tmp_path / "clips"), output=str(tmp_path / "unet"), steps=8, width=2, batch_size=2, mixtures=2, snrs_db=[5], shown_s=4.0,
                                    audio=str(next(store.glob("*.wav"))))
    assert figures == 4 and players == 3 and "U-Net over gate" in printed
    assert load(tmp_path / "unet").info["trained_on"]["clips"] == pd.crosstab(clips.recording, clips.kind)["call"].iloc[0]
    assert soundfile.info(next(store.glob("*.wav"))).frames == 80_000
