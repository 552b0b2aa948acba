"""Reads prompts in the usual formats. A prompt is only ever text, and is never used as a path, a key or code."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from configs.errors import RequestError
from configs.file_digest import read_regular_file
from configs.schema import PromptsConfig
from rewards.errors import WeightsError
from rewards.pinned_files import WeightFile, locate

MOST_BYTES = 2 * 10**9
USUAL_COLUMNS = ("prompt", "text", "caption")


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        prompt_id: a hash of the text and the style, and a number that tells equal prompts apart.
        text: the text, exactly as it was given.
        source: the name of the file, or "config".
        style: the style, if the file groups its prompts by style; else None.
    """

    prompt_id: str
    text: str
    source: str
    style: str | None = None


class _Row(NamedTuple):
    """A prompt as it was read; `entry` names its line or entry for error messages."""

    text: Any
    entry: str
    style: str | None = None


def read_prompts(prompts: PromptsConfig) -> list[Prompt]:
    """Return the prompts of a configuration, in the order of the file or list.

    The suffix gives the format. `.txt` has one prompt per line; blank lines are skipped. `.json` is a list of strings
    or records, or `{style: [...]}`. `.jsonl` has a string or a record per line. `.csv` and `.tsv` have a header.
    `.parquet` is a table. In a record the prompt is in the field `prompts.column` or, by default, in "prompt", "text"
    or "caption", in upper or lower case.

    Raises:
        RequestError: the file cannot be read, is not UTF-8, does not have its format or lacks the column; a prompt is
            empty or not text; or there are no prompts. The message names the line or entry.
    """
    if prompts.list is not None:
        source, key = "config", "prompts.list"
        found: Iterable[_Row] = [_Row(text, f"entry {i}") for i, text in enumerate(prompts.list)]
    else:
        assert prompts.file is not None  # guaranteed by the schema
        source, key = Path(prompts.file).name, "prompts.file"
        found = _read_file(_from_github(prompts) if prompts.github else Path(prompts.file), prompts.column)
    rows = list(found)[: prompts.limit]
    file = prompts.file or "config"
    if not rows:
        raise _error(file, key, prompts.file, "there are no prompts", "at least one prompt", "add a prompt")
    seen = Counter[str]()
    result = []
    for text, entry, style in rows:
        if not isinstance(text, str) or not text.strip():
            problem = "the prompt is empty or not text"
            raise _error(file, f"{key}, {entry}", text, problem, "text that is not empty", "correct the prompt")
        if any("\ud800" <= character <= "\udfff" for character in text):
            problem = "the prompt has half of a surrogate pair, which is not a character"
            raise _error(file, f"{key}, {entry}", text, problem, "Unicode text", "correct the prompt")
        digest = hashlib.sha256(json.dumps([text, style]).encode()).hexdigest()[:16]
        result.append(Prompt(f"{digest}-{seen[digest]}", text, source, style))
        seen[digest] += 1
    return result


def _from_github(prompts: PromptsConfig) -> Path:
    """Return the file at its commit, checked by its SHA-256. It is downloaded into HF_HOME if it is not there."""
    repo, _, commit = str(prompts.github).partition("@")
    try:
        return locate(WeightFile(repo, commit, str(prompts.file), prompts.sha256, host="github"))
    except WeightsError as error:
        raise _error(
            str(prompts.github), "prompts.github", prompts.file, str(error), "a file on this machine, or a network",
            "follow this message, or set prompts.file=... to your own copy and prompts.github=null prompts.sha256=null",
        ) from error  # fmt: skip


def _error(file: str, key: str, value: Any, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file=file, key=key, value=value, problem=problem, allowed=allowed, fix=fix)


