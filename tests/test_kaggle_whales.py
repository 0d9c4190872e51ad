"""The contest's layout: order, neighbours, and files that are not what they should be."""
import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocessing.kaggle_whales import kaggle_clips, upcall_truth
from preprocessing.splits import grouped_folds
from spectrogram.profile import load_profile
from training.leaks import check_leaks

RATE_HZ = 2000


def put(path, n=4000, rate_hz=RATE_HZ, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    x = (1000 * np.random.default_rng(seed).standard_normal(n)).astype(np.int16)
    soundfile.write(path, x, rate_hz, format="AIFF", subtype="PCM_16")
    return path


def contest(folder, count=40, labels=None):
    labels = [k % 4 == 0 for k in range(count)] if labels is None else labels
    for k in range(count):
        put(folder / "data" / "train" / f"train{k + 1}.aif", seed=k)
    lines = ["clip_name,label", *(f"train{k + 1}.aif,{int(label)}" for k, label in enumerate(labels))]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return contest(tmp_path_factory.mktemp("contest"))


def test_clips_come_in_the_order_of_their_numbers_with_label_path_and_block(folder):
    clips = kaggle_clips(folder, block_clips=10, guard_clips=0)
    assert clips["order"].tolist() == list(range(1, 41))  # not 1, 10, 11 ...
    assert clips["recording"].iloc[9] == "train10.aif" and clips["path"].iloc[9].endswith("train10.aif")
    assert clips["label"].tolist() == [int(k % 4 == 0) for k in range(40)]
    assert clips.groupby("group", sort=True)["order"].agg(["min", "max"]).values.tolist() == [[1, 10], [11, 20], [21, 30], [31, 40]]
    assert set(clips["sample_rate_hz"]) == {2000} and set(clips["duration_s"]) == {2.0} and clips.attrs == {"faults": [], "guarded": 0}


def test_guards_keep_blocks_apart_and_folds_by_group_share_no_neighbours(folder):
    clips = kaggle_clips(folder, block_clips=10, guard_clips=3)
    assert clips.attrs["guarded"] == 9 and not set(clips["order"]) & {11, 12, 13, 21, 22, 23, 31, 32, 33}
    folds = grouped_folds(clips, "group", 4, stratify="label", validation_group="group")
    for fold in folds:
        test, train = (clips["order"][folds[fold] == side].to_numpy() for side in ("test", "train"))
        assert np.abs(test[:, None] - train[None]).min() > 3
    assert len(check_leaks(clips, folds, groups=("recording", "group"))) == 0


def test_blocks_follow_the_numbers_where_rows_are_shuffled_or_clips_missing(tmp_path):
    contest(tmp_path, 20)
    rows = pd.read_csv(tmp_path / "train.csv").sample(frac=1, random_state=3)
    rows[~rows["clip_name"].isin(["train2.aif", "train3.aif"])].to_csv(tmp_path / "train.csv", index=False)
    clips = kaggle_clips(tmp_path, block_clips=10, guard_clips=0)
    assert clips["order"].is_monotonic_increasing and len(clips) == 18
    assert clips.set_index("order")["group"][[1, 10, 11]].tolist() == ["block_0000", "block_0000", "block_0001"]


def test_names_without_numbers_keep_the_order_of_the_table(tmp_path):
    for name in ("b", "a", "c"):
        put(tmp_path / f"{name}.aiff")
    (tmp_path / "train.csv").write_text("clip_name,label\r\nb.aif,1\r\nA.aif,0\r\nc,1\r\n")  # endings and case may differ
    clips = kaggle_clips(tmp_path, block_clips=2, guard_clips=0)
    assert clips["recording"].tolist() == ["b.aif", "A.aif", "c"] and clips["group"].tolist() == ["block_0000", "block_0000", "block_0001"]


def test_what_is_wrong_gets_one_line_each_and_the_rest_goes_on(tmp_path):
    contest(tmp_path, 14)
    sound = tmp_path / "data" / "train"
    (sound / "train1.aif").write_bytes(b"")
    (sound / "train2.aif").write_bytes(b"this is no sound at all" * 50)
    whole = (sound / "train3.aif").read_bytes()
    (sound / "train3.aif").write_bytes(whole[:5001])  # cut, and to an odd number of bytes
    put(sound / "train4.aif", n=3001)
    put(sound / "train5.aif", rate_hz=4000, n=8000)
    (sound / "train6.aif").unlink()
    put(tmp_path / "copy" / "train7.aif")
    put(sound / "train8.aif", n=0)
    text = (tmp_path / "train.csv").read_text().replace("train9.aif,1", "train9.aif,maybe") + "train10.aif,1\ntrain99.aif,1\n"
    (tmp_path / "train.csv").write_text(text)
    clips = kaggle_clips(tmp_path, guard_clips=0)
    faults = clips.attrs["faults"]
    assert clips["order"].tolist() == [10, 11, 12, 13, 14]
    expected = {"train1.aif": "zero bytes", "train2.aif": "not audio", "train3.aif": "truncated", "train4.aif": "lasts 1.500 s, the clips 2 s",
                "train5.aif": "4000 Hz, the clips are of 2000 Hz", "train6.aif": "not below", "train7.aif": "Keep one", "train8.aif": "holds no samples",
                "train9.aif": "'maybe'", "train10.aif": "comes again", "train99.aif": "not below"}
    assert len(faults) == len(expected)
    for name, what in expected.items():
        assert sum(name in line and what in line and "\n" not in line for line in faults) == 1, (name, faults)


def test_truth_makes_a_data_set_of_one_window_a_clip(folder, tmp_path):
    from preprocessing.dataset import build_dataset

    clips = kaggle_clips(folder, block_clips=10, guard_clips=0).iloc[:8]
    data = build_dataset(clips.assign(split="all"), upcall_truth(clips), tmp_path / "set", load_profile("right_whale"))
    assert len(data.manifest) == 8 and data.windows(data.manifest).shape == (8, 160, 64) and np.isfinite(data.windows(data.manifest)).all()
    assert (data.manifest["target_UpCall"] == clips["label"].to_numpy()).all()
    assert {"group", "order", "label"} <= set(data.manifest)


def test_a_folder_that_is_not_the_contest_is_refused(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"train.csv: no such table; give the folder"):
        kaggle_clips(tmp_path)
    (tmp_path / "train.csv").write_text("clip,probability\ntest1.aif,0\n")
    with pytest.raises(ValueError, match="no column clip_name or label; it has clip, probability"):
        kaggle_clips(tmp_path)
    (tmp_path / "train.csv").write_text("clip_name,label\ntrain1.aif,1\n")
    with pytest.raises(ValueError, match="none of the 1 clips .* the first: train1.aif: named by the table"):
        kaggle_clips(tmp_path)
    with pytest.raises(ValueError, match="at least one clip more than its guard"):
        kaggle_clips(folder, block_clips=5, guard_clips=5)
