"""Tables as text: CSV, whose quotes are certain, and TSV, in which a quote may be part of a prompt."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.planning.prompt_formats.rows import Row, WrongFileError, pick_column
from pipeline.planning.prompt_formats.tsv_quotes import tsv_lines

LARGEST_FIELD = 2**31 - 1


class Line(NamedTuple):
    """The fields of a row, and the number of the line that the row begins in."""

    number: int
    fields: list[str]


def read_csv(text: str, column: str | None) -> Iterator[Row]:
    """Yield the prompt of each row below the header."""
    return _rows(_csv_lines(text), column, re.split("\r\n|\n|\r", text))


def read_tsv(text: str, column: str | None) -> Iterator[Row]:
    """Yield the prompt of each row below the header."""
    return _rows((Line(*line) for line in tsv_lines(text)), column, None)


def _csv_lines(text: str) -> Iterator[Line]:
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start, count = 1, 0
    try:
        for fields in reader:
            yield Line(start, fields)
            start, count = reader.line_num + 1, count + bool(fields)
    except csv.Error as error:
        row = f"row {count}" if count else "the header"
        raise WrongFileError(
            f"{row} (line {start}) has a quote that does not fit: {error}",
            'put quotes around each field that has a comma, a quote or a line break, and write a quote inside as ""',
        ) from error


def _rows(lines: Iterable[Line], column: str | None, source: list[str] | None) -> Iterator[Row]:
    """Yield the prompts of a table.

    Args:
        lines: the header and the rows.
        column: the column with the prompts, or None for a usual name.
        source: the lines of a CSV file, whose commas may be part of a prompt; None if the table has tabs.
    """
    lines = (line for line in lines if line.fields)
    header = next(lines, None)
    if header is None:
        return
    index = header.fields.index(pick_column(header.fields, column, "the header"))
    width = len(header.fields)
    for number, (start, fields) in enumerate(lines, 1):
        entry = f"row {number} (line {start})"
        if len(fields) > width and any(fields[width:]):
            # The line itself shows that no quotes were removed.
            if source and width == 1 and _is_prose(fields) and source[start - 1].rstrip("\r") == ",".join(fields):
                fields = [",".join(fields)]
            else:
                raise _too_many(entry, fields, width, source is not None)
        yield Row(fields[index] if index < len(fields) else None, entry)


def _is_prose(fields: list[str]) -> bool:
    """Whether commas separated the parts of a sentence, so that a space follows each."""
    return all(re.match(r" +\S", field) for field in fields[1:])


def _too_many(entry: str, fields: list[str], width: int, is_csv: bool) -> WrongFileError:
    separator = "comma" if is_csv else "tab"
    fix = (
        'put quotes around each field that has a comma, and write a quote inside as ""'
        if is_csv
        else "replace the tabs inside fields by spaces"
    )
    return WrongFileError(
        f"{entry} has {len(fields)} fields, but the header has {width}, so a field has a {separator} of its own: "
        f"{fields!r:.200}",
        fix,
    )
