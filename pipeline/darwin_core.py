"""Detections and effort as a Darwin Core archive, for OBIS and GBIF: `event.csv` (core: the effort), `occurrence.csv`, `meta.xml`.

Each deployment (a recorder at a site) is an event, each recording in it a child event with its interval and its seconds of sound. Each recording
that could show at least one call type has one occurrence of the species: present, with the number of acoustic events that pass
(`pipeline.flags`), or absent. Where events were named and none of them passes, neither is claimed: the recording has no occurrence, and its
eventRemarks say so. Calls are not animals: nothing is said about individuals. Before publishing, add the data set's description (eml.xml) and licence.

Terms: Darwin Core (TDWG, dwc.tdwg.org/terms); machine predictions as in the OBIS manual: basisOfRecord MachineObservation,
identificationVerificationStatus PredictedByMachine.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd

from pipeline.effort import listened_s, one_each, with_places
from pipeline.flags import flag_counts, passes
from pipeline.minutes import event_labels
from pipeline.tables import csv_text, write_text
from spectrogram import __version__

WORMS = {"Delphinapterus leucas": "urn:lsid:marinespecies.org:taxname:137115"}
DWC = "http://rs.tdwg.org/dwc/terms/"
NOT_CHECKED = "named by a model, not checked by a person"


def to_darwin_core(events: pd.DataFrame, effort: pd.DataFrame, folder: str | Path, *, dataset: str, scientific_name: str = "Delphinapterus leucas",
                   vernacular_name: str = "beluga", scientific_name_id: str | None = None, sites: str | Mapping[str, str] | None = None,
                   positions: Mapping[str, tuple] | tuple | None = None, made: Mapping | None = None, remarks: str = NOT_CHECKED,
                   constants: Mapping[str, str] | None = None) -> list[Path]:
    """Write the archive's files into `folder`; return their paths.

    Parameters
    ----------
    dataset : short name that makes identifiers unique, e.g. "BSM-2022".
    scientific_name_id : WoRMS LSID; known for the beluga, else give it (OBIS wants it).
    sites : as for `pipeline.effort.with_places`. positions : (latitude, longitude) in degrees, or with the uncertainty in metres as a third, of all sites or of
        each by name; without, the columns stay empty.
    made : what stands in the tables' footers (`pipeline.tables.read_provenance`): model and thresholds go into identificationRemarks.
    remarks : how far to trust the names. constants : further columns with one value throughout, such as {"license": ..., "rightsHolder": ...}.

    Raises
    ------
    ValueError
        for positions that are no degrees, or a site without one while others have it.
    """
    folder, effort = Path(folder), with_places(effort, sites)
    effort = effort.assign(duration_s=listened_s(effort))  # what was not listened to tells of no animal
    effort = effort[effort["duration_s"] > 0].reset_index(drop=True)
    made, constants = dict(made or {}), dict(constants or {})
    places = {site: _position(positions, site) for site in effort["site"].unique()}
    marked = _marked(events)
    event = pd.concat([_deployments(effort, dataset, places), _recordings(one_each(effort), dataset, places, marked)], ignore_index=True).assign(**constants)
    taxon = {"scientificName": scientific_name, "scientificNameID": scientific_name_id or WORMS.get(scientific_name, ""), "taxonRank": "species", "kingdom": "Animalia",
             "vernacularName": vernacular_name}
    occurrence = _occurrences(events, effort, dataset, taxon, made, remarks).assign(**constants)
    files = {"event.csv": csv_text(event), "occurrence.csv": csv_text(occurrence),
             "meta.xml": _meta(list(event), list(occurrence))}
    for name, text in files.items():
        write_text(text, folder / name)
    return [folder / name for name in files]


def _position(positions, site: str) -> dict:
    """Terms of a place; empty where nobody told it."""
    if positions is None:
        return {"decimalLatitude": "", "decimalLongitude": "", "geodeticDatum": "", "coordinateUncertaintyInMeters": ""}
    if isinstance(positions, Mapping) and site not in positions:
        raise ValueError(f"positions: none for the site {site!r}; give (latitude, longitude) for each of the sites, or for none")
    latitude, longitude, *uncertainty_m = positions[site] if isinstance(positions, Mapping) else positions
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise ValueError(f"positions: {latitude}, {longitude} of {site!r} are no degrees of latitude (-90 to 90) and longitude (-180 to 180, east positive)")
    return {"decimalLatitude": latitude, "decimalLongitude": longitude, "geodeticDatum": "EPSG:4326", "coordinateUncertaintyInMeters": uncertainty_m[0] if uncertainty_m else ""}


def _interval(start: pd.Series, end: pd.Series) -> pd.Series:
    """ISO 8601 intervals in UTC; empty where the start is unknown."""
    text = start.dt.strftime("%Y-%m-%dT%H:%M:%SZ") + "/" + end.dt.ceil("s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.fillna("")


def _event_id(dataset: str, effort: pd.DataFrame) -> pd.Series:
    return dataset + ":" + effort["recording"]


def _deployments(effort: pd.DataFrame, dataset: str, places: dict) -> pd.DataFrame:
    rows = []
    for (site, recorder), mine in effort.groupby(["site", "recorder"], sort=True):
        begins, ends = mine["start_utc"].min(), mine["end_utc"].max()
        date = "" if pd.isna(begins) else _interval(pd.Series([begins]), pd.Series([ends])).iloc[0]
        rows.append({"eventID": f"{dataset}:{site}:{recorder}", "parentEventID": "", "eventType": "Deployment", "eventDate": date,
                     "samplingProtocol": _protocol(recorder), "sampleSizeValue": round(mine["duration_s"].sum() / 3600, 4), "sampleSizeUnit": "hour",
                     "samplingEffort": f"{mine['duration_s'].sum() / 3600:.2f} h of sound in {len(mine)} recordings", "locationID": site, "locality": site, **places[site],
                     "eventRemarks": ""})
    return pd.DataFrame(rows)


def _protocol(recorder: str) -> str:
    return f"passive acoustic monitoring with a hydrophone ({recorder}); calls found and named by Sea Canary {__version__}"


def _marked(events: pd.DataFrame) -> pd.Series:
    """recording -> a remark on its events that do not pass, for those that have some."""
    rest = events[~passes(events)]
    flags = {name: ", ".join(f"{flag} {n}" for flag, n in flag_counts(mine).items()) for name, mine in rest.groupby("recording")}
    n = rest.groupby("recording").size()
    return pd.Series({name: f"{n[name]} more acoustic events were named and marked as doubtful: {text}" for name, text in flags.items()}, dtype="object")


def _recordings(effort: pd.DataFrame, dataset: str, places: dict, marked: pd.Series) -> pd.DataFrame:
    seconds, rate = effort["duration_s"].round(3), effort["sample_rate_hz"].astype(str)
    unknown = np.where(effort["start_utc"].isna(), "start time unknown", "")
    return pd.DataFrame({
        "eventID": _event_id(dataset, effort), "parentEventID": dataset + ":" + effort["site"] + ":" + effort["recorder"], "eventType": "Recording",
        "eventDate": _interval(effort["start_utc"], effort["end_utc"]), "samplingProtocol": effort["recorder"].map({r: _protocol(r) for r in effort["recorder"].unique()}),
        "sampleSizeValue": seconds, "sampleSizeUnit": "second", "samplingEffort": seconds.astype(str) + " s of sound at " + rate + " samples per second",
        "locationID": effort["site"], "locality": effort["site"],
        **{term: effort["site"].map({site: place[term] for site, place in places.items()}) for term in next(iter(places.values()), {})},
        "eventRemarks": [("; ".join(filter(None, three))) for three in zip(unknown, effort["reason"].fillna(""), effort["recording"].map(marked).astype(object).fillna(""))]})


def _occurrences(events: pd.DataFrame, effort: pd.DataFrame, dataset: str, taxon: dict, made: dict, remarks: str) -> pd.DataFrame:
    labels = event_labels(events)
    missing = effort["missing_labels"].fillna("").astype("str")
    blind = missing.map({text: bool(labels) and set(labels) <= set(text.split("+")) for text in missing.unique()}).astype(bool)
    good = passes(events)
    doubtful = effort["recording"].isin(set(events.loc[~good, "recording"]) - set(events.loc[good, "recording"]))
    shown = ~blind & ~doubtful
    seen, events = effort[shown], events[good]
    counts = events.groupby(["recording", "labels"], sort=True).size()
    said = (counts.index.get_level_values(1) + " " + counts.astype(str)).groupby(level=0).agg(", ".join)
    number = seen["recording"].map(counts.groupby(level=0).sum()).fillna(0).astype(int)
    could_not = missing[shown].map({text: f"could not show {', '.join(x for x in text.split('+') if x in labels)} at this sample rate" if text else "" for text in missing.unique()})
    model = f"model {made['model_id']}" if made.get("model_id") else ""
    thresholds = ", ".join(f"{label} {values['on']:.3g}" for label, values in made.get("thresholds", {}).items() if label in labels)
    identified = "; ".join(filter(None, [remarks, model, thresholds and f"thresholds {thresholds}"]))
    present = number > 0
    return pd.DataFrame({
        "occurrenceID": _event_id(dataset, seen) + ":" + taxon["scientificName"].replace(" ", "_"), "eventID": _event_id(dataset, seen),
        "basisOfRecord": "MachineObservation", **taxon, "occurrenceStatus": np.where(present, "present", "absent"),
        "organismQuantity": number.where(present, "").astype(object), "organismQuantityType": np.where(present, "acoustic events", ""),
        "identificationVerificationStatus": "PredictedByMachine", "identificationReferences": f"Sea Canary {made.get('code_version', __version__)}",
        "identificationRemarks": identified,
        "dynamicProperties": seen["recording"].map(_scores(events)).astype(object).fillna(""),
        "occurrenceRemarks": [("; ".join(filter(None, pair))) for pair in zip(seen["recording"].map(said).astype(object).fillna(""), could_not)]})


def _scores(events: pd.DataFrame) -> dict[str, str]:
    """recording -> JSON of the highest score of each label among its events, and of the median species_score."""
    out = {}
    for name, mine in events.groupby("recording"):
        highest = {f"highest score {label}": mine.get(f"score_{label}") for label in event_labels(events)}
        said = {key: round(float(column.max()), 3) for key, column in highest.items() if column is not None and column.notna().any()}
        if "species_score" in mine and mine["species_score"].notna().any():
            said["median species_score"] = round(float(mine["species_score"].median()), 3)
        out[name] = json.dumps(said)
    return out


def _meta(event: list[str], occurrence: list[str]) -> str:
    """The archive's descriptor: which file holds what, and which column is which term."""
    def part(tag: str, row: str, file: str, key: str, columns: list[str]) -> str:
        terms = {"license": "http://purl.org/dc/terms/license", "rightsHolder": "http://purl.org/dc/terms/rightsHolder", "accessRights": "http://purl.org/dc/terms/accessRights"}
        fields = "".join(f"    <field index=\"{i}\" term={quoteattr(terms.get(c, DWC + c))}/>\n" for i, c in enumerate(columns))
        return (f'  <{tag} encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\n" fieldsEnclosedBy=\'"\' ignoreHeaderLines="1" rowType="{DWC}{row}">\n'
                f"    <files><location>{file}</location></files>\n    <{key} index=\"{columns.index('eventID')}\"/>\n{fields}  </{tag}>\n")

    return ('<?xml version="1.0" encoding="UTF-8"?>\n<archive xmlns="http://rs.tdwg.org/dwc/text/">\n' + part("core", "Event", "event.csv", "id", event)
            + part("extension", "Occurrence", "occurrence.csv", "coreid", occurrence) + "</archive>\n")
