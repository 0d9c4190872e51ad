"""The notebooks run without a reader, on a user's folder and on what they simulate, and show every figure; their tables count right."""
import numpy as np
import pandas as pd
import pytest

from preprocessing import explore
from preprocessing.annotations import read_annotations
from preprocessing.dataset import DataSet
from preprocessing.recordings import list_recordings
from spectrogram.profile import load_profile
from tests.preprocessing_notebook import outputs_of
from tests.toy_sound import noise, put, sweep, write

PROFILE = load_profile("beluga")
RATE = 48000


def run(name, tmp_path, **parameters):
    """Printed text and number of figures of a notebook, executed."""
    outputs, printed = outputs_of(name, tmp_path, parameters)
    return printed, sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sites, one without a call; labels as people write them."""
    folder = tmp_path_factory.mktemp("own")
    sound = put(put(noise(6, RATE), RATE, 1.0, sweep(0.6, RATE, 5000, 8000, 105)), RATE, 3.0, sweep(0.3, RATE, 3000, 4000, 100))
    write(folder / "BSM" / "6872.220716021453.wav", sound, RATE, "PCM_16")
    write(folder / "KAM" / "6872.220717021453.wav", noise(3, RATE, seed=3), RATE, "PCM_16")
    (folder / "BSM" / "6872.220716021453.Table.1.selections.txt").write_text(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCall Type\tAnalyst\n1\tSpectrogram 1\t1\t1.0\t1.6\t4500\t8500\tw\tZoé\n"
        "2\tSpectrogram 1\t1\t3.0\t3.3\t2500\t4500\twistle\tZoé\n3\tSpectrogram 1\t1\t4.2\t4.4\t\t\tunsure\t\n", encoding="utf-8")
    return folder


def test_03_explore_runs_on_a_users_folder(folder, tmp_path):
    printed, figures = run("03_explore", tmp_path, audio=str(folder), label_map="beluga", per_label=1)
    assert figures == 6
    assert "3 annotations in 1 files; 2 recordings, 0.1 min" in printed and "wistle" in printed and "(unsure)" in printed


def test_04_dataset_runs_on_what_it_simulates(tmp_path):
    printed, figures = run("04_dataset", tmp_path, seconds=4.0, simulated=str(tmp_path / "sites"), output=str(tmp_path / "set"))
    assert figures == 2 and "the same bit for bit: True" in printed
    data = DataSet(tmp_path / "set")
    assert data.manifest.groupby("site").size().to_dict() == {"BSM": 14, "KAM": 14}
    truth = read_annotations(str(tmp_path / "sites" / "**" / "*.selections.txt"), list_recordings(tmp_path / "sites"))
    assert data.info["summary"]["annotations"] == len(truth) and set(data.manifest["target_Boat"]) == {0.0, 1.0}


def test_tables_count_by_label_and_group(folder):
    recordings = list_recordings(folder)
    table = explore.with_snr(read_annotations(folder, recordings), recordings, PROFILE, progress=False)
    assert table["snr_db"].iloc[0] > 20 and table["snr_db"].iloc[2] < 5
    counts = explore.count_by(table, recordings)
    assert counts.loc["BSM", ["w", "wistle", "unsure"]].tolist() == [1, 1, 1] and counts.loc["KAM", ["w", "recordings", "minutes"]].tolist() == [0, 1, 0.05]
    rows = explore.label_table(table)
    assert rows.loc["w", ["annotations", "annotators"]].tolist() == [1, 1] and rows.loc["unsure", "annotators"] == 0
    assert rows.loc["w", "duration_s"] == pytest.approx(0.6) and rows.loc["w", "high_khz"] == 8.5
    with pytest.raises(ValueError, match="no column 'sight'"):
        explore.count_by(table, recordings, "sight")


def test_snr_is_the_same_a_minute_at_a_time(tmp_path, generator):
    sound = noise(75, 8000)
    for start in (5.0, 58.8, 61.0):
        put(sound, 8000, start, sweep(0.5, 8000, 1500, 2500, 95))
    write(tmp_path / "a.wav", sound, 8000, "PCM_16")
    table = pd.DataFrame({"recording": "a.wav", "start_s": [5.0, 58.8, 61.0, 0.0], "end_s": [5.5, 59.3, 61.5, 75.0], "low_hz": 1400.0, "high_hz": 2600.0, "label": "Whistle", "annotator": ""})
    measured = explore.with_snr(table, list_recordings(tmp_path), PROFILE, progress=False)["snr_db"]
    np.testing.assert_allclose(measured[:3], explore.measured_snr_db(generator.picture(tmp_path / "a.wav"), PROFILE, table)[:3], atol=0.01)
    assert np.isnan(measured[3])  # nothing of it is quiet
