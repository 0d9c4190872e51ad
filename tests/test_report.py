"""The report: one page that needs nothing else, whatever is in the tables; the events it shows; sound that can be heard; the archive's notebook."""
import base64
import json
import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline import report_page
from pipeline.long_term import long_term
from pipeline.report import Report, main, make_report
from pipeline.report_events import clearest, margins, most_doubtful
from pipeline.report_page import as_page, span
from pipeline.snippets import listen_to, slower, sound_uri
from pipeline.tables import EFFORT_TYPES, event_types, typed, window_types, write_parquet
from spectrogram.recording import Recording
from tests.conftest import ROOT
from tests.test_effort import START, effort_of, soundtrap
from tests.test_presence import PROFILE, TORONTO, events_of
from tests.toy_model import save_random_model
from tests.toy_sound import band_burst, noise, put, scene, sweep, write

NOTEBOOK = ROOT / "pipeline" / "report.ipynb"
MADE = {"model_id": "toy", "profile": "beluga", "code_version": "0.1.0", "thresholds": {x: {"window": 0.5, "on": 0.6, "off": 0.3} for x in PROFILE.labels}}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@pytest.fixture(autouse=True)
def no_screen():
    matplotlib.use("Agg")


def write_run(folder, effort: pd.DataFrame, events: pd.DataFrame | None = None, level_row_s: float = 60.0):
    """An output folder with levels and windows that go with the effort."""
    rng = np.random.default_rng(0)
    levels, windows = [], []
    for r in effort.itertuples():
        at = np.arange(0, r.duration_s, level_row_s)
        start = pd.to_datetime(pd.Series([r.start_utc] * len(at)), utc=True)
        psd = {f"PSD_{f}": 60 + rng.normal(0, 3, len(at)) for f in ("31.6", "100", "1000", "10000", "31623") if float(f) < r.sample_rate_hz / 2}
        levels.append(pd.DataFrame({"UTC": start + pd.to_timedelta(at, unit="s"), "recording": r.recording, "start_s": at, "duration_s": np.minimum(level_row_s, r.duration_s - at)} | psd))
        windows.append(pd.DataFrame({"recording": r.recording, "start_s": at, "start_utc": start + pd.to_timedelta(at, unit="s"), "p_Boat": rng.random(len(at)), "p_ECHO": 0.1}))
    empty = pd.DataFrame({"UTC": pd.to_datetime([], utc=True), "recording": pd.Series(dtype="str"), "start_s": [], "duration_s": []})
    levels = pd.concat([x for x in levels if len(x)] or [empty], ignore_index=True)
    frames = {"effort": typed(effort, EFFORT_TYPES), "events": typed(pd.DataFrame() if events is None else events, event_types(PROFILE)),
              "levels": levels.assign(UTC=pd.to_datetime(levels["UTC"], utc=True)), "windows": typed(pd.concat(windows or [pd.DataFrame()], ignore_index=True), window_types(PROFILE))}
    for table, frame in frames.items():
        write_parquet(frame, folder / f"{table}.parquet", MADE)
    return folder


def page_of(monkeypatch, output, **parameters) -> str:
    """The page of report.ipynb, its cells executed in this process, without a kernel."""
    notebook, shown, names = nbformat.read(NOTEBOOK, 4), [], {}
    monkeypatch.setattr(report_page, "show", lambda *things: shown.extend(p for t in things for p in (t if isinstance(t, list) else [t]) if p is not None))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, str(NOTEBOOK), "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                assert set(parameters) | {"output"} <= set(names)
                names.update(parameters, output=str(output))
            cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": p._repr_html_()}) for p in shown]
            shown.clear()
    page = as_page(notebook)
    check_alone(page)
    return page


def check_alone(page: str) -> None:
    """Nothing is fetched from elsewhere, no code is shown, every picture says what it is."""
    assert page.startswith("<!DOCTYPE html>") and page.count("<h1") == 1 and "report = Report(" not in page and "notebook-only" not in page and "Traceback" not in page
    for address in re.findall(r"""(?:src|href|action|data)\s*=\s*["']([^"']*)""", page):
        assert address.startswith(("data:", "#")), address[:80]
    assert "<script" not in page and "@import" not in page and "url(" not in page and "<link" not in page
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", page.replace("\n", " ")))


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r'src="data:[^"]*"|<style>.*?</style>', "", page, flags=re.DOTALL)))


