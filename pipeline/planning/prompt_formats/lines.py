"""Text files with one prompt per line."""

import json
import re
from collections.abc import Iterator

from pipeline.planning.prompt_formats.rows import USUAL_COLUMNS, Columns, Row, WrongFileError, is_blank

_NUMBERED = re.compile(r"(\d+)(?:[.):]\s|\t|[):])")
_PYTHON_DICT = re.compile(r"\{\s*\d+\s*:\s*['\"]")
# Characters that end a line in some programs, but may be inside a prompt.
_RARE_LINE_ENDS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def read_txt(text: str, columns: Columns) -> Iterator[Row]:
    r"""Yield each line that shows something, without the spaces around it. Only \n, \r\n or \r end a line.

    Raises:
        WrongFileError: the file mixes line ends, holds another format, or numbers its lines.
    """
    if columns.tags is not None:
        raise WrongFileError("a text file has no columns", "leave prompts.tags out, or save the prompts as CSV or JSON")
    rows = [
        Row(line.strip().removeprefix("\ufeff").strip(), f"line {number}")
        for number, line in enumerate(_lines(text), 1)
        if not is_blank(line)
    ]
    _check_format(text, rows)
    _check_numbers(rows)
    yield from rows


def _lines(text: str) -> list[str]:
    if "\n" not in text:
        lines = text.split("\r")
        if len(lines) == 1 and (found := _RARE_LINE_ENDS.search(text.strip())):
            problem = f"line 1 is the only line, and has U+{ord(found[0]):04X}, which ends a line in some programs"
            raise WrongFileError(problem, r"end each line with \n")
        return lines
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        # A lone \r ends a line on old Macs.
        if "\r" in line.strip():
            raise WrongFileError(
                rf"line {number} has a carriage return (\r) in its middle, but other lines end with \n",
                r"end all lines with \n, for example with `tr '\r' '\n' < FILE > NEW`",
            )
    return lines


def _check_format(text: str, rows: list[Row]) -> None:
    """Refuse a table, JSON or a Python dictionary in a file named .txt, whose lines would all become prompts."""
    if not rows:
        return
    first, entry = rows[0].text, rows[0].entry
    # A line such as `text,logo` may be a prompt of tags.
    for separator, suffix, names in (("\t", ".tsv", {*USUAL_COLUMNS}), (",", ".csv", {"prompt", "prompts", "caption"})):
        cells = first.lower().split(separator)
        if len(cells) > 1 and set(cells) & names and all(re.fullmatch(r"[\w-]+", cell) for cell in cells):
            problem = f"{entry} is the header of a table: {first!r:.80}"
            raise WrongFileError(problem, f"rename the file to end in {suffix}")
    if _PYTHON_DICT.match(first):
        raise WrongFileError(f"{entry} begins a Python dictionary", "save its values one per line, or as .json")
    for content, suffix in ((first, ".jsonl"), (text, ".json")):
        if _is_json(content) and (len(rows) > 1 or content.strip().startswith(("{", '["', "[{"))):
            raise WrongFileError(f"{entry} begins JSON: {first!r:.80}", f"rename the file to end in {suffix}")


def _is_json(text: str) -> bool:
    text = text.strip()
    if not text.startswith(("{", "[")) or not text.endswith(("}", "]")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _check_numbers(rows: list[Row]) -> None:
    """Refuse lines that are all numbered from 0 or 1 on, such as `1. a fox`."""
    found = [_NUMBERED.match(row.text) for row in rows]
    numbers = [int(match[1]) for match in found if match and len(match[1]) < 10]
    if len(rows) > 1 and numbers in (list(range(len(rows))), list(range(1, len(rows) + 1))):
        raise WrongFileError(
            f"{rows[0].entry} begins with its number, as all lines do: {rows[0].text!r:.80}",
            r"remove the numbers, for example with `sed -E 's/^[0-9]+[.):]?\s*//' FILE > NEW`",
        )
