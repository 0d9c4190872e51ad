"""Every folder of results/: a model there gives events that agree with its windows, or it is refused, with a reason."""
from pathlib import Path

import numpy as np
import pytest

from pipeline import run_pipeline_single_audio
from pipeline.events import DEFAULT_LONGEST_S, LONGEST_S
from preprocessing.soundscape import simulate_deployment
from tests.toy_sound import noise, put, sweep, write
from training.saved import DENOISER, BadModel, find_folder, load_model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
MODELS = sorted(path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("model.json")
                if path.parent.name != DENOISER)  # fmt: skip
FOLDERS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
WITHOUT = sorted(set(FOLDERS) - set(MODELS))


def whistles(rate: int, seconds: float = 24.0) -> np.ndarray:
    """Noise with up-sweeps of three lengths in the lower part of what the rate holds."""
    x, top = noise(seconds, rate), 0.45 * rate
    for k, start in enumerate(np.arange(2.0, seconds - 2, 2.5)):
        low = min(100 * (1 + k % 3), 0.2 * top) if rate <= 4000 else min(1500 * (1 + k % 3), 0.2 * top)
        put(x, rate, start, sweep(0.4 + 0.4 * (k % 3), rate, low, 2 * low, 112))
    return x


@pytest.fixture(scope="module")
def beluga_calls(tmp_path_factory) -> Path:
    """24 s of simulated calls: the shipped model takes no plain sweep for a whistle."""
    folder = tmp_path_factory.mktemp("belugas")
    simulate_deployment(folder, "BSM", 5, 1, 24.0, progress=False, call_rate_per_min=30.0, range_m=60.0)
    return next(folder.glob("*.wav"))


def check(result, model, thresholds: dict) -> int:
    """Events of each label cover at most twice its positive windows; how many events there are."""
    events, windows = result.events, result.windows
    assert (events["end_s"] > events["start_s"]).all()
    for label in [x for head, labels in model.profile.heads.items() if head != "vessel" for x in labels]:
        mine = events[events["labels"].str.split("+").map(lambda names, label=label: label in names).astype(bool)]
        positive = (windows[f"p_{label}"] >= thresholds[label]["window"]).sum()
        lengths = (mine["end_s"] - mine["start_s"]).to_numpy()
        if label in model.says_when:
            positive += len(mine)  # a moment may be called whose window falls just short
        assert lengths.sum() <= 2 * positive * model.profile.window_s + 1e-6, (label, lengths.sum(), positive)
        assert lengths.max(initial=0) <= max(LONGEST_S.get(x, DEFAULT_LONGEST_S) for x in model.profile.labels) + 1e-6
    return len(events)


@pytest.mark.parametrize("name", MODELS)
def test_events_cover_at_most_twice_the_positive_windows(name, tmp_path, beluga_calls):
    """Also for a model that hears nothing in this sound: its limits are lowered to the middle of its own answers."""
    try:
        model = load_model(RESULTS / name)
    except BadModel as error:
        assert str(RESULTS / name) in str(error)  # which, and how to mend it
        assert "makes them" in str(error) or "make it again" in str(error)
        return
    rate = min(model.profile.sample_rate_hz, 48_000)
    beluga = model.profile.name == "beluga"
    path = beluga_calls if beluga else write(tmp_path / "6872.220716021453.wav", whistles(rate), rate)
    result = run_pipeline_single_audio(path, model, species=False)
    if check(result, model, model.thresholds):
        return
    assert not model.says_when  # those hear something here
    answers = result.windows[[f"p_{label}" for label in model.labels]].median().dropna()
    lowered = {name[2:]: float(value) for name, value in answers.items()}
    result = run_pipeline_single_audio(path, model, thresholds=lowered, species=False)
    limits = {label: {"window": lowered.get(label, 1.0)} for label in model.labels}
    assert check(result, model, limits)


def test_every_folder_is_judged_or_refused_with_a_reason():
    assert len(MODELS) >= 15 and set(FOLDERS) == {name.split("/")[0] for name in MODELS} | set(WITHOUT)
    for name in WITHOUT:
        with pytest.raises(BadModel, match=rf"{name}: no saved model there \(model.json is missing\)"):
            find_folder(RESULTS / name)


def test_models_that_were_trained_on_clips_say_no_moments():
    by_clip = [name for name in MODELS if name.startswith(("right_whale", "humpback", "watkins"))]
    assert len(by_clip) >= 8
    for name in by_clip:
        try:
            assert load_model(RESULTS / name).says_when == (), name
        except BadModel:
            continue
    assert load_model(RESULTS / "beluga_default").says_when == load_model(RESULTS / "beluga_default").labels
