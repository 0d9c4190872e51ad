"""The front door: set up the project, run it, test it. `make` calls this file; without make, call it yourself.

    python canary.py setup                                   (on Windows: py canary.py setup)
    python canary.py run [--audio FILE_OR_FOLDER] [--output FOLDER] [--profile NAME]
    python canary.py report OUTPUT [--audio FOLDER] [--time-zone ZONE]
    python canary.py experiment NAME [--full] | experiment --all | experiment --list
    python canary.py test | bench | notebooks | clean [--all]
    python canary.py lint [ruff] [imports] [types]            (for who changes the code)

Every command first does what `setup` does and `.venv` still lacks. Only the standard library is used, because this
file runs before anything is installed.

What lies on disk, and what it means:
- `.venv/sea_canary_setup.txt` says "unfinished" while an installation runs; afterwards it holds the fingerprint of the
  requirements.txt that was installed. The same fingerprint: nothing to do. Another one: pip brings `.venv` up to date.
  "unfinished": somebody pulled the plug, and `.venv` is made again from nothing.
- `.venv/sea_canary_tools.txt` holds the fingerprint of the requirements-dev.txt that `lint` installed.
- `sea_canary.pth` in the site-packages of `.venv` names this folder, so that every notebook can import the rooms,
  wherever it lies.
- `.env` is made once from `.env.example` and then belongs to the user; only its PROJECT_ROOT line is kept true.
"""
import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
UNFINISHED = "unfinished"
PARTS_ASKED = 100  # of a folder's recordings, to see whose they are
LOOK_S = 0.2
CHECKS = {  # of `lint`: their settings stand in pyproject.toml
    "ruff": ["ruff", "check"],
    "imports": ["lint-imports", "--no-logo"],
    "types": ["mypy"],
}
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".import_linter_cache",
          ".ipynb_checkpoints", "lightning_logs")


class Fault(Exception):
    """Something the user can mend; its text is all that is printed."""


def check_python(version=None):
    """Raise `Fault` when the running Python is too old to install the requirements."""
    version = tuple(version or sys.version_info)[:2]
    if version < OLDEST_PYTHON:
        raise Fault("Sea Canary needs Python {}.{} or newer, and this is Python {}.{}. Install one from python.org, "
                    "then: make PYTHON=/path/to/python3.11 ...".format(*OLDEST_PYTHON, *version))


def venv_python(root):
    """Path of the interpreter inside `root`'s virtual environment."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(command, cwd=ROOT, env=None):
    """Run `command` (a list) and return its exit code; the child's words go straight to the screen."""
    sys.stdout.flush()
    return subprocess.run([str(word) for word in command], cwd=str(cwd), env=env).returncode


# ---------------------------------------------------------------------------------------------------------- set-up

def remake_venv(stamp, run):
    """Make the virtual environment in which `stamp` lies, from nothing."""
    folder = stamp.parent
    if Path(sys.prefix).resolve() == folder:
        raise Fault("{} has to be made anew, but is in use: type `deactivate`, then run the same command again."
                    .format(folder))
    try:
        if folder.exists():
            print("An earlier set-up was broken off; .venv is made anew.")
            shutil.rmtree(str(folder))
        folder.mkdir()
        stamp.write_text(UNFINISHED, encoding="utf-8")
    except OSError as error:
        raise Fault("{} cannot be made ({}). Close programs that use it, see that the disk has room, then run the same "
                    "command again.".format(folder, error)) from error
    print("Making the virtual environment .venv ...")
    if run([sys.executable, "-m", "venv", folder]) != 0:
        raise Fault("Python could not make {}; its own words stand above. On Debian and Ubuntu it may lack the package "
                    "python3-venv. Then run the same command again.".format(folder))


def fingerprint(path):
    """SHA-256 of a text file's contents, the same whatever ends its lines."""
    return hashlib.sha256(path.read_text(encoding="utf-8").encode("utf-8")).hexdigest()


