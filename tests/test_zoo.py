"""The zoo's table of all networks: what it takes from results folders, and what it measures by itself."""
import json
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from preprocessing.upcalls import simulate_upcalls
from spectrogram.profile import load_profile
from training import embedding_tasks, zoo
from training.backbones import make_net
from training.overview import overview
from training.run import RESULTS, ROOT, execute

NOTEBOOK = ROOT / "training" / "11_zoo.ipynb"


@pytest.fixture(scope="module")
def rows():
    return zoo.zoo_table()


def test_every_row_is_of_a_split_that_does_not_leak_and_has_the_overview_s_figures(rows):
    assert len(rows) and not rows["training"].str.contains("leak").any()
    known = overview().set_index(["experiment", "training"])["macro_ap"]
    plain = rows[~rows["network"].str.startswith("cook:")]
    for row in plain.to_dict("records"):
        assert row["AP"] == known[(row["task"], row["training"])]
        assert row["AP low"] <= row["AP"] + 0.2 and row["network"].startswith(row["spec"].backbone)
    assert {"cook:alexnet", "cook:vgg16", "cook:resnet50", "cook:densenet121"} <= set(rows["network"]) or "cook_inlet" not in set(rows["task"])


def test_networks_across_tasks_take_the_best_training_and_leave_gaps(rows):
    wide = zoo.across(rows)
    one = rows[(rows["task"] == "humpback_types") & (rows["network"] == "ast:tiny")]
    assert wide.loc["ast:tiny", "humpback_types"].startswith(f"{one['AP'].max():.2f} (") and wide.loc["ast:tiny", "beluga_default"] == ""
    assert float(wide.loc["cheap baseline", "beluga_default"]) == pytest.approx(rows.loc[rows["task"] == "beluga_default", "baseline AP"].iloc[0], abs=0.005)


def test_size_and_speed_are_of_the_network_itself():
    profile = load_profile("right_whale")
    small, large = (make_net("resnet", profile, width) for width in (8, 32))
    assert zoo.size(small)["parameters"] == sum(p.numel() for p in small.parameters())
    assert zoo.size(small)["kB"] == pytest.approx(4 * sum(v.numel() for v in small.state_dict().values()) / 1024, rel=0.05)
    speeds = [zoo.windows_per_s(net, profile, 2) for net in (small, large)]
    assert np.isfinite(speeds).all() and speeds[0] > speeds[1] > 0


def test_each_network_is_measured_once_on_the_picture_that_it_saw(rows):
    some = rows[rows["network"].isin(["resnet 8", "statistics x 3", "ast:tiny"])]
    table = zoo.measured(some, 1)
    assert len(table) == len({(r["network"], r["spec"].front_end().n_bands, r["spec"].front_end().window_frames) for r in some.to_dict("records")})
    assert table["kB"].is_monotonic_increasing and (table["windows_per_s"] > 0).all()
    ax = zoo.plot_sizes(table)
    assert ax.get_xscale() == "log"
    plt.close(ax.figure)


def test_the_notebook_says_plainly_that_real_clips_are_not_there_and_shows_the_rest(tmp_path):
    simulate_upcalls(tmp_path / "contest", 3, 8, 6, 0.5)
    kept = tmp_path / "results" / "right_whale_watkins"
    kept.mkdir(parents=True), (tmp_path / "sound").mkdir()
    for name in ("metrics.json", "parameters.yaml"):
        shutil.copy(RESULTS / "right_whale_watkins" / name, kept)
    networks = [{"name": "own", "backbone": "resnet", "width": 8}, {"name": "numbers", "backbone": "descriptors"}, {"name": "statistics", "backbone": "statistics of the picture"}]
    told = {"results_dir": str(tmp_path / "results"), "data_dir": str(tmp_path / "data"), "out_dir": str(tmp_path / "out"), "recordings": str(tmp_path / "sound"), "draws": 10, "progress": False,
            "upcalls": {"kaggle": str(tmp_path / "contest"), "block_clips": 6, "guard_clips": 0}, "networks": networks, "pairs": [["own", "statistics"], ["numbers", "own"]]}
    execute(NOTEBOOK, tmp_path / "zoo.ipynb", told, progress=False)
    text = (tmp_path / "zoo.ipynb").read_text(encoding="utf-8")
    assert "The real clips are not here" in text and "left out: numbers" in text and "own against statistics" in text and '"output_type": "error"' not in text
    answers, figures = (pd.read_parquet(tmp_path / "out" / f"{what}_upcalls.parquet") for what in ("answers", "figures"))
    again = embedding_tasks.figures(answers, ("UpCall",), 10)
    pd.testing.assert_frame_equal(again, figures, check_dtype=False, rtol=1e-4)
    assert not (tmp_path / "out" / "answers_species.parquet").exists() and len(pd.read_parquet(tmp_path / "out" / "compared.parquet")) == 1
    assert all(not cell.get("outputs") for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])
