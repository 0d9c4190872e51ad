"""Version 2 of the simulator: calls, confusers, real backgrounds and a measured truth; and version 1, which stays as it was."""

import hashlib

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt, welch

from preprocessing.soundscape import Scene, Settings, simulate_recording
from preprocessing.soundscape import measure
from preprocessing.soundscape.background import PatchedBackground, held_band_hz
from preprocessing.soundscape.calls import LABELS, make_call
from preprocessing.soundscape.clicks import RANGES, click_bank
from preprocessing.soundscape.confusers import CONFUSERS, draw_confuser
from preprocessing.soundscape.deployment import DRAWS
from preprocessing.soundscape.machine_sounds import switching, tone_burst
from preprocessing.soundscape.propagation import SYNTHESIS_RATE_HZ, Path
from preprocessing.soundscape.randomness import generator
from preprocessing.soundscape.recorder import Fault, apply_faults
from preprocessing.soundscape.schedule import PlannedCall
from preprocessing.soundscape.sea_sounds import shower, snap_pulse
from preprocessing.soundscape.trains import intervals_s

QUIET = dict(boats=False, confusers_per_min=0, start_artefact=False, steady=True, wind_m_per_s=2.0, rain=False, call_rate_per_min=0)
OLD_COLUMNS = ["label", "start_s", "end_s", "low_hz", "high_hz", "call_id", "group_id", "diphonic", "snr_db", "received_level_db", "audible"]


def scene_with(*calls, seconds=4.0, seed=4, **settings):
    """A Scene with these (label, start_s, level_db) on a direct path of 100 m, sounded; its truth."""
    scene = Scene("BSM", seed, seconds, Settings(**{**QUIET, **settings}))
    scene.plan = [PlannedCall(label, k, k, k, False, start_s, level_db, 0.0, Path(100.0, surface=False)) for k, (label, start_s, level_db) in enumerate(calls)]
    for _ in scene.blocks():
        pass
    return scene.truth


def clip_of(folder, rate, seconds=4.0, top_hz=None, seed=1):
    """A WAV of white noise, low-passed at `top_hz`."""
    sound = generator(seed, "clip").standard_normal(int(rate * seconds))
    if top_hz is not None:
        sound = sosfilt(butter(12, top_hz, fs=rate, output="sos"), sound)
    path = folder / f"clip{rate}.wav"
    soundfile.write(path, 0.05 * sound, rate, "FLOAT")
    return path


def digest(text) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_version_1_gives_what_it_always_gave():
    """Levels of 10 ms of sound to a hundredth of a dB, and the truth to a millisecond and a hertz: the digests are those of the code before there was a version 2."""
    sound, truth = simulate_recording("BSM", 7, 12, 96_000, version=1, boats=True, call_rate_per_min=60, confusers_per_min=20)
    second = 10 * np.log10((sound[5 * 96_000 : 6 * 96_000].astype(np.float64).reshape(100, -1) ** 2).mean(axis=1))
    assert digest(" ".join(f"{level:.2f}" for level in second)) == "8203fe3972388446"
    assert digest(truth[OLD_COLUMNS].to_csv(float_format="%.3f", index=False)) == "be5243eea57daae3"


def test_version_2_gives_other_sound_only_with_a_new_number_of_its_draws():
    """Models and cached pictures know the sound by that number: who changes the draws of a seed raises it, and the digests here with it."""
    sound, truth = simulate_recording("BSM", 7, 12, 96_000, version=2, boats=True, call_rate_per_min=60, confusers_per_min=20)
    second = 10 * np.log10((sound[5 * 96_000 : 6 * 96_000].astype(np.float64).reshape(100, -1) ** 2).mean(axis=1))
    said = (digest(" ".join(f"{level:.2f}" for level in second)), digest(truth.to_csv(float_format="%.3f", index=False)))
    assert {DRAWS[2]: said} == {4: ("c06d46c302a5b531", "86926581a81a8400")}


def test_a_version_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no version 3"):
        simulate_recording("BSM", 1, 1, version=3)


def test_approaching_trains_end_in_a_buzz_and_others_do_not():
    last, patterns = {}, set()
    for seed in range(60):
        pattern, steps = intervals_s(generator(seed, "train"), 2.0)
        patterns.add(pattern)
        last.setdefault(pattern, []).append(np.median(steps[-8:]))
        if pattern == "approach":
            first, middle, end = (np.median(part) for part in np.array_split(steps, 3))
            assert first > middle > 0.9 * end
    assert patterns == {"slow", "search", "approach", "buzz", "packets"}
    assert max(last["approach"]) < 0.005 and max(last["buzz"]) < 0.005 and min(last["buzz"]) >= 0.0015
    assert min(last["slow"]) > 0.05


