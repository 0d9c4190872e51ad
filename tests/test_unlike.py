"""The unlike generator: repeatable, its truth agrees with its sound, and no training knows it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preprocessing import soundscape, unlike
from preprocessing.soundscape.truth import COLUMNS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("label", unlike.LABELS)
def test_a_call_of_each_label_lies_in_its_own_band_and_within_its_bounds(label):
    least, most = {
        "ECHO": (20e3, 96e3),
        "HFPC": (24e3, 86e3),
        "BBPC": (900, 82e3),
        "Whistle": (900, 70e3),
    }[label]
    for seed in range(4):
        call = unlike.draw_call(np.random.default_rng(seed), label)
        start_s, end_s, low_hz, high_hz = unlike.bounds(call.sound)
        assert least <= low_hz < high_hz <= most
        inside = call.sound[int(start_s * unlike.RATE_HZ) : int(end_s * unlike.RATE_HZ)]
        assert (inside**2).sum() > 0.9 * (call.sound**2).sum()


@pytest.mark.parametrize("label", unlike.LABELS)
def test_twenty_decibels_more_sound_are_twenty_decibels_more_signal_to_noise(label):
    rng = np.random.default_rng(5)
    call = unlike.draw_call(rng, label)
    around = unlike.noise(rng, len(call.sound))
    before_db = unlike.snr_db(call, around)
    call.sound = call.sound * 10
    assert unlike.snr_db(call, around) == pytest.approx(before_db + 20)


def test_the_same_seed_gives_the_same_recording_and_its_calls_have_the_snr_asked_for():
    sound, truth = unlike.recording((7, 1), 4.0, (12, 14), calls_per_s=1.0)
    again, same = unlike.recording((7, 1), 4.0, (12, 14), calls_per_s=1.0)
    assert np.array_equal(sound, again)
    pd.testing.assert_frame_equal(truth, same)
    assert len(truth) and truth["snr_db"].between(12, 14).all()
    assert (truth["end_s"] <= 4.01).all() and (truth["start_s"] < truth["end_s"]).all()
    assert not np.array_equal(sound, unlike.recording((7, 2), 4.0)[0])


def test_an_empty_sea_has_no_row_but_all_columns_of_the_simulators_truth():
    sound, truth = unlike.recording(3, 1.0, calls_per_s=0)
    assert len(truth) == 0 and list(truth) == COLUMNS
    assert np.isfinite(sound).all() and sound.std() > 0


def test_diphonic_is_a_whistle_and_a_pulsed_call_that_share_half_of_the_shorter():
    rows = pd.DataFrame(
        [("Whistle", 0.0, 1.0), ("HFPC", 0.4, 0.8), ("BBPC", 0.9, 2.0), ("ECHO", 0.0, 1.0)],
        columns=["label", "start_s", "end_s"],
    )
    assert unlike.diphonic(rows).tolist() == [True, True, False, False]


def test_no_training_and_no_simulator_imports_it():
    rooms = [ROOT / "training", Path(soundscape.__file__).parent]
    sources = [path for room in rooms for kind in ("*.py", "*.ipynb") for path in room.rglob(kind)]
    assert len(sources) > 20
    says = re.compile(r"import unlike|preprocessing\.unlike|from \.+unlike")
    assert [path.name for path in sources if says.search(path.read_text(encoding="utf-8"))] == []
