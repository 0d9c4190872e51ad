"""Simulated hydrophone deployments of beluga whales, with exact truth.

Everything here is SIMULATED: parameters are from the literature where a paper is named, assumed where it says so. Levels are in µPa; see
`deployment.py` for the files, `scene.py` for one recording in memory.
"""

from .deployment import demo_deployment, simulate_deployment
from .scene import Scene, Settings, simulate_recording
from .sites import SITES, Site

__all__ = ["SITES", "Scene", "Settings", "Site", "demo_deployment", "simulate_deployment", "simulate_recording"]
