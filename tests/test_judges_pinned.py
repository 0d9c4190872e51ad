"""What judges choose (maps, weights, limits) of answers drawn from a seed, pinned; none trains.

The numbers are those of the judges of each family as they stood at version 0.2. A judge that takes
their place gives the same, or the commit that changes them says why.
"""

import numpy as np
import pandas as pd

from training.clip_folds import calibration_of, with_thresholds
from training.clip_verdict import clip_metrics
from training.ensemble import held_out
from training.thresholds import choose

FOLDS = 3
SURE = {
    "alexnet": 1.5,
    "vgg16": 1.3,
    "baseline": 0.5,
}  # by how much a true clip is answered higher, in logits


def groups_and_targets(rng, groups=12, clips=5):
    """A clip a row: recording, group and target, whole groups in one fold."""
    group = np.repeat(np.arange(groups), clips)
    return pd.DataFrame(
        {
            "recording": [f"r{k}" for k in range(len(group))],
            "group": [f"g{k}" for k in group],
            "fold": group % FOLDS,
            "target": (rng.uniform(size=len(group)) < 0.4).astype(float),
        }
    )


def detections():
    """Clips of checked detections judged by two networks and a baseline, each on its scale."""
    rng = np.random.default_rng(0)
    table = groups_and_targets(rng).assign(
        **{"class": lambda t: np.where(t["target"] == 1, "B", "F")}
    )
    logits = {
        n: k * (2 * table["target"] - 1) + rng.normal(size=len(table)) for n, k in SURE.items()
    }
    table["recording"] = table["group"]
    side = {0: "test", 1: "validation", 2: "train"}
    folds = pd.DataFrame(
        {f"fold_{k}": ((table["fold"] - k) % FOLDS).map(side) for k in range(FOLDS)}
    )

    def answer(train, validation, test, fold):
        return {
            n: tuple(1 / (1 + np.exp(-2 * z[part.index].to_numpy())) for part in (validation, test))
            for n, z in logits.items()
        }

    return held_out(table.drop(columns="fold"), folds, answer)


def clips():
    """Windows of clips (three each) with logits of two labels and a baseline, as of folds."""
    rng = np.random.default_rng(1)
    clip = groups_and_targets(rng)
    table = (
        clip.loc[clip.index.repeat(3)].reset_index(drop=True).rename(columns={"target": "target_A"})
    )
    table["target_B"] = 1 - table["target_A"]
    for label, sure in (("A", 1.0), ("B", 0.4)):
        truth = 2 * table[f"target_{label}"] - 1
        table[f"logit_{label}"] = (sure * truth + rng.normal(size=len(table))).astype(np.float32)
        table[f"baseline_{label}"] = 1 / (1 + np.exp(-0.3 * truth - rng.normal(size=len(table))))
    labels = ("A", "B")
    position = table[["logit_A", "logit_B"]].to_numpy()[:, :, None]
    target = table[["target_A", "target_B"]].to_numpy()[:, :, None]
    calibration, _ = calibration_of(table, position, target, labels)
    return with_thresholds(table, calibration, labels, "mean"), labels


def windows():
    """Validation windows with four positions: what the judges of windows and of contests choose."""
    rng = np.random.default_rng(2)
    target = (rng.uniform(size=(400, 2)) < (0.3, 0.1)).astype(float)
    positions = np.repeat(target[:, :, None], 4, axis=2)
    logit = 3 * target - 2 + rng.normal(size=target.shape)
    trace = logit[:, :, None] + 0.5 * rng.normal(size=positions.shape)
    return choose(logit, trace, target, positions, ("A", "B"))


def close(values, pinned, tolerance=1e-6):
    """Whether they are the pinned ones."""
    np.testing.assert_allclose(np.asarray(values, float), pinned, rtol=0, atol=tolerance)


