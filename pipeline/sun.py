"""How high the sun stands, to tell night from day in a diel plot.

Low-precision formulas of the Astronomical Almanac ("Low precision formulas for the Sun", page C5): a hundredth of a degree between 1950 and 2050;
refraction is left out, and the night of a plot begins at -0.833 degrees, where the sun's upper limb sets.
"""
from __future__ import annotations

import numpy as np

SUNSET_DEG = -0.833


def sun_elevation_deg(seconds, latitude_deg: float, longitude_deg: float) -> np.ndarray:
    """Elevation of the sun's centre above the horizon at times in seconds since 1970 (UTC); longitude is positive to the east.

    >>> round(float(sun_elevation_deg(1655812800, 48.0, -69.0)), 1)  # 2022-06-21 12:00 UTC, morning on the St. Lawrence
    30.7
    """
    days = np.asarray(seconds, dtype=float) / 86400 + 2440587.5 - 2451545.0  # since 2000-01-01 12:00
    mean_deg = 280.460 + 0.9856474 * days
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(mean_deg + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    tilt = np.radians(23.439 - 4e-7 * days)
    ascension = np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(tilt) * np.sin(longitude))
    sidereal = np.radians(15 * (18.697374558 + 24.06570982441908 * days) + longitude_deg)
    latitude = np.radians(latitude_deg)
    height = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(sidereal - ascension)
    return np.degrees(np.arcsin(np.clip(height, -1, 1)))
