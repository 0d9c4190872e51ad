"""The four sites, as data: Rivière-du-Loup, Cacouna, Baie Sainte-Marguerite and Kamouraska in the St. Lawrence Estuary and the Saguenay.

Depths, temperatures, salinities, traffic, ranges and sea states are assumed from the character of each place (RDL: ferry harbour; CAC:
commercial port; BSM: deep, sheltered bay in the Saguenay fjord with whale-watching boats; KAM: wide tidal flats, little traffic). The call mix
follows, roughly, the numbers of labelled clips per site in the data set of bobduru/beluga-call-pipeline, with trains of clicks, which fill
many clips each, counted at about a third. Sensitivities: Ocean Instruments' certificates as given there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ambient import Weather
from .propagation import Water

# serial -> end-to-end sensitivity, dB (negative): a sample of full scale 1.0 is 10^(-S/20) µPa
SENSITIVITY_DB = {
    "201359382": -172.7, "6272": -176.2, "5675": -176.5, "6872": -177.6,
    "7805": -175.6, "6871": -176.3, "8295": -165.1, "5725": -175.7,
}  # fmt: skip


@dataclass(frozen=True)
class WeatherHabits:
    """How far the weather of a site spreads; `colour_db`: see `ambient.spectral_colour_db`, chosen so that percentiles of spectra are those of recorded noise below 24 kHz (`preprocessing.noise_spectra`)."""

    wind_sigma: float = 0.5
    most_wind: float = 16.0
    rain_factor: float = 1.0
    rain_sigma: float = 0.9
    floor_sigma: float = 1.2
    traffic: float = 0.5
    colour_db: tuple[float, ...] = ()


WEATHER = {1: WeatherHabits(), 2: WeatherHabits(0.8, 22.0, 2.0, 1.3, 4.0, 1.2, (2.5, 6.0, -3.0))}  # by the simulator's version


@dataclass(frozen=True)
class Site:
    """One place: water, recorders, weather, traffic and animals."""

    name: str
    place: str
    serials: tuple[str, ...]
    depth_m: float
    temperature_c: float
    salinity_psu: float
    wind_m_per_s: float  # median
    rain_share: float  # share of recordings with rain
    traffic: float  # distant shipping, 0 light to 2 heavy
    boats_per_hour: float
    boat_mix: dict[str, float]
    calls_per_min: float
    call_mix: dict[str, float]
    range_m: float  # median range of animals
    diphonic_share: float  # share of pulsed calls that come with a whistle by the same animal

    def water(self, rng: np.random.Generator) -> Water:
        return Water(
            temperature_c=float(np.clip(self.temperature_c + rng.normal(0, 2), -1, 16)),
            salinity_psu=float(np.clip(self.salinity_psu + rng.normal(0, 1.5), 5, 34)),
            depth_m=self.depth_m * float(rng.uniform(0.85, 1.3)),
            wave_height_m=float(rng.uniform(0.02, 0.3)),
        )

    def weather(
        self, rng: np.random.Generator, wind_m_per_s: float | None, rain: bool | None, self_noise_db: float | None, version: int = 1
    ) -> Weather:
        habits = WEATHER[version]
        wind = float(np.clip(self.wind_m_per_s * np.exp(rng.normal(0, habits.wind_sigma)), 0.3, habits.most_wind)) if wind_m_per_s is None else wind_m_per_s
        shower = rng.uniform() < self.rain_share * habits.rain_factor if rain is None else rain
        amount = float(np.exp(rng.normal(np.log(2.5), habits.rain_sigma)))
        floor = float(rng.normal(36, habits.floor_sigma)) if self_noise_db is None else self_noise_db
        return Weather(wind, amount if shower else 0.0, self.traffic + float(rng.uniform(-habits.traffic, habits.traffic)), floor)


SITES = {
    "RDL": Site(
        "RDL", "Rivière-du-Loup", ("6871", "5675"), 16, 8, 25, 5.5, 0.06, 1.5, 4,
        {"outboard": 0.4, "launch": 0.2, "ferry": 0.25, "ship": 0.15}, 5,
        {"ECHO": 0.10, "HFPC": 0.20, "BBPC": 0.28, "Whistle": 0.42}, 420, 0.12,
    ),
    "CAC": Site(
        "CAC", "Cacouna", ("7805", "6272"), 22, 6, 27, 5.0, 0.06, 1.3, 2.5,
        {"outboard": 0.3, "launch": 0.25, "ferry": 0.1, "ship": 0.35}, 10,
        {"ECHO": 0.20, "HFPC": 0.08, "BBPC": 0.12, "Whistle": 0.60}, 350, 0.10,
    ),
    "BSM": Site(
        "BSM", "Baie Sainte-Marguerite", ("6872", "8295"), 45, 4, 28, 3.0, 0.07, 0.6, 4,
        {"outboard": 0.55, "launch": 0.35, "ferry": 0.05, "ship": 0.05}, 8,
        {"ECHO": 0.30, "HFPC": 0.25, "BBPC": 0.17, "Whistle": 0.28}, 260, 0.18,
    ),
    "KAM": Site(
        "KAM", "Kamouraska", ("5725", "201359382"), 9, 10, 22, 4.5, 0.06, 0.9, 1.0,
        {"outboard": 0.6, "launch": 0.3, "ferry": 0.0, "ship": 0.1}, 12,
        {"ECHO": 0.45, "HFPC": 0.10, "BBPC": 0.15, "Whistle": 0.30}, 220, 0.10,
    ),
}  # fmt: skip


def get_site(site: str | Site) -> Site:
    """A Site by its name; raises ValueError with the known names."""
    if isinstance(site, Site):
        return site
    try:
        return SITES[site]
    except KeyError:
        raise ValueError(f"unknown site {site!r}; one of {', '.join(SITES)}") from None
