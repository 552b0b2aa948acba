"""Reads prompts in the usual formats. A prompt is only ever text, and is never used as a path, a key or code."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from configs.errors import RequestError
from configs.schema import PromptsConfig
from configs.sections.prompts import PLACE
from pipeline.planning.prompt_formats.folders import prompt_files
from pipeline.planning.prompt_formats.formats import FORMATS, read_rows, suffix_of
from pipeline.planning.prompt_formats.hub_dataset import dataset_values
from pipeline.planning.prompt_formats.pinned import dataset_files, github_file
from pipeline.planning.prompt_formats.rows import MOST_PROMPTS, Columns, Row, WrongFileError, is_empty, without_synsets
from rewards.networks.imagenet_names import class_names

MOST_CHARACTERS = 500_000_000
"""The largest number of characters of all prompts of a run together."""
LONGEST_PROMPT = 100_000
"""The largest number of characters of a prompt. A longer text is a file whose lines do not end."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        prompt_id: a hash of the text and the style, and a number that tells equal prompts apart.
        text: the text, exactly as it was given, but in the template, if there is one, without a WordNet id.
        source: the name of the file, or "config".
        style: the style, if the file groups its prompts by style; else None.
        tags: the tags that the file gives it. They change neither its id nor its images.
    """

    prompt_id: str
    text: str
    source: str
    style: str | None = None
    tags: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A row, the key of the configuration that it comes from, and its file as messages and as results name it."""

    row: Row
    key: str
    file: str
    source: str


def read_prompts(prompts: PromptsConfig, *, fetch: bool = True) -> list[Prompt]:
    """Return the prompts of a configuration, in the order of the files, the data set or the list.

    The suffix of a file gives its format; `prompt_formats.formats.FORMATS` lists them. In a record or a table the
    prompt is in the field or column `prompts.column` or, by default, in one with a usual name, such as "prompt", "text"
    or "caption", in upper or lower case.

    Args:
        prompts: the section of the configuration.
        fetch: whether a data set is read from the hub if it is not on this machine.

    Raises:
        RequestError: the file cannot be read, is not UTF-8, does not have its format or lacks the column; a prompt is
            empty or not text; or there are no prompts. The message names the line or entry.
        PromptsNotHereError: the data set is not on this machine, and `fetch` is False.
    """
    kept = (found for found in _found(prompts, fetch) if not (prompts.skip_empty and is_empty(found.row.text)))
    name, key, given = _origin(prompts)
    taken, characters = list[_Found](), 0
    for found in islice(kept, prompts.limit):
        _check_text(found)
        taken.append(found)
        characters += len(found.row.text) + len(prompts.template or "")
        if len(taken) > MOST_PROMPTS or characters > MOST_CHARACTERS:
            allowed = f"1..{MOST_PROMPTS:,} prompts, of {MOST_CHARACTERS:,} characters in all"
            raise _error(name, key, given, "there are too many prompts", allowed, "set prompts.limit")
    if not taken:
        raise _error(name, key, given, "there are no prompts", "at least one prompt", "add a prompt")
    try:
        rows = [found.row for found in taken] if prompts.list else without_synsets([found.row for found in taken])
    except WrongFileError as error:
        raise _error(
            name, key, given, error.problem, "texts, all with WordNet ids or all without", error.fix
        ) from error
    seen = Counter[str]()
    result = []
    for found, row in zip(taken, rows, strict=True):
        row = row._replace(text=filled(prompts.template, row.text))
        digest = hashlib.sha256(json.dumps([row.text, row.style]).encode()).hexdigest()[:16]
        result.append(Prompt(f"{digest}-{seen[digest]}", row.text, found.source, row.style, row.tags))
        seen[digest] += 1
    return result


def _origin(prompts: PromptsConfig) -> tuple[str, str, Any]:
    """Return the file, the key and the value of the prompts, for messages."""
    if prompts.dataset is not None:
        return prompts.dataset.name, "prompts.dataset", prompts.dataset.name
    if prompts.packaged is not None:
        return prompts.packaged, "prompts.packaged", prompts.packaged
    return (prompts.file or "config"), ("prompts.file" if prompts.file else "prompts.list"), prompts.file


