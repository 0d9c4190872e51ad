"""`species_score` and flags: what they hold, what they leave missing, and what they mark is never lost."""
import numpy as np
import pandas as pd
import pytest

from bench.sea_parts import passing
from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.__main__ import main
from pipeline.darwin_core import to_darwin_core
from pipeline.events import FLAGS as FLAGS_OF_EVENTS
from pipeline.flags import AGAINST, FLAGS, NOTES, flag_counts, more_line, passes
from pipeline.parts import read_footer
from pipeline.report import Report
from pipeline.single import species_of
from pipeline.species import SpeciesJudge
from pipeline.tables import raven_table, read_provenance
from spectrogram.profile import load_profile
from tests.conftest import ROOT
from tests.test_effort import effort_of
from tests.test_presence import events_of
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, noise, put, scene, sweep, write

PROFILE = load_profile("beluga")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """36 s at 96 kHz: whistles, one across the joint of two chunks, and bursts above 25 kHz."""
    x = scene(36, 96000)
    put(x, 96000, 15.7, sweep(0.6, 96000, 3000, 5000, 105))
    return write(tmp_path_factory.mktemp("species") / NAME, x, 96000)


@pytest.fixture(scope="module")
def result(recording):
    return run_pipeline_single_audio(recording, ToyModel())


def test_events_in_its_band_have_a_score_and_those_above_it_none(result):
    events, top_hz = result.events, species_of(PROFILE).info["highest_hz"]["24"]
    inside = events["low_hz"] <= top_hz
    assert inside.any() and (~inside).any()
    assert events.loc[inside, "species_score"].between(0, 1).all()
    assert events.loc[~inside, "species_score"].isna().all()
    marked = events["flags"].str.split("+").map(lambda names: "other_animal" in names)
    assert (marked == (events["species_score"] < 0.5)).all()
    assert result.metadata["species"] == species_of(PROFILE).model_id


def test_without_the_species_model_all_else_is_the_same(recording, result):
    without = run_pipeline_single_audio(recording, ToyModel(), species=False)
    assert without.events["species_score"].isna().all() and without.metadata["species"] is None
    assert not without.events["flags"].str.contains("other_animal").any()
    columns = [c for c in without.events if c not in ("species_score", "flags")]
    pd.testing.assert_frame_equal(without.events[columns], result.events[columns])
    ids = [r.metadata["provenance"]["fingerprint"] for r in (result, without)]
    assert ids[0] != ids[1]


def test_a_score_is_that_of_the_whole_picture(recording, result):
    """What the pipeline keeps of it beside a span is enough."""
    from spectrogram.generator import SpectrogramGenerator
    from spectrogram.recording import Recording

    picture = SpectrogramGenerator(PROFILE).picture(Recording(recording))
    scorer = species_of(PROFILE)
    for event in result.events.itertuples():
        score = scorer.score(picture, event.start_s, event.end_s, low_hz=event.low_hz)
        assert event.species_score == pytest.approx(score, abs=0.02, nan_ok=True)


def test_scores_do_not_depend_on_how_the_sound_was_cut(recording, result, tmp_path):
    by_block = run_pipeline_single_audio(recording, ToyModel(), block_s=3.0, workers=1)
    pd.testing.assert_frame_equal(by_block.events, result.events, check_exact=True)
    for name, split_s in (("whole", None), ("split", 16)):
        run_multi_file_pipeline(recording.parent, tmp_path / name, ToyModel(), split_s=split_s, workers=1, progress=False)
    whole, split = (pd.read_parquet(tmp_path / name / "events.parquet") for name in ("whole", "split"))
    pd.testing.assert_frame_equal(split, whole, check_exact=True)
    pd.testing.assert_frame_equal(whole, result.events, check_exact=True)
    assert whole["species_score"].notna().any()


def test_an_archive_is_done_anew_with_and_without_and_says_which(recording, tmp_path, capsys):
    def run(**more):
        run_multi_file_pipeline(recording.parent, tmp_path, ToyModel(), workers=1, progress=False, **more)
        said = "".join(capsys.readouterr())
        return said, read_footer(next((tmp_path / "parts").glob("*.zip")))

    _, with_it = run()
    assert with_it["settings"]["species"] == species_of(PROFILE).model_id
    assert read_provenance(tmp_path / "events.parquet")["settings"]["species"] == species_of(PROFILE).model_id
    said, without = run(species=False)
    assert "1 recordings are done anew: settings changed" in said and without["settings"]["species"] is None
    assert pd.read_parquet(tmp_path / "events.parquet")["species_score"].isna().all()
    said, _ = run(species=False)
    assert "done anew" not in said