def test_peaks_of_clicks_spread_from_30_to_over_90_khz():
    f = np.fft.rfftfreq(1024, 1 / SYNTHESIS_RATE_HZ)
    peaks = [f[np.argmax(np.abs(np.fft.rfft(click_bank(generator(seed, "bank"), RANGES[2])[0])))] for seed in range(60)]
    assert min(peaks) < 40e3 and max(peaks) > 90e3 and np.std(peaks) > 15e3 and min(peaks) > 20e3


def test_a_faint_train_is_audible_by_its_clicks_though_not_by_its_cells():
    levels = np.arange(150.0, 190.0, 4.0)
    rows = [scene_with(("ECHO", 0.5, level), seed=5).iloc[0] for level in levels]
    audible = np.array([row.audible for row in rows])
    assert not audible[0] and audible[-1]
    faintest = rows[int(np.argmax(audible))]
    assert 5 <= faintest.crest_snr_db <= 14 and faintest.snr_db < 6 and faintest.n_clicks >= 3
    crests = [row.crest_snr_db for row in rows if row.audible]
    assert (np.diff(crests) > 0).all()


def test_shrimp_as_loud_as_the_clicks_hide_them():
    """With a hundred and more snaps a second of their own height, no click is told from them."""
    clicks = np.full(20, 1e6)
    quiet, rng = np.full(2000, 1e4), generator(3)
    snaps = np.where(rng.uniform(size=2000) < 0.2, 1e6, 1e4)
    heard = [measure.heard_clicks(clicks, float(np.median(noise)), float(np.quantile(noise, 0.9))) for noise in (quiet, snaps)]
    assert heard[0].all() and not heard[1].any()


def test_crest_shows_a_click_that_a_spectrum_of_10_ms_does_not():
    sound = generator(1).standard_normal(192_000).astype(np.float32)
    sound[96_000:96_010] += 12 * np.array([1, -1] * 5, np.float32)
    blocks = measure.crest(sound, 192_000)
    assert np.argmax(blocks) == 96_000 // int(measure.CREST_S * 192_000)
    assert 10 * np.log10(blocks.max() / np.median(blocks)) > 8


@pytest.mark.parametrize("low_hz, high_hz", [(2000, 3000), (12_000, 20_000)])
def test_bounds_hold_the_middle_nine_tenths_of_a_sweep(low_hz, high_hz):
    from preprocessing.soundscape.truth import call_cells

    t = np.arange(192_000) / 192_000
    sweep = np.sin(2 * np.pi * (low_hz * t + 0.5 * (high_hz - low_hz) * t**2))
    frames, f, psd = call_cells(sweep, 192_000)
    bounds = measure.bounds(frames, f, psd, np.full(len(f), 1e-9))
    width = high_hz - low_hz
    assert bounds.low_hz == pytest.approx(low_hz + 0.05 * width, abs=60) and bounds.high_hz == pytest.approx(high_hz - 0.05 * width, abs=60)
    assert bounds.start_s == pytest.approx(0.05, abs=0.01) and bounds.stop_s == pytest.approx(0.95, abs=0.01)


def test_only_what_stands_above_the_noise_counts_for_bounds():
    psd = np.full((100, 50), 1e-6)
    psd[20:60, 10:15], psd[20:60, 30:35] = 100.0, 20.0  # the upper part lies under the noise
    f, noise = np.arange(50) * 100.0, np.where(np.arange(50) < 25, 1.0, 50.0)
    bounds = measure.bounds(np.arange(100) * 0.01, f, psd, noise)
    assert 950 <= bounds.low_hz and bounds.high_hz <= 1450
    assert bounds.first_s == pytest.approx(0.20) and bounds.last_s == pytest.approx(0.59)


@pytest.mark.parametrize("label", LABELS)
def test_times_and_bounds_of_a_call_hold_nine_tenths_of_its_energy(label):
    level_db = {"ECHO": 215.0, "Whistle": 160.0}.get(label, 170.0)
    rows = scene_with((label, 0.5, level_db), seconds=6.0)
    assert rows.audible.any() and (rows.high_hz > rows.low_hz).all() and (rows.first_s <= rows.start_s).all() and (rows.last_s >= rows.end_s).all()
    assert rows.peak_hz.between(rows.low_hz, rows.high_hz).all()


def test_a_louder_noise_lowers_the_snr_by_as_much():
    rows = [scene_with(("HFPC", 0.5, 165.0), self_noise_db=floor).iloc[0] for floor in (45.0, 55.0)]
    assert rows[0].snr_db - rows[1].snr_db == pytest.approx(10, abs=1)


