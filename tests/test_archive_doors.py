"""No door is open: whoever reaches a worker's port could run code in it, so none can be reached but by us."""

import asyncio
import os
import re

import psutil
import pytest
from distributed import Security
from distributed.core import rpc
from distributed.protocol.pickle import dumps

from pipeline import engine, run_multi_file_pipeline
from pipeline.engine import Cluster, in_the_open
from pipeline.worker import NoWorkers
from tests.toy_model import ToyModel
from tests.toy_sound import scene, write


def ran(dask_worker=None):
    return "code of a stranger ran"


def answer(address: str, security: Security | None) -> str:
    """What a worker answers to somebody who asks it to run code, with this certificate."""

    async def ask():
        arguments = (
            {} if security is None else {"connection_args": security.get_connection_args("client")}
        )
        async with rpc(address, timeout=5, **arguments) as worker:
            return (await worker.run(function=dumps(ran), args=dumps(()), kwargs=dumps({})))[
                "result"
            ]

    try:
        return asyncio.run(asyncio.wait_for(ask(), 10))
    except Exception as error:
        return f"refused: {type(error).__name__}"


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Listening sockets of a run with two workers and of the workers, and what the workers answered to strangers and to us."""
    folder, seen = tmp_path_factory.mktemp("doors"), {}
    for k in range(3):
        write(folder / "in" / f"6872.2207160{k}0000.wav", scene(6, 8000, k), 8000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "in" / "pipe.wav")  # beside all else: nobody waits for it

    class Watched(Cluster):
        def parts(self, jobs):
            this = psutil.Process()
            family = [this, *this.children(recursive=True)]
            seen["sockets"] = [
                entry.laddr
                for process in family
                for entry in process.net_connections("inet")
                if entry.status == psutil.CONN_LISTEN
            ]
            seen["workers"] = list(self.client.scheduler_info()["workers"])
            for address in seen["workers"]:
                seen["plain"] = answer(address.replace("tls://", "tcp://"), None)
                seen["other certificate"] = answer(address, Security.temporary())
                seen["ours"] = answer(address, self.local.security)
            seen["readable"] = [
                path.name for path in self.local.folder.glob("*.pem") if path.stat().st_mode & 0o077
            ]
            seen["commands"] = [
                " ".join(process.cmdline()) + str(process.environ()) for process in family[1:]
            ]
            yield from super().parts(jobs)

    patch = pytest.MonkeyPatch()
    patch.setattr("pipeline.multi.Cluster", Watched)
    before = {
        entry.laddr
        for entry in psutil.Process().net_connections("inet")
        if entry.status == psutil.CONN_LISTEN
    }
    summary = run_multi_file_pipeline(
        folder / "in", folder / "out", ToyModel(), workers=2, progress=False
    )
    patch.undo()
    seen["sockets"] = [address for address in seen["sockets"] if address not in before]
    assert (
        summary.set_index("recording")["status"].drop("pipe.wav", errors="ignore").tolist()
        == ["ok"] * 3
    )
    return seen


def test_a_run_with_two_workers_listens_to_this_machine_alone(seen):
    assert {address.ip for address in seen["sockets"]} == {"127.0.0.1"}


def test_there_is_one_port_for_the_scheduler_and_for_each_worker_and_none_for_http(seen):
    assert len(seen["workers"]) == 2 and len(seen["sockets"]) == 3
    assert all(re.fullmatch(r"tls://127\.0\.0\.1:\d+", address) for address in seen["workers"])


def test_a_worker_runs_nothing_for_who_has_not_this_runs_certificate(seen):
    assert seen["ours"] == "code of a stranger ran"  # the question is one that a worker answers
    assert seen["plain"].startswith("refused") and seen["other certificate"].startswith("refused")


def test_the_key_is_readable_by_nobody_else_and_in_no_command(seen):
    assert (
        seen["readable"] == []
        and len(seen["commands"]) == 2
        and not any("PRIVATE KEY" in command for command in seen["commands"])
    )


@pytest.mark.parametrize(
    "address, expected",
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("inproc://203.0.113.2/1/1", False),
        ("tls://203.0.113.7:8786", False),
        ("tcp://203.0.113.7:8786", True),
        ("tcp://[2001:db8::7]:8786", True),
        ("tcp://no-such-host.invalid:8786", True),
    ],
)
def test_which_schedulers_are_in_the_open(address, expected):
    assert in_the_open(address) == expected


def test_a_scheduler_in_the_open_is_said_and_one_with_tls_needs_a_certificate(
    tmp_path, monkeypatch, capsys
):
    from distributed import LocalCluster

    write(tmp_path / "in" / "6872.220716000000.wav", scene(6, 8000), 8000)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        protocol="tcp",
        host="127.0.0.1",
    ) as cluster:
        for elsewhere in (False, True):
            monkeypatch.setattr(engine, "in_the_open", lambda address: elsewhere)
            run_multi_file_pipeline(
                tmp_path / "in",
                tmp_path / "out",
                ToyModel(),
                scheduler=cluster.scheduler_address,
                progress=False,
                again=True,
            )
            assert ("speaks without encryption" in capsys.readouterr().out) == elsewhere
    with pytest.raises(
        NoWorkers, match="tls://127.0.0.1:9: .*DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
    ):
        run_multi_file_pipeline(
            tmp_path / "in",
            tmp_path / "out",
            ToyModel(),
            scheduler="tls://127.0.0.1:9",
            progress=False,
            again=True,
        )
