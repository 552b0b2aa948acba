"""Merging the parts of a run: few files instead of one for each prompt, while others read.

A table's folder is never changed piece by piece. A second folder is made beside it, with the merged parts and
links to those that stay, and the two change places in one step of the file system. So a reader that lists the
folder finds each row once at every moment, a crash leaves the folder as it was before or as it is after, and
what is left over of the other one is removed by the next driver.

An object store has no such step. Objects come and go one by one, so between the merged part's coming and the last
single one's going a reader that knows nothing of us would find rows twice, or, in the other order, not at all. Parts
stay single there; a copy of the run on a disk can be merged.
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
from pipeline.records import FINISHED, KEYS, MERGED, located_in, read_rows, readable_parts
from pipeline.storage.disk import STAGING, flush
from pipeline.storage.old_format import has_maps
from pipeline.storage.part_rows import for_file
from pipeline.storage.schemas import SCHEMAS, file_metadata, file_options

# A part with as many keys, or as many bytes, is left as it is from then on.
FULL_KEYS = 512
FULL_BYTES = 512 * 2**20
# Rows are kept in memory until there are so many bytes of them, and then written as one row group.
GROUP_BYTES = 32 * 2**20
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux

Parts = Mapping[Path, tuple[str, ...]]


class CannotExchange(Exception):
    """This file system, or this machine, cannot let two folders change places in one step."""


def compact(run: Location, at_least: int = 2) -> int:
    """Merge the small parts of every table, where there are enough of them. Only for who alone writes to the run.

    Rows of unfinished keys, and merged parts that do not read, go: their prompts will be computed again.

    Args:
        at_least: so many parts make it worth while.

    Returns:
        How many files there are less.

    Raises:
        CannotExchange: nothing was changed.
        DamagedPart: a part that was to be merged does not read.
        OSError: the disk is full, or cannot be written; the table's folder is as it was.
    """
    if isinstance(run, RemotePath):
        raise CannotExchange(
            "on an object store no two folders change places in one step; copy the run to a disk first"
        )
    tables = {table: readable_parts(run, table) for table in FINISHED}
    finished = set.intersection(*(set(located_in(parts)) for parts in tables.values()))
    return sum(_compact_table(run, table, parts, finished, at_least) for table, parts in tables.items())


def _compact_table(run: Path, table: str, parts: Parts, finished: set[str], at_least: int) -> int:
    folder, place = run / table, located_in(parts)
    here = {part: tuple(k for k in keys if k in finished and place[k] == part) for part, keys in parts.items()}
    stale = {part for part in folder.glob(f"{MERGED}*.parquet") if here.get(part) != parts.get(part, ())}
    small = {part for part, keys in here.items() if keys and _is_small(part, keys)}
    if len(small) < at_least and not stale:
        return 0
    before = list(folder.glob("*.parquet"))
    staying = [part for part in before if part not in small and part not in stale]
    packs = list(_packs({part: keys for part, keys in here.items() if part in small or (part in stale and keys)}))
    staging = run / f"{STAGING}{table}"
    try:
        staging.mkdir()
        for part in staying:
            os.link(part, staging / part.name)
        for pack in packs:
            _write_pack(staging, table, pack, as_maps=has_maps(run, table))
        flush(staging)
        _exchange(staging, folder)
        flush(run)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # what is left of it is removed by the next driver
    return len(before) - len(staying) - len(packs)


def _is_small(part: Path, keys: tuple[str, ...]) -> bool:
    return len(keys) < FULL_KEYS and part.stat().st_size < FULL_BYTES


def _packs(parts: Parts) -> Iterator[Parts]:
    """The parts that go into one, until it is full."""
    pack, n_keys, n_bytes = dict[Path, tuple[str, ...]](), 0, 0
    for part, keys in parts.items():
        pack[part] = keys
        n_keys, n_bytes = n_keys + len(keys), n_bytes + part.stat().st_size
        if n_keys >= FULL_KEYS or n_bytes >= FULL_BYTES:
            yield pack
            pack, n_keys, n_bytes = {}, 0, 0
    if pack:
        yield pack


def _write_pack(folder: Path, table: str, pack: Parts, *, as_maps: bool) -> None:
    """Write the rows of a pack as one part, with a bounded number of them in memory."""
    keys = [key for its_keys in pack.values() for key in its_keys]
    merged = folder / f"{MERGED}{hashlib.sha256(json.dumps(keys).encode()).hexdigest()}.parquet"
    metadata = {KEYS: json.dumps(keys).encode()} | file_metadata(table)
    schema = SCHEMAS[table] if as_maps else for_file(SCHEMAS[table].empty_table()).schema
    schema = schema.with_metadata(metadata)
    with pq.ParquetWriter(merged, schema, **file_options(table)) as writer:
        group, size = list[pa.Table](), 0
        for part, its_keys in pack.items():
            for _, rows in read_rows(part, table, frozenset(its_keys)):
                group.append(rows)
                size += rows.nbytes
                if size >= GROUP_BYTES:
                    writer.write_table(_joined(group, as_maps))
                    group, size = [], 0
        if group:
            writer.write_table(_joined(group, as_maps))
    flush(merged)


def _joined(group: list[pa.Table], as_maps: bool) -> pa.Table:
    rows = pa.concat_tables(group)
    return rows if as_maps else for_file(rows)


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change places, in one step that a crash cannot part."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise CannotExchange("there is no renameat2 on this machine")
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        raise CannotExchange(f"{other}: {os.strerror(ctypes.get_errno())}")
