"""Every model in results/ that the pipeline can load gives events that agree with its windows."""
from pathlib import Path

import numpy as np
import pytest

from pipeline import run_pipeline_single_audio
from pipeline.events import DEFAULT_LONGEST_S, LONGEST_S
from training.saved import BadModel, load_model
from tests.toy_sound import noise, put, sweep, write

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent.name for path in (ROOT / "results").glob("*/model.json"))


def whistles(rate: int, seconds: float = 24.0) -> np.ndarray:
    """Noise with up-sweeps of three lengths in the lower part of what the rate holds."""
    x, top = noise(seconds, rate), 0.45 * rate
    for k, start in enumerate(np.arange(2.0, seconds - 2, 2.5)):
        low = min(100 * (1 + k % 3), 0.2 * top) if rate <= 4000 else min(1500 * (1 + k % 3), 0.2 * top)
        put(x, rate, start, sweep(0.4 + 0.4 * (k % 3), rate, low, 2 * low, 112))
    return x


@pytest.mark.parametrize("name", FOLDERS)
def test_events_cover_at_most_twice_the_positive_windows(name, tmp_path):
    try:
        model = load_model(ROOT / "results" / name)
    except BadModel as error:
        pytest.skip(str(error))
    rate = min(model.profile.sample_rate_hz, 48_000)
    result = run_pipeline_single_audio(write(tmp_path / "6872.220716021453.wav", whistles(rate), rate), model)
    events, windows = result.events, result.windows
    assert (events["end_s"] > events["start_s"]).all()
    for label in [x for head, labels in model.profile.heads.items() if head != "vessel" for x in labels]:
        mine = events[events["labels"].str.split("+").map(lambda names: label in names).astype(bool)] if len(events) else events
        positive = (windows[f"p_{label}"] >= model.thresholds[label]["window"]).sum()
        lengths = (mine["end_s"] - mine["start_s"]).to_numpy()
        if label in model.says_when:
            positive += len(mine)  # a moment may be called whose window falls just short
        assert lengths.sum() <= 2 * positive * model.profile.window_s + 1e-6, (label, lengths.sum(), positive)
        assert lengths.max(initial=0) <= max(LONGEST_S.get(x, DEFAULT_LONGEST_S) for x in model.profile.labels) + 1e-6


def test_models_that_were_trained_on_clips_say_no_moments():
    by_clip = [name for name in FOLDERS if name.startswith(("right_whale", "humpback", "watkins"))]
    assert len(by_clip) >= 8
    for name in by_clip:
        try:
            assert load_model(ROOT / "results" / name).says_when == (), name
        except BadModel:
            continue
    assert load_model(ROOT / "results" / "beluga_default").says_when == load_model(ROOT / "results" / "beluga_default").labels
