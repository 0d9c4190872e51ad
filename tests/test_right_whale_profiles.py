"""The right whale's front ends at 2 kHz: pictures, regions, and the whole pipeline on sound that holds nothing of a beluga's."""
import numpy as np
import pytest

from pipeline import run_pipeline_single_audio
from preprocessing import upcall_sounds, upcalls
from preprocessing.soundscape.randomness import generator
from ROI.detector import detect_regions
from spectrogram.generator import SpectrogramGenerator
from spectrogram.picture import normalise
from spectrogram.profile import load_profile
from spectrogram.recording import Recording
from tests.signals import write
from tests.toy_model import save_random_model

RATE_HZ, SECONDS = 2000, 60
CALLS_S = (9.0, 21.5, 24.0, 40.25)
POSITIONS = 20


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A minute of simulated sea with four simulated up-calls of 16 dB."""
    rng, hour = generator(11, "minute"), upcalls.draw_hour(11, 0, 0.3)
    psd = upcalls._sea_psd(hour, 0.0)
    sound = np.concatenate([upcalls._shaped(rng, psd) for _ in range(SECONDS // 2)])
    for start_s in CALLS_S:
        call, _ = upcalls._at_snr(upcall_sounds.upcall(rng, hour.whale), 16.0, psd)
        first = round(start_s * RATE_HZ)
        sound[first:first + len(call)] += call
    path = tmp_path_factory.mktemp("sea") / "buoy_20090328_000000.aif"
    return write(path, upcalls.to_int16(sound, upcalls.SENSITIVITY_DB), RATE_HZ, "PCM_16", "AIFF")


@pytest.mark.parametrize("name, frames, bands, visible", [("right_whale", 160, 64, 64), ("right_whale_h2o", 8, 128, 31)])
def test_a_clip_of_the_contest_is_one_window_and_bands_above_nyquist_are_masked(name, frames, bands, visible, recording):
    profile = load_profile(name)
    assert (profile.window_frames, profile.n_bands, profile.labels) == (frames, bands, ("UpCall",))
    assert profile.step_frames % 8 == 0  # levels are taken of eight frames at a time
    assert profile.visible_bands(RATE_HZ / 2).sum() == visible and profile.observable("UpCall", 1000) and not profile.observable("UpCall", 200)
    picture_db = SpectrogramGenerator(profile).picture(Recording(recording, sensitivity_db=upcalls.SENSITIVITY_DB))
    assert picture_db.shape == (SECONDS * profile.frame_rate_hz, bands)
    assert np.isfinite(picture_db[:, :visible]).all() and np.isnan(picture_db[:, visible:]).all()
    x = normalise(picture_db[:frames], profile)
    assert x.shape == (frames, bands) and np.isfinite(x).all() and (x[:, visible:] == profile.normalisation["masked"]).all() and x[:, :visible].std() > 0.1


@pytest.mark.parametrize("name", ["right_whale", "right_whale_h2o"])
def test_the_detector_takes_the_roi_bands_and_finds_the_calls(name, recording):
    profile = load_profile(name)
    boxes = detect_regions(SpectrogramGenerator(profile).picture(Recording(recording)), profile, RATE_HZ / 2)
    for start_s in CALLS_S:
        assert ((boxes["start_s"] < start_s + 1.2) & (boxes["end_s"] > start_s + 0.3)).any(), (start_s, boxes)
    if name == "right_whale":
        assert len(boxes) <= 2 * len(CALLS_S) and boxes["high_hz"].max() < 450


class UpCallModel:
    """Names a position an up-call where the strongest of 60-250 Hz stands 12 dB above the window's median."""

    model_id, info, device, by_trace = "upcall toy", {"model_id": "upcall toy", "summary": {}}, "cpu", False

    def __init__(self):
        self.profile = load_profile("right_whale")
        self.thresholds = {"UpCall": {"window": 0.5, "on": 0.5, "off": 0.3}}
        self.calibration = {"UpCall": {"slope": 1.0, "intercept": 0.0, "position_slope": 1.0, "position_intercept": 0.0}}

    def predict(self, pictures_db, overlapping=False):
        assert pictures_db.shape[1:] == (self.profile.window_frames, self.profile.n_bands)
        band = (self.profile.band_centres_hz > 60) & (self.profile.band_centres_hz < 250)
        level = np.array(pictures_db)[:, :, band]
        level = np.where(np.isfinite(level), level - np.nanmedian(level, axis=1, keepdims=True), 0.0)
        peak = level.reshape(len(level), POSITIONS, -1, band.sum()).mean(axis=2).max(axis=2)
        position = (1 / (1 + np.exp(-(peak - 12.0)))).astype(np.float32)[:, None]
        return position.max(axis=2), position


def test_the_pipeline_finds_up_calls(recording):
    result = run_pipeline_single_audio(recording, UpCallModel(), sensitivity_db=upcalls.SENSITIVITY_DB)
    events, windows, levels = result.events, result.windows, result.levels
    assert set(events["labels"]) == {"UpCall"} and len(events) == len(CALLS_S)
    for start_s, event in zip(CALLS_S, events.to_dict("records")):
        assert start_s - 0.3 < event["start_s"] < start_s + 0.8 and event["end_s"] < start_s + 2.2
        assert 40 < event["low_hz"] < event["high_hz"] < 450 and event["snr_db"] > 3 and not event["diphonic"]
        assert np.isfinite(event["level_db"]) and event["score_UpCall"] > 0.5
    assert len(windows) == SECONDS - 1 and np.isfinite(windows["level_call_db"]).all() and windows["p_UpCall"].between(0, 1).all()
    assert np.isfinite(levels["TOL_100"]).all() and "TOL_1000" not in levels and result.effort["status"].item() == "ok"
    assert str(result.metadata["start_utc"]) == "2009-03-28 00:00:00+00:00"


def test_a_saved_network_of_the_profile_runs_and_brings_its_front_end(recording, tmp_path):
    folder = save_random_model(tmp_path / "model", load_profile("right_whale"))
    result = run_pipeline_single_audio(recording, str(folder))
    assert result.profile == load_profile("right_whale") and len(result.windows) == SECONDS - 1
    assert (result.windows["p_UpCall"].dropna() > 0).all() and result.effort["missing_labels"].item() == ""


def test_the_steps_of_the_pipeline_and_its_plot_reach_to_the_nyquist_frequency(recording):
    import matplotlib.pyplot as plt

    from pipeline.debug import steps_figure

    model = UpCallModel()
    result = run_pipeline_single_audio(recording, model)
    figure = steps_figure(result, model, model.thresholds, 21.5)
    assert len(figure.axes) >= 6 and all(0.9 < ax.get_ylim()[1] <= 1.0 for ax in figure.axes[:5])
    assert 0.9 < result.plot(18, 28).get_ylim()[1] <= 1.0  # kHz
    plt.close("all")
