"""The species profile: one place that ties a spectrogram to a species."""
import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from spectrogram.bands import decidecade_centres_hz, nominal_hz, warped_corners_hz
from spectrogram.profile import PROFILES, Profile, load_profile


def test_beluga_grid_is_whole(profile):
    assert (profile.sample_rate_hz, profile.n_fft, profile.hop) == (192000, 2048, 1000)
    assert (profile.frame_rate_hz, profile.window_frames, profile.step_frames, profile.n_bands) == (192.0, 192, 96, 96)
    assert profile.labels == ("ECHO", "HFPC", "BBPC", "Whistle", "Boat")
    assert {head: tuple(labels) for head, labels in profile.heads.items()} == {
        "hf_call": ("ECHO", "HFPC", "BBPC"), "whistle": ("Whistle",), "vessel": ("Boat",)}


def test_bands_cover_the_picture_and_the_high_calls(profile):
    assert len(profile.band_edges_hz) == 98 and (np.diff(profile.band_edges_hz) > 0).all()
    assert profile.band_edges_hz[[0, -1]] == pytest.approx([200, 90000])
    assert profile.band_low_hz[1:] == pytest.approx(profile.band_high_hz[:-1])
    assert (profile.band_low_hz < profile.band_centres_hz).all() and (profile.band_centres_hz < profile.band_high_hz).all()
    assert (profile.band_centres_hz >= 40000).sum() >= 25 and (profile.band_centres_hz <= 22000).sum() >= 48
    assert np.ptp(np.diff(np.log1p(profile.band_edges_hz / 8000))) < 1e-9  # equally wide on the warped scale
    assert warped_corners_hz(2, 0, 8000, 700) == pytest.approx(700 * np.expm1(np.linspace(0, np.log1p(8000 / 700), 4)))


def test_labels_are_observable_only_where_the_rate_allows(profile):
    at = {rate_hz: [label for label in profile.labels if profile.observable(label, rate_hz / 2)] for rate_hz in (600, 8000, 48000, 96000, 192000)}
    assert at == {600: [], 8000: ["Whistle", "Boat"], 48000: ["BBPC", "Whistle", "Boat"], 96000: list(profile.labels), 192000: list(profile.labels)}


def test_profile_survives_json_and_yaml(profile, tmp_path):
    again = Profile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again == profile and again.hash() == profile.hash() and np.array_equal(again.band_edges_hz, profile.band_edges_hz)
    path = tmp_path / "narwhal.yaml"
    path.write_text(yaml.safe_dump(profile.to_dict() | {"name": "narwhal"}), encoding="utf-8")
    narwhal = load_profile(path)
    assert narwhal.name == "narwhal" and narwhal.hash() != profile.hash() and len(profile.hash()) == 12


def test_every_setting_is_in_the_hash(profile):
    hashes = {profile.hash()}
    for key, value in (("n_fft", 4096), ("hop", 500), ("step_s", 0.25), ("roi_bands", []), ("picture", profile.picture | {"bands": 64})):
        hashes.add(Profile.from_dict(profile.to_dict() | {key: value}).hash())
    assert len(hashes) == 6


@pytest.mark.parametrize("change, fault", [
    ({"hop": 1024}, "window_s = 1.0 s is 187.5 frames; make it a whole number"),
    ({"step_s": 0.3333}, "step_s = 0.3333 s is .* frames"),
    ({"mel_bands": 64}, "unknown or missing keys .*mel_bands"),
    ({"heads": {"hf_call": ["ECHO", "Song"]}}, "heads name .*Song.*, which `labels` does not describe"),
])
def test_faulty_profile_says_what_is_wrong(profile, change, fault):
    with pytest.raises(ValueError, match=f"profile beluga: {fault}"):
        Profile.from_dict(profile.to_dict() | change)


def test_missing_key_is_named(profile):
    with pytest.raises(ValueError, match="unknown or missing keys .*'hop'"):
        Profile.from_dict({k: v for k, v in profile.to_dict().items() if k != "hop"})


def test_profile_is_picked_by_the_environment_and_an_unknown_one_lists_the_known(monkeypatch, tmp_path, profile):
    assert load_profile() == profile
    monkeypatch.setenv("PROFILE", "walrus")
    with pytest.raises(FileNotFoundError, match="no species profile 'walrus': use one of .*beluga"):
        load_profile()


@pytest.mark.parametrize("name", sorted(p.stem for p in PROFILES.glob("*.yaml")))
def test_every_shipped_profile_loads(name):
    profile = load_profile(name)
    assert profile.name == name and all(profile.label_band_hz[label][0] < profile.label_band_hz[label][1] for label in profile.labels)


def test_decidecades_are_those_of_the_standard():
    centres = decidecade_centres_hz(17.7, 24000)
    assert [nominal_hz(c) for c in centres[:14]] == "20 25 31.5 40 50 63 80 100 125 160 200 250 315 400".split()
    assert nominal_hz(centres[-1]) == "20000" and np.diff(np.log10(centres)) == pytest.approx(np.full(len(centres) - 1, 0.1))
    assert centres[17] == pytest.approx(1000.0)
    assert nominal_hz(decidecade_centres_hz(17.7, 4000)[-1]) == "3150"


def test_importing_the_room_is_light():
    """Frameworks, plotting and scipy are imported where they are used."""
    code = ("import sys, spectrogram; spectrogram.HYDROPHONE_SENSITIVITY; import spectrogram.recording, spectrogram.profile; "
            "print([m for m in ('torch', 'librosa', 'matplotlib', 'scipy', 'pandas', 'lightning') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], cwd=PROFILES.parents[1], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_shared_generator_has_the_profile_of_the_environment():
    from spectrogram import SPECT_GENERATOR

    assert SPECT_GENERATOR.profile.name == load_profile().name
    with pytest.raises(AttributeError):
        import spectrogram

        _ = spectrogram.NO_SUCH_THING