def deployment() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two recorders on a duty cycle over five days, one at 48 kHz; a failure, a clipped recording, a lost day."""
    one = soundtrap(np.arange(0, 5 * 86400, 3600), 300, folder="BSM/")
    one = one[(one.index < 60) | (one.index > 83)]
    two = soundtrap(np.arange(86400, 4 * 86400, 7200), 600, "5725", "KAM/").assign(sample_rate_hz=48000, missing_labels="ECHO+HFPC")
    failed = effort_of(("BSM/6872.220720010000.wav", 5 * 86400 - 3600, 0.0)).assign(reason="/data/BSM/6872.220720010000.wav: zero bytes; copy it again <b>")
    effort = pd.concat([one, two, failed], ignore_index=True)
    effort.loc[3, "reason"] = "clipping: 12 samples (0.00%) at full scale; levels there are too low"
    rng = np.random.default_rng(2)
    calls = [(int(r), float(rng.uniform(0, 290)), 0.5, str(rng.choice(["Whistle", "BBPC"] + ["ECHO", "HFPC+Whistle"] * int(r < len(one))))) for r in rng.integers(0, len(effort) - 1, 300)]
    return effort, events_of(effort, *calls)


def test_a_deployment_s_page(tmp_path, monkeypatch):
    effort, events = deployment()
    page = page_of(monkeypatch, write_run(tmp_path, effort, events), sites={"BSM": "Baie", "KAM": "Kamouraska"}, time_zone=TORONTO, position=[48.25, -69.95])
    text = text_of(page)
    assert "Baie and Kamouraska" in text and "of sound in 133 recordings of 2 recorders between 15 July 2022 and 20 July 2022; 1 could not be read" in text
    assert "300 events" in text and "5 min every 1 h (100 % of the sound)" in text and "10 min every 2 h" in text and "ECHO, HFPC" in text
    assert "zero bytes; copy it again &lt;b&gt;" in page and "/data/BSM" not in text and "clipping in 1" in text
    assert page.count('class="figure"') == 8  # strip, hours by day, diel of two sites, average day, call types, long-term average of two sites
    assert "The recordings were not given (audio): no pictures, no sound." in text and "model toy ." in text and "unverified until somebody has listened" in text
    assert re.search(r"Kamouraska ECHO echolocation 0\.0 min not listened ", text)  # a recorder at 48 kHz has listened to no clicks
    assert "threshold of Whistle" in text and "Effort Presence Call types over time How loud" in text


@pytest.mark.parametrize("case", ["nothing at all", "one recording, no events, no levels", "no times", "all failed"])
def test_pages_of_runs_that_lack_something(tmp_path, monkeypatch, case):
    effort, events = deployment()
    if case == "nothing at all":
        effort, events = effort.iloc[:0], events.iloc[:0]
    elif case == "no times":
        effort, events = effort.head(9).assign(start_utc=pd.NaT, end_utc=pd.NaT), events[events["recording"].isin(effort["recording"].head(9))].assign(start_utc=pd.NaT, end_utc=pd.NaT)
    elif case == "one recording, no events, no levels":
        effort, events = effort.head(1), events.iloc[:0]
    elif case == "all failed":
        effort, events = effort.tail(1).assign(start_utc=pd.NaT, end_utc=pd.NaT), events.iloc[:0]
    folder = write_run(tmp_path, effort, events)
    if "no levels" in case:
        write_parquet(pd.read_parquet(folder / "levels.parquet").iloc[:0][["UTC", "recording"]], folder / "levels.parquet", MADE)
    text = text_of(page_of(monkeypatch, folder, position=[48.25, -69.95]))
    expected = {"nothing at all": ("An empty deployment", "Nothing could be read.", "There are no levels", "No events."),
                "no times": ("9 recordings (45.0 min) without a start time", "Without start times there is no presence by day and hour", "no start times", "counted in totals"),
                "one recording, no events, no levels": ("Recorder 6872", "5.0 min of sound in 1 recording of 1 recorder on 16 July 2022", "continuous", "0 events", "No events.", "There are no levels."), "all failed": ("1 could not be read", "zero bytes", "Nothing was recorded.")}
    assert all(words in text for words in expected[case]), text[:3000]


def scene_run(tmp_path):
    """Sound with four calls of known place, and the tables that say so; a second recording is gone, a third is at 8 kHz."""
    x = noise(6, 192000)
    put(x, 192000, 1.0, sweep(0.6, 192000, 6000, 9000, 110))
    put(x, 192000, 3.0, band_burst(0.3, 192000, 30000, 80000, 118))
    write(tmp_path / "in" / "BSM" / "6872.220716020000.wav", x, 192000)
    write(tmp_path / "in" / "6872.220716030000.wav", scene(6, 8000), 8000)
    effort = effort_of(("BSM/6872.220716020000.wav", 0, 6.0), ("BSM/6872.220716021000.wav", 600, 6.0), ("6872.220716030000.wav", 3600, 6.0))
    effort.loc[2, "sample_rate_hz"] = 8000
    events = events_of(effort, (0, 1.0, 0.6, "Whistle"), (0, 3.0, 0.3, "HFPC"), (1, 2.0, 0.5, "Whistle"), (2, 1.0, 0.6, "Whistle"))
    return write_run(tmp_path / "out", effort, events.assign(low_hz=[6000.0, 30000, 6000, 1200], high_hz=[9000.0, 80000, 9000, 2800]), 2.0), tmp_path / "in"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page of that run, made as a user makes it."""
    output, audio = scene_run(tmp_path_factory.mktemp("report"))
    (output / "report.html").write_text("an older one")
    return make_report(output, audio, site="Baie <test>", time_zone=TORONTO, position=(48.25, -69.95), n_events=4)


