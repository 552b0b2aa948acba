"""Decides whether the quotes in a TSV file belong to its prompts or to its format."""

import csv
import io
import re

from pipeline.planning.prompt_formats.rows import WrongFileError

Lines = list[tuple[int, list[str]]]
# Excel puts quotes around each field that has a comma. So many such fields are not a coincidence.
_ENOUGH = 3


def tsv_lines(text: str) -> Lines:
    """Return the number of the first line and the fields of each row.

    Programs write a TSV file in two ways. In the plain one a quote is a character like others. In the quoted one, which
    is that of CSV, quotes around a field are not part of it, and may enclose tabs and line breaks.

    Raises:
        WrongFileError: it is not certain which of the two ways the file is written in.
    """
    plain = [(number, line.split("\t")) for number, line in enumerate(re.split("\r\n|\n|\r", text), 1) if line]
    quoted = _quoted(text)
    if quoted is None or _fields(quoted) == _fields(plain):
        return plain
    if plain[0][1] != quoted[0][1]:
        return quoted
    width = len(plain[0][1])
    if any(re.search("[\t\r\n]", field) for fields in _fields(quoted) for field in fields):
        if width == 1:
            raise _uncertain(plain, "the quotes may enclose line breaks, or be part of prompts")
        return plain if all(len(fields) == width for fields in _fields(plain)) else quoted
    wrapped = [field for fields in _fields(plain) for field in fields if _is_wrapped(field)]
    doubled = any('""' in field[1:-1] for field in wrapped)
    bare = any('"' in field for fields in _fields(plain) for field in fields if not _is_wrapped(field))
    if doubled != bare:
        return quoted if doubled else plain
    if not bare and _is_excel(plain, wrapped):
        return quoted
    raise _uncertain(plain, "the quotes around the field may be part of the prompt or of the format")


def _quoted(text: str) -> Lines | None:
    """Return the rows of a file in the quoted way, or None if a quote does not fit that way."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    lines, start = [], 1
    try:
        for fields in reader:
            if fields:
                lines.append((start, fields))
            start = reader.line_num + 1
    except csv.Error:
        return None
    return lines


def _fields(lines: Lines) -> list[list[str]]:
    return [fields for _, fields in lines]


def _is_wrapped(field: str) -> bool:
    return bool(re.fullmatch('"(?:[^"]|"")*"', field))


def _is_excel(plain: Lines, wrapped: list[str]) -> bool:
    with_comma = [field for fields in _fields(plain) for field in fields if "," in field]
    return len(wrapped) >= _ENOUGH and sorted(wrapped) == sorted(with_comma)


def _uncertain(plain: Lines, reason: str) -> WrongFileError:
    row, (number, fields) = next((i, line) for i, line in enumerate(plain) if any(f.startswith('"') for f in line[1]))
    shown = next(field for field in fields if field.startswith('"'))
    return WrongFileError(
        f"row {row} (line {number}) has the field {shown:.80}, and {reason}",
        "put quotes around the names in the header if the format adds quotes; else save the file as CSV or JSON",
    )
