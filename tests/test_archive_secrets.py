"""What lets one in, names and passwords and signatures in addresses, is used and stands nowhere: not in tables, footers, names of files, or what is said."""

import base64
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

import pipeline.fetching
from pipeline import run_multi_file_pipeline
from pipeline.__main__ import main
from pipeline.sources import find_recordings, list_recordings
from pipeline.watch import Watch
from preprocessing.acquire import acquire
from spectrogram.addresses import parted, untold
from tests.toy_model import ToyModel
from tests.toy_sound import NAME, scene, write

SECRETS = ("hunter2word", "SIGNED/+=1", "TOPSECRET")
OTHER = "6872.220716030000.wav"


class Guarded(BaseHTTPRequestHandler):
    """/word/ asks for name and password, /signed/ for another signature of each file, /token/ for one of all; what is not allowed, or breaks, says all it was asked for."""

    def do_GET(self):
        parts = urlsplit(self.path)
        query, (_, guard, *rest) = parse_qs(parts.query), parts.path.split("/")
        said = base64.b64decode(
            (self.headers.get("Authorization") or "Basic ").split(" ")[1]
        ).decode()
        allowed = {
            "word": said == "lab:hunter2word",
            "token": query.get("token") == ["TOPSECRET"],
            "signed": rest == [""] or query.get("X-Amz-Signature") == ["SIGNED/+=1"],
        }[guard]
        links = [NAME, OTHER, "6872.220716040000.wav"]
        sign = "?X-Amz-Expires=60&X-Amz-Signature=SIGNED%2F%2B%3D1" if guard == "signed" else ""
        if not allowed or rest[-1] == links[2]:
            return self.answer(500 if allowed else 401, f"no: {self.path} {said}".encode())
        if rest == [""]:
            return self.answer(
                200,
                "".join(f'<a href="{link}{sign}">x</a>' for link in links).encode(),
                "text/html",
            )
        self.answer(200, self.server.sound if rest == [NAME] else b"", "audio/wav")

    do_HEAD = do_GET

    def answer(self, code, body, kind="text/plain"):
        self.send_response(
            code, f"asked by {self.headers.get('Authorization')} for {self.path}"
        )  # as some servers echo it
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    server.sound = write(tmp_path_factory.mktemp("sound") / NAME, scene(6, 8000), 8000).read_bytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pipeline.fetching, "PAUSE_S", 0.01)


def told(folder: Path) -> str:
    """All that stands in a folder: names, contents, contents of archives and their comments, columns of tables."""
    words = []
    for path in folder.rglob("*"):
        words.append(str(path.relative_to(folder)))
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                words += [
                    repr(archive.comment),
                    *(repr(archive.read(name)) for name in archive.namelist()),
                ]
        elif path.suffix == ".parquet":
            words += [pd.read_parquet(path).to_csv(), path.read_bytes().decode("latin-1")]
        elif path.is_file():
            words.append(path.read_bytes().decode("latin-1"))
    return "\n".join(words)


def assert_untold(*texts: str) -> None:
    for secret in SECRETS:
        for form in (
            secret,
            base64.b64encode(f"lab:{secret}".encode()).decode(),
            "SIGNED%2F",
            "Signature=S",
        ):
            assert not any(form in text for text in texts), form


