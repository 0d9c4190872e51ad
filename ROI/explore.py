"""Turn the region detector's knobs by hand: sliders in a live notebook, one still picture where nobody can move them."""

import dataclasses

from ROI.detector import explain
from ROI.plots import plot_steps
from spectrogram.explore import live
from spectrogram.units import DENSITY

SLIDERS = {  # knob: lowest, highest, step
    "seed_db": (2.0, 20.0, 0.5), "grow_db": (1.0, 12.0, 0.5), "max_gap_s": (0.0, 1.0, 0.02),
    "min_duration_s": (0.0, 0.5, 0.01), "min_seed_cells": (1, 30, 1), "background_quantile": (0.1, 0.9, 0.05), "background_span_s": (4.0, 80.0, 4.0),
}  # fmt: skip
SHOWN = ("picture", "excess", "mask", "boxes")


def with_knobs(profile, band, **changes):
    """The profile with some knobs of one ROI band changed; KeyError if it has no such band."""
    if band not in {knobs["name"] for knobs in profile.roi_bands}:
        raise KeyError(f"profile {profile.name} has no ROI band {band!r}")
    return dataclasses.replace(profile, roi_bands=tuple(knobs | changes if knobs["name"] == band else knobs for knobs in profile.roi_bands))


def turn_knobs(picture_db, profile, band, start_s=0.0, end_s=None, interactive=None, unit=DENSITY):
    """Show the detector's steps for some seconds of a picture, with a slider for each knob of one ROI band.

    Parameters
    ----------
    picture_db : (frames, bands), the whole recording or as much of it as the background needs
    band : name of the ROI band whose knobs move
    start_s, end_s : what is shown
    interactive : sliders or a still picture; None: sliders in JupyterLab
    unit : of the picture's levels (`spectrogram.units.unit_of`)

    Returns
    -------
    The widget (already shown), or the axes of the still picture.
    """
    import matplotlib.pyplot as plt

    if not (live() if interactive is None else interactive):
        return plot_steps(_axes(plt), explain(picture_db, profile), start_s, end_s, SHOWN, unit)

    import ipywidgets as widgets
    from IPython.display import display

    def draw(**knobs):
        knobs["grow_db"] = min(knobs["grow_db"], knobs["seed_db"])
        steps = explain(picture_db, with_knobs(profile, band, **knobs))
        plot_steps(_axes(plt), steps, start_s, end_s, SHOWN, unit)
        print(f"{(steps.boxes.band == band).sum()} boxes in {len(picture_db) / profile.frame_rate_hz:.0f} s")
        plt.show()

    now = next(knobs for knobs in profile.roi_bands if knobs["name"] == band)
    look = {"continuous_update": False, "style": {"description_width": "11em"}, "layout": widgets.Layout(width="60%")}
    sliders = {
        name: (widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider)(now[name], min=low, max=high, step=step, description=name, **look)
        for name, (low, high, step) in SLIDERS.items()
    }
    widget = widgets.interactive(draw, **sliders)
    display(widget)
    return widget


def _axes(plt):
    return plt.subplots(len(SHOWN), 1, figsize=(11, 2.6 * len(SHOWN)), sharex=True, layout="constrained")[1]
