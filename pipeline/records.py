"""Reads and writes the files of a run. Their columns are in `pipeline.storage.schemas`.

A run is one folder, on a disk or on an object store (`pipeline.storage.disk`). Every task (one prompt, seed and method)
has one `key`. When the task is finished, it leaves a file, its part, in each of `samples/`, `scores/`, `steps/` and
`costs/`, named by the key. The part in `costs/` is written last. A key is finished if and only if its rows are in all
four tables, in parts whose footers can be read. A rerun writes the same names, so no row can appear twice. A task that
failed has its part in `failures/` until it succeeds.

On a disk, `pipeline.storage.compact` merges the parts of many keys into one, whose footer lists the keys. On an object
store parts stay single, and every part that is listed is complete, so its footer is not read.

Readers return rows of finished keys only, so a run can be read while its driver is running.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from configs.location import Location as Location  # re-exported: `evaluation` may import this module alone
from configs.location import location_of as location_of
from pipeline.storage.disk import store_of
from pipeline.storage.no_failures import NO_FAILURES
from pipeline.storage.old_format import has_maps
from pipeline.storage.part_rows import BadRows, checked_rows, for_file, schema_of
from pipeline.storage.part_rows import DamagedPart as DamagedPart
from pipeline.storage.schemas import SCHEMAS, file_metadata, file_options

T = TypeVar("T")
P = TypeVar("P", bound=Location)
# The prefix of the names of merged parts, and the entry of their footers that lists their keys.
MERGED_PREFIX, KEYS_ENTRY = "merged-", b"srsoup.keys"
# How often a reader starts again if parts are merged while it reads; one merge takes longer than many reads.
MERGE_RETRIES = 10

# The tables in which every finished key has rows.
RESULT_TABLES = ("samples", "scores", "steps", "costs")

Row = dict[str, Any]


def write_part(run: Location, table: str, key: str, rows: Sequence[Row]) -> None:
    """Write the rows of one key as one part, completely or not at all.

    On a disk the rows are written to a temporary file in the same folder and flushed, the file is renamed to its final
    name, and the folder is flushed. On an object store the part is one put. After a crash there is either the whole
    part or none.

    Raises:
        OSError: the folder cannot be written, or the disk is full; no part is left behind.
    """
    data = pa.Table.from_pylist(list(rows), schema=SCHEMAS[table])
    if not has_maps(run, table):
        data = for_file(data)
    data = data.replace_schema_metadata(file_metadata(table))
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink, **file_options(table))
    write_atomically(run / table / f"{key}.parquet", sink.getvalue().to_pybytes())


def write_atomically(file: Location, content: bytes) -> None:
    """Replace the content of a file in one step. A reader, or a crash, finds either the old or the new content."""
    store_of(file).write(file, content)


def read_file(run: Location, name: str) -> bytes:
    """Return a file of a run that is not a part, such as `config.yaml`. Raises FileNotFoundError if it is missing."""
    return store_of(run).read(run / name)


def has_file(run: Location, name: str) -> bool:
    """Whether a run has a file of this name."""
    return store_of(run).is_file(run / name)


def remove_part(run: Location, table: str, key: str) -> None:
    """Remove the part of one key, if it exists. It stays removed after a crash."""
    store_of(run).remove(run / table / f"{key}.parquet")


def finished_keys(run: Location) -> set[str]:
    """Return the keys that have rows in every table, in parts whose footers can be read."""
    return set.intersection(*store_of(run).map(lambda table: set(locate(run, table)), RESULT_TABLES))


def failed_keys(run: Location) -> set[str]:
    """Return the keys that have a part in `failures/`. Parts of this table are never merged."""
    return {part.stem for part in store_of(run).parts(run / "failures")} - {NO_FAILURES}


def locate(run: Location, table: str) -> dict[str, Location]:
    """Return, for each key of a table, the part that holds its rows."""
    return part_of_each_key(readable_parts(run, table))


def part_of_each_key(parts: Mapping[P, Sequence[str]]) -> dict[str, P]:
    """Invert a mapping of parts to keys. A key's own part is newer than a merged one and takes precedence."""
    return {key: part for part in sorted(parts, key=is_merged, reverse=True) for key in parts[part]}


def readable_parts(run: P, table: str) -> dict[P, tuple[str, ...]]:
    """Return the parts of a table whose footers can be read, ordered by name, each with its keys."""
    found = _retry_after_merge(lambda: _keys_of_parts(run / table))
    return {part: keys for part, keys in found.items() if keys is not None}


def check_footers(run: Location) -> None:
    """Raise DamagedPart if the footer of a part cannot be read, on a disk, where no part is ever seen half-written."""
    for folder in [run / table for table in SCHEMAS] if isinstance(run, Path) else []:
        for part, keys in _retry_after_merge(partial(_keys_of_parts, folder)).items():
            if keys is None and part.stem != NO_FAILURES:
                raise DamagedPart(part, "has a footer that cannot be read")


def _keys_of_parts(folder: Location) -> dict[Any, tuple[str, ...] | None]:
    store = store_of(folder)
    keys: dict[Any, tuple[str, ...] | None] = {part: (part.stem,) for part in store.parts(folder)}
    # If every listed file is complete, only the merged parts have to be opened, and there are few of them.
    opened = [part for part in keys if is_merged(part) or not store.listed_files_are_complete]
    keys.update(zip(opened, store.map(keys_of, opened), strict=True))
    return keys


