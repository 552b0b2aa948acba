"""Reading prompts: the formats that people hold them in. A prompt is text, and never a path, a key or
code."""

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
        prompt_id: of the text, the style, and how often the same came before: equal prompts stay apart.
        text: exactly as given.
        source: name of the file, or "config".
        style: of the benchmark that sorts its prompts by style, else None.
    """

    prompt_id: str
    text: str
    source: str
    style: str | None = None


class _Found(NamedTuple):
    text: Any
    place: str
    style: str | None = None


def read_prompts(prompts: PromptsConfig) -> list[Prompt]:
    """The prompts of a configuration, in their order.

    Formats by suffix: `.txt` one a line (blank lines skipped); `.json` a list of strings or records, or
    `{style: [...]}`; `.jsonl` a string or record a line; `.csv`, `.tsv` with a header; `.parquet`. In
    records the prompt is in `prompts.column`, or in "prompt", "text" or "caption", whatever the case.

    Raises:
        RequestError: no such file, not UTF-8, not of its format, no such column, a prompt that is no text or
            empty, or no prompts at all; names the place.
    """
    if prompts.list is not None:
        source, key = "config", "prompts.list"
        found: Iterable[_Found] = [_Found(text, f"entry {i}") for i, text in enumerate(prompts.list)]
    else:
        assert prompts.file is not None  # the schema has seen to it
        source, key = Path(prompts.file).name, "prompts.file"
        found = _read_file(_from_github(prompts) if prompts.github else Path(prompts.file), prompts.column)
    rows = list(found)[: prompts.limit]
    where = prompts.file or "config"
    if not rows:
        raise _wrong(where, key, prompts.file, "there are no prompts", "at least one prompt", "add one")
    seen = Counter[str]()
    result = []
    for text, place, style in rows:
        if not isinstance(text, str) or not text.strip():
            raise _wrong(where, f"{key}, {place}", text, "this is no prompt", "text that is not empty", "fix it")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _wrong(
                where,
                f"{key}, {place}",
                text,
                "half of a surrogate pair is no character",
                "Unicode text",
                "fix it",
            )
        digest = hashlib.sha256(json.dumps([text, style]).encode()).hexdigest()[:16]
        result.append(Prompt(f"{digest}-{seen[digest]}", text, source, style))
        seen[digest] += 1
    return result


def _from_github(prompts: PromptsConfig) -> Path:
    """The file at its commit, fetched into the cache of HF_HOME unless it is there, and checked by its SHA-256."""
    repo, _, commit = str(prompts.github).partition("@")
    try:
        return locate(WeightFile(repo, commit, str(prompts.file), prompts.sha256, host="github"), is_weight=False)
    except WeightsError as error:
        raise _wrong(
            str(prompts.github), "prompts.github", prompts.file, str(error), "a file on this machine, or a network",
            "do what it says, or set prompts.file=... to a copy of yours and prompts.github=null prompts.sha256=null",
        ) from error  # fmt: skip


def _wrong(file: str, key: str, value: Any, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file=file, key=key, value=value, problem=problem, allowed=allowed, fix=fix)


def _read_file(path: Path, column: str | None) -> list[_Found]:
    def wrong(problem: str, allowed: str, fix: str) -> RequestError:
        return _wrong(str(path), "prompts.file", str(path), problem, allowed, fix)

    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        suffixes = ", ".join(_READERS)
        raise wrong(f"the suffix {path.suffix!r} is of no known format", suffixes, "save the prompts as one of these")
    try:
        content = read_regular_file(path, MOST_BYTES)
    except OSError as error:
        raise wrong(
            f"the prompt file cannot be read: {error.strerror}", "a file that you can read", "check the path"
        ) from error
    try:
        return reader(content, column)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise wrong(
            f"the prompt file is not UTF-8: byte {error.start}, in line {line}", "UTF-8", "save it as UTF-8"
        ) from error
    except ValueError as error:
        suffix = path.suffix.lower()
        raise wrong(f"the prompt file cannot be read as {suffix}: {error}", _SHAPES[suffix], "fix the file") from error


def _read_txt(content: bytes, column: str | None) -> list[_Found]:
    # Only \n and \r\n end a line: str.splitlines would also cut at characters that a prompt may hold.
    lines = content.decode("utf-8-sig").split("\n")
    return [_Found(line.strip(), f"line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def _read_json(content: bytes, column: str | None) -> list[_Found]:
    data = json.loads(content.decode("utf-8-sig"))
    if isinstance(data, dict):
        if not all(isinstance(entries, list) for entries in data.values()):
            raise ValueError("the object's values are not all lists")
        return [
            _Found(_text(entry, column, f"{style}, entry {i}"), f"{style}, entry {i}", style)
            for style, entries in data.items()
            for i, entry in enumerate(entries)
        ]
    if not isinstance(data, list):
        raise ValueError(f"it holds a {type(data).__name__}")
    return [_Found(_text(entry, column, f"entry {i}"), f"entry {i}") for i, entry in enumerate(data)]


def _read_jsonl(content: bytes, column: str | None) -> list[_Found]:
    found = []
    for i, line in enumerate(content.decode("utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {i}: {error}") from error
            found.append(_Found(_text(entry, column, f"line {i}"), f"line {i}"))
    return found


def _read_table(delimiter: str) -> Callable[[bytes, str | None], list[_Found]]:
    def read(content: bytes, column: str | None) -> list[_Found]:
        csv.field_size_limit(2**31 - 1)
        text = content.decode("utf-8-sig")
        # Only CSV is sure to double its quotes; a TSV may hold a prompt with a lone one.
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=delimiter == ",")
        try:
            return [_Found(_text(row, column, f"row {i}"), f"row {i}") for i, row in enumerate(rows, 1)]
        except csv.Error as error:
            raise ValueError(str(error)) from error

    return read


def _read_parquet(content: bytes, column: str | None) -> list[_Found]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    name = _column(table.column_names, column, "the table")
    return [_Found(text, f"row {i}") for i, text in enumerate(table[name].to_pylist())]


def _text(entry: Any, column: str | None, place: str) -> Any:
    """The prompt in an entry: the entry itself, or the field of a record that holds it."""
    return entry[_column(list(entry), column, place)] if isinstance(entry, dict) else entry


def _column(names: list[str], column: str | None, place: str) -> str:
    wanted = (column,) if column is not None else USUAL_COLUMNS
    for want in wanted:
        for name in names:
            if isinstance(name, str) and (name == want or (column is None and name.lower() == want)):
                return name
    raise ValueError(f"{place} has no column {' or '.join(map(repr, wanted))}, only {names}; set prompts.column")


_READERS: dict[str, Callable[[bytes, str | None], list[_Found]]] = {
    ".txt": _read_txt,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_table(","),
    ".tsv": _read_table("\t"),
    ".parquet": _read_parquet,
}
_SHAPES = {
    ".txt": "one prompt a line",
    ".json": "a list of strings, a list of records, or {style: [...]}",
    ".jsonl": "a string or a record a line",
    ".csv": "a header, then a prompt a row",
    ".tsv": "a header, then a prompt a row",
    ".parquet": "a table with a column of strings",
}
