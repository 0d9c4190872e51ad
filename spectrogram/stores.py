"""What lies in a bucket or below a web folder: the files, by their names below it.

A web folder is its pages' links, which may lead anywhere, be dead, or be made up as they are asked for. What leads out of
the folder is left out, and what cannot be had is a fault of its own: the others are listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

from spectrogram.addresses import one_line

LOOKS_AT_ONCE = 16  # a web server tells sizes one by one
MOST_PAGES, MOST_DEEP = 20_000, 30  # of a web folder


def files_below(fs, root: str, say: Callable[[str], None] = print) -> dict[str, tuple[str, dict]]:
    """The files below a folder of a store, in order of their path: name -> (path, what is known of it).

    Parameters
    ----------
    fs, root : of `spectrogram.addresses.file_system`. say : takes a line about each page that cannot be read.

    Raises
    ------
    Exception
        of the store's own kind, where the folder itself cannot be listed.
    """
    found = _web_folder(fs, root, say) if root.startswith("http") else fs.find(root, detail=True)
    files = {path: info for path, info in found.items() if info.get("type", "file") == "file"}
    named: dict[str, tuple[str, dict]] = {}
    for path in sorted(files, key=lambda path: (without_query(path), path)):
        if name := name_below(root, path):
            named.setdefault(name, (path, files[path]))  # one of several links to it
    return named


def look_at(fs, paths: Iterable[str]) -> list[dict]:
    """What the server says of each file; nothing of one that it refuses, which is said when it is fetched."""

    def look(path: str) -> dict:
        try:
            return fs.info(path)
        except Exception:
            return {}

    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        return list(pool.map(look, paths))


def name_below(root: str, path: str) -> str:
    """A file's path below the root; "" for a web address that leads out of it.

    >>> name_below("https://host/2022", "https://host/2022/RDL/a%20b.wav?token=abc"), name_below("https://host/2022", "https://host/2022/../x.wav")
    ('RDL/a b.wav', '')
    """
    if not path.startswith("http"):
        return path[len(root) :].lstrip("/")
    name, folder = unquote(urlsplit(path).path), unquote(urlsplit(root).path).rstrip("/") + "/"
    if not name.startswith(folder) or "://" in name or ".." in re.split(r"[/\\]", name):
        return ""
    return name[len(folder) :].lstrip("/")


def without_query(path: str) -> str:
    """A path without the query and fragment, if it is a web address; ? and # in a bucket are letters as others."""
    return re.split(r"[?#]", path, maxsplit=1)[0] if path.startswith("http") else path


def _web_folder(fs, root: str, say: Callable[[str], None]) -> dict[str, dict]:
    """The links below a web folder at any depth, as {address: what is known of it}."""
    found, seen, waiting, pages = {}, {root}, [(root, 0)], 0
    while waiting:
        if (pages := pages + 1) > MOST_PAGES:
            say(
                f"{root}: more than {MOST_PAGES} folders; what lies in the others is left out, give one of them"
            )
            break
        page, depth = waiting.pop()
        try:
            links = fs.ls(page, detail=False)
        except Exception as error:
            if page == root:
                raise
            say(f"{page}: cannot be listed ({one_line(error)}); what lies there is left out")
            continue
        for link in links:
            if not name_below(root, link):
                continue
            if not (folder := without_query(link)).endswith("/"):
                found[link] = {"size": None}  # a page names files and no more
            elif folder not in seen and depth < MOST_DEEP:
                seen.add(folder)
                waiting.append((folder, depth + 1))
    return found
