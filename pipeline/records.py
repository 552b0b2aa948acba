"""The files of a run: parts that are written whole, and the readers. Their columns: `pipeline.storage.schemas`.

A run is one folder. Every finished prompt (of one method) is one `key` and leaves one part file named by
that key in each of `samples/`, `scores/`, `steps/` and `costs/`. The part in `costs/` is written last: a
key is finished if and only if its rows are in all four, in parts whose footers read. A rerun writes the same
names, so no row can come twice. A prompt that failed leaves its part in `failures/` until it succeeds.

The folder is on a disk or on an object store (`pipeline.storage.disk`). There every part that is listed is whole, so
its footer is not asked for, and parts stay single.
`pipeline.storage.compact` merges the parts of many keys into one, whose footer names them.
Readers see rows of finished keys only, so a run can be read while it goes on.
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

from configs.location import Location as Location  # for readers, who know of no room but this one
from configs.location import location_of as location_of
from pipeline.storage.disk import store_of
from pipeline.storage.no_failures import NO_FAILURES
from pipeline.storage.old_format import has_maps
from pipeline.storage.part_rows import BadRows, checked_rows, for_file
from pipeline.storage.part_rows import DamagedPart as DamagedPart
from pipeline.storage.schemas import SCHEMAS, file_metadata, file_options

T = TypeVar("T")
P = TypeVar("P", bound=Location)
# How the name of a merged part begins, and the entry of its footer with its keys.
MERGED, KEYS = "merged-", b"srsoup.keys"
# How often a reader looks for parts that are merged away under it; one merge takes longer than many looks.
LOOKS = 10
# A finished key has rows in all of these.
FINISHED = ("samples", "scores", "steps", "costs")

Row = dict[str, Any]


def write_part(run: Location, table: str, key: str, rows: Sequence[Row]) -> None:
    """Write the rows of one key as one part, whole or not at all.

    On a disk the part goes to a temporary file in the same folder, is flushed, takes its final name by a rename, and
    the folder is flushed too; on an object store it is one put. After a crash there is the whole part or none.

    Raises:
        OSError: the folder cannot be written, or the disk is full; no part is left behind.
    """
    data = pa.Table.from_pylist(list(rows), schema=SCHEMAS[table])
    if not has_maps(run, table):
        data = for_file(data)
    data = data.replace_schema_metadata(file_metadata(table))
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink, **file_options(table))
    write_whole(run / table / f"{key}.parquet", sink.getvalue().to_pybytes())


def write_whole(place: Location, content: bytes) -> None:
    """Give a file this content in one step, which a crash cannot part."""
    store_of(place).write(place, content)


def read_file(run: Location, name: str) -> bytes:
    """A file of a run that is no part, such as `config.yaml`; FileNotFoundError if it is not there."""
    return store_of(run).read(run / name)


def holds(run: Location, name: str) -> bool:
    """Whether a run has such a file."""
    return store_of(run).holds(run / name)


def remove_part(run: Location, table: str, key: str) -> None:
    """Remove the part of one key, if there is one; it stays removed after a crash."""
    store_of(run).remove(run / table / f"{key}.parquet")


def finished_keys(run: Location) -> set[str]:
    """Keys whose rows are there in every table, in parts with a footer that reads. A broken part makes its keys
    unfinished."""
    return set.intersection(*store_of(run).each(lambda table: set(locate(run, table)), FINISHED))


def failed_keys(run: Location) -> set[str]:
    """Keys with a part in `failures/`, whose parts stay single."""
    return {part.stem for part in store_of(run).parts(run / "failures")} - {NO_FAILURES}


def locate(run: Location, table: str) -> dict[str, Location]:
    """The part that holds the rows of each key of a table."""
    return located_in(readable_parts(run, table))


def located_in(parts: Mapping[P, Sequence[str]]) -> dict[str, P]:
    """Key -> part. A part of a key's own, which is younger, goes before a merged one."""
    return {key: part for part in sorted(parts, key=is_merged, reverse=True) for key in parts[part]}


def readable_parts(run: P, table: str) -> dict[P, tuple[str, ...]]:
    """The parts of a table whose footers read, in the order of their names, each with its keys."""
    found = _unmoved(lambda: _keys_of_parts(run / table))
    return {part: its_keys for part, its_keys in found.items() if its_keys is not None}


def check_footers(run: Location) -> None:
    """Raise DamagedPart if the footer of a part cannot be read, on a disk, where no part is ever seen half-written."""
    for folder in [run / table for table in SCHEMAS] if isinstance(run, Path) else []:
        for part, keys in _unmoved(partial(_keys_of_parts, folder)).items():
            if keys is None and part.stem != NO_FAILURES:
                raise DamagedPart(part, "has a footer that does not read")


