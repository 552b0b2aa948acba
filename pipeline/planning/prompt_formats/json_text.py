"""JSON as text: one document, or one document per line."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.planning.prompt_formats.rows import Columns, Row, WrongFileError, row_of


def loads(text: str, entry: str = "") -> Any:
    """Return the data of a JSON document.

    Args:
        text: the document.
        entry: the name of the line that the document is, for messages; empty if it is the whole file.

    Raises:
        WrongFileError: it is not JSON, is nested too deeply, or has an object with a key twice.
    """
    where = f"{entry}: " if entry else ""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except WrongFileError as error:
        raise WrongFileError(f"{where}{error.problem}", error.fix) from error
    except RecursionError as error:
        fix = "save the prompts as a list of texts, or one text per line"
        raise WrongFileError(f"{entry or 'line 1'} begins JSON that is nested too deeply to be read", fix) from error
    except ValueError as error:
        raise WrongFileError(f"{where}{error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        # The parser would keep the last of the values and drop the others.
        raise WrongFileError(f"an object has the key {twice!r} twice", "give each key once")
    return found


def documents(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the data of each line that is not blank."""
    # A string in JSON has no line ends of its own, so \r always ends a line.
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        if line := line.strip().removeprefix("\ufeff"):
            yield f"line {number}", loads(line, f"line {number}")


def read_jsonl(text: str, columns: Columns) -> Iterator[Row]:
    """Yield the text or the record of each line."""
    if text.lstrip().startswith("[") and isinstance(_or_none(text), list):
        raise WrongFileError("line 1 begins a JSON list, not a record per line", "rename the file to end in .json")
    for entry, data in documents(text):
        yield row_of(data, columns, entry)


def _or_none(text: str) -> Any:
    try:
        return loads(text)
    except WrongFileError:
        return None
