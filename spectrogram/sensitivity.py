"""End-to-end sensitivities of hydrophones: by serial, by the date of their calibration, by gain
setting and, where a lab measured it, by frequency.

    HYDROPHONE_SENSITIVITY.add("6872", -177.6)
    HYDROPHONE_SENSITIVITY.add("6872", -176.9, valid_from="2024-03-01")
    HYDROPHONE_SENSITIVITY.add("1353", curve="ICLISTEN_1353.csv", valid_from="2023-06-20",
    gain="high")

A sensitivity S (dB, negative) says that a sample at full scale 1.0 is a sound pressure of
10^(-S/20) µPa. It is the "end-to-end calibration, high gain" of Ocean
Instruments' certificate with the sign turned. A recording takes the calibration that was valid when
it began; a new one never changes what older recordings get.

`hydrophones_sensitivity.json` holds for each serial a number, or a list of calibrations:
{"valid_from": "2024-03-01", "gain": "high", "sensitivity_db": -176.9,
"hz": [...], "db": [...]}, each but the value left out where it is not known.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from spectrogram.response import Curve, read_curve

TABLE = Path(__file__).parent / "hydrophones_sensitivity.json"
UNKNOWN_DB = -170.0
NOMINAL_HZ = 1000.0  # where a curve is read for the one number that stands in the tables
BEFORE_ALL = datetime.min.replace(tzinfo=timezone.utc)


class Sensitivity(float):
    """dB, with `curve`: how far it differs from that number at other frequencies (None: not at
    all)."""

    curve: Curve | None = None

    @classmethod
    def of(cls, nominal_db: float, curve: Curve | None = None) -> "Sensitivity":
        made = cls(nominal_db)
        made.curve = curve
        return made


@dataclass(frozen=True)
class Calibration:
    """What holds for a recording: sensitivity; known (False: `UNKNOWN_DB` stands in); remark, what
    the reader should be told ("")."""

    sensitivity: Sensitivity
    known: bool
    remark: str = ""


class HydrophoneSensitivity:
    """The table of known hydrophones, kept in a JSON file.

    >>> HydrophoneSensitivity().get("6872")
    (-177.6, True)
    """

    def __init__(self, path: Path | str = TABLE):
        self.path = Path(path)
        try:
            table = json.loads(self.path.read_text(encoding="utf-8")).items()
        except (AttributeError, ValueError) as error:  # not text, not JSON, not a table
            raise ValueError(
                f'{self.path}: not a JSON table of serial -> dB ({error}); mend it, e.g. {{"6872": -177.6}}'
            ) from None
        try:
            self._table = {serial: _entries(serial, given) for serial, given in table}
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def get(
        self, serial: str | None, at: datetime | None = None, gain: str | None = None
    ) -> tuple[Sensitivity, bool]:
        """Sensitivity in dB, and whether it is known: an unknown serial gets -170 dB and False. See
        `calibration`."""
        found = self.calibration(serial, at, gain)
        return found.sensitivity, found.known

    def calibration(
        self, serial: str | None, at: datetime | None = None, gain: str | None = None
    ) -> Calibration:
        """The calibration that was valid `at` a time (aware; None: the latest), for a gain
        setting."""
        entries = self._table.get(serial, [])
        gains = {entry["gain"] for entry in entries if "gain" in entry}
        wanted = None if gain is None else _plain(gain)
        of_gain = [entry for entry in entries if entry.get("gain") == wanted]
        of_any = [entry for entry in entries if "gain" not in entry]
        fitting = of_gain or of_any
        if at is not None and not any(_since(entry) <= at for entry in of_gain):
            fitting = [entry for entry in of_any if _since(entry) <= at] or fitting
        if not fitting and wanted is None and len(gains) == 1:
            fitting = entries
        if not fitting:
            remark = ""
            if entries:
                told = (
                    "nobody says which was set"
                    if wanted is None
                    else f"it was recorded at {wanted}"
                )
                remark = f"hydrophone {serial} is calibrated at gain {' and '.join(sorted(gains))}, {told}: levels are not calibrated"
            return Calibration(Sensitivity.of(UNKNOWN_DB), False, remark)
        fitting = sorted(fitting, key=_since)
        if at is None:
            dated = (
                f"its start is unknown, so the calibration of {fitting[-1]['valid_from']} is taken"
                if len(fitting) > 1
                else ""
            )
            return Calibration(_sensitivity(fitting[-1]), True, dated)
        valid = [entry for entry in fitting if _since(entry) <= at]
        if valid:
            return Calibration(_sensitivity(valid[-1]), True)
        first = fitting[0]
        return Calibration(
            _sensitivity(first),
            True,
            f"the calibration of hydrophone {serial} is of {first['valid_from']}, later than "
            "this recording; add an older one if there is",
        )

    def add(
        self,
        serial: str,
        sensitivity_db: float | None = None,
        save: bool = True,
        *,
        valid_from: str | date | None = None,
        gain: str | None = None,
        curve=None,
        replace: bool = False,
    ) -> None:
        """Add a hydrophone, or a calibration of it; the JSON file is rewritten whole unless `save`
        is False.

        Parameters
        ----------
        valid_from : the day (UTC) from which it holds; None: from the beginning.
        curve : sensitivity by frequency: a CSV or NetCDF file (Hz, dB), or a pair of sequences.
            Without `sensitivity_db`, the curve's value at 1 kHz stands in the tables.
        replace : overwrite what is known for the same day and gain, as where it was mistyped.

        Raises
        ------
        ValueError
            for what can be no sensitivity, and where another value is known for the same day and
            gain.
        """
        serial, entry = str(serial), {}
        if valid_from is not None:
            entry["valid_from"] = str(valid_from)
        if gain is not None:
            entry["gain"] = _plain(gain)
        if curve is not None:
            hz, db = read_curve(curve) if isinstance(curve, (str, Path)) else curve
            entry |= {"hz": [float(x) for x in hz], "db": [float(x) for x in db]}
        if sensitivity_db is not None or curve is None:
            entry["sensitivity_db"] = checked(serial, sensitivity_db)
        new = _entries(serial, [entry])[0]
        others = [old for old in self._table.get(serial, []) if _when(old) != _when(new)]
        known = [old for old in self._table.get(serial, []) if _when(old) == _when(new)]
        if known and not replace and _value(known[0]) != _value(new):
            raise ValueError(
                f"hydrophone {serial}: {_sensitivity(known[0]):g} dB is known already; give "
                "valid_from, the day of the new calibration, so that older recordings "
                "keep theirs, or replace=True to mend a wrong entry"
            )
        self._table[serial] = sorted([*others, new], key=_since)
        if save:
            draft = self.path.with_suffix(".tmp")
            draft.write_text(
                json.dumps({s: _short(entries) for s, entries in self._table.items()}, indent=4)
                + "\n",
                encoding="utf-8",
            )
            draft.replace(self.path)

    def __contains__(self, serial: str) -> bool:
        return serial in self._table

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"HydrophoneSensitivity({len(self)} hydrophones: {', '.join(self._table)})"


def checked(serial: str, value: float | str) -> float:
    """The value as a float, refused where it cannot be a sensitivity (positive, or beyond any
    hydrophone)."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        value = math.nan
    if not -260.0 < value < 0.0:
        raise ValueError(
            f"hydrophone {serial}: sensitivity {value} dB; enter the certificate's value with a "
            "minus sign, e.g. -176.3"
        )
    return value