def test_detections_keep_their_weights_limits_and_probabilities():
    """The weights' solver stops within 1e-6 of the lowest log-loss, which moves weights by more."""
    table, weights = detections()
    close(weights["alexnet"], [1.0, 1.0, 0.645688514], 1e-3)
    close(weights["vgg16"], [0.0, 0.0, 0.354311486], 1e-3)
    limits = table.groupby("fold")[
        [column for column in table if column.startswith("limit_")]
    ].first()
    close(limits["limit_alexnet"], [0.469262717, 0.479774846, 0.17546868])
    close(limits["limit_vgg16"], [0.461202407, 0.684706152, 0.597751714])
    close(limits["limit_baseline"], [0.191492909, 0.433684129, 0.229517664])
    close(limits["limit_ensemble"], [0.469262717, 0.479774846, 0.398669915], 1e-3)
    means = table[["prob_alexnet", "prob_vgg16", "prob_baseline"]].mean()
    close(means, [0.441766662, 0.415778971, 0.388848981])


def test_clips_keep_their_limits_and_their_verdict():
    """Humpbacks, too, take their map and limits from these functions."""
    table, labels = clips()
    limits = table.groupby("fold")[
        ["limit_A", "limit_B", "baseline_limit_A", "baseline_limit_B"]
    ].first()
    close(limits["limit_A"], [0.449404061, 0.403504908, 0.459625512])
    close(limits["limit_B"], [0.708754182, 0.707092226, 0.695950866])
    close(limits["baseline_limit_A"], [0.530281365, 0.526183724, 0.524459779])
    close(limits["baseline_limit_B"], [0.447433352, 0.33965221, 0.371727109])
    close(table[["prob_A", "prob_B"]].astype(float).mean(), [0.316647147, 0.683339803])
    metrics = clip_metrics(table, labels, "mean", draws=20)
    macro, interval = metrics["macro"], metrics["interval"]
    close(
        [macro[name] for name in ("average_precision", "roc_auc", "f1")],
        [0.947474189, 0.89987163, 0.895074224],
    )
    close(interval["macro_average_precision"], [0.933960972, 0.984784122])
    close(interval["macro_roc_auc"], [0.861507218, 0.963111111])
    close(interval["macro_f1"], [0.849738739, 0.949888661])


def test_windows_and_contests_keep_their_maps_and_thresholds():
    """Studies take the window's threshold alone, without a map."""
    calibration, thresholds = windows()
    names = ("slope", "intercept", "position_slope", "position_intercept")
    close(
        [calibration["A"][name] for name in names],
        [3.180377094, 1.126739665, 2.372420379, 0.599510434],
        1e-5,
    )
    close(
        [calibration["B"][name] for name in names],
        [2.979728322, -1.105101045, 2.482104813, -1.334699749],
        1e-5,
    )
    close(
        [thresholds["A"][name] for name in ("window", "on", "off")],
        [0.34757976, 0.398048087, 0.199024044],
    )
    close(
        [thresholds["B"][name] for name in ("window", "on", "off")],
        [0.499705916, 0.38834805, 0.194174025],
    )


def test_a_fold_chooses_nothing_by_its_own_truth():
    """With the truth of fold 0 turned round its own limits stay, and the others' move."""
    table, labels = clips()
    rows = table["fold"] == 0
    plain = table.drop(columns=[c for c in table if "limit" in c or c.startswith("prob_")])
    plain = plain.assign(
        **{f"logit_{x}": np.log(table[f"prob_{x}"] / (1 - table[f"prob_{x}"])) for x in labels}
    )
    turned = plain.copy()
    turned.loc[rows, ["target_A", "target_B"]] = 1 - plain.loc[rows, ["target_A", "target_B"]]
    even = {label: {"slope": 1.0, "intercept": 0.0} for label in labels}
    before, after = (with_thresholds(t, even, labels, "mean") for t in (plain, turned))
    columns = [c for c in before if "limit" in c]
    pd.testing.assert_frame_equal(before.loc[rows, columns], after.loc[rows, columns])
    assert not before.loc[~rows, columns].equals(after.loc[~rows, columns])
