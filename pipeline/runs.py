"""Which runs are at work in an output folder: runs with the same settings share the work, one with
other settings is refused at its start.

`parts/claims/run.SETTINGS.RANDOM.lock` is held as long as a run lives; SETTINGS is a hash of all
that decides tables but for the recordings. Where the disk knows no locks, a run that died on
another machine is told from one that lives by whether it renews its claim (`pipeline.claims`).
"""

from __future__ import annotations

import time
import uuid

import pipeline.claims as soft
from pipeline.claims import Claims
from pipeline.provenance import settings_hash

# The claim of who looks around and enters. Like `run....` it is no recording's key: those end with
# a dash and eight digits.
ENTER = "enter"
LOOK_S = 0.05


class OtherSettings(ValueError):
    """A run with other settings is at work in the folder."""


def enter(claims: Claims, settings: dict) -> None:
    """Note this run in the folder, until `claims.free_all` or the end of the process.

    Raises
    ------
    OtherSettings
        where a run with other settings is at work: each would make anew what the other has made.
    """
    while not claims.take(ENTER):
        time.sleep(LOOK_S)
    try:
        ours = f"run.{settings_hash(settings)}."
        for path in [*claims.folder.glob("run.*.lock"), *claims.folder.glob("run.*.claim")]:
            key = path.stem
            if claims.take(key):  # of a run that was killed
                claims.free(key)
            elif not key.startswith(ours) and _lives(claims, key):
                raise OtherSettings(
                    f"{claims.folder.parents[1]}: a run with other settings (model, thresholds, "
                    "channel, levels, clock or overrides) is at work "
                    "here; let it end first, or choose another output folder"
                )
        claims.take(ours + uuid.uuid4().hex[:8])
    finally:
        claims.free(ENTER)


def _lives(claims: Claims, key: str) -> bool:
    """Whether the run that holds this claim is at work. One that, on the file server's own clock,
    has not renewed it for long is watched until it does, or its claim lapses."""
    renewed, now = _renewed(claims, key), _renewed(claims, ENTER) or 0.0
    if not claims.soft or renewed is None or now - renewed < soft.LEASE_S:
        return True
    claims.say(
        f"{claims.folder.parents[1]}: a run with other settings was at work here and has not been "
        f"heard of; waiting for a sign of it, {soft.LEASE_S / 60:g} minutes at most"
    )
    while not claims.take(key):
        if _renewed(claims, key) not in (renewed, None):
            return True
        time.sleep(LOOK_S)
    claims.free(key)
    return False


def _renewed(claims: Claims, key: str) -> float | None:
    """When a soft claim was renewed last, on the clock of the disk it lies on; none: it is none."""
    try:
        return (claims.folder / f"{key}.claim").stat().st_mtime
    except OSError:
        return None
