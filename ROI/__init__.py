"""Regions of interest: boxes in time and frequency that stand out of a slowly changing background.

    from ROI import RoiDetector, detect_regions, explain
"""

from ROI.band import RoiBand
from ROI.detector import RoiDetector, detect_regions, explain

__all__ = ["RoiBand", "RoiDetector", "detect_regions", "explain"]
