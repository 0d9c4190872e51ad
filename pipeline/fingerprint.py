"""What decides a recording's tables, as one short text: the same fingerprint, the same tables.

The code is part of it. Not every edit counts: comments, docstrings and annotations of the modules that a result passes through may change,
their statements may not. Versions of libraries are no part of it: they change results by rounding at most, and months of sound need not be done anew.
"""
from __future__ import annotations

import ast
import hashlib
import os
import threading
from functools import lru_cache
from pathlib import Path

from pipeline.provenance import curve_of, settings_hash
from spectrogram import __version__

ROOT = Path(__file__).resolve().parents[1]
STARTS = ("pipeline.single", "pipeline.stretches", "training.saved")  # what a recording passes through, and all that these import of ours ...
NOT = ("plots", "debug", "explore", "provenance")  # ... but for pictures
DIFFERENCES = {"input_size": "the file", "input_changed": "the file", "log": "its log", "start_utc": "start time", "settings": "settings",
               "thresholds": "thresholds", "model_id": "model", "profile_hash": "profile", "code": "code"}
_PARSING = threading.Lock()  # Python 3.11 may stumble over two syntax trees that are built at once


def footer(source, recording: dict, settings: dict, thresholds: dict, model) -> dict:
    """Everything that decides the tables of a recording, with its `fingerprint`; it stands in the footer of the recording's part.

    Parameters
    ----------
    source : Source. recording : start_utc (of name or table), recorder, serial, sensitivity_db, calibrated. settings : channel, level_row_s, denoise, species.
    """
    profile = model.profile
    decides = {"input": source.name, "input_size": source.size, "input_changed": source.changed, "log": source.log and [source.log.size, source.log.changed],
               "start_utc": str(recording["start_utc"]), "model_id": model.model_id, "profile": profile.name, "profile_hash": profile.hash(),
               "thresholds": thresholds, "code": code_hash(),
               "settings": settings | {key: recording[key] for key in ("recorder", "serial", "sensitivity_db", "calibrated")}
               | curve_of(recording["sensitivity_db"])}
    where = source.where if source.remote else os.path.abspath(source.where)
    return decides | {"fingerprint": settings_hash(decides), "code_version": __version__, "where": where}


def what_changed(old: dict, new: dict) -> str:
    """The difference between two footers, in a word or three."""
    found = dict.fromkeys(word for key, word in DIFFERENCES.items() if old.get(key) != new.get(key))
    return ", ".join(found) or "nothing that is known"


def code_hash() -> str:
    """Twelve hex digits that change when a statement changes that a result passes through."""
    with _PARSING:
        return _code_hash()


@lru_cache(maxsize=1)
def _code_hash() -> str:
    digest = hashlib.sha256()
    for path, tree in sorted(deciding_modules().items()):
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(repr(_bare(tree)).encode())
    return digest.hexdigest()[:12]


def deciding_modules() -> dict[Path, ast.Module]:
    """Our modules that `STARTS` import, at the top or within functions, and what those import: file -> syntax tree."""
    found, waiting = {}, [path for name in STARTS for path in _files(name)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = ast.parse(path.read_bytes())
        for node in ast.walk(found[path]):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            waiting += [file for name in names if name.split(".")[-1] not in NOT for file in _files(name)]
    return found


def _files(name: str) -> list[Path]:
    """The file of a module of ours; none for a package, a name within a module, or somebody else's."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return [path] if path.is_file() else []


def _bare(node):
    """A syntax tree as nested lists, without docstrings and annotations; the same in every version of Python."""
    if isinstance(node, list):
        return [_bare(x) for x in node]
    if not isinstance(node, ast.AST):
        return node
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list) and isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            value = [x for x in value if not (isinstance(x, ast.Expr) and isinstance(x.value, ast.Constant) and isinstance(x.value.value, str))]
        if name not in ("annotation", "returns", "type_comment", "kind", "ctx", "type_params") and value not in (None, []):
            fields.append((name, _bare(value)))
    return [type(node).__name__, fields]
