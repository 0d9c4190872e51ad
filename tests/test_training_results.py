"""What is committed in results/: every figure comes again from the tables beside it; and the comparison of two experiments."""
import numpy as np
import pandas as pd
import pytest

from training.compare import NotComparable, paired_tables
from training.recompute import differences, recomputed
from training.run import RESULTS

FOLDERS = sorted(p.parent for p in RESULTS.glob("*/metrics.json") if (p.parent / "predictions.parquet").exists())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_metric_comes_again_from_its_predictions(folder):
    assert differences(folder) == []
    if (folder / "data_card.md").exists():  # written by the code that also keeps the predictions of what stands beside the network
        assert recomputed(folder)[1] == []


def table(prob, target, recordings):
    return pd.DataFrame({"recording": recordings, "start_s": np.arange(len(prob)), "target_A": np.asarray(target, np.float32), "prob_A": np.asarray(prob, np.float32)})


def test_a_better_experiment_is_better_by_the_difference_on_the_same_windows():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 400)
    names = np.repeat([f"r{k}" for k in range(20)], 20)
    good, poor = (table(np.clip(target * gain + rng.normal(0.4 - gain / 2, 0.2, 400), 0, 1), target, names) for gain in (0.8, 0.3))
    verdict = paired_tables(good, poor, {"A": 0.5}, {"A": 0.5}, ("A",), draws=50)
    f1 = verdict["macro_f1"]
    assert verdict["windows"] == 400 and f1["difference"] == pytest.approx(f1["one"] - f1["other"]) and f1["low"] > 0.05 and f1["share_better"] == 1
    same = paired_tables(good, good, {"A": 0.5}, {"A": 0.5}, ("A",), draws=20)["macro_average_precision"]
    assert same["difference"] == same["low"] == same["high"] == 0 and same["share_better"] == 0


def test_what_cannot_be_compared_is_refused():
    one = table([0.1, 0.9], [0, 1], ["a", "a"])
    with pytest.raises(NotComparable, match="no test window in common"):
        paired_tables(one, one.assign(recording="b"), {"A": 0.5}, {"A": 0.5}, ("A",))
    with pytest.raises(NotComparable, match="no label in common"):
        paired_tables(one, one, {}, {}, ())
