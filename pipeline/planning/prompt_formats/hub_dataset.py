"""Data sets of the Hugging Face hub: a column or two of one split at one commit, streamed once and kept in a cache."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from configs.sections.prompts import PromptDatasetConfig
from pipeline.planning.prompt_formats.rows import (
    MOST_PROMPTS,
    Columns,
    WrongFileError,
    find_tags,
    is_empty,
    pick_column,
    tags_of,
)


class PromptsNotHereError(Exception):
    """The data set is not on this machine, and was not to be downloaded."""


class Value(NamedTuple):
    """The prompt of a row, as it was read, and its tags."""

    prompt: Any
    tags: tuple[str, ...] = ()


def dataset_values(dataset: PromptDatasetConfig, limit: int | None, skip_empty: bool, fetch: bool) -> list[Value]:
    """Return the prompts and tags from the first row on, until `limit` of them are found.

    The values are read from the cache in HF_HOME, or else from the cache of the package `datasets`. Only if they are in
    neither are they streamed from the hub, which for Parquet files reads the named columns only.

    Args:
        dataset: the data set.
        limit: the number of values; None for all.
        skip_empty: whether missing and blank prompts do not count.
        fetch: whether the data set is read from the hub if it is not on this machine.

    Raises:
        PromptsNotHereError: the data set is not on this machine, and `fetch` is False.
        WrongFileError: the data set has no such split or column, or cannot be read.
    """

    def first(values: Iterable[Value]) -> list[Value]:
        found, counted = [], 0
        for value in values:
            found.append(value)
            counted += not (skip_empty and is_empty(value.prompt))
            if counted == limit or counted > MOST_PROMPTS:
                break
        return found

    cache = _cache_file(dataset, limit, skip_empty)
    if (kept := _kept(cache)) is not None:
        return kept
    local = _prepared_files(dataset)
    if not local and not fetch:
        raise PromptsNotHereError(f"{dataset.name} at {dataset.revision}")
    values = first(_of_arrow_files(local, dataset) if local else _streamed(dataset))
    _keep(cache, values)
    return values


def _cache_file(dataset: PromptDatasetConfig, limit: int | None, skip_empty: bool) -> Path:
    from huggingface_hub import constants

    identity = [dataset.model_dump(mode="json"), limit, skip_empty]
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Path(constants.HF_HOME) / "srsoup" / "prompts" / f"{name}.json"


def _kept(path: Path) -> list[Value] | None:
    """Return the values that a cache file holds, or None if there is no such file or it is damaged."""
    try:
        return [_value_of(kept) for kept in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _value_of(kept: Any) -> Value:
    """Return what a cache file holds of a row: a list of the prompt and its tags, or a prompt without tags.

    Raises:
        ValueError: it is neither.
    """
    prompt, *tags = kept if isinstance(kept, list) and kept else [kept]
    if not all(isinstance(text, str) for text in tags) or not (prompt is None or isinstance(prompt, str)):
        raise ValueError("neither a prompt, nor a prompt with tags")
    return Value(prompt, tuple(tags))


def _keep(path: Path, values: list[Value]) -> None:
    """Write a cache file at once. A machine without room for it reads the data set again."""
    if not all(value.prompt is None or isinstance(value.prompt, str) for value in values):
        return
    rows = [[value.prompt, *value.tags] if value.tags else value.prompt for value in values]
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            part.write_text(json.dumps(rows), encoding="utf-8")
            os.replace(part, path)


def _prepared_files(dataset: PromptDatasetConfig) -> list[Path]:
    """Return the Arrow files of the split that the package `datasets` has prepared from this commit, or none."""
    from huggingface_hub import constants

    owner, _, name = dataset.name.partition("/")
    # The package's own rule for the names of its folders.
    snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()
    root = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets") / f"{owner}___{snake}"
    folders = [path for path in root.glob(f"{dataset.subset or '*'}/*/{dataset.revision}") if path.is_dir()]
    if len(folders) != 1:
        return []
    whole = sorted(folders[0].glob(f"*-{dataset.split}.arrow"))
    shards = sorted(folders[0].glob(f"*-{dataset.split}-[0-9]*-of-[0-9]*.arrow"))
    complete = bool(shards) and len(shards) == int(shards[0].stem.rpartition("-")[2])
    return whole or (shards if complete else [])


def _columns(names: list[str], dataset: PromptDatasetConfig) -> list[str]:
    """Return the column of the prompts, and that of the tags if the data set is given one.

    Raises:
        WrongFileError: there is no such column.
    """
    entry, columns = "the data set", [pick_column(names, dataset.column, "the data set", "prompts.dataset.column")]
    if dataset.tags is not None:
        columns += filter(None, [find_tags(names, dataset.tags, entry, "prompts.dataset.tags")])
    return columns


def _values(rows: Iterable[Sequence[Any]], dataset: PromptDatasetConfig) -> Iterator[Value]:
    """Yield the values of rows that have a prompt, and tags if the data set is given their column."""
    for index, row in enumerate(rows):
        yield Value(row[0], *(tags_of(tags, Columns(tags=dataset.tags), f"row {index}") for tags in row[1:]))


def _of_arrow_files(paths: list[Path], dataset: PromptDatasetConfig) -> Iterator[Value]:
    return _values(_arrow_rows(paths, dataset), dataset)


def _arrow_rows(paths: list[Path], dataset: PromptDatasetConfig) -> Iterator[Sequence[Any]]:
    import pyarrow as pa

    for path in paths:
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                names = _columns(reader.schema.names, dataset)
                for batch in reader:
                    for scalars in zip(*(batch.column(name) for name in names), strict=True):
                        yield [scalar.as_py() for scalar in scalars]
        except (pa.ArrowException, OSError) as error:
            raise WrongFileError(f"{path} cannot be read: {error}", "remove this file, and run again") from error


def _streamed(dataset: PromptDatasetConfig) -> Iterator[Value]:
    try:
        import datasets
    except ImportError as error:
        problem = "the package `datasets` is not installed, which reads data sets of the hub"
        raise WrongFileError(problem, "install it with `pip install 'srsoup[datasets]'`") from error
    if Path(dataset.name).exists():
        # The package would read it in place of the data set on the hub.
        raise WrongFileError(f"the current folder has a {dataset.name} of its own", "run in another folder")
    try:
        builder = datasets.load_dataset_builder(dataset.name, dataset.subset, revision=dataset.revision)
        if builder.hash != dataset.revision:
            # Without a network the package falls back to the newest commit that it has.
            raise OSError(f"the hub was not reached, and the cache has the commit {builder.hash} only")
        stream = builder.as_streaming_dataset(split=dataset.split)
        names = stream.column_names or list(next(iter(stream)))
        columns = list(dict.fromkeys(_columns(names, dataset)))
        if hasattr(builder.config, "columns"):
            builder.config.columns = columns
            stream = builder.as_streaming_dataset(split=dataset.split)
        read = _columns(names, dataset)
        yield from _values(([row[name] for name in read] for row in stream.select_columns(columns)), dataset)
    except WrongFileError:
        raise
    # The package lets through the errors of all its file systems and formats.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise WrongFileError(
            f"the data set cannot be read: {type(error).__name__}: {reason}",
            "check name, revision, split and subset, log in with `hf auth login` if the data set is gated, or save the "
            "prompts to a file",
        ) from error
