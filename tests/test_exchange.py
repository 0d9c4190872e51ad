"""What other programs get, read back: Raven and Audacity by our own readers, PAMscapes by its rules, Darwin Core by its descriptor."""
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from pipeline.darwin_core import to_darwin_core
from pipeline.exchange import to_audacity, to_csv, to_pamscapes, to_raven, to_raven_sequence
from preprocessing.annotations import read_annotations
from tests.test_effort import START, effort_of
from tests.test_presence import events_of


@pytest.fixture
def run():
    """Two recorders in two folders with files of one name, one recording without a call, one that failed, one without a time."""
    effort = effort_of(("BSM/6872.220716020000.wav", 0, 300.25), ("KAM/6872.220716020000.wav", 0, 200.5), ("BSM/6872.220716021000.wav", 600, 300.0),
                       ("KAM/6872.220716021000.wav", 600, 0.0), ("BSM/6872.220716022000.wav", 1200, 120.125))
    events = events_of(effort, (4, 3.5, 0.75, "HFPC+Whistle"), (0, 10.125, 1.0, "Whistle"), (0, 299.0, 1.25, "ECHO"), (1, 0.0, 0.5, "BBPC"), (4, 100.0, 2.0, "ECHO"))
    return events.assign(high_hz=[120000.0, 9000.0, 90000.0, 50000.0, 90000.0], low_hz=[2000.0, 4000.5, 25000.0, 1000.0, 30000.0]), effort


def same_calls(read: pd.DataFrame, events: pd.DataFrame, high_hz=None) -> None:
    """Recordings, times, frequencies and labels came back."""
    key = ["recording", "start_s"]
    read, events = read.sort_values(key, ignore_index=True), events.sort_values(key, ignore_index=True)
    assert read["recording"].tolist() == events["recording"].tolist() and read["label"].tolist() == events["labels"].tolist()
    for column, tolerance in (("start_s", 1e-4), ("end_s", 2e-4), ("low_hz", 0.1), ("high_hz", 0.1)):
        np.testing.assert_allclose(read[column], events[column].clip(upper=96000) if column == "high_hz" else events[column], atol=tolerance, err_msg=column)


def test_a_sound_list_counts_over_all_files_also_those_without_a_call(run, tmp_path):
    events, effort = run
    path = to_raven_sequence(events, effort, tmp_path / "all.Table.1.selections.txt", audio="/data/2022 BSM")
    files = (tmp_path / "all.files.txt").read_text().splitlines()
    assert files == [f"/data/2022 BSM/{name}" for name in effort["recording"] if name != "KAM/6872.220716021000.wav"]
    table = pd.read_csv(path, sep="\t")
    assert table["Begin Time (s)"].tolist() == [10.125, 299.0, 300.25, 300.25 + 200.5 + 300.0 + 3.5, 800.75 + 100.0]  # the third file holds no call
    assert table["Selection"].tolist() == [1, 2, 3, 4, 5] and (table["High Freq (Hz)"] <= 96000).all() and (table["Channel"] == 1).all()
    sequence = effort[effort["duration_s"] > 0].assign(path=lambda t: t["recording"])
    same_calls(read_annotations(path, sequence), events)
    by_time = table.drop(columns=["File Offset (s)", "Begin File", "Begin Path"])  # Raven itself goes by the times alone
    by_time.to_csv(path, sep="\t", index=False)
    edges = np.concatenate([[0], sequence["duration_s"].cumsum()])
    place = np.searchsorted(edges, by_time["Begin Time (s)"], side="right") - 1
    assert sequence["recording"].to_numpy()[place].tolist() == [f.removeprefix("/data/2022 BSM/") for f in table["Begin Path"]]
    np.testing.assert_allclose(by_time["Begin Time (s)"] - edges[place], table["File Offset (s)"], atol=1e-6)


def test_a_sequence_of_some_recordings_and_one_that_raven_could_not_open(run, tmp_path):
    events, effort = run
    path = to_raven_sequence(events, effort[effort["recording"].str.startswith("BSM/")], tmp_path / "BSM.txt")
    assert pd.read_csv(path, sep="\t")["Begin Time (s)"].tolist() == [10.125, 299.0, 603.75, 700.25] and len((tmp_path / "BSM.files.txt").read_text().splitlines()) == 3
    with pytest.raises(ValueError, match="recordings at 48000, 192000 Hz, which Raven cannot open as one sequence; give the rows of effort of one sample rate"):
        to_raven_sequence(events, effort.assign(sample_rate_hz=[48000, *[192000] * 4]), path)
    with pytest.raises(ValueError, match="no recording holds any sound"):
        to_raven_sequence(events, effort.iloc[3:4], path)


