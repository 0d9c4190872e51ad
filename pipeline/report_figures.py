"""Figures of a deployment, from the tables of `pipeline.effort` and `pipeline.presence`. Each draws and returns its figure; axes carry units.

Times are local: those of the table's `start_local`, or of the zone given. What was not listened is grey, never empty or zero.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.effort import dated, duty_cycle, epoch_s, listened_pieces
from pipeline.minutes import covered
from pipeline.plots import COLOURS, STATUS
from pipeline.simulated import plot_truth
from pipeline.sun import SUNSET_DEG, sun_elevation_deg
from spectrogram.plots import TICKS_KHZ, colour_range
from spectrogram.units import density_unit, mark

NOT_LISTENED = "#e3e3e3"
NIGHT = "#1d2b53"
STRIP_BINS = 1000
MOST_ROWS = 250
WIDTH_IN = 10.5


def plot_strip(effort: pd.DataFrame, clock):
    """When was recorded: a strip for each recorder, darker the more of the time; crosses: recordings that failed."""
    table = dated(effort)
    failed = effort[(effort["duration_s"] == 0) & effort["start_utc"].notna()]
    groups = list(table.groupby(["site", "recorder"], sort=True))
    figure, ax = _figure(0.9 + 0.42 * max(len(groups), 1))
    start_s = epoch_s(table["start_utc"])
    first_s, last_s = start_s.min(), (start_s + table["duration_s"].to_numpy()).max()
    period_s = max(duty_cycle(table)["period_s"].fillna(0).max(), 10.0)  # a schedule's pauses are no gaps
    edges_s = np.linspace(first_s, last_s, int(np.clip((last_s - first_s) / period_s, 2, STRIP_BINS)) + 1)
    shares = []
    for _, mine in groups:
        _, begin_s, end_s = listened_pieces(mine)
        shares.append(covered(begin_s, end_s, edges_s) / np.diff(edges_s))
    top = max(share.max() for share in shares) or 1.0
    for k, ((_, recorder), _) in enumerate(groups):
        image = ax.pcolormesh(_dates(edges_s), [k - 0.36, k + 0.36], np.ma.masked_equal(shares[k][None], 0), cmap=_tinted("YlGnBu"), vmin=0, vmax=top, rasterized=True)
        lost = failed[failed["recorder"] == recorder]
        ax.plot(_dates(epoch_s(lost["start_utc"])), np.full(len(lost), k), "x", color=STATUS["failed"], markersize=7, markeredgewidth=2, zorder=3)
    lost_s = epoch_s(failed["start_utc"])
    ax.set(yticks=range(len(groups)), yticklabels=[_place(*key) for key, _ in groups], ylim=(len(groups) - 0.5, -0.5),
           xlim=_dates([min([first_s, *lost_s]) - (last_s - first_s) / 200, max([last_s, *lost_s]) + (last_s - first_s) / 200]))
    ax.tick_params(axis="y", length=0)
    _time_axis(ax, clock)
    bar = figure.colorbar(image, ax=ax, pad=0.01, ticks=[0, top], aspect=8, format=_per_cent)
    bar.set_label("of the time", fontsize=8)
    return figure


def plot_effort_by_day(table: pd.DataFrame, clock):
    """Hours recorded in each day, week or month (rows of `presence` of one label that every recording can show), stacked by site."""
    figure, ax = _figure(2.0)
    bottom = {}
    for colour, (site, mine) in zip(_site_colours(), table.groupby("site", observed=True, sort=True)):
        left, width = _bars(mine)
        base = np.array([bottom.get(x, 0.0) for x in left])
        ax.bar(left, mine["listened_s"] / 3600, width=width, bottom=base, align="edge", color=colour, edgecolor="white", linewidth=0.3 if len(mine) < 200 else 0, label=site)
        bottom.update(zip(left, base + mine["listened_s"] / 3600))
    ax.set(ylabel="hours of sound", xlim=_dates(epoch_s(pd.Series([table["start_utc"].min(), table["end_utc"].max()]))))
    _time_axis(ax, clock)
    if table["site"].nunique() > 1:
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=6, fontsize=8)
    return figure


def plot_diel(hourly: pd.DataFrame, clock, position=None, title: str = ""):
    """Day by local hour, a panel for each label: share of listened minutes with calls; grey: not listened; with a position, night is shaded."""
    labels = list(dict.fromkeys(hourly["label"]))
    first, last = (hourly["start_local"].agg(what).tz_localize(None).normalize() for what in ("min", "max"))
    fold = -(-((last - first).days + 1) // MOST_ROWS)  # days in a row of cells
    days = pd.date_range(first, last, freq=f"{fold}D")
    figure, axes = _figure(float(np.clip(1.5 + 0.16 * len(days), 2.2, 6.5)), 1, max(len(labels), 1), sharey=True)
    shares = [_day_by_hour(hourly[hourly["label"] == label], days, fold) for label in labels]
    top = max(0.02, *(float(np.percentile(share.compressed(), 99.5)) for share in shares if share.count()), 0.02)
    for ax, label, share in zip(axes, labels, shares):
        ax.set_facecolor(NOT_LISTENED)
        image = ax.pcolormesh(np.arange(25), np.arange(len(days) + 1) - 0.5, share, cmap="viridis", vmin=0, vmax=top, rasterized=True, zorder=1)
        if position is not None:
            _shade_night(ax, days, clock, position)
        ax.set(xticks=[0, 6, 12, 18, 24], xlim=(0, 24), ylim=(len(days) - 0.5, -0.5), xlabel="hour (local)")
        ax.set_title(label, loc="left", fontsize=10)
        ticks = np.unique(np.linspace(0, len(days) - 1, min(len(days), 8)).round().astype(int))
        ax.set_yticks(ticks, [f"{days[t]:%d %b %Y}" if i == 0 or days[t].year != days[ticks[i - 1]].year else f"{days[t]:%d %b}" for i, t in enumerate(ticks)])
    if fold > 1:
        axes[0].set_ylabel(f"rows of {fold} days")
    figure.colorbar(image, ax=axes, pad=0.01, aspect=25, extend="max" if top < max(share.max() for share in shares if share.count()) else "neither", format=_per_cent).set_label("minutes with calls", fontsize=9)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _day_by_hour(table: pd.DataFrame, days, fold: int) -> np.ma.MaskedArray:
    """(rows, 24) share of listened minutes with calls; masked where nothing was listened."""
    local = table["start_local"].dt.tz_localize(None)
    row, hour = (local.to_numpy().astype("datetime64[D]") - np.datetime64(days[0], "D")).astype(int) // fold, local.dt.hour.to_numpy()
    called, listened = np.zeros((len(days), 24)), np.zeros((len(days), 24))
    np.add.at(called, (row, hour), table["minutes_with_calls"].to_numpy())
    np.add.at(listened, (row, hour), table["minutes_listened"].to_numpy())
    return np.ma.masked_invalid(np.divide(called, listened, out=np.full(called.shape, np.nan), where=listened > 0))


def _shade_night(ax, days, clock, position) -> None:
    """Draw sunset and sunrise, and darken the night behind the cells: over them it would change their colours."""
    latitude, longitude = position[:2]
    hours = np.arange(0, 24, 0.1) + 0.05
    starts = pd.DatetimeIndex(days).tz_localize(clock, nonexistent="shift_forward", ambiguous=True)
    elevation = sun_elevation_deg(epoch_s(pd.Series(starts))[:, None] + hours * 3600, latitude, longitude)
    rows, elevation = np.concatenate([[-0.5], np.arange(len(days)), [len(days) - 0.5]]), np.vstack([elevation[:1], elevation, elevation[-1:]])
    ax.contourf(hours, rows, elevation, levels=[-90, SUNSET_DEG], colors=[NIGHT], alpha=0.3, zorder=0.5)
    for width, colour in ((2.6, "black"), (1.2, "white")):
        ax.contour(hours, rows, elevation, levels=[SUNSET_DEG], colors=[colour], linewidths=width, linestyles="solid")


def plot_hours(hours: pd.DataFrame, clock, position=None, when=None):
    """The average day (`hour_of_day`): share of listened minutes with calls in each local hour, 95 % intervals; with a position, the night of `when` is shaded."""
    labels, sites = list(dict.fromkeys(hours["label"])), list(dict.fromkeys(hours["site"]))
    figure, axes = _figure(2.3, 1, max(len(labels), 1), sharey=True)
    for ax, label in zip(axes, labels):
        if position is not None and when is not None:
            grid = np.arange(0, 24, 0.05)
            dark = sun_elevation_deg(when.tz_convert(clock).normalize().timestamp() + grid * 3600, *position[:2]) < SUNSET_DEG
            ax.fill_between(grid, 0, 1, where=dark, transform=ax.get_xaxis_transform(), color=NIGHT, alpha=0.12, linewidth=0)
        for colour, site in zip(_site_colours(), sites):
            mine = hours[(hours["label"] == label) & (hours["site"] == site)].set_index("hour").reindex(range(24))
            x = mine.index + 0.5
            ax.fill_between(x, mine["share_low"], mine["share_high"], color=colour, alpha=0.22, linewidth=0, step="mid")
            ax.plot(x, mine["share"], color=colour, linewidth=1.6, marker=".", markersize=4, label=site)
        ax.set(xlim=(0, 24), xticks=[0, 6, 12, 18, 24], xlabel="hour (local)")
        ax.set_title(label, loc="left", fontsize=10)
        ax.yaxis.set_major_formatter(_per_cent)
        ax.grid(alpha=0.3)
    axes[0].set(ylabel="minutes with calls", ylim=(0, max(0.02, min(1.02, 1.02 * float(np.nanmax([0.0, *hours["share_high"]]))))))  # one axis for all panels
    if len(sites) > 1:
        figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper right", ncols=4)
    return figure


def plot_rates(table: pd.DataFrame, clock):
    """Calls per hour of recording over time, a panel for each label and a colour for each site; bars: 95 % intervals; grey: not listened at any site."""
    labels, sites = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["site"]))
    figure, axes = _figure(0.7 + 1.15 * max(len(labels), 1), max(len(labels), 1), 1, sharex=True)
    for ax, label in zip(axes, labels):
        mine = table[table["label"] == label]
        heard = mine.groupby("start_utc", observed=True)["listened_s"].sum()
        ends = mine.groupby("start_utc", observed=True)["end_utc"].first()
        for begin, end in zip(heard.index[heard == 0], ends[heard == 0]):
            ax.axvspan(*_dates([begin.timestamp(), end.timestamp()]), color=NOT_LISTENED, linewidth=0, zorder=0)
        top = 0.0
        for k, site in enumerate(sites):
            one = mine[(mine["site"] == site) & (mine["listened_s"] > 0)]
            left, width = _bars(one)
            colour = COLOURS.get(label, "#888888") if len(sites) == 1 else _site_colours()[k]
            share = width / len(sites)
            ax.bar(left + k * share, one["events_per_hour"], width=share, align="edge", color=colour, edgecolor="#444444", linewidth=0.4 if len(one) < 150 else 0,
                   label=site)
            error = np.abs(np.vstack([one["events_per_hour"] - one["rate_low"], one["rate_high"] - one["events_per_hour"]]))
            some = (one["events"] > 0).to_numpy()
            if len(one) < 150:
                ax.errorbar((left + (k + 0.5) * share)[some], one["events_per_hour"][some], error[:, some], fmt="none", ecolor="#333333", elinewidth=0.8)
            top = max(top, one["events_per_hour"].max() if len(one) else 0)
        ax.set_ylim(0, 1.6 * top if top > 0 else 1.0)  # intervals of thin data would flatten all bars
        ax.set_ylabel("per hour", fontsize=8)
        ax.text(0.006, 0.93, label, transform=ax.transAxes, va="top", fontsize=10, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5})
    if len(sites) > 1:
        axes[0].legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=6)
    axes[-1].set_xlim(*_dates(epoch_s(pd.Series([table["start_utc"].min(), table["end_utc"].max()]))))
    _time_axis(axes[-1], clock)
    return figure


def plot_long_term(term, clock, title: str = ""):
    """Long-term spectral average of a `pipeline.long_term.LongTerm`, and beside it p05, p50 and p95 of the spectral density."""
    import matplotlib.pyplot as plt

    figure, (ax, side) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.2), layout="constrained", width_ratios=[4.6, 1], sharey=True)
    low, high = colour_range(term.level_db)
    x = _dates(term.edges_s) if term.dated else term.edges_s / 60
    image = ax.pcolormesh(x, term.borders_hz / 1e3, np.ma.masked_invalid(term.level_db.T), cmap="magma", vmin=low, vmax=high, rasterized=True)
    ax.set_facecolor(NOT_LISTENED)
    ax.set(yscale="log", ylim=term.borders_hz[[0, -1]] / 1e3, ylabel="frequency (kHz)")
    ax.set_yticks([t for t in TICKS_KHZ["log"] if f"{t:g}".strip("0.")[0] == "1" and ax.get_ylim()[0] <= t <= ax.get_ylim()[1]])
    ax.yaxis.set_major_formatter(lambda khz, _: f"{khz:g}")
    ax.minorticks_off()
    if term.dated:
        _time_axis(ax, clock)
    else:
        ax.set_xlabel("minutes of sound, one recording after another")
    figure.colorbar(image, ax=ax, pad=0.01, extend="both").set_label(density_unit(term.calibrated), fontsize=8)
    p05, p50, p95 = term.percentile_db
    centres_khz = term.centres_hz / 1e3
    side.fill_betweenx(centres_khz, p05, p95, color="#31688e", alpha=0.25, linewidth=0, label="p05 to p95")
    side.plot(p50, centres_khz, color="#31688e", label="p50")
    side.set_xlabel(density_unit(term.calibrated), fontsize=8)
    mark(ax, term.calibrated)
    side.grid(alpha=0.3)
    side.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    ax.set_title(title, loc="left", fontsize=10)
    return figure


def plot_found(events: pd.DataFrame, truth: pd.DataFrame, labels, name: str, end_s: float):
    """A simulated recording's calls and the events found in it, see `pipeline.simulated.plot_truth`."""
    figure, ax = _figure(0.9 + 0.5 * len(labels))
    mine = (table[table["recording"] == name] for table in (events, truth))
    plot_truth(*mine, labels, 0.0, end_s, ax)
    ax.set_title(f"{name}: simulated calls (upper bars) and events (lower bars)", loc="left", fontsize=10, pad=24)
    return figure


def _figure(height_in: float, rows: int = 1, columns: int = 1, **shared):
    """A figure of the report's width, with one ax or a flat array of them."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_IN, height_in), layout="constrained", squeeze=False, **shared)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes.flat[0] if rows == columns == 1 and not shared else axes.ravel()


def _site_colours() -> list[str]:
    return ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000"]  # Okabe-Ito


def _per_cent(share: float, _=None) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _tinted(name: str):
    """A colour map without its palest quarter, so that little still shows on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[name](np.linspace(0.25, 1, 192)))


def _place(site: str, recorder: str) -> str:
    return recorder if site == recorder else f"{site} · {recorder}"


def _dates(seconds) -> np.ndarray:
    """Seconds since 1970 -> matplotlib's days."""
    return np.asarray(seconds, dtype=float) / 86400


def _bars(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Left edges and widths, in matplotlib's days."""
    left = _dates(epoch_s(table["start_utc"]))
    return left, _dates(epoch_s(table["end_utc"])) - left


def _time_axis(ax, clock) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=9, tz=clock)
    ax.xaxis_date(tz=clock)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=clock))
    ax.set_xlabel(f"time ({clock})")
