"""The front door: set-up, what is pinned, what lies in git, and that the README's commands exist."""
import ast
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import canary

ROOT = Path(__file__).resolve().parents[1]
TEXT = {".py", ".md", ".txt", ".yaml", ".yml", ".json", ".ipynb", ".cff", ".ini", ".toml", ".csv", ".cfg", ""}


def tracked(pattern="*"):
    """Paths of the files in git that match; skips where there is no checkout (a downloaded zip)."""
    listing = subprocess.run(["git", "ls-files", "-z", "--", pattern], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture
def checkout(tmp_path):
    """An empty project in a folder with a blank, an apostrophe and a # in its name."""
    root = tmp_path / "whale's data #1"
    root.mkdir()
    for name in (".env.example", "requirements.txt", "requirements-dev.txt"):
        (root / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return root


class FakeRun:
    """Stands in for `canary.run`: notes the commands; `venv` leaves an interpreter behind; pip ends with `pip_code`."""

    def __init__(self, root, pip_code=0):
        self.root, self.pip_code, self.commands = root, pip_code, []

    def __call__(self, command):
        self.commands.append(command[2])
        if command[2] == "venv":
            python = canary.venv_python(self.root)
            python.parent.mkdir(parents=True)
            python.touch()
            return 0
        if self.pip_code is KeyboardInterrupt:
            raise KeyboardInterrupt
        return self.pip_code


# ------------------------------------------------------------------------------------------------------------ set-up

def test_second_set_up_installs_nothing(checkout):
    first, second = FakeRun(checkout), FakeRun(checkout)
    assert canary.install(checkout, run=first) is True
    assert canary.install(checkout, run=second) is False
    assert first.commands == ["venv", "pip"] and second.commands == []


def test_changed_requirements_are_installed_into_the_same_environment(checkout):
    canary.install(checkout, run=FakeRun(checkout))
    (checkout / "requirements.txt").write_text("numpy==2.4.6\n", encoding="utf-8")
    again = FakeRun(checkout)
    assert canary.install(checkout, run=again) is True
    assert again.commands == ["pip"]


def test_interrupted_set_up_begins_anew(checkout):
    with pytest.raises(KeyboardInterrupt):
        canary.install(checkout, run=FakeRun(checkout, pip_code=KeyboardInterrupt))
    half_installed = checkout / ".venv" / "half_a_package"
    half_installed.touch()
    again = FakeRun(checkout)
    assert canary.install(checkout, run=again) is True
    assert again.commands == ["venv", "pip"] and not half_installed.exists()


def test_failed_update_keeps_the_environment_that_worked(checkout):
    canary.install(checkout, run=FakeRun(checkout))
    wanted = (checkout / "requirements.txt").read_text(encoding="utf-8")
    (checkout / "requirements.txt").write_text("no-such-package==1\n", encoding="utf-8")
    with pytest.raises(canary.Fault, match="requirements.txt"):
        canary.install(checkout, run=FakeRun(checkout, pip_code=1))
    (checkout / "requirements.txt").write_text(wanted, encoding="utf-8")
    assert canary.install(checkout, run=FakeRun(checkout)) is False


def test_env_is_filled_once_and_then_belongs_to_the_user(checkout):
    dotenv = pytest.importorskip("dotenv")
    assert canary.write_env(checkout) is True
    values = dotenv.dotenv_values(checkout / ".env")
    assert Path(values["PROJECT_ROOT"]) == checkout
    assert values["PROFILE"] == "beluga" and values["TIMEZONE"] == "UTC"
    assert canary.write_env(checkout) is False

    text = (checkout / ".env").read_text(encoding="utf-8").replace("TIMEZONE=UTC", "TIMEZONE=America/Toronto")
    (checkout / ".env").write_text(text, encoding="utf-8")
    moved = checkout.rename(checkout.parent / "moved")
    assert canary.write_env(moved) is True
    values = dotenv.dotenv_values(moved / ".env")
    assert Path(values["PROJECT_ROOT"]) == moved and values["TIMEZONE"] == "America/Toronto"


def test_too_old_python_is_told_in_one_line():
    canary.check_python((3, 11))
    with pytest.raises(canary.Fault, match="needs Python 3.11 or newer, and this is Python 3.10") as fault:
        canary.check_python((3, 10, 4))
    assert "\n" not in str(fault.value)


def test_rooms_can_be_imported_from_any_folder(tmp_path):
    site = [Path(p) for p in sys.path if p.endswith("site-packages") and (Path(p) / "sea_canary.pth").exists()]
    if not site:
        pytest.skip("this Python was not set up by canary.py")
    where = subprocess.run([sys.executable, "-c", "import canary; print(canary.__file__)"], cwd=tmp_path,
                           env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, capture_output=True, text=True)
    assert Path(where.stdout.strip()) == ROOT / "canary.py", where.stderr


def test_papermill_uses_the_python_of_the_environment(tmp_path, monkeypatch):
    """Even where the user's home and JUPYTER_PATH offer another kernel called python3."""
    nbformat = pytest.importorskip("nbformat")
    for folder in (tmp_path / "jupyter", tmp_path / ".local" / "share" / "jupyter"):
        kernel = folder / "kernels" / "python3"
        kernel.mkdir(parents=True)
        kernel.joinpath("kernel.json").write_text(json.dumps(
            {"argv": ["no-such-python", "-m", "ipykernel", "-f", "{connection_file}"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    cells = [nbformat.v4.new_code_cell("audio = None", metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell("import sys; print(sys.executable); print(audio)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "in.ipynb")
    command = canary.notebook_command(sys.executable, tmp_path / "in.ipynb", tmp_path / "out.ipynb",
                                      {"audio": tmp_path / "my recordings", "profile": None})
    assert canary.run(command, env=canary.own_kernel_environment()) == 0
    printed = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs[0]["text"].splitlines()
    assert printed == [sys.executable, str(tmp_path / "my recordings")]


def test_clean_keeps_what_it_did_not_make(tmp_path):
    for folder in ("output/deep", "tests/__pycache__", "data", ".venv/lib/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".env").touch()
    canary.clean(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".env", ".venv", "data", "tests"]
    assert (tmp_path / ".venv/lib/__pycache__").exists() and not (tmp_path / "tests/__pycache__").exists()
    canary.clean(tmp_path, everything=True)
    assert not (tmp_path / ".venv").exists()


def test_run_names_a_missing_recording(tmp_path):
    with pytest.raises(canary.Fault, match="no such file or folder"):
        canary.run_notebook(str(tmp_path / "none.wav"), None, None)
    with pytest.raises(canary.Fault, match="overwritten"):
        canary.run_notebook(None, str(ROOT), None)


def test_tests_run_on_all_cores_and_further_words_have_the_last_say(monkeypatch):
    commands = []
    monkeypatch.setattr(canary, "set_up", lambda: False)
    monkeypatch.setattr(canary, "run", lambda command: commands.append(command[1:]) or 5)
    assert canary.main(["test", "-n", "0", "-k", "levels"]) == 5
    assert commands[0][:4] == ["-m", "pytest", "-n", "auto"] and commands[0][-4:] == ["-n", "0", "-k", "levels"]


def test_tests_count_on_one_thread():
    import threadpoolctl
    import torch

    assert torch.get_num_threads() == 1 and {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}


# -------------------------------------------------------------------------------------------------------------- lint

class Checks:
    """Stands in for `canary.run`: the checks whose program is in `failing` end with 1."""

    def __init__(self, *failing):
        self.failing, self.programs = failing, []

    def __call__(self, command):
        self.programs.append("pip" if "pip" in command else command[0].name)
        return int(self.programs[-1] in self.failing)


def test_lint_installs_its_tools_once_and_runs_every_check(checkout):
    canary.install(checkout, run=FakeRun(checkout))
    first, second = Checks(), Checks()
    assert canary.lint(checkout, [], run=first) == canary.lint(checkout, [], run=second) == 0
    assert first.programs == ["pip", *second.programs]
    assert second.programs == ["ruff", "lint-imports", "mypy"]


def test_one_failed_check_fails_lint_and_stops_no_other(checkout, capsys):
    canary.install(checkout, run=FakeRun(checkout))
    checks = Checks("ruff")
    assert canary.lint(checkout, ["ruff", "types"], run=checks) == 1
    assert checks.programs == ["pip", "ruff", "mypy"]
    assert "lint: ruff failed" in capsys.readouterr().out


def test_a_misspelt_check_or_tools_that_do_not_install_are_said(checkout):
    canary.install(checkout, run=FakeRun(checkout))
    with pytest.raises(canary.Fault, match="rufff: no such check. There are ruff, imports, types"):
        canary.lint(checkout, ["rufff"], run=Checks())
    with pytest.raises(canary.Fault, match="requirements-dev.txt"):
        canary.lint(checkout, [], run=Checks("pip"))


# ------------------------------------------------------------------------------------------------- what is promised

def requirements(name="requirements.txt"):
    """Its lines without comments."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def test_every_requirement_is_pinned():
    lines = requirements()
    tools = requirements("requirements-dev.txt")
    assert lines and tools
    assert [line for line in lines + tools if not re.fullmatch(r"[A-Za-z0-9-]+==[0-9][0-9.]*", line)] == []
    assert {"torch==2.11.0", "torchaudio==2.11.0", "torchvision==0.26.0"} <= set(lines)


def imported():
    """Top-level names that the modules and notebooks in git import, but for the standard library and our own rooms."""
    sources = [path.read_text(encoding="utf-8") for path in tracked("*.py")]
    for path in tracked("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        lines = ("".join(cell["source"]).splitlines() for cell in cells if cell["cell_type"] == "code")
        sources += ["\n".join(line for line in cell if not line.startswith(("%", "!"))) for cell in lines]
    names = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    ours = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    return names - set(sys.stdlib_module_names) - ours


def test_requirements_are_what_the_code_imports():
    """Nothing is imported that set-up does not install by name, and nothing is installed by name that nobody uses."""
    def plain(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    of_module = metadata.packages_distributions()
    used = {plain(name) for module in imported() for name in of_module.get(module, [module])}
    listed = {plain(line.split("==")[0]) for line in requirements()}
    by_command = {"jupyter", "papermill", "nbconvert", "pytest", "pytest-xdist", "pytest-cov"}
    belong_to_others = {"tzdata", "torchaudio", "cryptography"}  # read by zoneinfo; of one piece with torch; makes Dask's certificates
    assert used - listed - {"ipython", "nbformat"} == set()  # these two are parts of jupyter
    assert listed - used - by_command - belong_to_others == set()


def test_commands_in_the_readme_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"`[^`\n]+`|^    .+$", readme, flags=re.MULTILINE))))
    assert {"run", "test", "setup", "bench", "notebooks", "clean"} <= named <= targets
    for command in set(re.findall(r"canary\.py ([a-z]+)", readme)):
        canary.read_arguments([command])


def test_files_named_in_the_readme_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = [path for path in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in path]
    assert [path for path in linked if not (ROOT / path).exists()] == []


# -------------------------------------------------------------------------------------------------- what lies in git

def notebooks():
    return [path.relative_to(ROOT).as_posix() for path in tracked("*.ipynb")]


def test_notebooks_are_thin():
    """No functions, few cells, one `parameters` cell; outputs only where results are kept."""
    faults = []
    for name in notebooks():
        cells = json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        lines = [line for cell in code for line in "".join(cell["source"]).splitlines()]
        if any(re.match(r"\s*(async )?(def|class) ", line) for line in lines):
            faults.append(f"{name}: defines a function or class")
        if len(code) > 20:
            faults.append(f"{name}: {len(code)} code cells")
        if name.startswith("results/"):
            continue
        if any(cell["outputs"] or cell["execution_count"] for cell in code):
            faults.append(f"{name}: outputs are stored")
        if sum("parameters" in cell["metadata"].get("tags", []) for cell in code) != 1:
            faults.append(f"{name}: not exactly one cell tagged `parameters`")
        if cells[0]["cell_type"] != "markdown":
            faults.append(f"{name}: does not open with its question")
    assert faults == []


def test_files_in_git_are_small():
    limit = {".safetensors": 5_000_000}
    assert [p.name for p in tracked() if p.stat().st_size > limit.get(p.suffix, 2_000_000)] == []


def test_no_path_of_one_machine_in_git():
    """Users' home folders, this checkout's own path, and addresses on a network."""
    private = re.compile(r"/home/\w|/Users/\w|/root/|[A-Z]:\\{1,2}Users\\|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b|"
                         + re.escape(str(ROOT) + os.sep))
    faults = []
    for path in tracked():
        if path.suffix in TEXT and path != Path(__file__).resolve():
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if private.search(line) and "image/png" not in line:
                    faults.append(f"{path.relative_to(ROOT)}:{number}: {private.search(line).group()}")
    assert faults == []


def test_one_version_stands_in_code_citation_and_project():
    import tomllib

    import yaml

    from spectrogram import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert project == citation == __version__
