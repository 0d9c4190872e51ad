"""Sensitivity by frequency: curves in dB over Hz as laboratories give them, and the files they come
in.

Between its points a curve is straight over the logarithm of the frequency; beyond its ends it keeps
the end's value. Files: CSV (two columns, Hz or kHz, and dB; a header, comments with #), and NetCDF,
version 3 or 4, with variables `frequency` and `sensitivity`, as PyPAM and MBARI's pbp write it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FREQUENCIES = ("frequency", "freq", "f", "hz", "khz")
SENSITIVITIES = ("sensitivity", "sens", "db", "calibration", "response")


@dataclass(frozen=True)
class Curve:
    """hz : increasing; db : at each."""

    hz: tuple[float, ...]
    db: tuple[float, ...]

    @classmethod
    def of(cls, hz, db) -> "Curve":
        """From any two sequences, in any order.

        Raises
        ------
        ValueError
            for a curve that is none.
        """
        try:
            points = sorted(zip(map(float, hz), map(float, db), strict=True))
        except (TypeError, ValueError):
            raise ValueError(
                'a curve needs as many numbers in Hz as in dB, e.g. "hz": [100, 1000], "db": [-177, -176]'
            ) from None
        hz, db = (tuple(column) for column in zip(*points)) if points else ((), ())
        if len(points) < 2 or not np.isfinite(points).all() or hz[0] <= 0 or len(set(hz)) < len(hz):
            raise ValueError(
                'a curve needs two or more frequencies above 0 Hz, each once, e.g. "hz": [100, 1000], "db": [-177, -176]'
            )
        return cls(hz, db)

    def at(self, freqs_hz) -> np.ndarray:
        """(n,) dB at some frequencies."""
        freqs_hz = np.maximum(np.asarray(freqs_hz, float), self.hz[0])  # 0 Hz has no logarithm
        return np.interp(np.log(freqs_hz), np.log(self.hz), self.db)

    def gains(self, freqs_hz) -> np.ndarray:
        """(n,) what power at some frequencies is multiplied by, where this is a sensitivity's
        difference from its nominal value."""
        return 10 ** (-self.at(freqs_hz) / 10)

    def relative_to(self, nominal_db: float) -> "Curve | None":
        """The difference from one number; None where there is none."""
        difference = tuple(value - nominal_db for value in self.db)
        return Curve(self.hz, difference) if any(difference) else None

    @property
    def id(self) -> str:
        """Eight hex digits that name it."""
        return hashlib.sha256(repr((self.hz, self.db)).encode()).hexdigest()[:8]


def read_curve(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz) and sensitivities (dB) of a CSV or NetCDF file.

    Raises
    ------
    ValueError
        naming the file, the fault and the mend.
    """
    path = Path(path)
    try:
        head = path.read_bytes()[:8]
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    hz, db = _netcdf(path, head) if head.startswith((b"CDF", b"\x89HDF")) else _csv(path)
    try:
        curve = Curve.of(hz, db)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return np.array(curve.hz), np.array(curve.db)


def _csv(path: Path) -> tuple[list[float], list[float]]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    lines = [
        (k, line.strip())
        for k, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    separator = next((mark for mark in ("\t", ";", ",") if lines and mark in lines[0][1]), None)
    header, rows, places, unit = None, [], (0, 1), 1.0
    for number, line in lines:
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        values = [_number(cell, decimal_comma=separator in (";", "\t", None)) for cell in cells]
        if header is None and not rows and None in values[:2]:
            header = [re.sub(r"[^a-z]+", " ", cell.lower()).split() for cell in cells]
            places, unit = _places(header, path)
            continue
        if len(values) <= max(places) or None in [values[place] for place in places]:
            raise ValueError(
                f"{path}, line {number}: {line[:40]!r} is not a frequency in Hz and a "
                "sensitivity in dB; correct it or take it out"
            )
        rows.append((values[places[0]] * unit, values[places[1]]))
    return [hz for hz, _ in rows], [db for _, db in rows]


def _number(text: str, decimal_comma: bool) -> float | None:
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None


def _places(header: list[list[str]], path: Path) -> tuple[tuple[int, int], float]:
    """Columns of frequency and sensitivity, and Hz for one of the first's unit."""
    hz = next((k for k, words in enumerate(header) if set(words) & set(FREQUENCIES)), None)
    db = next(
        (k for k, words in enumerate(header) if k != hz and set(words) & set(SENSITIVITIES)), None
    )
    if hz is None or db is None:
        raise ValueError(
            f"{path}: no columns of frequency and sensitivity among "
            f"{', '.join(' '.join(words) for words in header)}; call them hz and db"
        )
    return (hz, db), 1e3 if "khz" in header[hz] else 1.0


def _netcdf(path: Path, head: bytes) -> tuple[np.ndarray, np.ndarray]:
    if head.startswith(b"CDF"):
        from scipy.io import netcdf_file

        with netcdf_file(path, mmap=False) as file:
            found = {
                name: (np.array(variable.data, float).ravel(), getattr(variable, "units", b""))
                for name, variable in file.variables.items()
            }
    else:
        try:
            import h5py
        except ImportError:
            raise ValueError(
                f"{path}: is NetCDF 4; pip install h5py, or save it as NetCDF 3 or CSV"
            ) from None
        with h5py.File(path) as file:
            found = {
                name: (np.array(item, float).ravel(), item.attrs.get("units", b""))
                for name, item in file.items()
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu"
            }
    hz = next((name for name in found if name.lower() in FREQUENCIES), None)
    db = next((name for name in found if name.lower().split("_")[0] in SENSITIVITIES), None)
    if hz is None or db is None:
        raise ValueError(
            f"{path}: no variables frequency and sensitivity among {', '.join(found)}; name them so"
        )
    unit = found[hz][1]
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    return found[hz][0] * (1e3 if unit.strip().lower() == "khz" else 1.0), found[db][0]
