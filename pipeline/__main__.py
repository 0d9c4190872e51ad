"""python -m pipeline INPUT OUTPUT: find and name the calls in one recording, a folder or a bucket of recordings.

Exit codes: 0 done (faults of single recordings are printed, counted and noted in effort.parquet), 2 nothing found, wrong arguments, tables that
cannot be written or workers that do not come, 3 nothing could be processed, 130 stopped by Ctrl-C. After any of them the same command goes on where
it stopped.
"""
from __future__ import annotations

import argparse
import signal
import sys


def main(arguments: list[str] | None = None) -> int:
    a = _parser().parse_args(arguments)

    from pipeline.progress import log, logged, shown

    def tell(line: str, file=sys.stderr) -> None:
        print(shown(line), file=file)
        log(line)

    try:
        with logged(a.log):
            log(f"python -m pipeline {a.input} {a.output}")
            return _run(a, tell)
    except OSError as error:  # the log
        print(shown(str(error)), file=sys.stderr)
        return 2


def _run(a: argparse.Namespace, tell) -> int:
    """What the arguments ask for; `tell(line, file)` prints and logs."""
    from pipeline.join import PartChanged
    from pipeline.multi import run_multi_file_pipeline
    from pipeline.progress import closing_line

    try:
        thresholds = dict(map(_threshold, a.threshold))
        table = run_multi_file_pipeline(
            a.input, a.output, a.model, profile=a.profile, thresholds=thresholds, channel=a.channel, overrides=a.overrides, clock=a.clock,
            level_row_s=a.level_row_s, workers=a.workers, scheduler=a.scheduler, watch=a.watch, settle_s=a.settle_s, device=a.device, csv=a.csv,
            raven=not a.no_raven, again=a.again, progress=not a.quiet, denoise=a.denoise, split_s=a.split_s, time_limit_s=a.time_limit_s, gone=a.gone,
            species=not a.no_species)
    except (ValueError, OSError, PartChanged) as error:  # nothing there, wrong arguments, a model that does not fit, a folder that cannot be written
        tell(str(error))
        return 2
    except KeyboardInterrupt:
        tell(f"stopped; the same command goes on where it stopped, finished recordings are kept in {a.output}")
        return 130
    if table.empty:  # a live folder to which nothing came
        tell(f"0 recordings found in {a.input}")
        return 2
    tell(closing_line(table, a.output), sys.stdout)
    return 3 if (table["status"] == "failed").all() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Find and name the calls in hydrophone recordings.")
    parser.add_argument("input", help="a recording, a folder of recordings at any depth, or an address: s3://bucket/prefix, https://host/folder/")
    parser.add_argument("output", help="folder for the tables")
    parser.add_argument("--model", help="folder of a saved model, or an experiment's name (default: the profile's shipped model)")
    parser.add_argument("--profile", help="species profile (default: PROFILE in .env, else beluga)")
    parser.add_argument("--denoise", metavar="HOW", help='denoise what the model sees: "gate", or the folder of a trained U-Net (default: as the model was trained)')
    parser.add_argument("--no-species", action="store_true", help="leave out the species model, which is for academic, non-commercial use: species_score is missing then")
    parser.add_argument("--channel", type=int, default=0, help="channel, counted from 0")
    parser.add_argument("--overrides", help="CSV with columns file, start_utc, serial, sensitivity_db, gain")
    parser.add_argument("--clock", help="time zone of the recorder's clock, e.g. America/Toronto (default: TIMEZONE in .env, else UTC)")
    parser.add_argument("--threshold", action="append", default=[], metavar="LABEL=P", help="override a threshold, e.g. Whistle=0.7; may be repeated")
    parser.add_argument("--level-row-s", type=int, default=60, help="seconds averaged in each row of levels (default 60)")
    parser.add_argument("--workers", type=int, help="processes, one core each (default: as many as there are cores and memory for)")
    parser.add_argument("--split-s", type=float, help="cut recordings longer than so many seconds into stretches that workers share; inf: never (default: two hours, "
                        "where there are few recordings for many workers)")
    parser.add_argument("--time-limit-s", type=float, metavar="SECONDS", help="how long one recording may take before it counts as failed and the "
                        "others go on (default: an hour, and 4 s for each megabyte; inf: no limit)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, e.g. tcp://head:8786 (default: DASK_SCHEDULER_ADDRESS in .env, else this machine)")
    parser.add_argument("--watch", action="store_true", help="go on and take up files as a recorder finishes them, until Ctrl-C")
    parser.add_argument("--settle-s", type=float, default=10.0, help="with --watch: a file is finished when it has rested so long (default 10)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--csv", action="store_true", help="also write CSV tables")
    parser.add_argument("--no-raven", action="store_true", help="write no Raven selection tables")
    parser.add_argument("--again", action="store_true", help="do finished recordings anew, and try failed ones again")
    parser.add_argument("--gone", choices=("keep", "drop"), help="what becomes of recordings that OUTPUT holds and INPUT lacks: keep or drop their rows (default: those that "
                        "vanished are kept and marked, another input is refused)")
    parser.add_argument("--log", metavar="FILE", help="also keep what is said, with times, at the end of this file")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _threshold(text: str) -> tuple[str, float]:
    """LABEL=P -> (label, probability)."""
    label, _, value = text.partition("=")
    try:
        return label.strip(), float(value)
    except ValueError:
        raise ValueError(f"--threshold {text}: write LABEL=P with a probability from 0 to 1, e.g. Whistle=0.7") from None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's "stop" is Ctrl-C, also where a script that started us has that ignored
    sys.exit(main())