def _found(prompts: PromptsConfig, fetch: bool) -> Iterator[_Found]:
    """Yield the rows of all sources, one after the other."""
    if prompts.list is not None:
        for index, text in enumerate(prompts.list):
            yield _Found(Row(text, f"entry {index}"), "prompts.list", "config", "config")
    elif prompts.dataset is not None and prompts.dataset.files is not None:
        columns, files = Columns(prompts.dataset.column, prompts.dataset.tags), dataset_files(prompts.dataset, fetch)
        for file in files:
            yield from _of_file(file, file.name, columns, prompts.skip_empty, alone=len(files) == 1)
    elif prompts.dataset is not None:
        dataset, key = prompts.dataset, "prompts.dataset"
        try:
            values = dataset_values(dataset, prompts.limit, prompts.skip_empty, fetch)
        except WrongFileError as error:
            allowed = "a data set of the hub that you may read, with a column of texts"
            raise _error(dataset.name, key, dataset.name, error.problem, allowed, error.fix) from error
        for index, value in enumerate(values):
            yield _Found(Row(value.prompt, f"row {index}", tags=value.tags), key, dataset.name, dataset.name)
    elif prompts.packaged is not None:
        for index, names in enumerate(class_names()):
            for name in names if prompts.synonyms == "all" else names[:1]:
                yield _Found(Row(name, f"class {index}"), "prompts.packaged", prompts.packaged, prompts.packaged)
    else:
        assert prompts.file is not None  # guaranteed by the schema
        path, columns = Path(prompts.file), Columns(prompts.column, prompts.tags)
        files = [github_file(prompts)] if prompts.github else _files(path)
        for file in files:
            source = path.name if prompts.github else file.name
            yield from _of_file(file, source, columns, prompts.skip_empty, alone=len(files) == 1)


def _files(path: Path) -> list[Path]:
    try:
        return prompt_files(path)
    except (WrongFileError, OSError) as error:
        fix = error.fix if isinstance(error, WrongFileError) else "check the path"
        allowed = "a file, a folder of files of one format, or a pattern of such files"
        raise _error(str(path), "prompts.file", str(path), str(error), allowed, fix) from error


def _of_file(path: Path, source: str, columns: Columns, skip_empty: bool, alone: bool) -> Iterator[_Found]:
    """Yield the rows of one file. A file among others may not be empty, since its prompt would be missing silently."""
    suffix, key = suffix_of(path), "prompts.file"
    if suffix not in FORMATS:
        suffixes = f"{', '.join(FORMATS)}, .ndjson, or all but .parquet with .gz"
        problem = f"the suffix {path.suffix!r} belongs to no known format"
        raise _error(str(path), key, str(path), problem, suffixes, "save the prompts in one of these formats")
    rows, shown = 0, os.fsencode(source).decode("utf-8", "replace")
    try:
        for row in read_rows(path, columns):
            rows += 1
            # In a benchmark of several text files, each file is a category.
            tags = row.tags or (() if alone else (path.stem,))
            yield _Found(row._replace(tags=tags), key, str(path), shown)
    except WrongFileError as error:
        problem = f"the prompt file cannot be read as {suffix}: {error.problem}"
        raise _error(str(path), key, str(path), problem, FORMATS[suffix], error.fix) from error
    except OSError as error:
        problem = f"the prompt file cannot be read: {error.strerror}"
        raise _error(str(path), key, str(path), problem, "a file that you can read", "check the path") from error
    if not rows and not alone and not skip_empty:
        fix = "add its prompt, or set prompts.skip_empty=true"
        raise _error(str(path), key, str(path), "the file has no prompt", "at least one prompt in each file", fix)


def _check_text(found: _Found) -> None:
    """Refuse a row that is no prompt."""
    (text, entry, style, tags), allowed, fix = found.row, "Unicode text", "correct the prompt"
    if is_empty(text) or not isinstance(text, str):
        problem, allowed = "the prompt is empty or not text", "text that is not empty"
        if is_empty(text):
            problem += ": it has invisible characters only" if text and text.strip() else ""
            fix = "correct the prompt, or leave such rows out with prompts.skip_empty=true"
    elif _SURROGATE.search("".join((text, style or "", *tags))):
        problem = "the prompt has half of a surrogate pair, which is not a character"
    elif "\0" in text:
        problem = "the prompt has a NUL character, so it is damaged or not text"
    elif len(text) > LONGEST_PROMPT:
        problem = f"the prompt has {len(text):,} characters, so the ends of its lines may be missing"
        allowed, fix = f"at most {LONGEST_PROMPT:,} characters", "check the format of the file, or shorten the prompt"
    else:
        return
    raise _error(found.file, f"{found.key}, {entry}", text, problem, allowed, fix)


def filled(template: str | None, text: str) -> str:
    """Return a prompt in a template. No character of either has a meaning besides the one place of the prompt."""
    return text if template is None else template.replace(PLACE, text)


def _error(file: str, key: str, value: Any, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file=file, key=key, value=value, problem=problem, allowed=allowed, fix=fix)
