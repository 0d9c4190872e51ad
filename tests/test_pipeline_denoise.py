"""Denoised sound goes to the model and nowhere else: levels stay those of the recording, the picture differs, blocks do not matter."""
import json

import numpy as np
import pandas as pd
import pytest

from pipeline import run_multi_file_pipeline, run_pipeline_single_audio
from pipeline.__main__ import main
from pipeline.denoised import chosen, passage_picture
from preprocessing.denoiser import Denoiser, make_net
from preprocessing.gating import Gate
from spectrogram.generator import SpectrogramGenerator
from spectrogram.recording import Recording
from tests.toy_model import SpyModel, ToyModel, save_random_model
from tests.toy_sound import NAME, noise, put, sweep, write
from training.saved import BadModel, load_model, save_model

RATE_HZ = 24000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """40 s of noise with a whistle every 5 s: more than two chunks."""
    x = noise(40, RATE_HZ)
    for start_s in range(2, 38, 5):
        put(x, RATE_HZ, start_s, sweep(0.8, RATE_HZ, 3000, 6000, 100))
    return write(tmp_path_factory.mktemp("sound") / NAME, x, RATE_HZ)


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A U-Net of random weights, saved as a trained one would be."""
    import torch

    torch.manual_seed(1)
    return Denoiser(make_net(4, 2), RATE_HZ, 0.032, 256, 4, 2).save(tmp_path_factory.mktemp("denoiser"))


def seen(path, **kwargs):
    spy = SpyModel()
    result = run_pipeline_single_audio(path, spy, **kwargs)
    return result, np.concatenate([part for part in spy.seen if len(part)])


@pytest.mark.parametrize("how", ["gate", "unet"])
def test_levels_and_regions_are_the_recordings_and_the_picture_is_not(path, unet, how):
    way = unet if how == "unet" else how
    plain, before = seen(path, workers=1)  # one after another, so that the windows come in order
    quiet, after = seen(path, denoise=way, workers=1)
    pd.testing.assert_frame_equal(plain.levels, quiet.levels)
    pd.testing.assert_frame_equal(plain.regions, quiet.regions)
    levels = [c for c in plain.windows if c.startswith("level_")]
    pd.testing.assert_frame_equal(plain.windows[["start_s", *levels]], quiet.windows[["start_s", *levels]])
    assert after.shape == before.shape and np.array_equal(np.isnan(before), np.isnan(after))
    assert not np.array_equal(before, after, equal_nan=True)  # both in dB above their own background
    if how == "gate":
        loudest = before >= np.nanmax(before) - 3  # the noise goes and the whistles stay: they stand out more
        assert np.median((after - before)[loudest]) > 10
    assert plain.metadata["denoise"] is None and quiet.metadata["denoise"] == ("gate" if how == "gate" else json.loads((unet / "model.json").read_text())["denoiser_id"])
    assert plain.metadata["provenance"]["fingerprint"] != quiet.metadata["provenance"]["fingerprint"]


@pytest.mark.parametrize("how", ["gate", "unet"])
def test_the_blocks_do_not_matter(path, unet, how):
    way = unet if how == "unet" else how
    one, pictures = seen(path, denoise=way, block_s=16, workers=1)
    other, again = seen(path, denoise=way, block_s=2.7, workers=1)
    np.testing.assert_array_equal(pictures, again)
    pd.testing.assert_frame_equal(one.events, other.events)
    assert one.metadata["faults"] == other.metadata["faults"] and one.metadata["duration_s"] == other.metadata["duration_s"] == 40


def test_no_more_than_a_passage_is_held(path, monkeypatch):
    """How far reading runs ahead of the chunk that is given out does not grow with the recording."""
    from pipeline.denoised import beside

    read, raw_blocks = [0.0], Recording.raw_blocks

    def counted(self, block_s):
        for block in raw_blocks(self, block_s):
            read[0] += block_s
            yield block

    monkeypatch.setattr(Recording, "raw_blocks", counted)
    recording = Recording(write(path.parent / "long" / NAME, noise(160, 2000), 2000))
    ahead = [read[0] - chunk.last / 2000 for chunk, _ in beside(SpectrogramGenerator("beluga"), recording, Gate(), 4.0)]
    assert len(ahead) == 10 and max(ahead[:-2]) <= 36 and np.ptp(ahead[1:6]) <= 8


def test_the_footer_names_it_and_debug_shows_it(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the picture is written
    result = run_pipeline_single_audio(path, ToyModel(), denoise=Gate(floor_db=-12), debug=True, debug_at_s=20)
    assert result.metadata["denoise"] == "gate floor_db=-12"
    result.save(tmp_path)
    import pyarrow.parquet as pq

    footer = " ".join(v.decode(errors="replace") for v in pq.read_schema(next(tmp_path.glob("*.events.parquet"))).metadata.values())
    assert "gate floor_db=-12" in footer
    recording, generator = Recording(path), SpectrogramGenerator("beluga")
    _, pictures = seen(path, denoise="gate", workers=1)
    passage = passage_picture(generator, recording, Gate(), 18.0, 22.0)
    assert passage.shape == (4 * 192, 100) and np.nanmedian(np.abs(passage[:192] - pictures[36])) < 0.5  # window 36 begins at 18 s


def test_a_model_of_denoised_sound_brings_its_denoiser_and_refuses_another(path, unet, tmp_path):
    plain = load_model(save_random_model(tmp_path / "plain"))
    for how in ("gate", unet):
        folder = tmp_path / f"of_{'gate' if how == 'gate' else 'unet'}"
        save_model(folder, plain.net, plain.profile, plain.thresholds, plain.calibration, denoise=how)
        model = load_model(folder)
        own, name = chosen(None, model)
        assert name == (name if how == "gate" else Denoiser.load(unet).info["denoiser_id"]) and own is not None
        result = run_pipeline_single_audio(path, model)
        assert result.metadata["denoise"] == name
        with pytest.raises(ValueError, match="was trained on sound denoised by .*leave `denoise` out"):
            run_pipeline_single_audio(path, model, denoise=Gate(floor_db=-6))
    (folder / "denoiser" / "model.json").unlink()
    with pytest.raises(BadModel, match="its denoiser is not in"):
        load_model(folder)
    with pytest.raises(ValueError, match='give "gate", or a folder'):
        run_pipeline_single_audio(path, plain, denoise="gaet")


def test_an_archive_is_done_anew_when_the_denoiser_changes(path, unet, tmp_path, capsys):
    out, folder = tmp_path / "out", save_random_model(tmp_path / "model")
    run_multi_file_pipeline(path, out, folder, workers=1, progress=False)
    one = pd.read_parquet(out / "levels.parquet")
    assert main([str(path), str(out), "--model", str(folder), "--denoise", str(unet), "--workers", "1", "--quiet"]) == 0
    assert "settings" in capsys.readouterr().out
    pd.testing.assert_frame_equal(one, pd.read_parquet(out / "levels.parquet"))
    assert main([str(path), str(out), "--model", str(folder), "--denoise", "gaet", "--quiet"]) == 2
    assert "no denoiser 'gaet'" in capsys.readouterr().err