def keys_of(part: Location) -> tuple[str, ...] | None:
    """Return the keys of a part by its footer, or None if the footer cannot be read."""
    try:
        footer = pq.read_metadata(store_of(part).parquet_source(part))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError):
        return None
    if not is_merged(part):
        return (part.stem,)
    try:
        return tuple(str(key) for key in json.loads(footer.metadata[KEYS_ENTRY]))
    except (KeyError, TypeError, ValueError) as error:
        problem = "is not a merged part of a run, because its footer lists no keys"
        raise DamagedPart(part, problem, "move it out of the folder") from error


def is_merged(part: Location) -> bool:
    """Whether a part holds several keys, which its footer lists. The name of any other part is its key."""
    return part.name.startswith(MERGED_PREFIX)


def _retry_after_merge(read: Callable[[], T]) -> T:
    """Read files of a run, and start again if one is gone: its rows are then in a merged part."""
    for _ in range(MERGE_RETRIES):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def read_rows(
    part: Location, table: str, keys: Collection[str], columns: Collection[str] | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of some keys of one part, key by key, with one row group in memory at a time.

    `columns` are those of `read_table`.

    Raises:
        DamagedPart: the rows cannot be read, or one of the keys has none, or a row is there twice.
    """
    missing = set(keys) if table != "steps" else set[str]()
    with _open_part(part) as file:
        for key, rows in checked_rows(file, table, columns):
            if key in keys:
                missing.discard(key)
                yield key, rows
        if missing:
            raise BadRows(f"there are no rows of {min(missing)}")


def read_whole_part(part: Location, table: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield every key that has rows in a part, with its rows. Raises DamagedPart as `read_rows` does."""
    with _open_part(part) as file:
        yield from checked_rows(file, table)


@contextmanager
def _open_part(part: Location) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(store_of(part).parquet_source(part), page_checksum_verification=True) as file:
            yield file
    except (FileNotFoundError, DamagedPart):
        raise
    except (OSError, pa.ArrowException, BadRows, KeyError, UnicodeDecodeError) as error:
        fix = "remove it and run again, which computes its prompts again"
        raise DamagedPart(part, f"cannot be read ({' '.join(str(error).split())})", fix) from error


def read_table(
    run: Location, table: str, keys: Iterable[str] | None = None, columns: Collection[str] | None = None
) -> pa.Table:
    """Return the rows of a table of a run, ordered by key.

    Args:
        run: the run's folder, on a disk or by its URI (`configs.location.location_of`).
        table: one of `SCHEMAS`.
        keys: the keys to read; by default all finished keys (for `failures`, all failed keys).
        columns: read only these, and those that name a row; by default all. Without `image` this is much faster.

    Raises:
        FileNotFoundError: there is no run in this folder, or no part for one of the keys.
        DamagedPart: the rows of a part cannot be read.
    """
    if not has_file(run, "config.yaml"):
        raise FileNotFoundError(f"there is no run in {run}: it has no config.yaml")
    if keys is None:
        keys = failed_keys(run) if table == "failures" else finished_keys(run)
    wanted = sorted(keys)
    rows = _retry_after_merge(lambda: _rows_by_key(run, table, wanted, columns))
    return pa.concat_tables([schema_of(table, columns).empty_table(), *(rows[key] for key in wanted if key in rows)])


def read_columns(
    run: Location, table: str, columns: Sequence[str], keys: Collection[str]
) -> dict[str, tuple[Any, ...]]:
    """Return, for each of these keys that has a part, its values in some columns of a table with one row per key.

    This is much faster than `read_table`.
    """

    def read() -> dict[str, tuple[Any, ...]]:
        located = {key: part for key, part in locate(run, table).items() if key in keys} if keys else {}

        def read_part(part: Location) -> dict[str, tuple[Any, ...]]:
            with _open_part(part) as file:
                rows = file.read(columns=["key", *columns])
            values = zip(*(rows[column].to_pylist() for column in columns), strict=True)
            by_key = zip(rows["key"].to_pylist(), values, strict=True)
            return {key: values_of_key for key, values_of_key in by_key if located.get(key) is part}

        values_by_key = dict[str, tuple[Any, ...]]()
        for found in store_of(run).map(read_part, dict.fromkeys(located.values())):
            values_by_key.update(found)
        return values_by_key

    return _retry_after_merge(read)


def _rows_by_key(
    run: Location, table: str, keys: Sequence[str], columns: Collection[str] | None
) -> dict[str, pa.Table]:
    located, by_part = locate(run, table), defaultdict[Location, list[str]](list)
    for key in keys:
        if key not in located:
            raise FileNotFoundError(f"{run / table}: no readable part holds the key {key}")
        by_part[located[key]].append(key)

    def read_part(part: Location) -> dict[str, pa.Table]:
        return dict(read_rows(part, table, frozenset(by_part[part]), columns))

    rows = dict[str, pa.Table]()
    for found in store_of(run).map(read_part, by_part):
        rows.update(found)
    return rows
