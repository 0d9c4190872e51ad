"""What levels are told in, and that they are not calibrated where they are not: on axes, in
figures, in the names of columns."""

from __future__ import annotations

from spectrogram.sensitivity import UNKNOWN_DB

DENSITY = "dB re 1 µPa²/Hz"
PRESSURE = "dB re 1 µPa"
MARK = "NOT CALIBRATED"


def density_unit(calibrated: bool = True, assumed_db: float = UNKNOWN_DB) -> str:
    """Unit of spectral density levels, for an axis.

    >>> density_unit(), density_unit(False)
    ('dB re 1 µPa²/Hz', 'dB re full scale²/Hz, −170 assumed')
    """
    return DENSITY if calibrated else f"dB re full scale²/Hz, {_signed(assumed_db)} assumed"


def pressure_unit(calibrated: bool = True, assumed_db: float = UNKNOWN_DB) -> str:
    """Unit of sound pressure levels, for an axis."""
    return PRESSURE if calibrated else f"dB re full scale, {_signed(assumed_db)} assumed"


def unit_of(recording) -> str:
    """Unit of spectral density levels of a recording."""
    return density_unit(recording.calibrated, recording.sensitivity_db)


def all_calibrated(table) -> bool:
    """Whether all levels of a table are calibrated: by its column `calibrated`; True where there is
    none."""
    return "calibrated" not in table or bool(table["calibrated"].astype(bool).all())


def mark(ax, calibrated: bool = False) -> None:
    """Write into a picture, so that it stays there when the picture is copied, that its levels are
    not calibrated."""
    if calibrated:
        return
    from matplotlib import patheffects

    outline = [patheffects.withStroke(linewidth=2.5, foreground="black")]
    ax.text(
        0.008,
        0.03,
        MARK,
        transform=ax.transAxes,
        fontsize=9,
        fontweight="bold",
        color="#ffd24d",
        path_effects=outline,
        zorder=10,
    )


def _signed(db: float) -> str:
    return f"{float(db):g}".replace("-", "−")
