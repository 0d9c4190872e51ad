"""A deployment scored by several networks: the windows of a data set, bounded tables, days that were listened to."""
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from preprocessing.dataset import build_dataset
from preprocessing.recordings import list_recordings
from spectrogram.generator import SpectrogramGenerator
from spectrogram.profile import Profile, load_profile
from spectrogram.recording import Recording
from tests.toy_sound import noise, put, sweep, write
from training.score_table import daily_presence, score_deployment, windows_of

RATE = 16000
WATKINS = load_profile("watkins").to_dict()
PROFILE = Profile.from_dict(WATKINS | {"name": "toy", "window_s": 2.0, "step_s": 1.0, "heads": {"animal": ["Beluga"]}, "labels": {"Beluga": WATKINS["labels"]["Beluga"]},
                                       "picture": WATKINS["picture"] | {"bands": 24}})
NAMES = ("6872.170623235955.wav", "6872.170624000500.wav", "6872.170624000600.wav", "undated.wav")


@dataclass
class Loud:
    """Answers how far the loudest cell stands out, softened by a factor."""

    factor: float
    profile: Profile = PROFILE

    @property
    def labels(self):
        return self.profile.labels

    def predict(self, pictures_db, batch=32):
        top = np.nanmax(pictures_db, axis=(1, 2)) - np.nanmedian(pictures_db, axis=(1, 2))
        return (1 / (1 + np.exp(-(top - 20) * self.factor)))[:, None].astype(np.float32), None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten seconds over midnight with a call in the ninth, 2.5 s, 0.7 s below a window, one without a time, one at a rate too low, one broken."""
    folder = tmp_path_factory.mktemp("sea")
    for k, (name, seconds) in enumerate(zip(NAMES, (10, 2.5, 0.7, 2))):
        x = noise(seconds, RATE, seed=k)
        write(folder / "M1" / name, put(x, RATE, 8.2, sweep(0.5, RATE, 2500, 4000, 100)) if k == 0 else x, RATE)
    write(folder / "M2" / "5675.170624000000.wav", noise(3, 2000, seed=9), 2000)
    (folder / "M1" / "6872.170625000000.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def scored(folder, tmp_path_factory):
    return score_deployment(folder, {"a": Loud(0.2), "b": Loud(1.0)}, {"a": 0.25, "b": 0.75}, tmp_path_factory.mktemp("out") / "scores.parquet", limit=0.6)


def test_every_window_has_each_networks_and_the_ensembles_probability(scored):
    table = pd.read_parquet(scored.path)
    assert len(table) == scored.windows and not scored.path.with_name("scores.parquet.part").exists()
    assert table.groupby("recording").size().to_dict() == {"M1/" + NAMES[0]: 9, "M1/" + NAMES[1]: 2, "M1/" + NAMES[2]: 1, "M1/" + NAMES[3]: 1, "M2/5675.170624000000.wav": 2}
    np.testing.assert_allclose(table["prob_ensemble"], 0.25 * table["prob_a"] + 0.75 * table["prob_b"], rtol=1e-5)
    assert table["prob_ensemble"][table["site"] == "M2"].isna().all()  # 2 kHz cannot show it: missing, not absent
    first = table[table["recording"] == "M1/" + NAMES[0]]
    assert first.index[first["prob_ensemble"] >= 0.6].tolist() == [7, 8] and first["start_utc"].iloc[5] == pd.Timestamp("2017-06-24", tz="UTC")
    np.testing.assert_allclose(table.groupby("recording")["new_s"].sum(), [10, 2.5, 0.7, 2, 3])


def test_days_that_were_listened_to(scored):
    daily = scored.daily.set_index(["site", "day"])
    assert list(daily.index) == [("M1", "2017-06-23"), ("M1", "2017-06-24")]
    assert daily["presence"].tolist() == [False, True] and daily["windows_with"].tolist() == [0, 2] and daily["windows"].tolist() == [5, 7]
    assert daily["listened_s"].sum() == pytest.approx(13.2)
    table = pd.read_parquet(scored.path)
    pd.testing.assert_frame_equal(daily_presence(table, 0.6), scored.daily)
    assert not daily_presence(table, 0.6, least_windows=3)["presence"].any()
    assert daily_presence(table, 0.6, time_zone="America/Anchorage")["day"].tolist() == ["2017-06-23"]


def test_what_could_not_be_used_is_told_in_a_line_each(scored):
    assert len(scored.notes) == 2 and "6872.170625000000.wav" in scored.notes[0] and scored.notes[1].startswith("M1/undated.wav: no start time")


@pytest.mark.parametrize("block", [0.37, 16.0])
def test_windows_are_those_of_a_data_set_however_the_sound_comes(folder, tmp_path, block, monkeypatch):
    recordings = list_recordings([folder / "M1" / name for name in NAMES[:3]]).assign(split="test")
    data = build_dataset(recordings, pd.DataFrame(columns=["recording", "label", "start_s", "end_s", "snr_db", "audible"]), tmp_path, PROFILE, padded=True)
    generator = SpectrogramGenerator(PROFILE)
    stream = generator.stream
    monkeypatch.setattr(generator, "stream", lambda sound: stream(sound, block))
    for row in recordings.itertuples():
        cut = np.concatenate(list(windows_of(generator, Recording(row.path))))
        np.testing.assert_array_equal(cut, data.windows(data.rows(recording=row.recording)))


def test_models_weights_and_labels_must_fit(folder, tmp_path):
    other = Profile.from_dict(PROFILE.to_dict() | {"step_s": 0.5})
    for models, weights, label, fault in (({"a": Loud(1)}, {"b": 1.0}, None, "one weight for each"), ({"a": Loud(1)}, {"a": 0.5}, None, "sum to 0.5"),
                                          ({"a": Loud(1), "b": Loud(1)}, {"a": 1.5, "b": -0.5}, None, "negative"), ({"a": Loud(1)}, {"a": 1.0}, "Whistle", "not 'Whistle'"),
                                          ({"a": Loud(1), "b": Loud(1, other)}, {"a": 0.5, "b": 0.5}, None, "another front end")):
        with pytest.raises(ValueError, match=fault):
            score_deployment(folder, models, weights, tmp_path / "x.parquet", 0.5, label)
    (tmp_path / "sea").mkdir()
    (tmp_path / "sea" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="none of 0 recordings could be scored"):
        score_deployment(tmp_path / "sea", {"a": Loud(1)}, {"a": 1.0}, tmp_path / "x.parquet", 0.5)
    assert not (tmp_path / "x.parquet").exists()
