"""Who does the work does not matter: this process, two local workers of which one is killed, a scheduler in another process; the same tables.
And Ctrl-C is clean."""
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest

import pipeline.parts
from pipeline import engine, local_workers, run_multi_file_pipeline
from pipeline.archive import Archive
from pipeline.engine import Cluster, plan
from pipeline.fingerprint import code_hash, deciding_modules
from pipeline.stretches import Stretch
from pipeline.tables import TABLES
from pipeline.worker import NoWorkers, model_ref, work
from tests.s3_server import s3_server
from tests.toy_faults import truncated, zero_bytes
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write

ROOT = Path(__file__).resolve().parents[1]
MB = 1_000_000


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """Recordings of three rates and lengths, one without a time, one truncated and one empty; and the tables of one process."""
    folder = tmp_path_factory.mktemp("season")
    for k, (rate, seconds) in enumerate([(8000, 7), (48000, 6), (96000, 6), (8000, 20)]):
        write(folder / "in" / f"6872.2207160{k}0000.wav", scene(seconds, rate, k), rate)
    write(folder / "in" / "undated.wav", scene(7, 8000, 5), 8000)
    truncated(folder / "in" / "6872.220716050000.wav")
    zero_bytes(folder / "in" / "6872.220716060000.wav")
    run_multi_file_pipeline(folder / "in", folder / "out", ToyModel(), workers=1, progress=False)
    return folder


