"""The paper estimate: what limits an archive, from figures of a bench; and a season without sound, joined as a real one."""
import json

import pandas as pd
import pytest

from bench import season
from bench.estimate import DISK, estimate, figures_of, hours, whole

FIGURES = {"sound_per_core": 200.0, "asking_s": 0.03, "joining_s": 0.006}


def test_hours_by_hand():
    parts = hours(3600 * 384_000 * 1000, 10, 200e6, FIGURES)  # a thousand hours, 6000 recordings of 10 minutes
    assert parts == pytest.approx({"computing": 0.5, "reading": 1.92, "giving out": 0.05, "joining": 0.01})
    assert whole(parts) == (pytest.approx(1.93), "reading")


@pytest.mark.parametrize("cores, disk, change, limit", [(1, 200e6, {}, "computing"), (1000, 1e12, {}, "giving out"), (1000, 1e12, {"asking_s": 1e-4}, "joining"), (64, 1e6, {}, "reading")])
def test_the_slowest_sets_the_pace(cores, disk, change, limit):
    parts = hours(1e13, cores, disk, FIGURES | change)
    assert whole(parts)[1] == limit and whole(parts)[0] >= max(parts.values())


def test_it_is_made_of_the_bench_s_own_figures():
    two = {"sound_s": 4800.0, "seconds": [12.0], "asking_s": 0.03, "joining_s": 0.006}
    assert figures_of({"archive": {"1": {}, "2": two}}) == FIGURES
    title, header, *rows = estimate({"archive": {"2": two}})
    assert "200 x real time each, 77 MB/s" in title and "30 ms to give out, 6.0 ms to join" in title and len(rows) == 4
    assert rows[0].split() == ["10", "TB", "7,234", "h", "36", "2", "18.1", "h", "13.9", "h", "0.4", "h", "0.1", "h", "18", "h", "computing"]
    assert rows[1].endswith(DISK[0]) and header.split()[-1] == "by"


@pytest.mark.parametrize("parts", [6, 4])
def test_a_season_without_sound_is_joined_from_its_parts_or_written_whole(parts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(season, "SECTIONS", ("headline", "recorders"))
    season.measure(tmp_path, 6, parts)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["what"] for row in told] == ["joining", "reading for the report", "headline", "recorders"] and told[0]["parts"] == parts and told[-1]["peak_mb"] > 0
    sizes = {name: len(pd.read_parquet(tmp_path / f"{name}.parquet")) for name in ("effort", "events", "windows", "levels")}
    assert sizes == {"effort": 6, "events": 12, "windows": 30, "levels": 30}
    if parts < 6:
        whole, joined = (pd.read_parquet(x / "events.parquet") for x in (tmp_path, tmp_path / "joined"))
        pd.testing.assert_frame_equal(whole.head(2 * parts), joined)