def test_calls_of_version_2_spread_wider_than_those_of_1():
    for label in ("Whistle", "HFPC", "BBPC"):
        lengths = [[make_call(label, generator(seed, "length"), version).duration_s for seed in range(25)] for version in (1, 2)]
        assert np.std(np.log(lengths[1])) > 1.1 * np.std(np.log(lengths[0]))
        assert make_call(label, generator(1), 2, 0.8).duration_s == pytest.approx(0.8, abs=0.01)


def test_skirts_of_high_pulsed_calls_are_no_longer_all_alike():
    """What lies below 25 kHz, against the whole: nothing in some calls, a large part in others."""
    shares = []
    for seed in range(40):
        f, psd = welch(make_call("HFPC", generator(seed, "skirt"), 2).waveform, SYNTHESIS_RATE_HZ, nperseg=2048)
        shares.append(10 * np.log10(psd[f < 25e3].sum() / psd.sum()))
    assert np.percentile(shares, 10) < -25 and np.percentile(shares, 95) > -12


def test_a_whistle_within_a_pulsed_call_is_in_the_truth_and_overlaps_by_half():
    scene = Scene("BSM", 5, 60, Settings(**{**QUIET, "sample_rate_hz": 64_000, "call_rate_per_min": 25, "diphonic_share": 0.9, "call_mix": {"BBPC": 1}}))
    for _ in scene.blocks():
        pass
    pairs = scene.truth[scene.truth.diphonic].groupby("group_id")
    assert len(pairs) > 5
    later = []
    for _, pair in pairs:
        assert set(pair.label) == {"BBPC", "Whistle"}
        overlap = pair.end_s.min() - pair.start_s.max()
        assert overlap >= 0.5 * (pair.end_s - pair.start_s).min()
        later.append(np.diff(pair.sort_values("label").start_s)[0])
    assert np.std(later) > 0.05  # not only at the beginning


@pytest.mark.parametrize("kind", list(CONFUSERS[2]))
def test_every_confuser_is_finite_and_of_its_level(kind):
    peaks = []
    for seed in range(4):
        name, sound = draw_confuser(generator(seed, kind), 2, kind)
        assert name == kind and np.isfinite(sound).all() and len(sound) < 100 * SYNTHESIS_RATE_HZ
        peaks.append(20 * np.log10(np.abs(sound).max()))
    assert abs(np.mean(peaks) - CONFUSERS[2][kind][2]) < 30 and np.ptp(peaks) > 1


def test_the_snap_of_a_shrimp_peaks_low_and_reaches_over_90_khz():
    f = np.fft.rfftfreq(192, 1 / SYNTHESIS_RATE_HZ)
    for seed in range(20):
        level = 20 * np.log10(np.abs(np.fft.rfft(snap_pulse(generator(seed)))) + 1e-12)
        assert level[(f > 1e3) & (f < 25e3)].max() > level.max() - 12
        assert np.median(level[f > 80e3]) > level.max() - 35


def test_rain_reaches_60_khz():
    f, psd = welch(shower(generator(4)), SYNTHESIS_RATE_HZ, nperseg=4096)
    level = 10 * np.log10([psd[(f > low) & (f < 1.2 * low)].mean() for low in (10e3, 45e3, 90e3)])
    assert level[1] > level[0] - 15 and level[2] < level[1] - 5


def test_a_sounder_above_the_nyquist_frequency_comes_back_as_an_alias():
    f, psd = welch(tone_burst(generator(1), 200e3, 200e3, 0.1, 0.01), SYNTHESIS_RATE_HZ, nperseg=4096)
    assert f[np.argmax(psd)] == pytest.approx(8e3, abs=100)