def assert_same(out, other, tables=TABLES):
    for table in tables:
        pd.testing.assert_frame_equal(*(pd.read_parquet(Path(x) / f"{table}.parquet") for x in (out, other)), check_exact=True, obj=table)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a Dask scheduler in another process, with a worker in a third."""
    words = tmp_path_factory.mktemp("dask") / "words.txt"
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something",
                        "TMPDIR": str(words.parent)}
    with open(words, "w+") as file:
        options = {"env": env, "stdout": file, "stderr": subprocess.STDOUT, "cwd": words.parent}
        head = subprocess.Popen([sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], **options)
        try:
            while not (found := re.search(r"tcp://127\.0\.0\.1:\d+", words.read_text())):
                assert head.poll() is None, words.read_text()
                time.sleep(0.05)
            worker = subprocess.Popen([sys.executable, "-m", "dask", "worker", found.group(), "--no-nanny", "--nthreads", "2", "--no-dashboard"], **options)
            yield found.group()
            worker.kill()
            worker.wait()
        finally:
            head.kill()
            head.wait()


def test_a_scheduler_in_another_process_gives_the_same_tables_split_or_not(season, tmp_path, scheduler, monkeypatch):
    for out, split_s in (("out", None), ("split", 16)):
        run_multi_file_pipeline(season / "in", tmp_path / out, ToyModel(), scheduler=scheduler, progress=False, split_s=split_s)
        assert_same(tmp_path / out, season / "out")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")  # nothing to do: nobody is asked
    run_multi_file_pipeline(season / "in", tmp_path / "out", ToyModel(), progress=False)


def test_a_bucket_read_by_a_worker_elsewhere(season, tmp_path, scheduler, monkeypatch):
    """The worker fetches by itself, with the place's address from here and credentials of its own."""
    from distributed import Client

    with s3_server() as address:
        import s3fs

        fs = s3fs.S3FileSystem(endpoint_url=address, key="somebody", secret="something")
        fs.mkdir("season")
        fs.put(str(season / "in"), "season/in", recursive=True)
        monkeypatch.setenv("S3_ENDPOINT", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
        with Client(scheduler, set_as_default=False) as client:  # somebody's own client does as well
            run_multi_file_pipeline("s3://season/in", tmp_path / "out", ToyModel(), scheduler=client, progress=False)
            assert client.status == "running"
    assert_same(tmp_path / "out", season / "out", ("events", "windows", "levels"))


@pytest.mark.usefixtures("ctrl_c")
def test_two_local_workers_of_which_one_is_killed_and_then_ctrl_c(season, tmp_path, monkeypatch):
    """The killed worker is replaced and what it had is done again; Ctrl-C leaves no process and keeps what is finished, of the split recording too; another
    run ends it."""
    engines, came = [], []

    class Disturbed(Cluster):
        def parts(self, jobs):
            engines.append(self)
            for n, part in enumerate(part for part in super().parts(jobs) if part is not None):
                came.append(part.key)
                yield part
                if n == 0:
                    self.local.processes[0].kill()
                    self.local.processes[0].wait()
                    time.sleep(0.2)  # until it is time to look again, however quick the work is
                if n == 4:
                    signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pipeline.multi.Cluster", Disturbed)
    monkeypatch.setattr("pipeline.engine.LOOK_S", 0.1)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run_multi_file_pipeline(season / "in", tmp_path / "out", ToyModel(), workers=2, progress=False, split_s=16)
    kept = list((tmp_path / "out" / "parts").glob("*.zip"))
    split = [key for key in came if ".stretch-" in key]
    stretches = list((tmp_path / "out" / "parts" / "stretches").glob("*.zip"))
    assert len(came) == 5 and (len(kept), len(stretches)) == ((4, 0) if len(split) == 2 else (5 - len(split), len(split)))
    assert all(part.read_bytes() == (season / "out" / "parts" / part.name).read_bytes() for part in kept)
    assert not list((tmp_path / "out").rglob("*.tmp")) and not list((tmp_path / "out").rglob("*.lock"))
    assert engines[0].local.lost == 1 and not engines[0].local.folder.exists()
    assert set(psutil.Process().children(recursive=True)) <= before  # nobody is left

    run_multi_file_pipeline(season / "in", tmp_path / "out", ToyModel(), workers=1, progress=False)
    assert_same(tmp_path / "out", season / "out")


class HangsAt(ToyModel):
    """In the worker that loads it, this recording is never done, and nothing stops it."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def __setstate__(self, state):
        self.__dict__ = state
        single = pipeline.parts.run_pipeline_single_audio

        def hung(recording, *args, **kwargs):
            return time.sleep(600) if recording.name == self.name else single(recording, *args, **kwargs)

        pipeline.parts.run_pipeline_single_audio = hung


def test_a_worker_that_works_on_after_a_recordings_time_is_ended_and_another_does_the_rest(season, tmp_path, monkeypatch):
    engines, job = [], Archive.job

    class Noted(Cluster):
        def parts(self, jobs):
            engines.append((self, [process.pid for process in self.local.processes]))
            for part in super().parts(jobs):
                yield part
                if part is not None and part.stuck:
                    engines.append((self, [process.pid for process in self.local.processes]))
                    assert not psutil.pid_exists(part.stuck)

    monkeypatch.setattr("pipeline.multi.Cluster", Noted)
    bad = "6872.220716000000.wav"
    monkeypatch.setattr(Archive, "job", lambda self, source: replace(job(self, source), time_limit_s=1.0 if source.name == bad else float("inf")))
    effort = run_multi_file_pipeline(season / "in", tmp_path / "out", HangsAt(bad), workers=2, progress=False).set_index("recording")
    before, after = (set(pids) for _, pids in engines)
    assert len(before) == len(after) == 2 and len(before & after) == 1 and engines[0][0].local.lost == 0
    assert effort["status"][bad] == "failed" and "not done within 1 s" in effort["reason"][bad]
    whole = pd.read_parquet(season / "out" / "effort.parquet").set_index("recording")
    assert effort["status"].drop(bad).to_dict() == whole["status"].drop(bad).to_dict()


LOST = """
import sys
from pipeline import run_multi_file_pipeline
from pipeline.worker import NoWorkers
from tests.toy_model import ToyModel
import pipeline.engine

pipeline.engine.ANSWER_S = float(sys.argv[4])
try:
    run_multi_file_pipeline(sys.argv[1], sys.argv[2], ToyModel(), scheduler=sys.argv[3], progress=False)
except NoWorkers as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows stops no process")
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_scheduler_that_goes_is_said_in_one_line(how, tmp_path):
    """Nothing of what Dask says of it; what is finished is kept. One that only stands still is not waited for for ever."""
    for k in range(8):
        write(tmp_path / "in" / f"6872.2207160{k}0000.wav", scene(40, 8000, k), 8000)
    words, env = tmp_path / "words.txt", os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with open(words, "w+") as file:
        options = {"env": env, "stdout": file, "stderr": subprocess.STDOUT, "cwd": tmp_path}
        head = subprocess.Popen([sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], **options)
        processes = [head]
        try:
            while not (found := re.search(r"tcp://127\.0\.0\.1:\d+", words.read_text())):
                assert head.poll() is None, words.read_text()
                time.sleep(0.05)
            processes.append(subprocess.Popen([sys.executable, "-m", "dask", "worker", found.group(), "--no-nanny", "--nthreads", "1", "--no-dashboard"], **options))
            run = subprocess.Popen([sys.executable, "-c", LOST, tmp_path / "in", tmp_path / "out", found.group(), "300" if how == "killed" else "15"], env=env,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            processes.append(run)
            while not list((tmp_path / "out" / "parts").glob("*.zip")):
                assert run.poll() is None, run.stdout.read()
                time.sleep(0.01)
            head.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            said, _ = run.communicate(timeout=300)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert said.splitlines() == [f"{found.group()}: the scheduler was lost; run again: finished recordings are kept"]
    assert list((tmp_path / "out" / "parts").glob("*.zip"))


# ------------------------------------------------------------------------------------------------------------ without processes


@pytest.mark.parametrize("sizes, workers, expected", [
    ([], None, (1, 2)), ([9 * MB], None, (1, 2)), ([900 * MB], None, (1, 2)), ([1 * MB] * 5, None, (1, 2)), ([200 * MB] * 5, None, (2, 1)),
    ([1 * MB] * 5, 1, (1, 1)), ([1 * MB] * 5, 2, (2, 1)), ([1 * MB] * 5, 16, (5, 3)), ([1 * MB], 16, (1, 4)), ([-1] * 5, None, (1, 2)), ([1] * 100, 64, (64, 1)),
])
def test_how_many_processes_and_threads(sizes, workers, expected, monkeypatch):
    monkeypatch.setattr(engine, "sensible_workers", lambda: 2)
    assert plan(sizes, workers) == expected


def test_a_sensible_number_of_workers_fits_cores_and_memory(monkeypatch):
    monkeypatch.setattr(local_workers, "cores", lambda: 8)
    for gigabytes, expected in ((0.2, 1), (4, 2), (64, 8)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": gigabytes * 1e9}))
        assert local_workers.sensible_workers() == expected


def test_all_recordings_are_one_kind_of_work_to_dask():
    """Else it does not learn how long one takes, and equal workers get unequal shares."""
    from distributed.utils import key_split

    keys = ["site-north-calls.wav-1f2e3d4c", "6872.220716000000.wav-00000000"] * 50
    for stretch, kind in ((None, "recording"), (Stretch(0, 40, 60), "stretch")):
        names = [engine.task_name(SimpleNamespace(key=key, stretch=stretch)) for key in keys]
        assert {key_split(name) for name in names} == {kind} and len(set(names)) == 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no GNU C library: nothing to set")
def test_a_worker_keeps_freed_memory_though_dask_would_give_it_back():
    code = ("import resource, numpy\nfrom spectrogram.memory import keep_freed_memory\n"
            "def faults():\n"
            "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            "    for _ in range(100): numpy.ones(1 << 17)\n"  # a megabyte: 256 pages
            "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
            "print(faults()); keep_freed_memory(); print(faults())")
    env = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536", "PYTHONPATH": str(ROOT)}
    before, after = map(int, subprocess.check_output([sys.executable, "-c", code], env=env, text=True).split())
    assert before > 100 * 200 and after < 2 * 256 + 100


def test_no_scheduler_there(season, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CONNECT_S", 0.5)
    with pytest.raises(NoWorkers, match="tcp://127.0.0.1:9: no Dask scheduler answers"):
        run_multi_file_pipeline(season / "in", tmp_path / "out", ToyModel(), scheduler="tcp://127.0.0.1:9", progress=False)


def test_a_scheduler_without_workers(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(engine, "START_S", 0.3)
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1") as cluster:
        with pytest.raises(NoWorkers, match="no workers came within 0 s; start some with `dask worker tcp://"):
            with Cluster(model_ref(ToyModel(), ToyModel(), None, None), ToyModel().profile, scheduler=cluster.scheduler_address):
                pass


def test_a_worker_with_other_code_or_another_model_says_so(tmp_path):
    ref = model_ref(None, ToyModel(), None, "cpu")
    with pytest.raises(NoWorkers, match="another version of the project"):
        work(None, ref, "0" * 12)
    with pytest.raises(NoWorkers, match="has another model .* than this machine .toy."):
        work(None, ref, code_hash())


def test_a_loaded_model_that_cannot_be_sent_is_said_or_stays_here(season, tmp_path):
    model = ToyModel()
    model.lock = threading.Lock()  # no process can have this of another
    with pytest.raises(ValueError, match="model toy: a loaded model that cannot be sent to workers.*give its folder instead"):
        run_multi_file_pipeline(season / "in", tmp_path / "out", model, workers=2, progress=False)


def test_the_code_that_decides_results_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    import pipeline.fingerprint as fingerprint

    names = {path.relative_to(ROOT).as_posix() for path in deciding_modules()}
    assert {"pipeline/single.py", "pipeline/events.py", "spectrogram/stft.py", "ROI/regions.py", "training/saved.py", "training/model.py"} <= names
    assert not {name for name in names if "plots" in name or name.startswith(("tests", "bench"))} and "pipeline/multi.py" not in names

    def hashed(text):
        (tmp_path / "a.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
        monkeypatch.setattr(fingerprint, "STARTS", ("a",))
        fingerprint._code_hash.cache_clear()
        return code_hash()

    first = hashed("import os\n\ndef f(x):\n    return x + 1\n")
    assert first == hashed('"""What it is."""\nimport os  # why\n\ndef f(x: int) -> int:\n    """More."""\n    return (x\n        + 1)\n')
    assert len({first, hashed("import os\n\ndef f(x):\n    return x + 2\n"), hashed("import os\n\ndef f(x, y=0):\n    return x + 1\n")}) == 3
    fingerprint._code_hash.cache_clear()
