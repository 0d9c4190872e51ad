"""The zoo's table of all networks: what it takes from results folders, and what it measures by itself."""
import numpy as np
import pytest

from spectrogram.profile import load_profile
from training import zoo
from training.backbones import make_net
from training.overview import overview

ROWS = zoo.zoo_table()


def test_every_row_is_of_a_split_that_does_not_leak_and_has_the_overview_s_figures():
    assert len(ROWS) and not ROWS["training"].str.contains("leak").any()
    known = overview().set_index(["experiment", "training"])["macro_ap"]
    plain = ROWS[~ROWS["network"].str.startswith("cook:")]
    for row in plain.to_dict("records"):
        assert row["AP"] == known[(row["task"], row["training"])]
        assert row["AP low"] <= row["AP"] + 0.2 and row["network"].startswith(row["spec"].backbone)
    assert {"cook:alexnet", "cook:vgg16", "cook:resnet50", "cook:densenet121"} <= set(ROWS["network"]) or "cook_inlet" not in set(ROWS["task"])


def test_networks_across_tasks_take_the_best_training_and_leave_gaps():
    wide = zoo.across(ROWS)
    one = ROWS[(ROWS["task"] == "humpback_types") & (ROWS["network"] == "resnet 8")]
    assert wide.loc["resnet 8", "humpback_types"].startswith(f"{one['AP'].max():.2f} (") and wide.loc["resnet 8", "beluga_default"] == ""
    assert float(wide.loc["cheap baseline", "beluga_default"]) == pytest.approx(ROWS.loc[ROWS["task"] == "beluga_default", "baseline AP"].iloc[0], abs=0.005)


def test_size_and_speed_are_of_the_network_itself():
    profile = load_profile("right_whale")
    small, large = (make_net("resnet", profile, width) for width in (8, 32))
    assert zoo.size(small)["parameters"] == sum(p.numel() for p in small.parameters())
    assert zoo.size(small)["kB"] == pytest.approx(4 * sum(v.numel() for v in small.state_dict().values()) / 1024, rel=0.05)
    speeds = [zoo.windows_per_s(net, profile, 2) for net in (small, large)]
    assert np.isfinite(speeds).all() and speeds[0] > speeds[1] > 0


def test_each_network_is_measured_once_on_the_picture_that_it_saw():
    some = ROWS[ROWS["network"].isin(["resnet 8", "statistics x 3", "ast:tiny"])]
    table = zoo.measured(some, 1)
    assert len(table) == len({(r["network"], r["spec"].front_end().n_bands, r["spec"].front_end().window_frames) for r in some.to_dict("records")})
    assert table["kB"].is_monotonic_increasing and (table["windows_per_s"] > 0).all() and zoo.plot_sizes(table).get_xscale() == "log"
