"""Which runs are at work in an output folder: runs with the same settings share the work, one with
other settings is refused at its start.

`parts/claims/run.SETTINGS.RANDOM.lock` is held as long as a run lives; SETTINGS is a hash of all
that decides tables but for the recordings.
"""

from __future__ import annotations

import time
import uuid

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
            elif not key.startswith(ours):
                raise OtherSettings(
                    f"{claims.folder.parents[1]}: a run with other settings (model, thresholds, "
                    "channel, levels, clock or overrides) is at work "
                    "here; let it end first, or choose another output folder"
                )
        claims.take(ours + uuid.uuid4().hex[:8])
    finally:
        claims.free(ENTER)
