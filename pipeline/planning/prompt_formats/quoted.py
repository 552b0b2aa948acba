"""Rows of a text table whose quotes enclose fields, as in CSV."""

import csv
import io
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pipeline.planning.prompt_formats.rows import WrongFileError

LARGEST_FIELD = 2**31 - 1


class Line(NamedTuple):
    """The fields of a row, and the number of the line that the row begins in."""

    number: int
    fields: list[str]


def quoted_lines(text: str, delimiter: str) -> Iterator[Line]:
    r"""Yield the header and the rows that are not blank.

    Raises:
        WrongFileError: a quote does not fit, or one row ends with \r where others end with \n.
    """
    csv.field_size_limit(LARGEST_FIELD)
    lines = io.StringIO(text, newline="").readlines()
    odd = set(odd_ends(lines))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start, rows = 1, -1
    try:
        for fields in reader:
            rows += bool(fields)
            if reader.line_num in odd:
                raise odd_end(_name(rows, start))
            if fields:
                yield Line(start, fields)
            start = reader.line_num + 1
    except csv.Error as error:
        raise WrongFileError(
            f"{_name(rows + 1, start)} has a quote that does not fit: {error}",
            'put quotes around each field with a separator, a quote or a line break, and write a quote inside as ""',
        ) from error


def odd_ends(lines: list[str]) -> list[int]:
    r"""Return the numbers of the lines that end with a lone \r, before more text, if other lines end with \n."""
    if not any(line.endswith("\n") for line in lines):
        return []
    return [
        number for number, (line, after) in enumerate(pairwise(lines), 1) if line.endswith("\r") and after.strip("\r\n")
    ]


def odd_end(entry: str) -> WrongFileError:
    return WrongFileError(
        rf"{entry} ends with a carriage return (\r), or has one in its middle, but other lines end with \n",
        r"end all lines with \n, and put quotes around a field with a line break",
    )


def _name(row: int, line: int) -> str:
    return f"row {row} (line {line})" if row > 0 else f"the header (line {line})"
