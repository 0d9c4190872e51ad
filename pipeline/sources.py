"""Where recordings lie: a folder, a bucket (s3://…) or a web server (http://…), by fsspec.

`.env` names an object store that is not Amazon's (S3_ENDPOINT) and says whether to go there without credentials
(S3_ANONYMOUS); credentials are found as always (AWS_ACCESS_KEY_ID, a profile, a role).
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.progress import say
from spectrogram.recording import EXTENSIONS

LOOKS_AT_ONCE = 16  # a web server tells sizes one by one
GONE = "gone"       # the state of a file that is not there


class NothingFound(FileNotFoundError):
    """No recordings where they were looked for."""


@dataclass(frozen=True)
class Source:
    """A recording where it lies.

    name : how the tables call it: its path below the input, with /. where : path or URL. size : bytes. changed : what another state of the
    file would have another of: time of change in ns, or the ETag of an object. log : the SoundTrap's `.log.xml` beside it.
    """

    name: str
    where: str
    size: int
    changed: str
    log: "Source | None" = None
    options: dict = field(default_factory=dict, repr=False)  # of the file system

    @property
    def remote(self) -> bool:
        return is_remote(self.where)

    @property
    def changed_since(self) -> bool:
        """Whether the file has become another, or vanished, since it was listed; of a remote one nobody asks."""
        return not self.remote and state_of(Path(self.where)) != (self.size, self.changed)

    @property
    def vanished(self) -> bool:
        """Whether the file is no longer there; of a remote one nobody asks."""
        return not self.remote and state_of(Path(self.where))[1] == GONE


def is_remote(where: str | Path) -> bool:
    """True for an URL, but for that of a local file (a drive on Windows is no protocol)."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(where))) and not str(where).startswith("file://")


def find_recordings(where: str | Path) -> list[Source]:
    """Sound files below a folder, bucket or web address, at any depth, in order of their path; or the one file given.

    Raises
    ------
    NothingFound
        "0 recordings found in ..."; also where the folder does not exist.
    OSError
        where a remote place cannot be listed.
    """
    found = list_recordings(where)
    if not found:
        raise NothingFound(f"0 recordings found in {where}: looked for {', '.join(EXTENSIONS)} at any depth")
    return found


def list_recordings(where: str | Path) -> list[Source]:
    """`find_recordings`, which may find none."""
    if is_remote(where):
        return _remote(str(where))
    path = Path(unquote(urlsplit(str(where)).path)) if str(where).startswith("file://") else Path(where)
    if path.is_file():
        return [_local(path, path.name, {p.name for p in path.parent.iterdir()})]
    if not path.is_dir():
        raise NothingFound(f"{path}: no such file or folder")
    found = ((Path(folder) / file, names) for folder, names in _walk(path) for file in names if Path(file).suffix.lower() in EXTENSIONS)
    return [_local(file, file.relative_to(path).as_posix(), names) for file, names in sorted(found, key=lambda pair: pair[0])]


def _walk(folder: Path) -> Iterator[tuple[str, set[str]]]:
    def refuse(error: OSError):
        say(f"{error.filename}: folder cannot be read ({error.strerror}); check its permissions")

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield where, {f for f in files if not f.startswith(".")}


def _local(path: Path, name: str, beside: set[str]) -> Source:
    log = next((path.with_suffix(x) for x in (".log.xml", ".xml") if path.with_suffix(x).name in beside), None)
    return Source(name, str(path), *state_of(path), log=log and Source(log.name, str(log), *state_of(log)))


def state_of(path: Path) -> tuple[int, str]:
    """(size, changed) of a file as `Source` has them; (0, "gone") where there is none (whoever opens it will say so)."""
    try:
        found = path.stat()
    except OSError:
        return 0, GONE
    return found.st_size, str(found.st_mtime_ns)


# ------------------------------------------------------------------------------------------------------------ remote


def storage_options(where: str) -> dict:
    """What `.env` says of the place."""
    if not where.startswith("s3://"):
        return {}
    return {"anon": (os.environ.get("S3_ANONYMOUS") or "").strip().lower() in ("1", "true", "yes"), "endpoint_url": os.environ.get("S3_ENDPOINT") or None,
            "config_kwargs": {"connect_timeout": 10, "retries": {"max_attempts": 2}}}


def file_system(where: str, options: dict):
    """(fsspec file system, path in it) of an URL. ValueError where no installed library speaks its protocol."""
    import fsspec

    if where.startswith("s3://"):
        import s3fs  # noqa: F401  (fsspec would look for it by its name)
    try:
        return fsspec.core.url_to_fs(where, use_listings_cache=False, **options)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{where}: {error}; give a folder, or an address that begins with s3:// or https://") from None


def _remote(where: str) -> list[Source]:
    options = storage_options(where)
    fs, root = file_system(where, options)
    try:
        if Path(urlsplit(where).path).suffix.lower() in EXTENSIONS and fs.isfile(root):
            found, root = {root: fs.info(root)} | _log_beside(fs, root), root.rsplit("/", 1)[0]
        else:
            found = fs.find(root, detail=True)
        found = {path: info for path, info in found.items() if info.get("type", "file") == "file"}
        wanted = sorted(path for path in found if _suffix(path) in EXTENSIONS)
        logs = {log: path for path in wanted for end in (".xml", ".log.xml") if (log := path.removesuffix(_ending(path)) + end) in found}
        asked = [path for path in (*wanted, *logs) if found[path].get("size") is None]  # a web page names files and no more
        found |= dict(zip(asked, _look(fs, asked)))
    except Exception as error:  # each protocol has its own
        raise OSError(f"{where}: cannot be listed ({words(error)}); check the address, the connection and, for an object store, S3_ENDPOINT, "
                      "S3_ANONYMOUS and the credentials") from None

    def source(path: str, log: str | None = None) -> Source:
        info, name = found[path], path[len(root):].lstrip("/")
        changed = next((str(info[key]) for key in ("ETag", "Last-Modified", "LastModified", "mtime", "created") if info.get(key)), "")
        size = info.get("size")
        return Source(unquote(name) if path.startswith("http") else name, fs.unstrip_protocol(path), -1 if size is None else size, changed,
                      source(log) if log else None, options)

    log_of = {path: log for log, path in logs.items()}
    return [source(path, log_of.get(path)) for path in wanted]


def _log_beside(fs, path: str) -> dict[str, dict]:
    """The log of a single recording, as {path: what is known of it}."""
    for end in (".log.xml", ".xml"):
        log = path.removesuffix(_ending(path)) + end
        try:
            return {log: fs.info(log)}
        except (FileNotFoundError, PermissionError):
            continue
    return {}


def _ending(path: str) -> str:
    """".WAV" of "a/b.WAV", also of "a/b.WAV?signature=…"."""
    return os.path.splitext(path)[1]


def _suffix(path: str) -> str:
    return _ending(path.split("?")[0] if path.startswith("http") else path).lower()


def _look(fs, paths: list[str]) -> list[dict]:
    """What the server says of each file."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        return list(pool.map(fs.info, paths))


def words(error: Exception) -> str:
    """An error in one line, without a page of markup."""
    return re.sub(r"\s+", " ", str(error) or type(error).__name__)[:200]
