"""The notebooks of experiments on clips, run by papermill on a few seconds of synthetic sound."""
import json

import numpy as np
import pandas as pd
import soundfile
import yaml

from training.run import EXPERIMENTS, TEMPLATES, execute
from training.recompute import differences
from training.saved import load_model
from training.spec import Experiment

RATE_HZ = 10_000
GIVEN = {"name": "toy", "profile": "watkins", "question": "Sweep or nothing?", "clips": [{"folder": "toy", "label": "species", "group": "source"}],
         "names": {"sweep": "Beluga", "*": None}, "split": {"kind": "grouped", "by": "group", "folds": 2}, "backbone": "descriptors",
         "normalisation": {"kind": "mean", "scale_db": 20, "low": -6, "high": 6, "masked": -8}, "augmentation": {"band_limit_rates_hz": [8000]}}


def write_clips(folder):
    """Six sources of two clips each, sweeps and noise in turn."""
    rng, rows = np.random.default_rng(0), []
    (folder / "toy").mkdir(parents=True)
    for source in range(6):
        kind = ("sweep", "silence")[source % 2]
        for n in range(2):
            t = np.arange(int((0.8, 1.4)[n] * RATE_HZ)) / RATE_HZ
            sound, rate = rng.standard_normal(len(t)), rng.uniform(1.2, 3.5)
            if kind == "sweep":
                sound += 3 * np.sin(2 * np.pi * (rng.uniform(1000, 1500) * t + 300 * np.sin(rate * 2 * np.pi * t + source) / rate))
            soundfile.write(folder / "toy" / f"{kind}_{source}_{n}.wav", sound / 80, RATE_HZ)
            rows.append((f"{kind}_{source}_{n}.wav", kind, f"s{source}", RATE_HZ, len(t) / RATE_HZ))
    pd.DataFrame(rows, columns=["file", "species", "source", "sample_rate_hz", "duration_s"]).to_csv(folder / "toy" / "manifest.csv", index=False)


def test_clips_are_judged_and_analysed_by_their_notebooks(tmp_path, monkeypatch):
    monkeypatch.setenv("SEA_CANARY_DATA", str(tmp_path / "sound"))
    write_clips(tmp_path / "sound")
    spec, folder = Experiment.from_dict(GIVEN), tmp_path / "results" / "toy"
    folder.mkdir(parents=True)
    told = {"experiment": spec.to_dict(), "results_dir": str(tmp_path / "results"), "data_dir": str(tmp_path / "data"), "progress": False}
    execute(EXPERIMENTS.parent / TEMPLATES["clips"], folder / "train.ipynb", told, progress=False)
    (folder / "parameters.yaml").write_text(yaml.safe_dump(spec.to_dict()), encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["variants"]["all"]["network"]["clips"] == 12
    assert differences(folder) == [] and load_model(folder).labels == ("Beluga", "OtherAnimal")
    execute(EXPERIMENTS / "clips_analysis.ipynb", folder / "analysis.ipynb", {"name": "toy", "results_dir": str(tmp_path / "results")}, progress=False)
    for name in ("train", "analysis"):
        book = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert "image/png" in json.dumps(book["cells"]) and str(tmp_path) not in json.dumps([c["outputs"] for c in book["cells"] if c["cell_type"] == "code"])
