"""A saved model: a folder with `model.safetensors` (weights), `model.json` (everything else) and `model.onnx` (the same network for quick answers
on a processor; a folder without it works too). Never a pickle. Beside it may lie the network in int8: `model_int8.onnx`, with its thresholds and calibration in
`model_int8.json`; `load_model("results/NAME/model_int8.onnx")` takes that one.

model.json: format, model_id, architecture and its arguments, profile (the whole front end), thresholds {label: {window, on, off}},
calibration {label: {slope, intercept, position_slope, position_intercept}}, by_trace (a window's answer is the highest within it of the trace that all windows make
together, not its own alone; see `spectrogram.windows`), regions (the region head, see `ROI.head`, whose weights stand beside the network's; where there is one), denoise (what the sound was denoised by, where it was), summary of the training data and run, code version.

>>> model = load_model("results/beluga_default")                # doctest: +SKIP
>>> window_prob, position_prob = model.predict(pictures_db)     # doctest: +SKIP
"""
from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ROI.head import PREFIX, RegionHead
from spectrogram.background import KINDS
from spectrogram.picture import normalise
from spectrogram.profile import Profile
from training.export import OnnxNet, export_onnx
from training.model import MultiOutputResNet, positions_of
from training.thresholds import sigmoid

FORMAT = 1
TINY = np.float32(1e-7)  # probabilities in float32 reach 0 and 1; logits go no further than this
DENOISER = "denoiser"  # folder within a model's, where it was trained on sound that a U-Net had denoised
ARCHITECTURES = {"MultiOutputResNet": MultiOutputResNet}
NEEDED = ("model_id", "architecture", "arguments", "profile", "thresholds", "calibration")
INT8 = "model_int8.onnx"
MOMENT_SLOPES = (0.5, 2.0)  # of a calibration of moments that says something about moments
ROOT = Path(__file__).resolve().parents[1]


class BadModel(ValueError):
    """A folder that does not hold a model this code can use. The message names the folder, the fault and the mend."""


