"""Look through a recording by hand: sliders in a live notebook, one still picture where nobody can move them (papermill, a page of HTML)."""
from __future__ import annotations

import os

from spectrogram.plots import colour_range, plot_spectrogram


def live() -> bool:
    """True in a notebook that a Jupyter server has opened for a reader; papermill and scripts have no such session."""
    return "JPY_SESSION_NAME" in os.environ


def explore(recording, start_s: float = 0.0, duration_s: float = 10.0, generator=None, interactive: bool | None = None, ax=None):
    """Show a passage of a recording, with sliders for the passage, the colour range and the kind of bands.

    Parameters
    ----------
    recording : spectrogram.recording.Recording
    generator : SpectrogramGenerator; the shared one if none is given.
    interactive : sliders or a still picture; by default sliders where `live()`.

    Returns
    -------
    The widget (already shown), or the `ax` of the still picture.
    """
    if generator is None:
        from spectrogram import SPECT_GENERATOR

        generator = SPECT_GENERATOR
    passage = generator.spectrogram(recording, start_s, start_s + duration_s)
    if not (live() if interactive is None else interactive):
        return plot_spectrogram(passage, ax=ax)

    import ipywidgets as widgets
    import matplotlib.pyplot as plt
    from IPython.display import display

    low, high = colour_range(passage.picture_db)
    look = {"continuous_update": False, "layout": widgets.Layout(width="90%")}
    last_s = max(recording.duration_s - 1.0, 0.1)

    def draw(start_s, duration_s, colours_db, kind):
        passage = generator.spectrogram(recording, start_s, start_s + duration_s)
        plot_spectrogram(passage, kind=kind, vmin=colours_db[0], vmax=colours_db[1])
        plt.show()

    widget = widgets.interactive(
        draw,
        start_s=widgets.FloatSlider(min(start_s, last_s), min=0.0, max=last_s, step=0.5, description="start (s)", **look),
        duration_s=widgets.FloatSlider(min(duration_s, 60.0), min=0.5, max=60.0, step=0.5, description="length (s)", **look),
        colours_db=widgets.FloatRangeSlider(value=(low, high), min=low - 40, max=high + 40, step=1.0, description="colours (dB)", **look),
        kind=widgets.ToggleButtons(options=["picture", "bins"], description="bands"),
    )
    display(widget)
    return widget
