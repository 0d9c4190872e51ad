"""The model card of a species model."""
from __future__ import annotations

import pandas as pd

SOURCES = """\
| recordings | used as | terms |
| --- | --- | --- |
| Watkins Marine Mammal Sound Database, "Best of" cuts (Woods Hole Oceanographic Institution / New Bedford Whaling Museum) | belugas: weak positives; other species: negatives | personal and academic use, cite the database |
| SanctSound (NOAA / US Navy), sites CI and GR; OC and PM for the domain's limit | other animals, vessels, weather, sonar: negatives | nothing stated for the audio |
| DeepShip samples | vessels: negatives | none stated |
| Ford-Osborne catalogue and Orcasound Lab, southern resident killer whales; humpback catalogue (orcasound.net) | negatives | CC BY-NC-SA, attribution orcasound.net |
| simulated belugas and empty seas, half of them over the noise above | positives, negatives | |"""  # noqa: E501

TRIED = """\
All judged on the same two sources of belugas, so that the figures above, of the settings that were
kept, are a little too good. Belugas that pass, of 39, at about the same share of other animals:

- background of the regions (blocks of 8 s): 15; a percentile within 15 s, as before: 12;
- cells of 10 ms as means in dB: 15; means of power over 10, 21, 42 ms: 11, 12, 13, with less ROC AUC
  (0.78, 0.78, 0.75 where means in dB have 0.80);
- weight of the simulated windows 0.5, 0.1, 0.03: 15, 21, 20;
- beside them 1,399 windows of simulated tapes (real noise, band limits, colour, reverberation,
  hiss, saturation, animals of other sizes), at a weight of 0.5, 0.25, 0.1: 15, 18, 21: no gain;
- bands up to 9 and to 14.5 kHz where the recording has them: 18 and 19;
- a penalty on what tells sources of other animals apart: 16 to 17; more shrinkage: 20;
- a clip judged by the mean or the median of its windows: ROC AUC 0.84, and 14 belugas.
"""


def species_card(scorer, question: str, predictions: pd.DataFrame, metrics: dict, methods: dict):
    """The text of `model_card.md`."""
    judged = predictions[predictions["limit"] > 0]
    highest_khz = max(scorer.info["highest_hz"].values()) / 1000
    lines = [
        f"# {scorer.model_id}",
        "",
        question,
        "",
        "**Academic, non-commercial use only**: it learnt from recordings whose terms say so. "
        "`--no-species` (`species=False`) leaves it out. A clean clone cannot make it again: "
        "`python -m training.species_experiment` needs the shared clips.",
        "",
        f"**Weak**: of belugas from sources that it had not heard it passes "
        f"{metrics['score']['belugas_passing']} of {metrics['score']['belugas']} clips. So an event "
        "below its limit is marked (`other_animal`), and never left out.",
        "",
        f"`species_score` of an event: 0 to 1, from the picture below {highest_khz:.1f} kHz alone; "
        "0.5 is where one in ten clips of other animals, from sources it did not learn from, has a "
        "second that passes. It is missing (NaN) for events that lie above that, and in recordings "
        "that hold too little of it: there nobody has other animals to compare with.",
        "",
        "## Sources that were not trained on",
        "",
        f"{len(judged)} clips, {judged['source'].nunique()} sources, left out in five folds. "
        "**Belugas come from two sources only**: when one is judged, the other one and simulated "
        "calls are all that was learnt from. A clip passes when a window of it does. Intervals "
        "(95 %) are over sources.",
        "",
        "| method | ROC AUC, beluga against all else | against other animals | belugas that pass "
        "| other animals that pass | mean of their sources | noise that passes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, title in methods.items():
        m = metrics[name]
        low, high = m["roc_auc_interval"]
        least, most = m["other_animals_passing_interval"]
        lines.append(
            f"| {title} | {m['roc_auc']:.3f} ({low:.2f} to {high:.2f}) "
            f"| {m['roc_auc_against_animals']:.3f} | {m['belugas_passing']} of {m['belugas']} "
            f"| {m['other_animals_passing']:.1%} ({least:.1%} to {most:.1%}) "
            f"| {m['other_animals_passing_mean_of_sources']:.1%} | {m['noise_passing']:.1%} |"
        )
    by_source = metrics["score"]["belugas_passing_by_source"]
    said = "; ".join(f"{source}: {a} of {b}" for source, (a, b) in by_source.items())
    kept = judged.groupby("kind")["kept_model"].agg(lambda s: (s >= 0.5).mean())
    lines += [
        "",
        f"Belugas that pass, by source left out: {said}.",
        "",
        "The model that is kept learnt from all of these clips but the validation sites, so here "
        "its figures are better than on sound it never met: clips that pass, "
        + ", ".join(f"{kind} {share:.0%}" for kind, share in kept.items())
        + ".",
        "",
        "## Tried",
        "",
        TRIED,
        "## Learnt from",
        "",
        SOURCES,
        "",
        "## Limits",
        "",
        "Two sources of belugas, mostly tapes of the 1960s: how it does on the belugas of your "
        "estuary is not known until somebody listened. It says nothing of sound above its band. "
        "Distance (`out of domain`): the 99th percentile over windows of the validation "
        "sites.",
        "",
    ]
    return "\n".join(lines)