def _entries(serial: str, given) -> list[dict]:
    """A serial's calibrations as dicts, in order of their dates, each checked."""
    listed = given if isinstance(given, list) else [given]
    entries = [dict(one) if isinstance(one, dict) else {"sensitivity_db": one} for one in listed]
    for entry in entries:
        if "sensitivity_db" in entry or "hz" not in entry:
            entry["sensitivity_db"] = checked(serial, entry.get("sensitivity_db"))
        if "gain" in entry:
            entry["gain"] = _plain(entry["gain"])
        _since(entry, serial)
        _sensitivity(entry, serial)
    if len({_when(entry) for entry in entries}) < len(entries):
        raise ValueError(
            f"hydrophone {serial}: two calibrations of one day and gain; e.g. give the newer "
            "another valid_from"
        )
    return sorted(entries, key=_since)


def _since(entry: dict, serial: str = "") -> datetime:
    """When a calibration begins to hold."""
    if "valid_from" not in entry:
        return BEFORE_ALL
    try:
        moment = datetime.fromisoformat(str(entry["valid_from"]))
    except ValueError:
        raise ValueError(
            f"hydrophone {serial}: valid_from {entry['valid_from']!r} is no date; write it as "
            "e.g. 2024-03-01"
        ) from None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment


def _sensitivity(entry: dict, serial: str = "") -> Sensitivity:
    if "hz" not in entry:
        return Sensitivity.of(entry["sensitivity_db"])
    try:
        absolute = Curve.of(entry["hz"], entry.get("db", []))
    except ValueError as error:
        raise ValueError(f"hydrophone {serial}: {error}") from None
    nominal_db = entry.get("sensitivity_db", float(absolute.at([NOMINAL_HZ])[0]))
    for value in absolute.db:
        checked(serial, value)
    return Sensitivity.of(nominal_db, absolute.relative_to(nominal_db))


def _plain(gain) -> str:
    return str(gain).strip().lower()


def _when(entry: dict) -> tuple:
    return _since(entry), entry.get("gain")


def _value(entry: dict) -> tuple:
    return entry.get("sensitivity_db"), tuple(entry.get("hz", ())), tuple(entry.get("db", ()))


def _short(entries: list[dict]):
    """As the JSON file has it: a number where there is only one, known for all time."""
    return (
        entries[0]["sensitivity_db"]
        if len(entries) == 1 and list(entries[0]) == ["sensitivity_db"]
        else entries
    )


HYDROPHONE_SENSITIVITY = HydrophoneSensitivity()
