"""Merges the parts of a run into few files, while other processes read them.

The folder of a table is never changed file by file. Instead, a second folder is made beside it, which holds the merged
parts and links to the parts that stay as they are. Then the two folders are swapped in one step of the file system. A
reader that lists the folder therefore finds each row once at any moment. A crash leaves the folder either as it was
before or as it is after the swap, and the next driver removes the other folder.

An object store has no such step. Objects appear and disappear one by one, so between the first merged part and the
removal of the last single part, a reader that does not know the layout would find rows twice; in the opposite order it
would miss rows. On an object store parts therefore stay single. To merge them, copy the run to a disk.
"""

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from configs.location import Location, RemotePath
from pipeline.records import KEYS_ENTRY, MERGED_PREFIX, RESULT_TABLES, part_of_each_key, read_rows, readable_parts
from pipeline.storage.disk import STAGING_PREFIX, flush
from pipeline.storage.old_format import has_maps
from pipeline.storage.part_rows import for_file
from pipeline.storage.schemas import SCHEMAS, file_metadata, file_options

# A part with this many keys or bytes is full and is not merged any more.
FULL_KEYS = 512
FULL_BYTES = 512 * 2**20
# Rows are kept in memory up to this many bytes and are then written as one row group.
ROW_GROUP_BYTES = 32 * 2**20
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100  # constants of Linux

Parts = Mapping[Path, tuple[str, ...]]


class CannotMerge(Exception):
    """The parts cannot be merged, because this file system or machine cannot swap two folders in one step."""


def compact(run: Location, min_parts: int = 2) -> int:
    """Merge the small parts of every table that has enough of them. Call this only while you hold the run's lock.

    Two things are removed, and their prompts will be computed again: rows of unfinished keys in merged parts, and
    merged parts that cannot be read.

    Args:
        min_parts: the least number of small parts in a table for which it is merged.

    Returns:
        The number of files by which the run shrank.

    Raises:
        CannotMerge: two folders cannot be swapped here; nothing was changed.
        DamagedPart: the rows of a part that was to be merged cannot be read.
        OSError: the disk is full or cannot be written; the folder of the table is unchanged.
    """
    if isinstance(run, RemotePath):
        raise CannotMerge("an object store cannot swap two folders in one step; copy the run to a disk first")
    tables = {table: readable_parts(run, table) for table in RESULT_TABLES}
    finished = set.intersection(*(set(part_of_each_key(parts)) for parts in tables.values()))
    return sum(_compact_table(run, table, parts, finished, min_parts) for table, parts in tables.items())


def _compact_table(run: Path, table: str, parts: Parts, finished: set[str], min_parts: int) -> int:
    folder, part_of = run / table, part_of_each_key(parts)
    kept = {part: tuple(k for k in keys if k in finished and part_of[k] == part) for part, keys in parts.items()}
    stale = {part for part in folder.glob(f"{MERGED_PREFIX}*.parquet") if kept.get(part) != parts.get(part, ())}
    small = {part for part, keys in kept.items() if keys and _is_small(part, keys)}
    if len(small) < min_parts and not stale:
        return 0
    before = list(folder.glob("*.parquet"))
    unchanged = [part for part in before if part not in small and part not in stale]
    batches = list(_batches({part: keys for part, keys in kept.items() if part in small or (part in stale and keys)}))
    staging = run / f"{STAGING_PREFIX}{table}"
    try:
        staging.mkdir()
        for part in unchanged:
            os.link(part, staging / part.name)
        for batch in batches:
            _write_merged(staging, table, batch, as_maps=has_maps(run, table))
        flush(staging)
        _swap_folders(staging, folder)
        flush(run)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # if this fails, the next driver removes the folder
    return len(before) - len(unchanged) - len(batches)


def _is_small(part: Path, keys: tuple[str, ...]) -> bool:
    return len(keys) < FULL_KEYS and part.stat().st_size < FULL_BYTES


def _batches(parts: Parts) -> Iterator[Parts]:
    """Group parts in order; each batch becomes one merged part, which is full unless it is the last."""
    batch, n_keys, n_bytes = dict[Path, tuple[str, ...]](), 0, 0
    for part, keys in parts.items():
        batch[part] = keys
        n_keys, n_bytes = n_keys + len(keys), n_bytes + part.stat().st_size
        if n_keys >= FULL_KEYS or n_bytes >= FULL_BYTES:
            yield batch
            batch, n_keys, n_bytes = {}, 0, 0
    if batch:
        yield batch


def _write_merged(folder: Path, table: str, batch: Parts, *, as_maps: bool) -> None:
    """Write the rows of a batch as one part, with a bounded number of rows in memory."""
    keys = [key for keys_of_part in batch.values() for key in keys_of_part]
    merged = folder / f"{MERGED_PREFIX}{hashlib.sha256(json.dumps(keys).encode()).hexdigest()}.parquet"
    metadata = {KEYS_ENTRY: json.dumps(keys).encode()} | file_metadata(table)
    schema = SCHEMAS[table] if as_maps else for_file(SCHEMAS[table].empty_table()).schema
    schema = schema.with_metadata(metadata)
    with pq.ParquetWriter(merged, schema, **file_options(table)) as writer:
        group, size = list[pa.Table](), 0
        for part, keys_of_part in batch.items():
            for _, rows in read_rows(part, table, frozenset(keys_of_part)):
                group.append(rows)
                size += rows.nbytes
                if size >= ROW_GROUP_BYTES:
                    writer.write_table(_joined(group, as_maps))
                    group, size = [], 0
        if group:
            writer.write_table(_joined(group, as_maps))
    flush(merged)


def _joined(group: list[pa.Table], as_maps: bool) -> pa.Table:
    rows = pa.concat_tables(group)
    return rows if as_maps else for_file(rows)


def _swap_folders(one: Path, other: Path) -> None:
    """Swap two folders in one step, so that a crash leaves either the old or the new state."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise CannotMerge("this machine has no system call renameat2, which swaps two folders in one step")
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        raise CannotMerge(f"{other}: {os.strerror(ctypes.get_errno())}")
