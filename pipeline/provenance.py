"""What made a result: code version, model, profile, settings, input."""
from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

from spectrogram import __version__


def settings_hash(settings: dict) -> str:
    """Twelve hex digits that change when a setting changes."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


def curve_of(sensitivity_db: float) -> dict:
    """What names the curve over frequency of a sensitivity; nothing where it has none."""
    curve = getattr(sensitivity_db, "curve", None)
    return {} if curve is None else {"sensitivity_curve": curve.id}


def provenance(recording, profile, thresholds: dict, model_id: str, settings: dict) -> dict:
    """Everything that decides a recording's result, as it stands in every file's footer.

    `fingerprint` covers what changes the result: the same fingerprint, the same tables. The model id holds a hash of the weights.
    """
    stat = Path(recording.path).stat()
    decides = {"code_version": __version__, "model_id": model_id, "profile": profile.name, "profile_hash": profile.hash(), "thresholds": thresholds,
               "settings": {"channel": recording.channel, "start_utc": str(recording.start_utc), "sensitivity_db": recording.sensitivity_db,
                            **curve_of(recording.sensitivity_db), **settings},
               "input_size": stat.st_size, "input_time": datetime.fromtimestamp(stat.st_mtime, timezone.utc).isoformat()}
    return {**decides, "settings_hash": settings_hash(decides["settings"]), "fingerprint": settings_hash(decides), "input": recording.name,
            "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