def test_make_report_writes_one_page_with_pictures_and_sound(made):
    assert made.name == "report.html" and made.stat().st_size < 6e6
    assert sorted(p.name for p in made.parent.iterdir()) == ["effort.parquet", "events.parquet", "levels.parquet", "report.html", "windows.parquet"]
    html = made.read_text(encoding="utf-8")
    check_alone(html)
    text = text_of(html)
    assert "Baie &lt;test&gt;" in html and "8 times slower and lower" in text and "as it was" in text and "No picture, no sound:" in text and "6872.220716021000.wav: cannot be read" in text
    sounds = re.findall(r'<audio[^>]*src="data:audio/(\w+);base64,([^"]+)"', html)
    assert len(sounds) == 6  # three of four events can be heard, among the best and among the most doubtful
    for _, data in sounds:
        x, rate = soundfile.read(BytesIO(base64.b64decode(data)))
        assert rate <= 48000 and 0.3 < np.abs(x).max() <= 1


BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.mark.skipif(BROWSER is None, reason=f"no browser to look at the page with: looked for {', '.join(BROWSERS)}")
def test_a_browser_shows_all_pictures_and_decodes_all_sounds_without_a_network(made, tmp_path):
    probe = """<script>addEventListener("load", async () => {
      const sounds = [...document.querySelectorAll("audio")];
      await Promise.all(sounds.map(a => a.readyState > 0 || new Promise(done => { a.onloadedmetadata = a.onerror = done; a.load(); })));
      const images = [...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().width]);
      document.body.innerHTML = "<pre id=probe>" + JSON.stringify({images, sounds: sounds.map(a => a.duration), wide: document.documentElement.scrollWidth,
        fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"))}) + "</pre>"; });</script>"""
    (tmp_path / "probe.html").write_text(made.read_text(encoding="utf-8").replace("</body>", probe + "</body>"), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
               f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1280,2000", "--timeout=20000", "--dump-dom"]
    shown = subprocess.run([BROWSER, *options, (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=120).stdout
    found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', shown, re.DOTALL)[1])
    assert found["fetched"] == [] and found["wide"] <= 1280
    assert len(found["images"]) >= 10 and all(natural > 100 and width > 100 for natural, width in found["images"])
    assert len(found["sounds"]) == 6 and all(d is not None and d > 0.3 for d in found["sounds"])


def test_what_a_report_cannot_do_is_told_in_one_line(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no events.parquet, windows.parquet, levels.parquet, effort.parquet; run python -m pipeline INPUT"):
        make_report(tmp_path)
    output = write_run(tmp_path / "out", soundtrap([0], 60))
    for arguments, fault in ((["--time-zone", "Mars/Olympus"], "unknown time zone 'Mars/Olympus'"), (["--sites", "BSM=Baie"], "sites: 1 recordings have no site"),
                             (["--position", "148", "-69"], "give latitude")):
        assert main([str(output), *arguments]) == 2 and fault in capsys.readouterr().err and not (output / "report.html").exists()


def test_the_best_and_the_most_doubtful():
    effort = soundtrap([0, 900, 1800], 300)
    events = events_of(effort, *((i % 3, 10.0 * i, 1.0, label) for i, label in enumerate(["Whistle"] * 6 + ["ECHO"] * 2)))
    events["score_Whistle"], events["score_ECHO"] = [0.61, 0.99, 0.95, 0.97, 0.9, 0.7, 0.1, 0.1], [0.2] * 6 + [0.99, 0.95]
    events["snr_db"] = [30.0, 10, 25, 5, 8, 3, 20, 2]
    thresholds = {"Whistle": {"on": 0.6}, "ECHO": {"on": 0.9}}
    np.testing.assert_allclose(margins(events, ["Whistle", "ECHO"], thresholds)[[0, 1, 6]], [0.025, 0.975, 0.9], atol=1e-6)
    best = clearest(events, ["Whistle", "ECHO"], thresholds, 3)
    assert best["labels"].tolist() == ["Whistle", "ECHO", "Whistle"] and best.index.tolist() == [2, 6, 1]  # not 0: loud, but just above its threshold
    doubtful = most_doubtful(events, ["Whistle", "ECHO"], thresholds, 3)
    assert doubtful.index.tolist() == [0, 7, 5] and "rank" not in doubtful
    assert len(most_doubtful(events, ["Whistle", "ECHO"], thresholds, 50)) == len(events) and len(clearest(events, ["Whistle", "ECHO"], thresholds, 50)) == 4 and clearest(events.iloc[:0], ["Whistle"], {}, 3).empty


@pytest.mark.parametrize("low_hz, high_hz, rate, factor", [(6000, 9000, 192000, 1), (30000, 80000, 192000, 8), (15000, 20000, 96000, 2), (1000, 3000, 8000, 1), (30000, 90000, 384000, 8)])
def test_sound_is_brought_into_hearing(tmp_path, low_hz, high_hz, rate, factor):
    x = noise(2, rate)
    put(x, rate, 0.8, sweep(0.4, rate, low_hz, min(high_hz, 0.48 * rate), 130))
    put(x, rate, 0.0, sweep(2, rate, 60, 90, 150))  # a boat, far louder
    recording = Recording(write(tmp_path / "6872.220716020000.wav", x * 0.01, rate))
    y, rate_hz, slow = listen_to(recording, 0.8, 1.2, low_hz, high_hz)
    assert slow == factor == slower(high_hz, rate) and rate_hz <= 48000 and len(y) / rate_hz == pytest.approx(0.9 * factor, abs=0.02) and np.abs(y).max() == pytest.approx(0.7, abs=0.01)
    power = np.abs(np.fft.rfft(y)) ** 2
    freqs = np.fft.rfftfreq(len(y), 1 / rate_hz)
    call = (freqs > 0.8 * low_hz / factor) & (freqs < 1.2 * high_hz / factor)
    assert power[call].sum() > 0.8 * power.sum() and freqs[call].max() < 16000  # what is heard is the call
    heard, heard_rate = soundfile.read(BytesIO(base64.b64decode(sound_uri(y, rate_hz).split(",")[1])))
    assert heard_rate == rate_hz and len(heard) >= len(y)


def test_digital_silence_and_a_call_at_the_edge_make_no_noise(tmp_path):
    recording = Recording(write(tmp_path / "6872.220716020000.wav", np.zeros(4800, np.float32), 48000))
    y, _, _ = listen_to(recording, 0.0, 0.1, 1000, 5000)
    assert len(y) and not y.any() and len(sound_uri(y, 48000)) > 100
    assert len(listen_to(recording, 5.0, 5.1, 1000, 5000)[0]) == 0


def test_the_long_term_average_is_the_mean_in_power_wherever_the_table_is(tmp_path):
    effort = soundtrap([0, 60, 7200], 60)
    levels = pd.DataFrame({"UTC": pd.NaT, "recording": np.repeat(effort["recording"].to_numpy(), 2), "start_s": [0.0, 30, 0, 30, 0, 30], "duration_s": [30.0] * 5 + [10.0],
                           "PSD_100": [60.0, 60, 70, 80, np.nan, np.nan], "PSD_1000": [50.0] * 4 + [90.0, 60.0], "TOL_100": 1.0, "PSD_100_p05": 0.0})
    term = long_term(levels, effort, max_bins=4)
    assert term.dated and term.recordings == 3 and term.row_s == 30 and len(term.level_db) == 4 and term.edges_s[0] == START.timestamp()
    first = 10 * np.log10((2 * 1e6 + 1e7 + 1e8) / 4)
    np.testing.assert_allclose(term.level_db[0], [first, 50.0], atol=1e-6)
    assert np.isnan(term.level_db[1:3]).all() and np.isnan(term.level_db[3, 0])
    assert term.level_db[3, 1] == pytest.approx(10 * np.log10((30 * 1e9 + 10 * 1e6) / 40))
    np.testing.assert_allclose(term.centres_hz, [100, 1000], rtol=1e-6)
    np.testing.assert_allclose(term.percentile_db[:, 1], [50, 50, 90], atol=0.25)
    levels.to_parquet(tmp_path / "levels.parquet")
    for name in ("level_db", "percentile_db", "edges_s"):
        np.testing.assert_array_equal(getattr(long_term(tmp_path / "levels.parquet", effort, max_bins=4), name), getattr(term, name))
    undated = long_term(levels, effort.assign(start_utc=pd.NaT), max_bins=3)
    assert not undated.dated and undated.edges_s.tolist() == [0, 60, 120, 180] and undated.level_db[1, 0] == pytest.approx(10 * np.log10((1e7 + 1e8) / 2))
    assert long_term(levels, effort.iloc[:0]) is None and long_term(levels[["recording"]], effort) is None


def test_the_page_s_words_for_time():
    assert [span(s) for s in (59, 60, 3600 * 30, 86400 * 2, -90, np.nan)] == ["59 s", "1 min", "30 h", "2 days", "-1.5 min", ""]


def test_site_and_time_zone_come_from_the_environment_or_the_arguments(tmp_path, monkeypatch):
    output = write_run(tmp_path, soundtrap([0], 60))
    monkeypatch.setenv("TIMEZONE", TORONTO)
    report = Report(output)
    assert report.zone_name == TORONTO and report.local(START) == "2022-07-15 22:00:00" and report.title == "Recorder 6872"
    assert Report(output, site="bay", time_zone="UTC").title == "bay" and report.unit == "hour" and Report(output, time_zone="UTC").local(pd.NaT) == "unknown"


def test_the_archive_s_notebook_from_simulated_sound_to_presence(tmp_path):
    """Two tiny recordings, a network of random weights: every step from folder to files for others."""
    import papermill

    model = save_random_model(tmp_path / "random")
    notebook = papermill.execute_notebook(ROOT / "pipeline" / "07_archive.ipynb", tmp_path / "07.ipynb", cwd=str(ROOT), progress_bar=False, kernel_name="python3",
                                          parameters={"output": str(tmp_path / "out"), "model": str(model), "workers": 1, "demo_recordings": 2, "demo_s": 3, "sites": {"6872": "bay"}})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"] and sum("image/png" in o.get("data", {}) for o in outputs) == 2  # effort, presence
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet")
    assert effort["status"].tolist() == ["ok", "ok"] and effort["duration_s"].tolist() == [3.0, 3.0] and effort["gap_before_s"].tolist()[1] == 3597.0
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {"all_192000Hz.Table.1.selections.txt", "all_192000Hz.files.txt", "pamscapes/levels_TOL_6872.csv", "darwin_core/event.csv", "darwin_core/occurrence.csv"} <= names
    assert pd.read_csv(tmp_path / "out" / "darwin_core" / "event.csv")["locality"].eq("bay").all()
    assert all(Path(line).is_file() for line in (tmp_path / "out" / "all_192000Hz.files.txt").read_text().splitlines())
