"""From an executed notebook to one page of HTML that needs no other file and no network; and the pieces it is made of."""
from __future__ import annotations

import os
import re
import tempfile
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.snippets import picture_uri
from pipeline.tables import write_text

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK_ONLY = "notebook-only"  # tag of cells that speak to who opens the notebook

STYLE = """
:root { --ink: #1b2733; --soft: #5d6b78; --line: #d9dfe5; --sea: #0b5c7a; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 0 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 36px 0 8px; }
h2 { font-size: 22px; margin: 44px 0 10px; padding-top: 10px; border-top: 2px solid var(--sea); }
h3 { font-size: 17px; margin: 26px 0 6px; }
p { max-width: 75ch; margin: 8px 0 12px; }
small, .note { color: var(--soft); font-size: 13.5px; }
code { font-size: 90%; background: #f2f5f7; padding: 1px 4px; border-radius: 3px; }
a.anchor-link { display: none; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 14px 0 4px; font-size: 14.5px; }
nav a, a { color: var(--sea); text-decoration: none; }
nav a:hover { text-decoration: underline; }
img.figure { display: block; width: 100%; height: auto; margin: 10px 0 6px; }
.wide { overflow-x: auto; }
table.numbers { border-collapse: collapse; font-size: 14px; margin: 10px 0 4px; }
table.numbers th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 1.5px solid var(--line); padding: 4px 18px 4px 0; vertical-align: bottom; }
table.numbers td { border-bottom: 1px solid #eef1f4; padding: 4px 18px 4px 0; vertical-align: top; font-variant-numeric: tabular-nums; overflow-wrap: break-word; max-width: 46ch; }
table.numbers td:last-child, table.numbers th:last-child { padding-right: 0; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--sea); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); gap: 18px; margin-top: 10px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px 12px; break-inside: avoid; }
.card img { width: 100%; height: auto; display: block; } .card audio { width: 100%; height: 36px; margin-top: 6px; }
.card p { margin: 4px 0; font-size: 14px; } .card b { font-size: 15px; }
footer { margin-top: 48px; color: var(--soft); font-size: 13.5px; }
@media (max-width: 520px) { .cards { grid-template-columns: 1fr; } main { padding: 0 12px 40px; } }
@media print { nav, audio { display: none; } main { max-width: none; } h2 { break-after: avoid; } }
"""


class Page:
    """Something that a notebook shows as HTML."""

    def __init__(self, html: str):
        self.html = html

    def _repr_html_(self) -> str:
        return self.html


def show(*things) -> None:
    """Display pieces, lists of pieces, or nothing where there is none."""
    from IPython.display import display

    for thing in things:
        for piece in thing if isinstance(thing, list) else [thing]:
            if piece is not None:
                display(piece)


def paragraph(*sentences: str) -> Page:
    """A paragraph for each text; texts are HTML."""
    return Page("".join(f"<p>{text}</p>" for text in sentences))


def picture(figure, alt: str) -> Page:
    """A figure as it lies in the page; closes it."""
    return Page(f'<img class="figure" alt="{escape(alt, quote=True)}" src="{picture_uri(figure, dpi=130)}">')


def table_html(table: pd.DataFrame, when_empty: str = "None.", note: str = "", trusted: tuple[str, ...] = ()) -> Page:
    """A table for reading; a column of empty texts is left out. `trusted` columns hold HTML, all others are escaped."""
    if not len(table):
        return paragraph(escape(when_empty))
    table = table.loc[:, [not (table[c].astype(str) == "").all() for c in table]].copy()
    for column in table:
        if column not in trusted:
            table[column] = [escape(str(value)) for value in table[column]]
    html = table.to_html(index=False, escape=False, border=0, classes="numbers", na_rep="")
    return Page(f'<div class="wide">{html}</div>' + (f'<p class="note">{escape(note)}</p>' if note else ""))


def folded(title: str, page: Page, count: int, open_: bool = False) -> Page:
    """A piece that opens at a click; its title tells how many there are."""
    return Page(f"<details{' open' * open_}><summary>{escape(title)} ({count:,})</summary>{page.html}</details>")


def span(seconds: float) -> str:
    """A length of time for reading.

    >>> span(0.25), span(90), span(900), span(5400), span(-3600), span(400000)
    ('0.25 s', '1.5 min', '15 min', '1.5 h', '-1 h', '4.63 days')
    """
    if not np.isfinite(seconds):
        return ""
    size, name = next((u for u in ((86400, "days"), (3600, "h"), (60, "min")) if abs(seconds) >= u[0] * (2 if u[1] == "days" else 1)), (1, "s"))
    return f"{seconds / size:,.2f}".rstrip("0").rstrip(".") + f" {name}"


def hours(seconds: float) -> str:
    """Hours of sound, or minutes where it is less than two hours."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else f"{seconds / 60:,.1f} min"


def counted(n: int, what: str) -> str:
    """Number and noun: "1 event", "1,200 events"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def short(value: float) -> str:
    """Three figures, without powers of ten: 0.0123, 12.3, 1,230."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def per_cent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def execute_to_page(notebook: Path, page: Path, parameters: dict) -> Path:
    """Execute a notebook by papermill and write what it shows, without its code, as one page of HTML.

    Raises
    ------
    RuntimeError
        naming the error with which the notebook stopped; the page that was there stays.
    """
    import papermill

    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this environment, not one of that name in the user's home
    with tempfile.TemporaryDirectory() as folder:
        try:
            executed = papermill.execute_notebook(notebook, Path(folder) / notebook.name, parameters, cwd=str(ROOT), progress_bar=False, kernel_name="python3", log_output=False)
        except papermill.PapermillExecutionError as error:
            raise RuntimeError(f"{notebook.name}: stopped with {error.ename}: {error.evalue}") from None
    write_text(as_page(executed), page)
    return page


def as_page(notebook) -> str:
    """HTML of an executed notebook: its texts and what its cells show, with the style in it and nothing from elsewhere."""
    from nbconvert import HTMLExporter

    notebook = notebook.copy()
    notebook["cells"] = [cell for cell in notebook["cells"] if NOTEBOOK_ONLY not in cell["metadata"].get("tags", [])]
    body, _ = HTMLExporter(template_name="basic", exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(notebook)
    body = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", body, flags=re.DOTALL)
    title = re.sub(r"<[^>]+>", "", (re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL) or [None, "Report"])[1]).strip()
    headings = re.findall(r'<h2 id="([^"]+)"[^>]*>(.*?)</h2>', body, re.DOTALL)
    contents = "<nav>" + "".join(f'<a href="#{name}">{re.sub("<[^>]+>", "", text)}</a>' for name, text in headings) + "</nav>"
    body = re.sub(r"(</h1>)", lambda m: m[1] + contents, body, count=1)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
            f"<style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n")