@dataclass
class SavedModel:
    """A trained network with its front end, thresholds and calibration, ready to use on the CPU or, after `to`, on CUDA.

    Attributes
    ----------
    net : the network as it was trained.
    profile, thresholds, calibration, model_id, labels, info : as in `model.json`.
    """

    net: torch.nn.Module
    profile: Profile
    thresholds: dict
    calibration: dict
    model_id: str
    info: dict
    device: str = "cpu"
    quick: OnnxNet | None = None  # answers windows that follow each other, on the CPU
    denoise: str | Path | None = None  # what it saw was denoised by: "gate", or the folder of a U-Net
    by_trace: bool = False  # a window's answer is the trace's highest within it
    regions: RegionHead | None = None  # names regions of interest

    def __post_init__(self):
        maps = [[self.calibration[label][key] for label in self.labels] for key in ("slope", "intercept", "position_slope", "position_intercept")]
        self._maps = [np.asarray(m, np.float32) for m in maps]

    @cached_property
    def _ready(self) -> torch.nn.Module:
        """The network for answers: in evaluation mode, batch norms folded in, on the device."""
        net = self.net.fused() if hasattr(self.net, "fused") else self.net
        return net.eval().to(self.device, memory_format=torch.channels_last)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.profile.labels

    @property
    def says_when(self) -> tuple[str, ...]:
        """Labels of which it tells moments, not only windows.

        One that is judged by its trace was trained moment by moment. Another one was, of a label, if its moments were calibrated by themselves and the slope came out near
        one: trained on whole clips, moments are the clip's answer once more, and the slope flattens (0.2) or runs away (58).
        """
        if self.by_trace:
            return self.labels
        low, high = MOMENT_SLOPES

        def tells(c: dict) -> bool:
            own = (c["position_slope"], c["position_intercept"]) != (c["slope"], c["intercept"])
            return getattr(self.net, "tiles", 1) > 1 and own and low <= c["position_slope"] <= high

        return tuple(label for label in self.labels if tells(self.calibration[label]))

    def to(self, device: str) -> "SavedModel":
        """Move the network, e.g. to "cuda"; predictions are still given back as numpy."""
        self.device = device
        self.__dict__.pop("_ready", None)
        return self

    def logits(self, pictures_db: np.ndarray, batch: int = 32, overlapping: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Raw logits of windows (n, labels) and positions (n, labels, positions); parameters as for `predict`. With `by_trace` a window's is its highest position's."""
        p = self.profile
        expected = (p.window_frames, p.n_columns)
        if pictures_db.ndim != 3 or pictures_db.shape[1:] != expected:
            raise ValueError(f"model {self.model_id}: pictures of shape {pictures_db.shape}, expected (n, {expected[0]} frames, {expected[1]} columns); "
                             "make them with the model's own profile")
        by_tile = overlapping and self._shares_tiles()
        windows, positions = [], []
        for start in range(0, max(len(pictures_db), 1), batch):
            part = pictures_db[start:start + batch]
            if by_tile and len(part):
                tiles = np.concatenate([part[:1, :-p.step_frames].reshape(-1, p.step_frames, p.n_columns), part[:, -p.step_frames:]])
                window, position = self._answer(tiles, "forward_overlapping")
            elif len(part):
                window, position = self._answer(part, "forward")
            else:  # nothing asked: empty answers of the right shapes
                window, position = (out[:0] for out in self._answer(np.zeros((1, *expected), np.float32), "forward"))
            windows.append(position.max(axis=2) if self.by_trace else window)
            positions.append(position)
        return np.concatenate(windows), np.concatenate(positions)

    def _answer(self, pictures_db: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
        """Logits of windows or tiles (n, frames, bands) dB, from the network's `method`."""
        x = np.swapaxes(normalise(pictures_db, self.profile), 1, 2)[:, None]  # (n, 1, bands, frames)
        x = np.ascontiguousarray(x, np.float32)
        if method == "forward_overlapping" and self.quick is not None and self.device == "cpu":
            return self.quick(x)
        with torch.inference_mode():
            return tuple(out.float().cpu().numpy() for out in getattr(self._ready, method)(torch.from_numpy(x).to(self.device)))

    def _shares_tiles(self) -> bool:
        """Whether windows one step apart share their tiles: the network cuts them so, and each tile is normalised by itself."""
        p, n = self.profile, self.profile.normalisation
        return getattr(self.net, "tiles", 1) * p.step_frames == p.window_frames and (n["kind"] in ("absolute", *KINDS) or n.get("tile_s") == p.step_s)

    def predict(self, pictures_db: np.ndarray, batch: int = 32, overlapping: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated probabilities of windows of a picture.

        Parameters
        ----------
        pictures_db : (n, frames, bands) float32, dB, NaN where masked, NOT normalised (that happens here, as in training).
        overlapping : the windows follow each other one step on, as in a recording: what they share is computed once.

        Returns
        -------
        window (n, labels) and position (n, labels, positions) float32 in 0..1. A label that the recording's rate cannot show gets a
        number too: it is for the caller to report it as missing (`profile.observable`).
        """
        window, position = self.logits(pictures_db, batch, overlapping)
        position_slope, position_intercept = self._maps[2:]
        return self.probability(window), sigmoid(position_slope[:, None] * position + position_intercept[:, None])

    def probability(self, window_logit: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of windows from their raw logits, (n, labels)."""
        slope, intercept = self._maps[:2]
        return sigmoid(slope * window_logit + intercept)

    def windows_of(self, peaks: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of windows (n, labels) from the highest probability of a position in each (n, labels): what `by_trace` asks for."""
        position_slope, position_intercept = self._maps[2:]
        logit = np.log(np.maximum(peaks, TINY)) - np.log(np.maximum(1 - peaks, TINY))
        return self.probability((logit - position_intercept) / position_slope)


def save_model(folder: str | Path, net: torch.nn.Module, profile: Profile, thresholds: dict, calibration: dict, summary: dict | None = None,
               denoise: str | Path | None = None, by_trace: bool = False) -> str:
    """Write `model.safetensors` and `model.json`; return the model id (folder name and the first digits of the weights' hash).

    `denoise`: what the sound was denoised by that it was trained on, "gate" or the folder of a U-Net, of which a copy goes into `denoiser/`; the pipeline then does the same.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    quick = folder / "model.onnx"
    quick.unlink(missing_ok=True)  # of an earlier model
    if hasattr(net, "fused"):
        fused = net.fused().cpu()
        export_onnx(fused, torch.zeros(fused.tiles + 1, 1, profile.n_columns, profile.window_frames // fused.tiles), quick, "forward_overlapping")
    weights = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]
    info = {"format": FORMAT, "model_id": f"{folder.name}-{digest}", "architecture": type(net).__name__, "arguments": net.arguments,
            "profile": profile.to_dict(), "thresholds": thresholds, "calibration": calibration, "by_trace": by_trace, "summary": summary or {}, "code_version": code_version()}
    if denoise is not None:
        info["denoise"] = denoise if denoise == "gate" else _keep_denoiser(Path(denoise), folder / DENOISER)
    info["onnx_sha256"] = hashlib.sha256(quick.read_bytes()).hexdigest() if quick.exists() else None
    (folder / "model.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    return info["model_id"]


def load_model(model: str | Path | None = None, profile: str = "beluga") -> SavedModel:
    """Load a model from its folder, or by the name of an experiment in `results/`; None is the shipped default of the profile; `FOLDER/model_int8.onnx` the folder's network in int8.

    Raises
    ------
    BadModel
        if there is no model there, its format is unknown, or weights, architecture and profile do not fit together.
    """
    from training import backbones, cook_nets, merge

    if model is not None and Path(model).suffix == ".onnx":
        return load_int8(Path(model))
    folder = find_folder(model if model is not None else f"{profile}_default")
    info = read_info(folder)
    profile = Profile.from_dict(info["profile"])
    labels = {"thresholds": set(info["thresholds"]), "calibration": set(info["calibration"])}
    for what, have in labels.items():
        if have != set(profile.labels):
            raise BadModel(f"{folder}: {what} for {sorted(have)} but the profile's labels are {list(profile.labels)}; save the model again")
    arguments = info["arguments"]
    rows = arguments.get("n_bands", profile.n_bands) + arguments.get("crest", 0)
    if rows not in (profile.n_bands, profile.n_columns) or arguments.get("heads", profile.heads) != profile.heads:
        raise BadModel(f"{folder}: the network was built for {arguments.get('n_bands')} bands and heads {arguments.get('heads')}, "
                       f"its profile has {profile.n_bands} bands and heads {profile.heads}; train again with this profile")
    weights = weights_of(folder)
    try:
        net = (ARCHITECTURES | backbones.ARCHITECTURES | cook_nets.ARCHITECTURES | merge.ARCHITECTURES)[info["architecture"]](**arguments)
        net.load_state_dict(weights)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise BadModel(f"{folder}: weights and architecture do not fit ({reason}); copy the folder again or train again") from None
    return SavedModel(net, profile, info["thresholds"], info["calibration"], info["model_id"], info, quick=_quick(folder, info), denoise=_denoise(folder, info),
                      by_trace=info.get("by_trace", False), regions=_regions(folder, info))


def save_regions(folder: str | Path, head: RegionHead, roi_bands: tuple) -> str:
    """Put a region head, and the ROI bands whose regions it names, into a saved model; return its new model id.

    Raises
    ------
    BadModel
        where no model is there.
    """
    folder = find_folder(folder)
    info = read_info(folder)
    weights = weights_of(folder)
    weights |= {PREFIX + name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in head.arrays.items()}
    save_file(weights, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]
    info["model_id"] = f"{info['model_id'].rsplit('-', 1)[0]}-{digest}"
    info["regions"] = head.to_info()
    info["profile"]["roi_bands"] = [dict(band) for band in roi_bands]
    for label, limit in head.thresholds.items():
        info["thresholds"][label]["region"] = limit
    (folder / "model.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    return info["model_id"]


def _regions(folder: Path, info: dict) -> RegionHead | None:
    """The region head, if the model has one."""
    if "regions" not in info:
        return None
    try:
        return RegionHead.from_info(info["regions"], {name: value.numpy() for name, value in all_weights(folder).items() if name.startswith(PREFIX)})
    except (KeyError, ValueError) as error:
        raise BadModel(f"{folder}: its region head is not whole ({error}); copy the folder again, or run python -m training.regions {folder}") from None


def save_int8(path: Path, model: SavedModel) -> None:
    """Write the JSON beside an exported int8 network: the thresholds and calibration that were chosen for it, and which file it is of."""
    told = {"format": FORMAT, "onnx_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "thresholds": model.thresholds, "calibration": model.calibration}
    path.with_suffix(".json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def load_int8(path: Path) -> SavedModel:
    """The int8 network of a model's folder, with the folder's profile and, where `model_int8.json` tells them, its own thresholds and calibration.

    Raises
    ------
    BadModel
        where there is none, or what lies beside it does not belong to it.
    """
    from training.quantise import Int8Net

    folder = find_folder(path.parent)
    path = folder / path.name
    if path.name != INT8 or not path.exists():
        raise BadModel(f"{path}: no int8 network there; give the folder {folder}, or train it with quantise_epochs, which writes {INT8}")
    info, digest = read_info(folder), hashlib.sha256(path.read_bytes()).hexdigest()
    profile = Profile.from_dict(info["profile"])
    if path.with_suffix(".json").exists():
        own = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if own["onnx_sha256"] != digest:
            raise BadModel(f"{path}: does not belong to the {path.stem}.json beside it; copy the folder again")
        info = info | {"thresholds": own["thresholds"], "calibration": own["calibration"]}
    info = info | {"model_id": f"{info['model_id']}-int8-{digest[:8]}"}
    try:
        net = Int8Net(path, positions_of(profile.window_frames))
    except Exception as error:  # of the ONNX runtime, whose errors have no common base
        raise BadModel(f"{path}: cannot be read as ONNX ({str(error).splitlines()[0][:120]}); copy the folder again") from None
    return SavedModel(net, profile, info["thresholds"], info["calibration"], info["model_id"], info, denoise=_denoise(folder, info), regions=_regions(folder, info))


def _keep_denoiser(source: Path, target: Path) -> str:
    """Copy a U-Net's two files."""
    target.mkdir(exist_ok=True)
    for name in ("model.json", "model.safetensors"):
        shutil.copyfile(source / name, target / name)
    return DENOISER


def _denoise(folder: Path, info: dict) -> str | Path | None:
    """"gate", the folder of the model's U-Net, or nothing."""
    told = info.get("denoise")
    if told in (None, "gate"):
        return told
    if not (folder / told / "model.json").exists():
        raise BadModel(f"{folder}: was trained on denoised sound, and its denoiser is not in {folder / told}; copy the folder again, with all that is in it")
    return folder / told


def _quick(folder: Path, info: dict) -> OnnxNet | None:
    """The network as ONNX, if it was saved with this model."""
    path = folder / "model.onnx"
    if not info.get("onnx_sha256") or not path.exists():
        return None
    if hashlib.sha256(path.read_bytes()).hexdigest() != info["onnx_sha256"]:
        raise BadModel(f"{path}: does not belong to the model.json beside it; copy the folder again, or delete model.onnx")
    return OnnxNet(path)


def find_folder(model: str | Path) -> Path:
    """The folder meant: as given, below the project's root, or an experiment's name below `results/`."""
    for folder in (Path(model), ROOT / model, ROOT / "results" / model):
        if (folder / "model.json").exists():
            return folder
    have = sorted(p.parent.name for p in (ROOT / "results").glob("*/model.json"))
    raise BadModel(f"{model}: no saved model there (model.json is missing); models in results/: {', '.join(have) or 'none yet, run training/05_train.ipynb'}")


def read_info(folder: Path) -> dict:
    """`model.json` of a folder, its format checked."""
    try:
        info = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadModel(f"{folder}: model.json is damaged ({error}); copy the folder again") from None
    if info.get("format") != FORMAT:
        raise BadModel(f"{folder}: model of format {info.get('format')}, this code reads format {FORMAT}; use the code version {info.get('code_version')} or train again")
    missing = [key for key in NEEDED if key not in info]
    if missing:
        raise BadModel(f"{folder}: model.json lacks {', '.join(missing)}; copy the folder again or train again")
    return info


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a saved network, without those of its region head. BadModel as for `all_weights`."""
    return {name: value for name, value in all_weights(folder).items() if not name.startswith(PREFIX)}


def all_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a saved model. BadModel, with how to make them again, where they are not kept with the code, or damaged."""
    path = folder / "model.safetensors"
    if not path.exists():
        raise BadModel(f"{folder}: model.safetensors is not there; {read_info(folder).get('summary', {}).get('remake', 'copy the folder again or train again')}")
    try:
        return load_file(path)
    except Exception as error:  # of the file format's library, whose errors have no common base
        raise BadModel(f"{path}: cannot be read ({str(error).splitlines()[0]}); copy the folder again or train again") from None


def code_version() -> str:
    """Commit of this code, "unknown" outside a git checkout."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() or "unknown"
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
