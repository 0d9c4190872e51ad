"""A server on this machine that speaks the S3 protocol, for tests: moto's, made of flask."""
from __future__ import annotations

from contextlib import contextmanager
from urllib.request import Request, urlopen

import flask  # noqa: F401  (what moto's server is made of; requirements.txt names it, because moto alone does not bring it)
import flask_cors  # noqa: F401
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server():
    """Yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()  # what an earlier server in this process held
        yield address
    finally:
        server.stop()