def test_the_shell_can_leave_it_out(recording, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("pipeline.multi.run_multi_file_pipeline", lambda *given, **more: asked.update(more) or pd.DataFrame())
    main(["in", str(tmp_path), "--no-species"])
    assert asked["species"] is False
    main(["in", str(tmp_path)])
    assert asked["species"] is True


def test_a_recording_too_slow_and_another_profile_leave_it_missing(tmp_path):
    x = noise(6, 4000)
    put(x, 4000, 2.0, sweep(1.0, 4000, 700, 1300, 112))
    write(tmp_path / "in" / NAME, x, 4000)
    run_multi_file_pipeline(tmp_path / "in", tmp_path / "out", ToyModel(), progress=False)
    events, regions = (pd.read_parquet(tmp_path / "out" / f"{table}.parquet") for table in ("events", "regions"))
    assert events["species_score"].isna().all() and len(regions)
    for label in ("ECHO", "HFPC", "BBPC", "Whistle"):  # none of them fits below 2 kHz
        assert regions[f"p_{label}"].isna().all() and events[f"score_{label}"].isna().all()
    x = noise(6, 7200)  # whistles can be seen, too few bands for the species
    put(x, 7200, 2.0, sweep(1.0, 7200, 1500, 2500, 112))
    fewer = run_pipeline_single_audio(write(tmp_path / NAME, x, 7200), ToyModel())
    assert len(fewer.events) and fewer.events["species_score"].isna().all()
    assert not fewer.events["flags"].str.contains("other_animal").any() and fewer.events["score_Whistle"].notna().all()
    assert species_of(load_profile("humpback")) is None


def test_what_a_rate_cannot_show_is_missing_in_regions_and_what_it_can_is_not(tmp_path):
    x = noise(6, 8000)
    put(x, 8000, 2.0, sweep(1.0, 8000, 1500, 2500, 112))
    result = run_pipeline_single_audio(write(tmp_path / NAME, x, 8000), ToyModel())
    regions = result.regions
    assert len(regions) and regions[["p_ECHO", "p_HFPC", "p_BBPC"]].isna().all(axis=None)
    assert regions["p_Whistle"].notna().all() and len(result.events)
    assert result.events["species_score"].notna().all()  # its 13 bands are enough


def test_only_what_may_still_be_asked_is_kept_in_memory():
    judge = SpeciesJudge(species_of(PROFILE), PROFILE)
    rate = PROFILE.frame_rate_hz
    for k in range(100):
        judge.push(np.ones((int(16 * rate), PROFILE.n_bands), np.float32))
        judge.forget(max(0.0, 16.0 * k - 30))
    assert len(judge.parts) <= 4 and judge.parts[0].base is None
    assert judge.first + sum(map(len, judge.parts)) == 100 * int(16 * rate)


# ------------------------------------------------------------------------------------------------ flags


def flagged(*flags) -> pd.DataFrame:
    return pd.DataFrame({"flags": flags})


def test_every_flag_is_said_in_words_and_in_the_readme():
    assert FLAGS is FLAGS_OF_EVENTS and set(AGAINST) | set(NOTES) == set(FLAGS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme and len(text) > 10 for name, text in FLAGS.items())


def test_an_event_passes_unless_a_flag_speaks_against_its_name():
    events = flagged("", "clipped", "region_missing+clipped", "clipped+below_snr", *AGAINST)
    assert passes(events).tolist() == [True] * 3 + [False] * (1 + len(AGAINST))
    assert passes(pd.DataFrame({"start_s": [1.0]})).all()  # an older table
    assert passes(flagged()).tolist() == [] and passes(flagged(np.nan, "below_snr")).tolist() == [True, False]
    assert passing(events).index.tolist() == [0, 1, 2]
    assert flag_counts(events)["below_snr"] == 2
    assert more_line(events).startswith("6 more events do not pass: steady_tone 1,")
    assert more_line(flagged("", "clipped")) == ""


def test_a_low_species_score_hides_no_event(result, tmp_path):
    """All rows stay in every table, in order of time; flags and scores stand in Raven's."""
    without = run_pipeline_single_audio(result.recording.path, ToyModel(), species=False)
    assert len(result.events) == len(without.events) and result.events["start_s"].is_monotonic_increasing
    raven = raven_table(result.events, {NAME: 96000})
    assert len(raven) == len(result.events)
    assert raven["Flags"].tolist() == result.events["flags"].tolist()
    assert (raven["Passes"] == "yes").tolist() == passes(result.events).tolist()
    assert raven["Species Score"].isna().tolist() == result.events["species_score"].isna().tolist()
    result.save(tmp_path, csv=True)
    csv = pd.read_csv(next(tmp_path.glob("*.events.csv")))
    assert len(csv) == len(result.events) and {"flags", "species_score"} <= set(csv)


def test_the_archive_for_obis_claims_no_beluga_where_only_marked_events_are(tmp_path):
    effort = effort_of(("6872.220716020000.wav", 0.0, 60.0), ("6872.220716030000.wav", 3600.0, 60.0))
    events = events_of(effort, (0, 1.0, 0.5, "Whistle"), (0, 5.0, 0.5, "Whistle"), (1, 2.0, 0.5, "Whistle"))
    events["flags"], events["species_score"] = ["", "other_animal", "other_animal"], [0.9, 0.1, 0.2]
    to_darwin_core(events, effort, tmp_path, dataset="T")
    occurrence = pd.read_csv(tmp_path / "occurrence.csv")
    assert len(occurrence) == 1 and occurrence["organismQuantity"].tolist() == [1]
    assert "median species_score" in occurrence["dynamicProperties"][0]
    remarks = pd.read_csv(tmp_path / "event.csv").set_index("eventType").loc["Recording", "eventRemarks"]
    assert all("1 more acoustic events were named and marked as doubtful: other_animal 1" in text for text in remarks)


def test_a_report_counts_what_passes_and_shows_the_rest_apart(recording, tmp_path):
    run_multi_file_pipeline(recording.parent, tmp_path, ToyModel(), workers=1, progress=False)
    report = Report(tmp_path, recording.parent)
    assert len(report.events) + len(report.marked) == len(report.all_events)
    assert passes(report.events).all() and not passes(report.marked).any()
    words = report.headline().html
    assert "unverified" in words and "Simulated" not in words and report.truth() is None
    if len(report.marked):
        assert more_line(report.all_events)[:-1] in words
    shown = "".join(page.html for page in report.marked_events())
    assert ("other_animal" in shown) == report.all_events["flags"].str.contains("other_animal").any()
