"""Addresses of recordings elsewhere (s3://…, https://…), and what must not be told of them.

An address may hold what lets one in: a name and a password (https://lab:word@host/), a token or a signature
(?X-Amz-Signature=…). They are taken out where an address enters (`parted`) and handed to the file system apart from
it; what identifies a recording, in tables, names of files and errors, is protocol, host and path. Whatever is told
passes through `untold`, because libraries put addresses into their errors.

`.env` names an object store that is not Amazon's (S3_ENDPOINT) and says whether to go there without credentials
(S3_ANONYMOUS); credentials are found as always (AWS_ACCESS_KEY_ID, a profile, a role).
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

CONNECT_S, SILENCE_S = 20.0, 60.0  # a web server that does not answer, or falls silent, is given up
LONG_ENOUGH = 6  # characters of a secret; shorter ones would be found in any text

_S3_KEYS = re.compile(r"^s3://(?!arn:)(?P<key>[^/:@]+):(?P<secret>[^@]+)@")
_USER = re.compile(r"([A-Za-z][\w+.-]*://)[^\s/@:]*:[^\s/]*@|(https?://)[^\s/@]+@")
_SLASHED = re.compile(  # a password that holds a slash, as keys of stores do; a port is none
    r"((?:https?|ftp|sftp)://|s3://(?!arn:))[^\s/@:\[]*:(?!\d+(?:[/?#]|$))[^\s@'\"<>]*@", re.IGNORECASE
)
_QUERY = re.compile(r"(https?://[^\s?#'\"<>]*)[?#][^\s'\"<>)]*")
_PARAMETER = re.compile(
    r"\b((?:access_?)?token|sig(?:nature)?|x-(?:amz|goog)-[\w-]+|awsaccesskeyid|pass(?:word|wd)?|api_?key|secret)=[^&\s'\"<>)]+",
    re.IGNORECASE,
)
_TELLING = re.compile(
    "tok|sig|key|pass|secret|cred|auth|code", re.IGNORECASE
)  # parameters that let one in; others may be a file's name
_secrets: set[str] = set()  # that this process took out of addresses


@dataclass(frozen=True)
class Place:
    """An address that tells no secret, and the secrets, as options of its file system."""

    where: str
    options: dict = field(default_factory=dict, repr=False)


def is_remote(where: str | Path) -> bool:
    """True for an URL, but for that of a local file (a drive on Windows is no protocol)."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(where))) and not str(where).startswith(
        "file://"
    )


def parted(address: str) -> Place:
    """The address without name, password and query.

    >>> parted("https://lab:word@host/2022/a.wav?token=abc").where
    'https://host/2022/a.wav'

    Raises
    ------
    ValueError
        for what is no address. Its text tells no secret.
    """
    if address.startswith("s3://"):
        keys = _S3_KEYS.match(address)
        if keys is None:
            return Place(address)
        return _place(
            "s3://" + address[keys.end() :], {"key": keys["key"], "secret": keys["secret"]}
        )
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ValueError(
            f"{untold(address)}: no address ({error}); give one such as https://host/folder/"
        ) from None
    if _SLASHED.match(address) and "@" not in parts.netloc:
        raise ValueError(
            f"{untold(address)}: no address: its name or password holds / ? or #; write them as %2F, %3F and %23"
        )
    user, _, host = parts.netloc.rpartition("@")
    name, colon, word = (unquote(text) for text in user.partition(":"))
    if parts.scheme not in ("http", "https"):
        if not colon:  # abfs://container@account/…
            return Place(address)
        return _place(address.replace(f"{user}@", "", 1), {"username": name, "password": word})
    options = {}
    if user:
        options["headers"] = {
            "Authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()
        }
    if parts.query:
        options["params"] = dict(parse_qsl(parts.query, keep_blank_values=True))
    return _place(f"{parts.scheme}://{host}{parts.path}", options)


def _place(where: str, options: dict) -> Place:
    _remember(options)
    return Place(where, options)


def untold(text: str) -> str:
    """The text without what lets one in: names, passwords and queries of the addresses in it.

    >>> untold("404 for url 'http://lab:word@host/a.wav?token=abc'")
    "404 for url 'http://host/a.wav'"
    """
    text = _USER.sub(lambda found: found[1] or found[2], text)
    text = _SLASHED.sub(r"\1", text)
    text = _PARAMETER.sub(r"\1=…", _QUERY.sub(r"\1", text))
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _remember(options: dict) -> None:
    """Keep the secrets of a file system's options from being told."""
    basic = options.get("headers", {}).get("Authorization", "").removeprefix("Basic ")
    secrets = {
        basic,
        base64.b64decode(basic).decode().partition(":")[2],
        options.get("secret", ""),
        options.get("password", ""),
    }
    secrets |= {value for name, value in options.get("params", {}).items() if _TELLING.search(name)}
    _secrets.update(secret for secret in secrets if len(secret) >= LONG_ENOUGH)


def one_line(error: Exception) -> str:
    """What a library says, in one line, without a page of markup and without secrets; what it calls the fault, where it says no more than where."""
    text = untold(re.sub(r"\s+", " ", str(error)))
    return (text if " " in text else f"{type(error).__name__} {text}".strip())[:200]


def storage_options(where: str) -> dict:
    """What `.env` says of the place."""
    if not where.startswith("s3://"):
        return {}
    return {
        "anon": (os.environ.get("S3_ANONYMOUS") or "").strip().lower() in ("1", "true", "yes"),
        "endpoint_url": os.environ.get("S3_ENDPOINT") or None,
        "config_kwargs": {"connect_timeout": 10, "retries": {"max_attempts": 2}},
    }


def file_system(where: str, options: dict):
    """(fsspec file system, path in it) of an address without secrets; `options`: of `parted` and `storage_options`.

    Raises
    ------
    ValueError
        where no installed library speaks the protocol.
    """
    import fsspec

    _remember(options)  # on a worker as well
    protocol = where.split("://", 1)[0]
    if protocol == "s3":
        import s3fs  # noqa: F401  (fsspec would look for it by its name)
    elif protocol in ("http", "https"):
        import aiohttp

        patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        options = options | {"client_kwargs": {"timeout": patience}}
    try:
        kind = fsspec.get_filesystem_class(
            protocol
        )  # not url_to_fs, to which :: in a key is a chain of file systems
        fs = kind(**{"use_listings_cache": False, **kind._get_kwargs_from_urls(where), **options})
        return fs, fs._strip_protocol(where)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{untold(where)}: {one_line(error)}; give a folder, or an address that begins with s3:// or https://"
        ) from None
