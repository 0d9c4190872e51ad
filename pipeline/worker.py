"""What a worker does with a recording, wherever the worker is, and how it gets the model: loaded once in each process."""
from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.fingerprint import code_hash
from pipeline.parts import Job, Part, finish
from pipeline.single import load
from spectrogram.memory import keep_freed_memory


class NoWorkers(OSError):
    """Workers that do not come, are lost, or run other code."""


@dataclass(frozen=True)
class ModelRef:
    """A model as it is told to a worker: where it lies, or the thing itself."""

    model_id: str
    place: str | None = None
    profile: str | None = None
    device: str | None = None
    data: bytes | None = field(default=None, repr=False)


def model_ref(model, loaded, profile, device) -> ModelRef:
    """How a worker gets the model that was `loaded` here.

    Raises
    ------
    ValueError
        for a loaded model that cannot be sent.
    """
    if hasattr(model, "predict"):
        from distributed.protocol.pickle import dumps

        try:
            return ModelRef(loaded.model_id, data=dumps(model))
        except Exception as error:
            raise ValueError(f"model {loaded.model_id}: a loaded model that cannot be sent to workers ({error}); give its folder instead") from None
    place = None if model is None else str(Path(model).resolve()) if Path(model).exists() else str(model)
    return ModelRef(loaded.model_id, place, getattr(profile, "name", profile) or os.environ.get("PROFILE") or "beluga", device)


_LOADED: dict[ModelRef, object] = {}


def work(job: Job, ref: ModelRef, code: str) -> Part:
    """What a worker does with a recording, or a stretch of one.

    Raises
    ------
    NoWorkers
        where this worker has other code, or another model, than the process that asks.
    """
    if code != code_hash():
        raise NoWorkers(f"the worker at {_here()} runs another version of the project; bring all machines to the same version")
    if ref not in _LOADED:
        keep_freed_memory()
        _LOADED.clear()
        _LOADED[ref] = _load(ref)
    return finish(job, job.bring, _LOADED[ref])


def _load(ref: ModelRef):
    if ref.data is not None:
        from distributed.protocol.pickle import loads

        return loads(ref.data)
    try:
        model = load(ref.place, ref.profile, ref.device)
    except Exception as error:
        raise NoWorkers(f"the worker at {_here()} cannot load the model: {error}") from None
    if model.model_id != ref.model_id:
        raise NoWorkers(f"the worker at {_here()} has another model ({model.model_id}) than this machine ({ref.model_id}); copy {ref.place or 'results/'} there")
    return model


def _here() -> str:
    return platform.node()
