"""Tables as text: CSV, whose quotes are certain, and TSV, in which a quote may be part of a prompt."""

import re
from collections.abc import Iterator

from pipeline.planning.prompt_formats.quoted import Line, quoted_lines
from pipeline.planning.prompt_formats.rows import Columns, Row, WrongFileError, find_tags, pick_column, tags_of
from pipeline.planning.prompt_formats.tsv_quotes import tsv_lines


def read_csv(text: str, columns: Columns) -> Iterator[Row]:
    """Yield the prompt of each row below the header."""
    return _rows(quoted_lines(text, ","), columns, re.split("\r\n|\n|\r", text))


def read_tsv(text: str, columns: Columns) -> Iterator[Row]:
    """Yield the prompt of each row below the header."""
    return _rows(iter(tsv_lines(text, columns.prompts)), columns, None)


def _rows(lines: Iterator[Line], columns: Columns, source: list[str] | None) -> Iterator[Row]:
    """Yield the prompts of a table.

    Args:
        lines: the header and the rows.
        columns: the columns with the prompts and the tags.
        source: the lines of a CSV file, whose commas may be part of a prompt; None if the table has tabs.
    """
    header = next(lines, None)
    if header is None:
        return
    index = header.fields.index(pick_column(header.fields, columns.prompts, "the header"))
    name = find_tags(header.fields, columns.tags, "the header")
    tagged = len(header.fields) if name is None else header.fields.index(name)
    width, rows = len(header.fields), list(lines)
    allowed = width + _ending_separators(rows, width)
    for number, (start, fields) in enumerate(rows, 1):
        entry = f"row {number} (line {start})"
        if len(fields) > allowed:
            # The line itself shows that no quotes were removed.
            if source and width == 1 and _is_prose(fields) and source[start - 1].rstrip("\r") == ",".join(fields):
                fields = [",".join(fields)]
            else:
                raise _too_many(entry, fields, width, source is not None)
        tags = tags_of(fields[tagged], columns, entry) if tagged < min(len(fields), width) else ()
        yield Row(fields[index] if index < len(fields) else None, entry, tags=tags)


def _ending_separators(rows: list[Line], width: int) -> int:
    """Return how many separators too many all rows end with, as some programs write them; 0 if the rows differ."""
    extra = {len(fields) - width for _, fields in rows}
    if len(rows) < 2 or len(extra) > 1 or any(any(fields[width:]) for _, fields in rows):
        return 0
    # A field that begins with a space may be the rest of a prompt with a comma.
    return 0 if any(field.startswith(" ") for _, fields in rows for field in fields[1:]) else max(extra)


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
