"""An experiment on a detector's checked finds, whole: own recordings with everything wrong that people bring, a table, networks, verdict, ensemble, new deployment."""
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest

from tests.independent_verdict import compared
from tests.toy_sound import noise, put, sweep, write
from training import score_table
from training.detection_experiment import tables_of
from training.detection_settings import SETTINGS, detections_of
from training.detection_verdict import new_table, read_tables, real_metrics, split_table
from training.overview import overview, readme
from training.recompute import differences
from training.run import write_parameters
from training.saved import BadModel, load_model
from training.saved_ensemble import load_ensemble
from training.spec import BadExperiment, Experiment

ROOT = Path(__file__).resolve().parents[1]
RATE, SECONDS, SERIALS = 24000, 24, ("6872", "5675")
BEGIN = datetime(2017, 6, 23, 12, 0, tzinfo=timezone.utc)


def deployment(folder: Path) -> Path:
    """Two moorings, three recordings each that follow each other; true calls high, false alarms low; one file that is no sound; and the table of what was found."""
    found = []
    for m, serial in enumerate(SERIALS):
        for k in range(3):
            start = BEGIN + timedelta(days=m, seconds=SECONDS * k)
            x = noise(SECONDS, RATE, seed=10 * m + k)
            for at_s, true in ((2.0, True), (5.5, False), (9.0, True), (12.5, False), (16.0, True), (19.5, False)):
                put(x, RATE, at_s, sweep(0.6, RATE, *((2500, 5000) if true else (600, 900)), 100))
                found.append((start + timedelta(seconds=at_s), 0.6, serial, "B" if true else "F"))
            write(folder / "sea" / f"M{m}" / f"{serial}.{start:%y%m%d%H%M%S}.wav", x, RATE)
    found += [(BEGIN + timedelta(seconds=SECONDS - 0.4), 1.2, "6872", "F"),    # over the end of the first recording into the second
              (BEGIN + timedelta(days=9), 0.5, "6872", "B"),                   # outside all recordings
              (BEGIN + timedelta(seconds=8), 0.5, "6872", "walrus?")]          # a verdict in no map
    (folder / "sea" / "M0" / "6872.170623130000.wav").write_bytes(b"no sound at all")
    table = pd.DataFrame(found, columns=["UTC", "Duration (s)", "Serial", "Species"])
    table.assign(UTC=table["UTC"].map(lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S.%f"))).to_csv(folder / "found.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The template and the analysis, executed: (folder of results, what the template printed, deployment)."""
    here = deployment(tmp_path_factory.mktemp("inlet"))
    spec = Experiment.from_dict({"name": "tiny", "profile": "cook_inlet", "split": {"kind": "grouped", "folds": 2}, "clips": [{"folder": str(here / "no such place"), "label": "x"}],
                                 "published": "0.97, by row", "detections": {"recordings": str(here / "sea"), "table": str(here / "*.csv"), "new": str(here / "sea"), "guard_s": 0.3,
                                                                             "networks": {"alexnet": {"epochs": 2, "batch_size": 4}}}})
    results = here / "results"
    told = {"experiment": spec.to_dict(), "results_dir": str(results), "data_dir": str(here / "data")}
    (results / "tiny").mkdir(parents=True)
    book = papermill.execute_notebook(str(ROOT / "training" / "08_validate_detections.ipynb"), str(here / "train.ipynb"), told, cwd=str(ROOT), progress_bar=False, kernel_name="python3")
    write_parameters(results / "tiny", spec)
    printed = "".join(shown["text"] for cell in book.cells for shown in cell.get("outputs", []) if shown.output_type == "stream" and shown.name == "stdout")
    return results / "tiny", printed, here


def test_what_is_bad_is_told_in_a_line_each_and_the_rest_goes_on(run):
    folder, printed, here = run
    lines = printed.splitlines()
    for said in (r"6872\.170623130000\.wav", r"found\.csv, line 39: .*lies outside all recordings \(1 detection of 39\)", r"verdict 'walrus\?' is in no map, 1 detection with it count as unsure",
                 "Real sound is left out: .*no such place"):
        assert len([line for line in lines if re.search(said, line)]) >= 1, said
    tables = read_tables(folder)
    by = tables["predictions"].query("split == 'recording'")
    assert by["class"].value_counts()["B"] == 18 and by.groupby("class").size()["F"] >= 18 and (by["class"] == "N").any()
    torn = by[by.duplicated("detection", keep=False) & (by["detection"] >= 0)]
    assert torn["recording"].nunique() == 2 and torn["fold"].nunique() == 1  # both pieces of what runs over the file's end are on one side


def test_a_rate_by_the_hour_is_told_only_where_an_hour_was_heard():
    new = {"windows": 236, "calls": {"calls": 16, "reached": 12, "share": 0.75}, "false_windows": 1, "empty_hours": 0.05, "false_windows_per_empty_hour": 20.0}
    assert new_table({"new_deployment": new})["figure"].to_dict()["minutes without calls"] == "3.0" and not any("hour" in name for name in new_table({"new_deployment": new}).index)
    assert new_table({"new_deployment": new | {"empty_hours": 2.0, "false_windows_per_empty_hour": 0.5}}).loc["false windows per empty hour", "figure"] == "0.5"


def test_every_split_is_judged_and_all_figures_come_again(run):
    folder, printed, here = run
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["splits"]) == ["recording", "mooring", "row (a leak)"] and metrics["kind"] == "detections" and metrics["simulated"] is False
    assert "Leaks by split: {'recording': 0, 'mooring': 0, 'row (a leak)': " in printed and metrics["settings"]["leaks"]["row (a leak)"] > 0
    table = split_table(metrics)
    assert len(table) == 9 and table.loc[("mooring", "baseline"), "ROC AUC"] > 0.8
    assert set(metrics["splits"]["mooring"]["moorings"]) == {"M0", "M1"} and metrics["splits"]["mooring"]["clips"] == metrics["splits"]["recording"]["clips"]
    metrics["splits"]["mooring"]["ensemble"]["recall"] += 0.01
    assert metrics["splits"]["mooring"]["gain_over_baseline"]["interval"][0] <= metrics["splits"]["mooring"]["gain_over_baseline"]["difference"]
    (folder / "metrics.json").rename(folder / "kept.json")
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    try:
        told = differences(folder)
        count, unlike = compared(folder)
        assert count >= 54 and len(unlike) == 1 and unlike[0].startswith("splits/mooring/ensemble/")
        assert len(told) == 1 and told[0].startswith("splits/mooring/ensemble/recall")
    finally:
        (folder / "kept.json").replace(folder / "metrics.json")


def test_the_ensemble_is_kept_and_scores_a_deployment_by_one_command(run, capsys):
    folder, _, here = run
    kept = load_ensemble(folder)
    assert list(kept.models) == ["alexnet"] and kept.weights == {"alexnet": pytest.approx(1.0)} and load_model(folder / "models" / "alexnet").labels == ("Beluga",)
    assert score_table.main([str(folder), str(here / "sea"), str(here / "out")]) == 0
    assert "6872.170623130000.wav" in capsys.readouterr().out
    one, other = pd.read_parquet(folder / "scores.parquet"), pd.read_parquet(here / "out" / "scores.parquet")
    np.testing.assert_allclose(one["prob_ensemble"], other["prob_ensemble"], atol=1e-5)
    daily = pd.read_csv(here / "out" / "daily.csv")
    assert daily["day"].tolist() == ["2017-06-23", "2017-06-24"] and daily["windows"].sum() == len(other) == 6 * (SECONDS - 1)
    assert score_table.main([str(here), str(here / "sea"), str(here / "out")]) == 2 and "no ensemble there" in capsys.readouterr().err


def test_weights_too_large_for_the_code_are_left_out_and_the_mend_is_told(run, tmp_path):
    folder, _, _ = run
    assert "/alexnet/model.safetensors" in (folder / "models" / ".gitignore").read_text(encoding="utf-8").splitlines()
    (tmp_path / "model.json").write_bytes((folder / "models" / "alexnet" / "model.json").read_bytes())
    with pytest.raises(BadModel, match="model.safetensors is not there; .*make experiment NAME=tiny ARGS=--again"):
        load_model(tmp_path)


def test_the_analysis_reads_its_folder_and_the_overview_has_its_row(run):
    folder, _, here = run
    book = papermill.execute_notebook(str(ROOT / "training" / "experiments" / "detections_analysis.ipynb"), str(folder / "analysis.ipynb"),
                                      {"name": "tiny", "results_dir": str(folder.parent)}, cwd=str(ROOT), progress_bar=False, kernel_name="python3")
    assert sum("image/png" in shown.get("data", {}) for cell in book.cells for shown in cell.get("outputs", [])) == 3  # no real sound, no picture of it
    rows = overview(folder.parent)
    assert rows["training"].tolist() == ["by recording", "by mooring", "by row (a leak)"] and rows["macro_ap"].between(0, 1).all()
    text = readme(rows)
    assert "## A detector's finds, checked" in text and "| by mooring | recorded |" in text and "- `tiny`, published: 0.97, by row" in text


# --- settings

def spec(**detections):
    return Experiment.from_dict({"name": "t", "profile": "cook_inlet", "detections": detections})


def test_one_value_leads_from_the_small_setting_to_the_full_one():
    small, full = detections_of(spec()), detections_of(spec(setting="full"))
    assert small.networks == SETTINGS["small"]["networks"] and not any(own.get("pretrained") for own in small.networks.values())
    assert [name for name, own in full.networks.items() if own.get("pretrained")] == ["vgg16", "resnet50", "densenet121"] and full.recordings_each > small.recordings_each
    bare = detections_of(spec(setting="full", pretrained=False, networks={"vgg16": {"epochs": 3}}))
    assert list(bare.networks) == ["vgg16"] and bare.networks["vgg16"]["pretrained"] is False and bare.networks["vgg16"]["epochs"] == 3 and bare.networks["vgg16"]["trainable_layers"] == 3


@pytest.mark.parametrize("given, said", [
    ({"setting": "ful"}, "did you mean 'full'"), ({"recording": "x"}, "did you mean 'recordings'"), ({"networks": {"vgg": {}}}, "did you mean 'vgg16'"),
    ({"networks": {"vgg16": {"epoch": 1}}}, "did you mean 'epochs'"), ({"networks": {"vgg16": {"epochs": 0}}}, "above 0"), ({"recordings": "/data"}, "give both"),
    ({"moorings": ["RDL"]}, "two or more"), ({"moorings": ["RDL", "KAM"], "new": "KAM"}, "another one as new"), ({"moorings": ["RDL", "XYZ"]}, "cannot be simulated")])
def test_what_is_misspelt_or_does_not_fit_is_named_with_its_mend(given, said):
    with pytest.raises(BadExperiment, match="experiment t, detections") as error:
        detections_of(spec(**given))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_epochs_of_all_mean_nothing_here_and_a_table_must_be_there(tmp_path):
    with pytest.raises(BadExperiment, match="each network's own"):
        detections_of(Experiment.from_dict({"name": "t", "epochs": 3, "detections": {}}))
    with pytest.raises(BadExperiment, match="no table"):
        tables_of(str(tmp_path / "*.xlsx"), "t")


# --- verdict by hand

def test_real_sound_is_counted_by_clip_and_by_window():
    table = pd.DataFrame({"recording": list("aabbcc"), "group": list("xxxxyy"), "name": ["Beluga"] * 4 + [""] * 2, "raw": "r", "prob_net": [0.9, 0.1, 0.2, 0.1, 0.3, np.nan]})
    table["prob_ensemble"] = table["prob_net"]
    out = real_metrics(table, {"net": 0.5, "ensemble": 0.15}, draws=10)
    assert out["Beluga"]["clips"] == 2 and out["Beluga"]["of"]["net"]["clips_called"] == 1 and out["Beluga"]["of"]["net"]["share_of_windows"] == 0.25
    assert out["Beluga"]["of"]["ensemble"]["share_of_clips"] == 1.0 and out["noise"]["windows"] == 1 and out["noise"]["of"]["net"]["share_of_clips"] == 0.0
    assert out["roc_auc"]["net"] == 0.5  # of the means .5, .15 against .3