def _read_file(path: Path, column: str | None) -> list[_Row]:
    def file_error(problem: str, allowed: str, fix: str) -> RequestError:
        return _error(str(path), "prompts.file", str(path), problem, allowed, fix)

    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        suffixes = ", ".join(_READERS)
        problem = f"the suffix {path.suffix!r} belongs to no known format"
        raise file_error(problem, suffixes, "save the prompts in one of these formats")
    try:
        content = read_regular_file(path, MOST_BYTES)
    except OSError as error:
        problem = f"the prompt file cannot be read: {error.strerror}"
        raise file_error(problem, "a file that you can read", "check the path") from error
    try:
        return reader(content, column)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"the prompt file is not UTF-8: byte {error.start}, in line {line}"
        raise file_error(problem, "UTF-8", "save the file as UTF-8") from error
    except ValueError as error:
        suffix = path.suffix.lower()
        problem = f"the prompt file cannot be read as {suffix}: {error}"
        raise file_error(problem, _FORMATS[suffix], "correct the file") from error


def _read_txt(content: bytes, column: str | None) -> list[_Row]:
    # Only \n and \r\n end a line. str.splitlines would also split at characters that may be inside a prompt.
    lines = content.decode("utf-8-sig").split("\n")
    return [_Row(line.strip(), f"line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def _read_json(content: bytes, column: str | None) -> list[_Row]:
    data = json.loads(content.decode("utf-8-sig"))
    if isinstance(data, dict):
        if not all(isinstance(entries, list) for entries in data.values()):
            raise ValueError("the values of the object are not all lists")
        return [
            _Row(_text(entry, column, f"{style}, entry {i}"), f"{style}, entry {i}", style)
            for style, entries in data.items()
            for i, entry in enumerate(entries)
        ]
    if not isinstance(data, list):
        raise ValueError(f"the file holds a {type(data).__name__}")
    return [_Row(_text(entry, column, f"entry {i}"), f"entry {i}") for i, entry in enumerate(data)]


def _read_jsonl(content: bytes, column: str | None) -> list[_Row]:
    found = []
    for i, line in enumerate(content.decode("utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {i}: {error}") from error
            found.append(_Row(_text(entry, column, f"line {i}"), f"line {i}"))
    return found


def _read_table(delimiter: str) -> Callable[[bytes, str | None], list[_Row]]:
    def read(content: bytes, column: str | None) -> list[_Row]:
        csv.field_size_limit(2**31 - 1)
        text = content.decode("utf-8-sig")
        # CSV doubles the quotes inside a field. TSV does not, so a prompt in it may have a single quote.
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=delimiter == ",")
        try:
            return [_Row(_text(row, column, f"row {i}"), f"row {i}") for i, row in enumerate(rows, 1)]
        except csv.Error as error:
            raise ValueError(str(error)) from error

    return read


def _read_parquet(content: bytes, column: str | None) -> list[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    name = _column(table.column_names, column, "the table")
    return [_Row(text, f"row {i}") for i, text in enumerate(table[name].to_pylist())]


def _text(value: Any, column: str | None, entry: str) -> Any:
    """Return the prompt of an entry: the value itself or, if it is a record, the field with the prompt."""
    return value[_column(list(value), column, entry)] if isinstance(value, dict) else value


def _column(names: list[str], column: str | None, entry: str) -> str:
    wanted = (column,) if column is not None else USUAL_COLUMNS
    for accepted in wanted:
        for name in names:
            if isinstance(name, str) and (name == accepted or (column is None and name.lower() == accepted)):
                return name
    raise ValueError(f"{entry} has no column {' or '.join(map(repr, wanted))}, only {names}; set prompts.column")


_READERS: dict[str, Callable[[bytes, str | None], list[_Row]]] = {
    ".txt": _read_txt,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_table(","),
    ".tsv": _read_table("\t"),
    ".parquet": _read_parquet,
}
_FORMATS = {
    ".txt": "one prompt per line",
    ".json": "a list of strings, a list of records, or {style: [...]}",
    ".jsonl": "a string or a record per line",
    ".csv": "a header, then one prompt per row",
    ".tsv": "a header, then one prompt per row",
    ".parquet": "a table with a column of strings",
}
