"""A toy data set for the training room's tests: pictures drawn straight as arrays, no sound, a second to make."""
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.dataset import DataSet, build_dataset
from spectrogram.background import has_contrast
from spectrogram.profile import Profile, load_profile

PROFILE = load_profile("beluga")
SHAPES = {  # label -> bands, duration_s
    "ECHO": (slice(60, 96), 0.3), "HFPC": (slice(70, 90), 0.6), "BBPC": (slice(10, 90), 0.4),
    "Whistle": (slice(12, 16), 0.7), "Boat": (slice(0, 60), 4.0),
}


def toy_dataset(folder: Path, seed: int = 0, files: int = 6, seconds: int = 20, profile: Profile = PROFILE) -> DataSet:
    """`files` recordings; every label drawn as its own bright block (ECHO as a comb in time); one third validation, one third test."""
    rng = np.random.default_rng(seed)
    recordings, calls = [], []
    (folder / "pictures").mkdir(parents=True)
    for n in range(files):
        name = f"r{n}.wav"
        noise_db = 0 if has_contrast(profile) else 60
        picture = (noise_db + 3 * rng.standard_normal((seconds * 192, profile.n_columns))).astype(np.float32)
        for label, (bands, duration_s) in SHAPES.items():
            for start_s in rng.uniform(0, seconds - duration_s, 1 if label == "Boat" else 5):
                first, last = int(start_s * 192), int((start_s + duration_s) * 192)
                picture[first:last:8 if label == "ECHO" else 1, bands] += 9 if label == "Boat" else 18
                calls.append((name, label, start_s, start_s + duration_s, 18.0, True))
        np.save(folder / "pictures" / f"{name}.npy", picture)
        (folder / "pictures" / f"{name}.rate").write_text("192000", encoding="utf-8")
        split = ("train", "validation", "test")[n % 3]
        recordings.append({"recording": name, "path": name, "split": split, "site": f"S{n % 2}", "boats": True})
    truth = pd.DataFrame(calls, columns=["recording", "label", "start_s", "end_s", "snr_db", "audible"])
    return build_dataset(pd.DataFrame(recordings), truth, folder, profile)
