"""Writes frames as CSV files in which no spreadsheet finds a formula."""

import csv
import re
from pathlib import Path

import pandas as pd

# The characters that begin a formula, also in full width.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\u2212")
# Some spreadsheets skip these before a formula: blanks, quotes, and characters that are not seen.
_SKIPPED = " \u00a0\u3000\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb\0\ufeff\u200b\u200e\u200f"
# A spreadsheet that separates cells by semicolons or tabs finds the beginning of a cell after these too.
_SEPARATOR = re.compile(r"([;\t\r\n])")


def without_formula(text: str) -> str:
    """Returns the text with an apostrophe before everything that a spreadsheet would run as a formula."""
    pieces = [f"'{piece}" if _is_formula(piece) else piece for piece in _SEPARATOR.split(text)]
    return "'" * text.startswith(("\t", "\r", "\n")) + "".join(pieces)


def _is_formula(text: str) -> bool:
    return text.lstrip(_SKIPPED).startswith(_FORMULA)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes `csv_text` of a frame.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(csv_text(frame), encoding="utf-8", errors="replace", newline="")


def csv_text(frame: pd.DataFrame) -> str:
    """Returns a frame as CSV: every text in quotes and without formulas, every number as it is."""
    texts = frame.select_dtypes(exclude="number").columns
    safe = frame.copy()
    for name in texts:
        safe[name] = pd.Series([_safe(cell) for cell in frame[name]], index=frame.index, dtype=object)
    safe.columns = pd.Index([without_formula(str(name)) for name in frame.columns])
    return safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)


def _safe(cell: object) -> object:
    return without_formula(cell) if isinstance(cell, str) else cell