ADDRESSES = [
    "http://lab:hunter2word@{}/word/",
    "http://{}/signed/",
    "http://{}/token/?token=TOPSECRET",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_guarded_web_folder_is_done_and_its_secrets_stand_nowhere(address, web, tmp_path, capsys):
    summary = run_multi_file_pipeline(
        address.format(web), tmp_path / "out", ToyModel(), workers=1, progress=False, csv=True
    )
    assert dict(zip(summary["recording"], summary["status"])) == {
        NAME: "ok",
        OTHER: "failed",
        "6872.220716040000.wav": "failed",
    }
    effort = pd.read_parquet(tmp_path / "out" / "effort.parquet").set_index("recording")
    assert (
        effort["reason"][OTHER].endswith("leave it out")
        and "500" in effort["reason"]["6872.220716040000.wav"]
    )
    said = capsys.readouterr()
    assert OTHER in said.out and OTHER in told(tmp_path / "out")
    assert_untold(said.out, said.err, told(tmp_path / "out"))
    again = run_multi_file_pipeline(
        address.format(web), tmp_path / "out", ToyModel(), workers=1, progress=False
    )
    pd.testing.assert_frame_equal(again, summary)


def test_one_recording_by_its_signed_address_is_known_by_host_and_path_whatever_signs_it(
    web, tmp_path, monkeypatch
):
    address = f"http://{web}/signed/{NAME}?X-Amz-Expires=60&X-Amz-Signature=SIGNED%2F%2B%3D1"
    summary = run_multi_file_pipeline(
        address, tmp_path / "out", ToyModel(), workers=1, progress=False, csv=True
    )
    assert summary["recording"].tolist() == [NAME] and summary["status"].tolist() == ["ok"]
    assert_untold(told(tmp_path / "out"))
    monkeypatch.setattr(
        "pipeline.parts.run_pipeline_single_audio", lambda *a, **k: pytest.fail("done twice")
    )
    run_multi_file_pipeline(
        address.replace("=60", "=90"), tmp_path / "out", ToyModel(), workers=1, progress=False
    )


def test_a_worker_gets_the_credentials_and_tells_them_nobody(web, tmp_path, capsys):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        summary = run_multi_file_pipeline(
            ADDRESSES[0].format(web),
            tmp_path / "out",
            ToyModel(),
            scheduler=cluster.scheduler_address,
            progress=False,
        )
    assert (summary["status"] == "ok").sum() == 1
    assert_untold(told(tmp_path / "out"), *capsys.readouterr())


@pytest.mark.parametrize(
    "address",
    [
        "http://lab:hunter2word@127.0.0.1:9/2022/?token=TOPSECRET",
        "http://lab:hunter2word@127.0.0.1:9/a.wav?X-Amz-Signature=SIGNED/+=1",
        "http://lab:hunter2word@{}/token/?token=other",
        "nosuch://lab:hunter2word@place/x",
        "http://lab:hunter2word@[bad/x?token=TOPSECRET",
        "s3://AKIA:hunter2word@bucket-that-is-not/x",
        "/nowhere/http://lab:hunter2word@host/x?token=TOPSECRET",
    ],
)
def test_what_is_wrong_with_an_address_is_said_without_its_secrets(
    address, web, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    assert main([address.format(web), str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and len(said.err) > 20
    assert_untold(said.out, said.err)


def test_acquired_clips_tell_no_secret(web, tmp_path, capsys):
    marks = pd.DataFrame(
        {"recording": [NAME, OTHER, "none.wav"], "label": "Whistle", "start_s": 1.0, "end_s": 1.6}
    )
    got = acquire(ADDRESSES[0].format(web), marks, tmp_path / "clips", noise=None, progress=False)
    assert len(got.clips) == 1 and len(got.faults) >= 2
    assert_untold(told(tmp_path / "clips"), *got.faults, got.clips.to_csv(), *capsys.readouterr())


def test_a_source_shows_no_secret(web):
    for address in ADDRESSES:
        assert_untold(repr(find_recordings(address.format(web))))


@pytest.mark.parametrize(
    "address, where, options",
    [
        ("https://host/a b/x.wav", "https://host/a b/x.wav", {}),
        (
            "https://lab:a%40b@host:8443/x/",
            "https://host:8443/x/",
            {"headers": {"Authorization": "Basic " + base64.b64encode(b"lab:a@b").decode()}},
        ),
        ("https://host/x.wav?a=1&b=#there", "https://host/x.wav", {"params": {"a": "1", "b": ""}}),
        ("s3://bucket/what?.wav", "s3://bucket/what?.wav", {}),
        ("s3://bucket/a:b@c.wav", "s3://bucket/a:b@c.wav", {}),
        ("s3://AKIA:s/e+c@bucket/x", "s3://bucket/x", {"key": "AKIA", "secret": "s/e+c"}),
        ("ftp://lab:word@host/x", "ftp://host/x", {"username": "lab", "password": "word"}),
        ("abfs://container@account.net/x", "abfs://container@account.net/x", {}),
    ],
)
def test_an_address_is_parted_from_what_lets_one_in(address, where, options):
    place = parted(address)
    assert (place.where, place.options) == (where, options) and (
        not options or str(options) not in repr(place)
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("404, url='https://lab:w@host/a.wav?x=1'", "404, url='https://host/a.wav'"),
        ("(/a.wav?token=abc&x=1)", "(/a.wav?token=…&x=1)"),
        ("https://host/a.wav#part and s3://b/what?.wav", "https://host/a.wav and s3://b/what?.wav"),
        ("a@b: no such file C:\\x?", "a@b: no such file C:\\x?"),
    ],
)
def test_a_text_is_told_without_secrets(text, expected):
    assert untold(text) == expected


def test_what_names_a_file_in_a_query_is_no_secret_and_stays_in_what_is_said():
    parted("https://host/get?file=6872.220716021453.wav&access_key=0123456789")
    assert (
        untold("6872.220716021453.wav: zero bytes; 0123456789")
        == "6872.220716021453.wav: zero bytes; …"
    )


def test_a_recording_that_cannot_be_listed_any_more_while_watching_is_said_without_secrets(
    web, capsys
):
    address = "http://lab:hunter2word@127.0.0.1:9/?token=TOPSECRET"
    assert Watch(address, None, None)._list() == []
    said = capsys.readouterr().out
    assert "trying again" in said
    assert_untold(said)
    assert len(list_recordings(ADDRESSES[1].format(web))) == 3


@pytest.mark.parametrize("address", ["https://lab:hunter2/word@host/a.wav", "https://lab:hunter2#word@host/", "https://lab:hunter2?word@host/a/"])
def test_a_password_with_a_slash_is_refused_untold_and_no_port_is_one(address, tmp_path, capsys):
    assert main([address, str(tmp_path / "out"), "--log", str(tmp_path / "log.txt")]) == 2
    said = capsys.readouterr()
    for text in (said.out, said.err, (tmp_path / "log.txt").read_text(encoding="utf-8"), untold(f"refused: '{address}'")):
        assert "hunter" not in text and "word@" not in text
    assert "write them as %2F, %3F and %23" in said.err
    assert untold("s3://KEY1:hunter2/word@bucket/a") == "s3://bucket/a"
    for plain in ("https://host:8080/a@b.wav", "https://[::1]:80/a@b.wav", "s3://arn:aws:s3:us:1:accesspoint/ap/key@x"):
        assert untold(plain) == plain and parted(plain).where == plain
