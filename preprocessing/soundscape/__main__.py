"""`python -m preprocessing.soundscape FOLDER --site BSM --seed 1 --recordings 4 --seconds 300`"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone

from .deployment import demo_deployment, simulate_deployment
from .sites import SITES


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m preprocessing.soundscape", description="Write a simulated hydrophone deployment with exact truth.")
    parser.add_argument("folder")
    parser.add_argument("--site", choices=list(SITES), default="BSM")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of one recording")
    parser.add_argument("--rate", type=int, default=192_000, help="sample rate in Hz; 0 for the background's own")
    parser.add_argument("--version", type=int, choices=[1, 2], default=2, help="of the simulator; 1: as it was before there was a 2")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between recordings")
    parser.add_argument("--start", default="2022-07-16T02:14:53", help="UTC start of the first recording, ISO")
    parser.add_argument("--calls", type=float, default=None, help="calls per minute; 0 for empty water; default: as the site has it")
    parser.add_argument("--boats", choices=["chance", "yes", "no"], default="chance")
    parser.add_argument("--background", default=None, help="WAV or FLAC of real noise")
    parser.add_argument("--background-sensitivity", type=float, default=None, help="its end-to-end sensitivity, negative dB")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--demo", action="store_true", help="the small demonstration deployment; of the rest only --seed counts")
    a = parser.parse_args(arguments)
    if a.demo:
        print(demo_deployment(a.folder, a.seed))
        return 0
    start = datetime.fromisoformat(a.start)
    start = start.replace(tzinfo=timezone.utc) if start.tzinfo is None else start
    try:
        folder = simulate_deployment(
            a.folder, a.site, a.seed, a.recordings, a.seconds, start, a.rate or None, version=a.version, gap_s=a.gap, n_jobs=a.jobs, call_rate_per_min=a.calls,
            boats={"chance": None, "yes": True, "no": False}[a.boats], background=a.background, background_sensitivity_db=a.background_sensitivity,
        )  # fmt: skip
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