def install(root, run=run):
    """Make `.venv` hold what requirements.txt asks for; return True when something had to be installed.

    `run` is called with each command and returns its exit code; a test hands in one that installs nothing.
    """
    requirements = root / "requirements.txt"
    stamp = root / ".venv" / "sea_canary_setup.txt"
    wanted = fingerprint(requirements)
    found = stamp.read_text(encoding="utf-8") if stamp.exists() else None
    usable = venv_python(root).exists()
    if usable and found == wanted:
        return False
    if found == UNFINISHED or not usable:
        remake_venv(stamp, run)
    stamp.write_text(UNFINISHED, encoding="utf-8")
    print("Installing requirements.txt (once; some minutes, and up to 6 GB of disk on Linux, most of it PyTorch) ...")
    if run([venv_python(root), "-m", "pip", "install", "--disable-pip-version-check", "-r", requirements]) != 0:
        if usable:  # what stood before still stands: go back to it rather than to nothing
            stamp.write_text(found or "", encoding="utf-8")
        raise Fault("pip could not install requirements.txt; its own words stand above. See that there is a network "
                    "and disk space, then run the same command again.")
    stamp.write_text(wanted, encoding="utf-8")
    return True


def install_tools(root, run=run):
    """Make `.venv` hold the tools of `lint` (requirements-dev.txt); True when some were installed."""
    requirements, stamp = root / "requirements-dev.txt", root / ".venv" / "sea_canary_tools.txt"
    wanted = fingerprint(requirements)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return False
    pip = [venv_python(root), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    if run(pip + ["-r", requirements]) != 0:
        raise Fault("pip could not install requirements-dev.txt; its own words stand above. "
                    "See that there is a network, then run the same command again.")
    stamp.write_text(wanted, encoding="utf-8")
    return True


def lint(root, names, run=run):
    """Run the checks of those names (none: all), each whatever the others found; return 1 if one failed."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise Fault("{}: no such check. There are {}.".format(unknown[0], ", ".join(CHECKS)))
    install_tools(root, run)
    failed = []
    for name in names or CHECKS:
        program, words = CHECKS[name][0], CHECKS[name][1:]
        if run([venv_python(root).with_name(program)] + words) != 0:
            failed.append(name)
    print("lint: {}".format(", ".join(failed) + " failed" if failed else "all passed"))
    return 1 if failed else 0


def link_rooms(root):
    """Let `.venv` import the rooms from any folder: one relative path in its site-packages."""
    for site in (root / ".venv").glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"):
        line = Path(os.path.relpath(str(root), str(site))).as_posix() + "\n"
        path = site / "sea_canary.pth"
        if not path.exists() or path.read_text(encoding="utf-8") != line:
            path.write_text(line, encoding="utf-8")


def write_env(root):
    """Make `.env` from `.env.example`, or mend the PROJECT_ROOT of the one that is there; return True if it changed.

    The path is written with forward slashes, which Windows takes too, inside single quotes, which keep blanks and #.
    """
    path = root / ".env"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    text = before if before is not None else (root / ".env.example").read_text(encoding="utf-8")
    line = "PROJECT_ROOT='{}'".format(root.as_posix().replace("'", "\\'"))
    text, found = re.subn(r"^PROJECT_ROOT=.*$", lambda _: line, text, flags=re.MULTILINE)
    if not found:
        text = line + "\n" + text
    if text == before:
        return False
    path.write_text(text, encoding="utf-8")
    print("Wrote {}".format(path))
    return True


def set_up(root=ROOT):
    """Everything a command needs before it starts; does nothing, quietly, when it is all there."""
    installed = install(root)
    link_rooms(root)
    write_env(root)
    return installed


# -------------------------------------------------------------------------------------------------------- commands

def own_kernel_environment():
    """Environment in which the Jupyter kernel `python3` can only be the one inside .venv.

    A kernel of that name in the user's home or on JUPYTER_PATH would win otherwise, and IPython would add the packages
    of another environment that VIRTUAL_ENV names.
    """
    env = {key: value for key, value in os.environ.items() if key not in ("JUPYTER_PATH", "VIRTUAL_ENV")}
    env["JUPYTER_PREFER_ENV_PATH"] = "1"
    return env


def notebook_command(python, notebook, executed, parameters):
    """The papermill call that executes `notebook` into `executed`; parameters with value None keep their default."""
    command = [python, "-m", "papermill", notebook, executed, "--kernel", "python3", "--language", "python",
               "--cwd", ROOT]
    for name, value in parameters.items():
        if value is not None:
            command += ["--parameters_raw", name, value]  # raw: a folder called 2022 stays a text
    return command


def other_sound(output, audio):
    """Where the recordings lay whose results `output` holds; None where it holds none, or those of `audio`."""
    place = None
    for part in sorted((output / "parts").glob("*.zip"))[:PARTS_ASKED]:
        try:
            with zipfile.ZipFile(str(part)) as archive:
                place = Path(json.loads(archive.comment.decode("utf-8") or "{}")["where"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
            continue  # damaged: the run makes it anew
        if audio == place or audio in place.parents:
            return None
    return place and place.parent


def in_use(output):
    """Whether a run is at work in the folder: its claims are locked, or its process lives. Where that cannot be asked, nobody knows: False."""
    try:
        import fcntl
    except ImportError:  # Windows, which lets nobody move a folder with open files
        return False
    for path in (output / "parts" / "claims").glob("*.lock"):
        try:
            with open(str(path), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            continue
    for path in (output / "parts" / "claims").glob("*.claim"):  # on a disk that knows no locks
        try:
            process, machine = path.read_text(encoding="utf-8").split()[:2]
            if machine == socket.gethostname():
                os.kill(int(process), 0)
            return True
        except (OSError, ValueError):  # of a run that was killed, or just freed
            continue
    return False


def make_room(output, audio, default):
    """See that results of other sound are not mixed with those of `audio`: the default folder's are moved aside, another folder's refused.

    Returns where they were moved to, or None.
    """
    other = other_sound(output, audio)
    if other is None:
        return None
    if not default:
        raise Fault("{}: holds results of other sound ({}). Give OUTPUT another folder.".format(output, other))
    if in_use(output):
        raise Fault("{}: a run on other sound ({}) is at work there. Let it end, or give OUTPUT another folder.".format(output, other))
    aside = output.with_name("{}-{:%Y%m%d-%H%M%S}".format(output.name, datetime.now()))
    try:
        output.rename(aside)
    except OSError as error:
        raise Fault("{}: holds results of other sound ({}), and cannot be moved aside ({}). Give OUTPUT another folder.".format(output, other, error)) from error
    print("The results of other sound ({}) that stood in {} are now in {}".format(other, output, aside))
    return aside


class Screen:
    """A file that stands for the screen where a program's words would be lost in a notebook: what is written to it is shown."""

    def __init__(self):
        handle, name = tempfile.mkstemp(prefix="sea_canary_screen_")
        os.close(handle)
        self.path, self.ended = Path(name), threading.Event()
        self.thread = threading.Thread(target=self.show)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        try:
            self.path.unlink()
        except OSError:
            pass

    def show(self):
        with open(str(self.path), "r", encoding="utf-8", errors="replace", newline="") as file:
            last = False
            while not last:
                last = self.ended.wait(LOOK_S)
                sys.stderr.write(file.read())
                sys.stderr.flush()


def found(output):
    """How many events in how many recordings a run's tables hold, in words."""
    def rows(table):
        with open(str(output / (table + ".csv")), encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    try:
        statuses = list({row["recording"]: row["status"] for row in rows("effort")}.values())
        named = [row["recording"] for row in rows("events")]
    except (OSError, KeyError, csv.Error):
        return "Done"
    failed = statuses.count("failed")
    return "{} events in {} of {} recordings{}".format(len(named), len(set(named)), len(statuses), " ({} failed)".format(failed) if failed else "")


def run_notebook(audio, output, profile):
    """Execute run.ipynb into the output folder, make an HTML page of it, and say what was found and where it is."""
    if "://" in str(audio or ""):
        raise Fault("AUDIO takes a recording or a folder on this machine. For an address: {} -m pipeline ADDRESS OUTPUT"
                    .format(os.path.relpath(str(venv_python(ROOT)))))
    audio = Path(audio).expanduser().resolve() if audio else None
    if audio is not None and not audio.exists():
        raise Fault("{}: no such file or folder. Give AUDIO a recording or a folder of recordings.".format(audio))
    default = not output
    output = Path(output).expanduser().resolve() if output else ROOT / "output"
    make_room(output, audio or ROOT / "data" / "demonstration", default)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fault("{}: the output folder cannot be made ({}). Give OUTPUT another folder.".format(output, error)) from error
    if output == ROOT:
        raise Fault("OUTPUT is the project's own folder, whose run.ipynb would be overwritten. Give another folder.")
    executed = output / "run.ipynb"
    command = notebook_command(venv_python(ROOT), ROOT / "run.ipynb", executed,
                               {"audio": audio, "output": output, "profile": profile or None})
    command += ["--no-progress-bar", "--log-level", "ERROR"]  # it counts cells: one of them is the whole run
    print("Working on {} ...".format(audio or "a simulated deployment"))
    with Screen() as screen:
        code = run(command, env=dict(own_kernel_environment(), SEA_CANARY_SCREEN=str(screen.path)))
    if code != 0:
        print("The notebook stopped early. How far it came, and why it stopped: {}".format(executed))
        return code
    code = run([venv_python(ROOT), "-m", "nbconvert", "--log-level", "WARN", "--to", "html", executed])
    print("{}; the page is {}, the tables lie beside it".format(found(output), executed.with_suffix(".html")))
    return code


def clean(root, everything=False):
    """Remove what the project made itself: output/ and caches; with `everything` also .venv. Returns what went."""
    doomed = [root / "output"] + ([root / ".venv"] if everything else [])
    for folder, names, _ in os.walk(str(root)):
        names[:] = [name for name in names if name not in (".venv", ".git", "output")]
        doomed += [Path(folder) / name for name in names if name in CACHES]
        names[:] = [name for name in names if name not in CACHES]
    gone = [path for path in doomed if path.exists()]
    for path in gone:
        shutil.rmtree(str(path))
        print("Removed {}".format(path))
    kept = ".env and data/" if everything else ".env, data/ and .venv (make clean ALL=1 removes .venv too)"
    print("{} Kept: {}.".format("Done." if gone else "Nothing to remove.", kept))
    return gone


def read_arguments(words):
    """Command line -> (options, words that are passed on to pytest, the benchmark, the report, the experiments or JupyterLab)."""
    parser = argparse.ArgumentParser(prog="canary.py", description="Sea Canary: set up, run, test.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="virtual environment, packages, .env")
    one = commands.add_parser("run", help="recordings in, named calls out: run.ipynb into an output folder")
    one.add_argument("--audio", help="a recording or a folder of them; without it, a simulated demonstration")
    one.add_argument("--output", help="where the notebook, the page and the tables go (default: output)")
    one.add_argument("--profile", help="species profile (default: PROFILE in .env)")
    commands.add_parser("report", add_help=False, help="one page of HTML about a deployment: the folder that a run wrote; more words go to the report")
    commands.add_parser("experiment", add_help=False, help="train and judge: NAME of training/experiments, --all (missing or changed), --list")
    commands.add_parser("test", help="all tests, on all cores; more words go to pytest (-n 0: one after another)")
    commands.add_parser("lint", help="faults in the code, direction of imports, types: {} (none: all)".format(", ".join(CHECKS)))
    commands.add_parser("bench", help="speed and memory; more words go to the benchmark (--quick, --minutes N)")
    commands.add_parser("notebooks", help="open JupyterLab")
    commands.add_parser("clean", help="remove output and caches").add_argument("--all", action="store_true")
    options, rest = parser.parse_known_args(words)
    if rest and options.command not in ("report", "experiment", "test", "lint", "bench", "notebooks"):
        parser.error("not understood: " + " ".join(rest))
    return options, rest


def main(words=None):
    """Do one command; return its exit code."""
    check_python()
    options, rest = read_arguments(words)
    if options.command == "clean":
        clean(ROOT, options.all)
        return 0
    installed = set_up()
    python = venv_python(ROOT)
    if options.command == "run":
        return run_notebook(options.audio, options.output, options.profile)
    if options.command == "report":
        if not any(rest):
            raise Fault('Name the folder that a run wrote, e.g. make report OUTPUT="out/2022".')
        return run([python, "-m", "pipeline.report"] + [word for word in rest if word], env=own_kernel_environment())
    if options.command == "experiment":
        if not rest:
            raise Fault("Name an experiment, e.g. make experiment NAME=watkins_beluga; make experiments ARGS=--list shows them all.")
        return run([python, "-m", "training"] + rest, env=own_kernel_environment())
    if options.command == "test":
        return run([python, "-m", "pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"] + rest)  # a later -n wins
    if options.command == "lint":
        return lint(ROOT, rest)
    if options.command == "bench":
        return run([python, "-m", "bench"] + rest)
    if options.command == "notebooks":
        return run([python, "-m", "jupyter", "lab"] + rest, env=own_kernel_environment())
    print("Set-up is done." if installed else "Set-up was done already; nothing was installed.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Fault as fault:
        sys.exit(str(fault))
    except KeyboardInterrupt:
        sys.exit(130)
