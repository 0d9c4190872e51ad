"""`make bench`, or `python -m bench [--minutes 10] [--repeats 3] [--quick] [--no-long] [--limits]`.

Simulates one 192 kHz recording with calls and boats in it (seed fixed), then times on it, each in a fresh process: reading,
spectrogram, regions, model, the whole pipeline, and the reference method. Pipeline and reference take turns, so that a
machine that grows warm or busy slows both; their ratio is the median over the turns. Then two hours of the same sound
for peak memory, and an archive of many such files with one and with two workers of one core each, beside what two programs
that know nothing of each other do on the same cores, and from these an estimate for terabytes. Then where the limits lie (`bench.limits`): many small
recordings, spoilt ones, a long one, 16 channels, 576 kHz; with `--limits` at full size. On the processor alone, also where there
is a graphics card. Real-time factor: seconds of sound per second of work. Everything is written to output/bench.json too.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from bench.estimate import estimate
from bench.limits import measured
from bench.recordings import LONG_NAME, SHORT_NAME, fill, simulate
from bench.stages import PARTS

ROOT = Path(__file__).resolve().parents[1]
SPEED_BUDGET, MEMORY_BUDGET_MB, GROWTH_BUDGET, IMPORT_BUDGET_S, WORKERS_BUDGET = 12, 1200, 1.10, 3.0, 1.7
LONG_MINUTES, SHORT_S, COPIES = 120, 20.0, 12


def child(*words):
    """Run a Python program of the project in a fresh interpreter, without graphics card; return what it printed last."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: `python {' '.join(map(str, words))}` failed; its own words stand above")
    return json.loads(done.stdout.strip().splitlines()[-1])


def stage(name, path, short, repeats=1):
    print(f"  {name} ...", flush=True)
    return child("-m", "bench.stages", name, path, short, repeats)


def workers(path, count, *apart):
    print(f"  {count} worker{'s' if count > 1 else ''} {'apart ' if apart else ''}...", flush=True)
    return child("-m", "bench.archive", path, COPIES, count, *apart)


def import_seconds():
    """Median of three: importing what users call from `pipeline`, in a fresh interpreter."""
    code = ("import time; t = time.perf_counter(); from pipeline import run_pipeline_single_audio, run_multi_file_pipeline; "
            "print(time.perf_counter() - t)")
    return statistics.median(child("-c", code) for _ in range(3))


def turns(path, short, repeats):
    """Pipeline and reference in turns; one result of each per turn."""
    pairs = [(stage("whole", path, short), stage("reference", path, short)) for _ in range(repeats)]
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


def line(name, sound_s, seconds, peak_mb):
    print(f"{name:<28}{sound_s / seconds:>12.0f} x{seconds:>12.2f} s{peak_mb:>12.0f} MB")


def verdict(what, text, within):
    print(f"{what:<28}{text}   {'within budget' if within else 'OVER BUDGET'}")


def run(minutes, repeats, long, full=False):
    """Measure everything, print it, and return it as a dict."""
    folder, sound_s = ROOT / "output" / "bench", minutes * 60.0
    try:
        path = simulate(folder, sound_s)
        short = fill(path, folder / SHORT_NAME, SHORT_S)
        print("Timing", flush=True)
        result = {"sound_s": sound_s, "cores": os.cpu_count(), "platform": platform.platform(terse=True),
                  "processor": processor(), "python": platform.python_version(), "import_pipeline_s": import_seconds()}
        parts = {name: stage(name, path, short, repeats) for name in PARTS}
        ours, theirs = turns(path, short, repeats)
        if long:
            both = [(workers(path, n, "--apart"), workers(path, n)) for n in (1, 2)]
            result["apart"], result["archive"] = ({str(n): r for n, r in enumerate(rs, 1)} for rs in zip(*both))
            result["two_hours"] = stage("whole", fill(path, folder / LONG_NAME, LONG_MINUTES * 60.0), short)
            print("  limits ...", flush=True)
            result["limits"] = list(measured(full=full))
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gigabytes that anybody can make again
    result["stages"] = parts | {"whole": together(ours), "reference": together(theirs)}
    result["ratios"] = [b["seconds"][0] / a["seconds"][0] for a, b in zip(ours, theirs)]
    result["ratio"] = statistics.median(result["ratios"])
    return result


