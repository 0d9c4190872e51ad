"""Where recordings lie: a folder, a bucket (s3://…) or a web server (http://…), by fsspec.

Whatever lets one in is taken out of an address before anything else is done with it (`spectrogram.addresses`).
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.progress import say
from pipeline.time_limit import LOOK_AT_MOST_S, within
from spectrogram.addresses import file_system, is_remote, one_line, parted, storage_options, untold
from spectrogram.header import comments_of
from spectrogram.metadata import OwnWord, own_word
from spectrogram.packed import packed_beside, packed_line
from spectrogram.recording import EXTENSIONS
from spectrogram.stores import files_below, look_at, name_below, without_query

LOG_BYTES = 16 << 20  # a SoundTrap's log takes some kilobytes; what is larger is none
GONE = "gone"         # the state of a file that is not there


class NothingFound(FileNotFoundError):
    """No recordings where they were looked for."""


@dataclass(frozen=True)
class Source:
    """A recording where it lies.

    name : how the tables call it: its path below the input, with /. where : path, or address without secrets. size : bytes (-1: not
    known). changed : what another state of the file would have another of: time of change in ns, or the ETag of an object. log : the
    SoundTrap's `.log.xml` beside it. link : the address it is fetched from, where a signature makes that another one.
    """

    name: str
    where: str
    size: int
    changed: str
    log: "Source | None" = None
    options: dict = field(default_factory=dict, repr=False)  # of the file system, credentials among them
    link: str = field(default="", repr=False)

    @property
    def remote(self) -> bool:
        return is_remote(self.where)

    @property
    def folder(self) -> str:
        """The folder below the input that the recording lies in, or else the input's own name."""
        path = self.name if "/" in self.name else self.where.replace(os.sep, "/")
        return path.rpartition("/")[0] if "/" in self.name else path.rpartition("/")[0].rpartition("/")[2]

    @property
    def changed_since(self) -> bool:
        """Whether the file has become another, or vanished, since it was listed; of a remote one nobody asks."""
        return not self.remote and state_of(Path(self.where)) != (self.size, self.changed)

    @property
    def vanished(self) -> bool:
        """Whether the file is no longer there; of a remote one nobody asks."""
        return not self.remote and state_of(Path(self.where))[1] == GONE


def own_word_of(path: Path) -> OwnWord:
    """What a recording which lies here says of itself."""
    if not path.is_file():
        return OwnWord()
    try:
        return within(LOOK_AT_MOST_S, lambda: own_word(comments_of(path)))
    except Exception:  # whoever opens it will say so
        return OwnWord()


def find_recordings(where: str | Path) -> list[Source]:
    """Sound files below a folder, bucket or web address, at any depth, in order of their path; or the one file given.

    Raises
    ------
    NothingFound
        "0 recordings found in ..."; also where the folder does not exist.
    OSError
        where a remote place cannot be listed.
    """
    packed: list[str] = []
    found = list_recordings(where, packed)
    line = packed_line(packed)
    if not found:
        raise NothingFound(untold(f"0 recordings found in {where}: " + (line or f"looked for {', '.join(EXTENSIONS)} at any depth")))
    if line:
        say(f"{where}: {line}")
    return found


def list_recordings(where: str | Path, packed: list[str] | None = None) -> list[Source]:
    """`find_recordings`, which may find none. `packed` : takes the names of files that have to be unpacked first."""
    packed = [] if packed is None else packed
    if is_remote(where):
        return _remote(str(where), packed)
    path = Path(unquote(urlsplit(str(where)).path)) if str(where).startswith("file://") else Path(where)
    if path.is_file():
        packed += packed_beside([path.name])
        return [] if packed else [_local(path, path.name, {p.name for p in path.parent.iterdir()})]
    if not path.is_dir():
        fault = "neither a file nor a folder; give one of them" if path.exists() else "no such file or folder"
        raise NothingFound(untold(f"{path}: {fault}"))
    found = []
    for folder, names in _walk(path):
        packed += packed_beside(names)
        found += [(Path(folder) / file, names) for file in names if Path(file).suffix.lower() in EXTENSIONS]
    return [_local(file, file.relative_to(path).as_posix(), names) for file, names in sorted(found, key=lambda pair: pair[0])]


def _walk(folder: Path) -> Iterator[tuple[str, set[str]]]:
    def refuse(error: OSError):
        say(f"{error.filename}: folder cannot be read ({error.strerror}); check its permissions")

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield where, {f for f in files if not f.startswith(".")}


def _local(path: Path, name: str, beside: set[str]) -> Source:
    log = next((path.with_suffix(x) for x in (".log.xml", ".xml") if path.with_suffix(x).name in beside), None)
    log = log and Source(log.name, str(log), *state_of(log))
    return Source(name, str(path), *state_of(path), log=log if log and log.size <= LOG_BYTES else None)


def state_of(path: Path) -> tuple[int, str]:
    """(size, changed) of a file as `Source` has them; (0, "gone") where there is none (whoever opens it will say so)."""
    try:
        found = path.stat()
    except OSError:
        return 0, GONE
    return found.st_size, str(found.st_mtime_ns)


# ------------------------------------------------------------------------------------------------------------ remote


def _remote(address: str, packed: list[str]) -> list[Source]:
    place = parted(address)
    where, options = place.where, storage_options(place.where) | place.options
    fs, root = file_system(where, options)
    try:
        if _suffix(root) in EXTENSIONS and fs.isfile(root):
            found = {name_below(root.rsplit("/", 1)[0], path): (path, info) for path, info in ({root: fs.info(root)} | _log_beside(fs, root)).items()}
        else:
            found = files_below(fs, root, say)
        wanted = [name for name in found if _suffix(name) in EXTENSIONS]
        packed += packed_beside(found)
        log_of = {name: log for name in wanted for end in (".xml", ".log.xml") if (log := _stem(name) + end) in found}
        asked = {name: found[name][0] for name in (*wanted, *log_of.values()) if found[name][1].get("size") is None}
        found |= {name: (path, info) for (name, path), info in zip(asked.items(), look_at(fs, asked.values()))}
    except Exception as error:  # each protocol has its own
        raise OSError(f"{where}: cannot be listed ({one_line(error)}); check the address, the connection and, for an object store, S3_ENDPOINT, "
                      "S3_ANONYMOUS and the credentials") from None

    def source(name: str, log: str | None = None) -> Source:
        path, info = found[name]
        changed = next((str(info[key]) for key in ("ETag", "Last-Modified", "LastModified", "mtime", "created") if info.get(key)), "")
        size = info.get("size")
        link = fs.unstrip_protocol(path)
        plain = without_query(link)
        return Source(name, plain, -1 if size is None else size, changed, source(log) if log else None, options, link if link != plain else "")

    logs = {name: log for name, log in log_of.items() if (found[log][1].get("size") or 0) <= LOG_BYTES}
    return [source(name, logs.get(name)) for name in wanted]


def _log_beside(fs, path: str) -> dict[str, dict]:
    """The log of a single recording, as {path: what is known of it}."""
    for end in (".log.xml", ".xml"):
        log = _stem(path) + end
        try:
            return {log: fs.info(log)}
        except Exception:  # a server may answer anything for what is not there
            continue
    return {}


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