def test_one_recording_for_raven(run, tmp_path):
    events, effort = run
    path = to_raven(events, effort, tmp_path / "6872.220716020000.Table.1.selections.txt", "BSM/6872.220716020000.wav")
    read = read_annotations(path)
    same_calls(read.assign(recording="BSM/" + read["recording"]), events[events["recording"] == "BSM/6872.220716020000.wav"])
    assert len(pd.read_csv(to_raven(events, effort, tmp_path / "empty.txt", "BSM/6872.220716021000.wav"), sep="\t")) == 0
    assert len(read_annotations(to_raven(events, effort.iloc[:1], tmp_path / "only.Table.1.selections.txt"))) == 2
    with pytest.raises(ValueError, match="effort holds 5 recordings; say which"):
        to_raven(events, effort, path)
    with pytest.raises(ValueError, match="no recording 'x.wav' in effort; names are paths below the input folder, such as BSM/"):
        to_raven(events, effort, path, "x.wav")


def test_audacity_for_each_recording(run, tmp_path):
    events, effort = run
    files = to_audacity(events, effort, tmp_path / "labels")
    assert [f.relative_to(tmp_path / "labels").as_posix() for f in files] == [f"{name}.txt" for name in effort.loc[effort["duration_s"] > 0, "recording"]]
    assert files[2].read_text() == ""  # heard through, and nothing in it
    read = pd.concat([read_annotations(f).assign(recording=f.relative_to(tmp_path / "labels").as_posix()[:-4]) for f in files])
    same_calls(read.assign(high_hz=read["high_hz"].clip(upper=96000)), events)


def test_names_from_a_bucket_cannot_lead_out_of_the_folder(tmp_path):
    names = ["../x.wav", "x.wav", "/etc/y.wav", "a/../../z.wav", "c:\\w.wav", ".."]
    files = to_audacity(events_of(effort_of(*((n, 0, 10) for n in names))), effort_of(*((n, 0, 10) for n in names)), tmp_path / "labels")
    assert len(files) == len(set(files)) == 6 and all((tmp_path / "labels").resolve() in f.resolve().parents and f.exists() for f in files)


def test_csv_keeps_utc(run, tmp_path):
    events, _ = run
    events.loc[1, ["start_utc", "end_utc"]] = pd.NaT
    read = pd.read_csv(to_csv(events, tmp_path / "events.csv"), parse_dates=["start_utc", "end_utc"])
    assert list(read) == list(events) and read["start_utc"].dt.as_unit("us").tolist()[2:] == events["start_utc"].tolist()[2:] and read["start_utc"].isna().tolist() == events["start_utc"].isna().tolist()
    assert str(read["start_utc"].dt.tz) == "UTC" and read["high_hz"].tolist() == events["high_hz"].tolist()


def level_rows(n: int = 5) -> pd.DataFrame:
    rows = pd.DataFrame({"UTC": START + pd.to_timedelta(np.arange(n) * 60.0 + 0.3, unit="s"), "recording": ["a/6872.220716020000.wav"] * (n - 1) + ["5725.220716020000.wav"], "start_s": 0.0,
                         "duration_s": [60.0] * (n - 2) + [2.0, 60.0], "BB_1-96000": 110.0, "TOL_63": 90.0 + np.arange(n), "TOL_31.5": 88.0, "PSD_31.6": 70.0, "PSD_100": np.nan,
                         "TOL_63_p05": 80.0})
    rows.loc[1, "UTC"] = pd.NaT
    return rows


def as_pamscapes_reads(path) -> pd.DataFrame:
    """`loadSoundscapeData`: UTC in a form it parses; columns TYPE_FREQUENCY, of one TYPE, more than one."""
    table = pd.read_csv(path)
    assert table.columns[0] == "UTC" and len(table.columns) > 2
    assert all(re.fullmatch(r"[A-z]+_[0-9.\-]+", c) for c in table.columns[1:]) and len({c.split("_")[0] for c in table.columns[1:]}) == 1
    return table.assign(UTC=pd.to_datetime(table["UTC"], format="%Y-%m-%d %H:%M:%S", utc=True))


