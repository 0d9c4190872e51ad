"""End-to-end sensitivities of hydrophones, by serial.

A sensitivity S (dB, negative) says that a sample at full scale 1.0 is a sound pressure of 10^(-S/20) µPa. It is the "end-to-end
calibration, high gain" of Ocean Instruments' certificate with the sign turned.
"""
from __future__ import annotations

import json
import math
from pathlib import Path

TABLE = Path(__file__).parent / "hydrophones_sensitivity.json"
UNKNOWN_DB = -170.0


class HydrophoneSensitivity:
    """The table of known hydrophones, kept in a JSON file of serial -> dB.

    >>> HydrophoneSensitivity().get("6872")
    (-177.6, True)
    """

    def __init__(self, path: Path | str = TABLE):
        self.path = Path(path)
        try:
            table = json.loads(self.path.read_text(encoding="utf-8")).items()
        except (AttributeError, ValueError) as error:  # not text, not JSON, not a table
            raise ValueError(f"{self.path}: not a JSON table of serial -> dB ({error}); mend it, e.g. {{\"6872\": -177.6}}") from None
        try:
            self._table = {serial: checked(serial, value) for serial, value in table}
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def get(self, serial: str | None) -> tuple[float, bool]:
        """Sensitivity in dB, and whether it is known: an unknown serial gets -170 dB and False."""
        return (self._table[serial], True) if serial in self._table else (UNKNOWN_DB, False)

    def add(self, serial: str, sensitivity_db: float, save: bool = True) -> None:
        """Add or replace a hydrophone; the JSON file is rewritten whole unless `save` is False."""
        self._table[str(serial)] = checked(serial, sensitivity_db)
        if save:
            draft = self.path.with_suffix(".tmp")
            draft.write_text(json.dumps(self._table, indent=4) + "\n", encoding="utf-8")
            draft.replace(self.path)

    def __contains__(self, serial: str) -> bool:
        return serial in self._table

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"HydrophoneSensitivity({len(self)} hydrophones: {', '.join(self._table)})"


def checked(serial: str, value: float | str) -> float:
    """The value as a float, refused where it cannot be a sensitivity (positive, or beyond any hydrophone)."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        value = math.nan
    if not -260.0 < value < 0.0:
        raise ValueError(f"hydrophone {serial}: sensitivity {value} dB; enter the certificate's value with a minus sign, e.g. -176.3")
    return value


HYDROPHONE_SENSITIVITY = HydrophoneSensitivity()
