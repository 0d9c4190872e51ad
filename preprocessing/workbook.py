"""An Excel sheet (.xlsx) as a table of texts, so that what reads CSV reads it too. Dates become ISO 8601, whole numbers lose the `.0` that a sheet gives them."""
from __future__ import annotations

import datetime as dt
from pathlib import Path

from preprocessing.text_table import BadAnnotation, TextTable, column_names, without_empty

ENDINGS = (".xlsx", ".xlsm")


def sheet_tables(path: str | Path, sheet: str | None = None) -> dict[str, TextTable]:
    """Sheet name -> its table, `lines` being row numbers; the header is the first row that is not blank. Empty sheets are passed over.

    Raises
    ------
    BadAnnotation
        if it is not such a workbook, or has no sheet of this name.
    """
    import openpyxl

    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise BadAnnotation(f"{path}: not an .xlsx workbook; save it as .xlsx or as CSV")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zip, XML and its own kinds
        raise BadAnnotation(f"{path}: cannot be read as an Excel workbook ({str(error).strip() or type(error).__name__}); save it again as .xlsx or as CSV") from None
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise BadAnnotation(f"{path}: no sheet {sheet!r}; it has {', '.join(book.sheetnames)}")
        pages = [page for page in book.worksheets if sheet in (None, page.title)]
        tables = {page.title: _table(path, page, f"{book.epoch:%Y-%m-%d}") for page in pages}
    finally:
        book.close()
    return {name: table for name, table in tables.items() if table is not None}


def _table(path: Path, page, day_zero: str) -> TextTable | None:
    rows = ((number, [_text(cell) for cell in cells]) for number, cells in enumerate(page.iter_rows(values_only=True), start=1))
    filled = [(number, cells) for number, cells in rows if any(cell.strip() for cell in cells)]
    if not filled:
        return None
    header = filled[0][1]
    body = [(cells + [""] * len(header))[:len(header)] for _, cells in filled[1:]]
    lines = [number for number, _ in filled[1:]]
    return without_empty(TextTable(path, column_names(header), body, lines, day_zero), header)


def _text(cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, (dt.datetime, dt.date, dt.time)):
        return cell.isoformat()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