def _keys_of_parts(folder: Location) -> dict[Any, tuple[str, ...] | None]:
    store = store_of(folder)
    keys: dict[Any, tuple[str, ...] | None] = {part: (part.stem,) for part in store.parts(folder)}
    # Of a store on which every file is whole, only merged parts have to be opened, which are few.
    opened = [part for part in keys if is_merged(part) or not store.whole]
    keys.update(zip(opened, store.each(keys_of, opened), strict=True))
    return keys


def keys_of(part: Location) -> tuple[str, ...] | None:
    """What the footer of a part says that it holds; None if it does not read."""
    try:
        footer = pq.read_metadata(store_of(part).source(part))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError):
        return None
    if not is_merged(part):
        return (part.stem,)
    try:
        return tuple(str(key) for key in json.loads(footer.metadata[KEYS]))
    except (KeyError, TypeError, ValueError) as error:
        problem = "is no merged part of a run, because its footer lists no keys"
        raise DamagedPart(part, problem, "move it out of the folder") from error


def is_merged(part: Location) -> bool:
    """Whether a part holds several keys, which its footer names; else its name is its key."""
    return part.name.startswith(MERGED)


def _unmoved(read: Callable[[], T]) -> T:
    """Read files of a run. Where one was taken away meanwhile, its rows are in a merged part now: look again."""
    for _ in range(LOOKS):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def read_rows(part: Location, table: str, keys: Collection[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of some keys of one part, key by key, with one row group in memory at a time.

    Raises:
        DamagedPart: they do not read, or one of the keys has none, or a row is there twice.
    """
    missing = set(keys) if table != "steps" else set[str]()
    with _opened(part) as file:
        for key, rows in checked_rows(file, table):
            if key in keys:
                missing.discard(key)
                yield key, rows
        if missing:
            raise BadRows(f"there are no rows of {min(missing)}")


def read_whole_part(part: Location, table: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield every key that has rows in a part, with its rows; raises DamagedPart as `read_rows` does."""
    with _opened(part) as file:
        yield from checked_rows(file, table)


@contextmanager
def _opened(part: Location) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(store_of(part).source(part), page_checksum_verification=True) as file:
            yield file
    except (FileNotFoundError, DamagedPart):
        raise
    except (OSError, pa.ArrowException, BadRows, KeyError, UnicodeDecodeError) as error:
        fix = "remove it and run again: its prompts are then computed anew"
        raise DamagedPart(part, f"does not read ({' '.join(str(error).split())})", fix) from error


def read_table(run: Location, table: str, keys: Iterable[str] | None = None) -> pa.Table:
    """All rows of a table of a run, in the order of the keys' names; of finished keys only.

    Args:
        run: the run's folder, on a disk or by its URI (`configs.location.location_of`).
        table: one of `SCHEMAS`.
        keys: read these only; by default the finished keys (for `failures`: all that failed).

    Raises:
        FileNotFoundError: there is no run in this folder, or no part for one of the keys.
    """
    if not holds(run, "config.yaml"):
        raise FileNotFoundError(f"no run in {run}: it holds no config.yaml")
    if keys is None:
        keys = failed_keys(run) if table == "failures" else finished_keys(run)
    wanted = sorted(keys)
    rows = _unmoved(lambda: _rows_of(run, table, wanted))
    return pa.concat_tables([SCHEMAS[table].empty_table(), *(rows[key] for key in wanted if key in rows)])


def read_columns(
    run: Location, table: str, columns: Sequence[str], keys: Collection[str]
) -> dict[str, tuple[Any, ...]]:
    """Key -> values in a table with one row a key, of these keys where there is a part: much faster than all rows."""

    def read() -> dict[str, tuple[Any, ...]]:
        located = {key: part for key, part in locate(run, table).items() if key in keys} if keys else {}

        def of_part(part: Location) -> dict[str, tuple[Any, ...]]:
            with _opened(part) as file:
                rows = file.read(columns=["key", *columns])
            values = zip(*(rows[column].to_pylist() for column in columns), strict=True)
            by_key = zip(rows["key"].to_pylist(), values, strict=True)
            return {key: its_values for key, its_values in by_key if located.get(key) is part}

        columns_of = dict[str, tuple[Any, ...]]()
        for found in store_of(run).each(of_part, dict.fromkeys(located.values())):
            columns_of.update(found)
        return columns_of

    return _unmoved(read)


def _rows_of(run: Location, table: str, keys: Sequence[str]) -> dict[str, pa.Table]:
    located, by_part = locate(run, table), defaultdict[Location, list[str]](list)
    for key in keys:
        if key not in located:
            raise FileNotFoundError(f"{run / table}: no part that reads holds {key}")
        by_part[located[key]].append(key)

    def of_part(part: Location) -> dict[str, pa.Table]:
        return dict(read_rows(part, table, frozenset(by_part[part])))

    rows = dict[str, pa.Table]()
    for of_one in store_of(run).each(of_part, by_part):
        rows.update(of_one)
    return rows