def test_tones_of_electronics_lie_on_harmonics_of_one_frequency():
    sound = switching(generator(12))[: SYNTHESIS_RATE_HZ]
    f, psd = welch(sound, SYNTHESIS_RATE_HZ, nperseg=SYNTHESIS_RATE_HZ // 8, window="hann")
    lines = f[psd > 1e-4 * psd.max()]
    assert 2 <= len(lines) < 0.05 * len(f)


def test_no_confusers_when_none_are_asked_for_and_only_those_that_are():
    assert Scene("RDL", 1, 60, Settings(**QUIET))._plan_confusers() == []
    plans = [Scene("RDL", seed, 60, Settings(sample_rate_hz=8000, confusers_per_min=10, confuser_mix={"bang": 1}))._plan_confusers() for seed in range(5)]
    assert {c.kind for plan in plans for c in plan} == {"bang"}
    with pytest.raises(ValueError, match="confuser_mix"):
        Scene("RDL", 1, 60, Settings(sample_rate_hz=8000, confuser_mix={"unheard": 1}))._plan_confusers()


def test_recordings_differ_in_how_many_confusers_they_hold():
    counts = [len(Scene("CAC", seed, 300, Settings(sample_rate_hz=8000))._plan_confusers()) for seed in range(30)]
    assert min(counts) == 0 and max(counts) > 60


def test_dropouts_are_zeros_and_steps_of_gain_are_what_they_say():
    block = np.ones(1000, np.float32)
    apply_faults(block, 5000, 1000, [Fault("dropout", 5.1, 5.2, 0.0), Fault("gain_step", 5.5, 9.0, 2.0)])
    assert not block[100:200].any() and (block[500:] == 2).all() and (block[:100] == 1).all() and (block[200:500] == 1).all()


# real noise as background


@pytest.mark.parametrize("rate", [8000, 44_100, 192_000])
def test_a_recording_at_the_clips_own_rate_has_nothing_invented_above_it(tmp_path, rate):
    path = clip_of(tmp_path, rate, top_hz=0.3 * rate)
    scene = Scene("BSM", 3, 6, Settings(**{**QUIET, "sample_rate_hz": None, "background": str(path), "self_noise_db": 60.0}))
    assert scene.rate == rate
    f, psd = welch(np.concatenate(list(scene.blocks())), rate, nperseg=1024)
    inside, above = psd[(f > 0.1 * rate) & (f < 0.25 * rate)].mean(), psd[f > 0.42 * rate].mean()
    assert 10 * np.log10(inside / above) > 25
    assert scene.held_hz[1] == pytest.approx(0.31 * rate, abs=0.03 * rate)


def test_snr_over_a_real_background_counts_only_its_band(tmp_path):
    """The clip ends at 6 kHz: a call that lies above is not 'loud over silence'."""
    path = clip_of(tmp_path, 48_000, top_hz=6000)
    told = dict(sample_rate_hz=None, background=str(path), background_sensitivity_db=-160.0)
    row = scene_with(("HFPC", 0.5, 175.0), **told).iloc[0]
    assert row.high_hz <= 7200 and row.snr_db < 20


@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_a_background_never_repeats_with_the_same_phase(tmp_path, seconds):
    path = clip_of(tmp_path, 16_000, seconds)
    sound = PatchedBackground((1, "a"), path, 16_000, -170.0).block(0, 16_000 * 40)
    spectrum = np.fft.rfft(sound, 2 * len(sound))
    echo = np.fft.irfft(np.abs(spectrum) ** 2)[: len(sound)]
    assert np.abs(echo[8000:] / echo[0]).max() < 0.35
    power = (sound.reshape(-1, 1600) ** 2).mean(axis=1)
    assert 10 * np.log10(power.max() / power.min()) < 5


def test_a_background_made_in_blocks_is_the_one_made_whole_and_recordings_differ(tmp_path):
    path = clip_of(tmp_path, 22_050, 3.0)
    whole = PatchedBackground((2, "a"), path, 48_000, -170.0).block(0, 480_000)
    again = PatchedBackground((2, "a"), path, 48_000, -170.0)
    np.testing.assert_array_equal(np.concatenate([again.block(0, 70_001), again.block(70_001, 480_000)]), whole)
    levels = [10 * np.log10(np.mean(PatchedBackground((k, "a"), path, 48_000, -170.0).block(0, 96_000) ** 2)) for k in range(12)]
    assert 2 < np.ptp(levels) < 16


def test_short_and_silent_clips_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="clip8000.wav.*shorter than 2 s"):
        PatchedBackground((1,), clip_of(tmp_path, 8000, 1.5), 48_000)
    with pytest.raises(FileNotFoundError, match="absent.wav"):
        Scene("BSM", 1, 3, Settings(sample_rate_hz=None, background=str(tmp_path / "absent.wav")))


def test_the_band_that_a_clip_holds_is_found(tmp_path):
    rng = generator(5)
    white = rng.standard_normal(96_000)
    assert held_band_hz(white, 48_000) == (0.0, pytest.approx(22_800))
    low = sosfilt(butter(10, 12_000, fs=48_000, output="sos"), white)
    assert held_band_hz(low, 48_000)[1] == pytest.approx(13_000, abs=1500)
    high = sosfilt(butter(10, 1000, "highpass", fs=48_000, output="sos"), white)
    assert 300 < held_band_hz(high, 48_000)[0] < 1500
    steep = np.cumsum(white)  # 20 dB a decade is the sea's own
    assert held_band_hz(steep - steep.mean(), 48_000)[1] == pytest.approx(22_800)