@pytest.mark.parametrize("from_disk", [False, True])
def test_pamscapes_wide_tables(tmp_path, from_disk):
    levels = level_rows()
    if from_disk:
        levels.to_parquet(tmp_path / "levels.parquet")
        levels = tmp_path / "levels.parquet"
    files = to_pamscapes(levels, tmp_path / "out")
    assert sorted(f.name for f in files) == ["levels_PSD_5725.csv", "levels_PSD_6872.csv", "levels_TOL_5725.csv", "levels_TOL_6872.csv"]
    table = as_pamscapes_reads(tmp_path / "out" / "levels_TOL_6872.csv")
    assert list(table) == ["UTC", "TOL_63", "TOL_31.5"] and table["TOL_63"].tolist() == [90.0, 92.0]  # not the row without a time, nor the stub
    assert table["UTC"].tolist() == [START, START + pd.Timedelta(minutes=2)]
    assert as_pamscapes_reads(tmp_path / "out" / "levels_PSD_5725.csv")["PSD_100"].isna().all() and not list((tmp_path / "out").glob(".*"))


def test_pamscapes_files_are_of_the_recorders_that_effort_tells(tmp_path):
    levels = level_rows()
    names = levels["recording"].unique()
    effort = effort_of(*((name, 60 * k, 60) for k, name in enumerate(names))).assign(recorder="A")
    levels.to_parquet(tmp_path / "levels.parquet")
    effort.to_parquet(tmp_path / "effort.parquet")
    files = to_pamscapes(tmp_path / "levels.parquet", tmp_path / "out")
    assert sorted(f.name for f in files) == ["levels_PSD_A.csv", "levels_TOL_A.csv"]
    assert sorted(f.name for f in to_pamscapes(levels, tmp_path / "b", effort=effort)) == ["levels_PSD_A.csv", "levels_TOL_A.csv"]


def test_levels_without_times_are_no_pamscapes_table(tmp_path):
    with pytest.raises(ValueError, match="no row of the levels has a start time; give start times with --overrides"):
        to_pamscapes(level_rows().assign(UTC=pd.NaT), tmp_path)


def read_archive(folder) -> dict[str, pd.DataFrame]:
    """Core and extension as the descriptor says: columns by their terms."""
    ns, found = "{http://rs.tdwg.org/dwc/text/}", {}
    for part in ET.parse(folder / "meta.xml").getroot():
        table = pd.read_csv(folder / part.find(f"{ns}files/{ns}location").text, sep=part.get("fieldsTerminatedBy"), header=None, skiprows=int(part.get("ignoreHeaderLines")), dtype=str,
                            keep_default_na=False)
        terms = {int(f.get("index")): f.get("term") for f in part.findall(f"{ns}field")}
        assert sorted(terms) == list(range(table.shape[1])) and all(t.startswith(("http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/")) for t in terms.values())
        key = part.find(f"{ns}id") if part.find(f"{ns}id") is not None else part.find(f"{ns}coreid")
        assert terms[int(key.get("index"))].endswith("/eventID")
        found[part.get("rowType").rsplit("/", 1)[-1]] = table.rename(columns={i: t.rsplit("/", 1)[-1] for i, t in terms.items()})
    return found