def together(rounds):
    """Results of single-repeat processes as one: all seconds, the largest memory, the median start."""
    return {"seconds": [r["seconds"][0] for r in rounds], "peak_mb": max(r["peak_mb"] for r in rounds),
            "start_s": statistics.median(r["start_s"] for r in rounds)}


def processor():
    """The processor's name where the system tells it."""
    try:
        names = [row.split(":", 1)[1].strip() for row in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
                 if row.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor()


def show(result):
    """Print the table and the verdicts on the budgets."""
    print(f"\n{result['processor']}, {result['cores']} cores; {result['sound_s'] / 60:g} minutes of 192 kHz sound")
    print("The parts run on one thread each, spectrogram includes read; the whole and the reference as a user gets them.")
    print(f"{'stage':<28}{'real time':>14}{'median':>14}{'peak memory':>15}")
    for name, r in result["stages"].items():
        line(name, result["sound_s"], statistics.median(r["seconds"]), r["peak_mb"])
    whole = result["stages"]["whole"]["peak_mb"]
    if "two_hours" in result:
        r = result["two_hours"]
        line("whole, two hours", LONG_MINUTES * 60, r["seconds"][0], r["peak_mb"])
    for count, r in result.get("archive", {}).items():
        line(f"archive, {count} worker{'s' if count != '1' else ''}", r["sound_s"], r["seconds"][0], r["peak_mb"])
    for count, r in result.get("apart", {}).items():
        line(f"no archive, {count} program{'s' if count != '1' else ''}", r["sound_s"], r["seconds"][0], r["peak_mb"])
    turns = ", ".join(f"{ratio:.1f}" for ratio in result["ratios"])
    verdict("speed over the reference", f"{result['ratio']:.1f} x (turns: {turns})", result["ratio"] >= SPEED_BUDGET)
    if "archive" in result:
        gain, ceiling = (result[how]["1"]["seconds"][0] / result[how]["2"]["seconds"][0] for how in ("archive", "apart"))
        verdict("two workers over one", f"{gain:.2f} x (two cores at best: {ceiling:.2f} x)", gain >= WORKERS_BUDGET)
    peak = max(whole, result.get("two_hours", {}).get("peak_mb", 0), *(r["peak_mb"] for r in result.get("archive", {}).values()))
    verdict("peak memory", f"{peak:.0f} MB", peak <= MEMORY_BUDGET_MB)
    if "two_hours" in result:
        growth = result["two_hours"]["peak_mb"] / whole
        verdict("two hours over one file", f"{100 * (growth - 1):+.1f} % memory", growth <= GROWTH_BUDGET)
    verdict("import pipeline", f"{result['import_pipeline_s']:.2f} s", result["import_pipeline_s"] <= IMPORT_BUDGET_S)
    for limit in result.get("limits", ()):
        sizes = f"{limit['recordings']} x {limit['sound_s'] / limit['recordings']:.0f} s"
        print(f"{'limits: ' + limit['case']:<36}{sizes:>14}{limit['times_real_time']:>8} x real time{limit['ms_each']:>12,.0f} ms each{limit['peak_mb']:>8} MB")
    if "limits" in result:
        peak = max(limit["peak_mb"] for limit in result["limits"])
        verdict("limits, peak memory", f"{peak:.0f} MB", peak <= MEMORY_BUDGET_MB)
    if "archive" in result:
        print("\n" + "\n".join(estimate(result)))


def main():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[2])
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the simulated recording")
    parser.add_argument("--repeats", type=int, default=3, help="turns of pipeline and reference")
    parser.add_argument("--no-long", action="store_true", help="leave out the archive, the two-hour file and the limits (3 GB of disk)")
    parser.add_argument("--limits", action="store_true", help="the limits at full size: 5,000 recordings, as many half of which are spoilt, 12 hours, ten minutes of 16 channels (25 GB of disk)")
    parser.add_argument("--quick", action="store_true", help="one minute, one turn, no archive, no two-hour file: does it run at all?")
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.repeats, options.no_long = 1.0, 1, True
    result = run(options.minutes, options.repeats, not options.no_long, options.limits)
    show(result)
    path = ROOT / "output" / "bench.json"
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"\nWritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
