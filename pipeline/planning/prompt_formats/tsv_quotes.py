"""Decides whether the quotes in a TSV file belong to its prompts or to its format."""

import io
import re

from pipeline.planning.prompt_formats.quoted import Line, odd_end, odd_ends, quoted_lines
from pipeline.planning.prompt_formats.rows import WrongFileError, find_column

# Excel puts quotes around each field that has a comma. So many such fields are not a coincidence.
_ENOUGH = 3


def tsv_lines(text: str, column: str | None) -> list[Line]:
    """Return the header and the rows.

    Programs write a TSV file in two ways. In the plain one a quote is a character like others. In the quoted one, which
    is that of CSV, quotes around a field are not part of it, and may enclose tabs and line breaks.

    Args:
        text: the file.
        column: the column with the prompts, or None for a usual name.

    Raises:
        WrongFileError: it is not certain which of the two ways the file is written in, and so what its prompts are.
    """
    quoted, plain = _quoted(text), _plain(text)
    if quoted is None or not _is_quoted(plain, quoted, column):
        _check_ends(text)
        return plain
    return quoted


def _is_quoted(plain: list[Line], quoted: list[Line], column: str | None) -> bool:
    """Return whether a file is written in the quoted way, given its rows in both ways."""
    if _fields(plain) == _fields(quoted) or plain[0].fields != quoted[0].fields:
        return True
    width = len(plain[0].fields)
    inner = "".join(field for fields in _fields(quoted) for field in fields)
    if width == 1 and re.search("[\r\n]", inner):
        raise _uncertain(plain, "the quotes may enclose line breaks, or be part of prompts")
    if re.search("[\t\r\n]", inner):
        return any(len(fields) != width for fields in _fields(plain))
    wrapped = [field for fields in _fields(plain) for field in fields if _is_wrapped(field)]
    doubled = any('""' in field[1:-1] for field in wrapped)
    bare = any('"' in field for fields in _fields(plain) for field in fields if not _is_wrapped(field))
    if doubled != bare:
        return doubled
    if _prompts(plain, column) == _prompts(quoted, column) or (not bare and _is_excel(plain, wrapped)):
        return True
    raise _uncertain(plain, "the quotes around the field may be part of the prompt or of the format")


def _quoted(text: str) -> list[Line] | None:
    """Return the rows of a file in the quoted way, or None if it is not written in this way."""
    try:
        return list(quoted_lines(text, "\t"))
    except WrongFileError:
        return None


def _plain(text: str) -> list[Line]:
    lines = enumerate(re.split("\r\n|\n|\r", text), 1)
    return [Line(number, line.split("\t")) for number, line in lines if line]


def _check_ends(text: str) -> None:
    if odd := odd_ends(io.StringIO(text, newline="").readlines()):
        raise odd_end(f"line {odd[0]}")


def _prompts(lines: list[Line], column: str | None) -> list[str] | None:
    """Return the prompts of the rows, or None if there is no such column."""
    header = lines[0].fields
    name = find_column(header, column)
    index = -1 if name is None else header.index(name)
    return [fields[index] if index < len(fields) else "" for _, fields in lines[1:]] if name is not None else None


def _fields(lines: list[Line]) -> list[list[str]]:
    return [fields for _, fields in lines]


def _is_wrapped(field: str) -> bool:
    return bool(re.fullmatch('"(?:[^"]|"")*"', field))


def _is_excel(plain: list[Line], wrapped: list[str]) -> bool:
    with_comma = [field for fields in _fields(plain) for field in fields if "," in field]
    return len(wrapped) >= _ENOUGH and sorted(wrapped) == sorted(with_comma)


def _uncertain(plain: list[Line], reason: str) -> WrongFileError:
    row, (number, fields) = next((i, line) for i, line in enumerate(plain) if any(f.startswith('"') for f in line[1]))
    shown = next(field for field in fields if field.startswith('"'))
    return WrongFileError(
        f"row {row} (line {number}) has the field {shown:.80}, and {reason}",
        "put quotes around the names in the header if the format adds quotes; else save the file as CSV or JSON",
    )