def test_darwin_core_archive(run, tmp_path):
    events, effort = run
    effort.loc[2, "missing_labels"] = "ECHO+HFPC"
    effort.loc[4, ["start_utc", "end_utc"]] = pd.NaT
    made = {"model_id": "toy-1", "code_version": "0.1.0", "thresholds": {"ECHO": {"on": 0.9, "off": 0.4, "window": 0.5}, "Boat": {"on": 0.5}}}
    to_darwin_core(events, effort, tmp_path, dataset="T22", sites={"BSM": "Baie Sainte-Marguerite", "KAM": "Kamouraska"}, made=made, remarks="model trained on simulated sound",
                   positions={"Baie Sainte-Marguerite": (48.25, -69.95), "Kamouraska": (47.57, -69.88, 500)}, constants={"license": "http://creativecommons.org/licenses/by/4.0/"})
    archive = read_archive(tmp_path)
    event, occurrence = archive["Event"].set_index("eventID"), archive["Occurrence"].set_index("eventID")
    assert event.index.is_unique and occurrence["occurrenceID"].is_unique and set(occurrence.index) <= set(event.index) and set(event["parentEventID"]) - {""} <= set(event.index)
    first = event.loc["T22:BSM/6872.220716020000.wav"]
    assert first["eventDate"] == "2022-07-16T02:00:00Z/2022-07-16T02:05:01Z" and first["sampleSizeValue"] == "300.25" and first["sampleSizeUnit"] == "second"
    assert first["samplingEffort"] == "300.25 s of sound at 192000 samples per second" and "6872" in first["samplingProtocol"]
    assert (first["decimalLatitude"], first["decimalLongitude"], first["geodeticDatum"], first["locality"]) == ("48.25", "-69.95", "EPSG:4326", "Baie Sainte-Marguerite")
    assert event.loc["T22:Kamouraska:6872", "coordinateUncertaintyInMeters"] == "500" and event.loc["T22:Kamouraska:6872", "eventDate"] == "2022-07-16T02:00:00Z/2022-07-16T02:03:21Z"
    assert "T22:KAM/6872.220716021000.wav" not in event.index  # failed: no effort, and so no absence
    assert event.loc["T22:BSM/6872.220716022000.wav", ["eventDate", "eventRemarks"]].tolist() == ["", "start time unknown"]
    assert occurrence["occurrenceStatus"].to_dict() == {"T22:BSM/6872.220716020000.wav": "present", "T22:KAM/6872.220716020000.wav": "present",
                                                        "T22:BSM/6872.220716021000.wav": "absent", "T22:BSM/6872.220716022000.wav": "present"}
    heard, quiet = occurrence.loc["T22:BSM/6872.220716020000.wav"], occurrence.loc["T22:BSM/6872.220716021000.wav"]
    assert (heard["organismQuantity"], heard["organismQuantityType"], heard["occurrenceRemarks"]) == ("2", "acoustic events", "ECHO 1, Whistle 1")
    assert (quiet["organismQuantity"], quiet["occurrenceRemarks"]) == ("", "could not show ECHO, HFPC at this sample rate")
    assert (heard["scientificName"], heard["scientificNameID"], heard["basisOfRecord"], heard["identificationVerificationStatus"]) == \
        ("Delphinapterus leucas", "urn:lsid:marinespecies.org:taxname:137115", "MachineObservation", "PredictedByMachine")
    assert heard["identificationRemarks"] == "model trained on simulated sound; model toy-1; thresholds ECHO 0.9" and heard["license"].startswith("http://creativecommons")
    hours = event.loc[event["eventType"] == "Deployment", "sampleSizeValue"].astype(float).sum()
    assert hours == pytest.approx(event.loc[event["eventType"] == "Recording", "sampleSizeValue"].astype(float).sum() / 3600, abs=1e-3)


def test_darwin_core_without_events_positions_or_labels_that_could_be_heard(tmp_path):
    effort = effort_of(("6872.220716020000.wav", 0, 60), ("6872.220716021000.wav", 600, 60))
    effort["missing_labels"] = ["", "ECHO+HFPC+BBPC+Whistle+Boat"]
    to_darwin_core(events_of(effort), effort, tmp_path, dataset="T")
    archive = read_archive(tmp_path)
    assert archive["Occurrence"]["occurrenceStatus"].tolist() == ["absent"] and (archive["Event"]["decimalLatitude"] == "").all() and len(archive["Event"]) == 3
    to_darwin_core(events_of(effort), effort_of(), tmp_path, dataset="T")
    assert (tmp_path / "event.csv").exists()


@pytest.mark.parametrize("positions, fault", [({"other": (48, -69)}, "none for the site '6872'"), ((148.0, -69.0), "no degrees of latitude"), ((48.0, 290.0), "no degrees of latitude")])
def test_darwin_core_refuses_places_that_cannot_be(tmp_path, positions, fault):
    effort = effort_of(("6872.220716020000.wav", 0, 60))
    with pytest.raises(ValueError, match=fault):
        to_darwin_core(events_of(effort), effort, tmp_path, dataset="T", positions=positions)
