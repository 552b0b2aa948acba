"""The files of a run: parts that are written whole, and the readers. Their columns: `pipeline.schemas`.

A run is one folder. Every finished prompt (of one method) is one `key` and leaves one part file named by
that key in each of `samples/`, `scores/`, `steps/` and `costs/`. The part in `costs/` is written last: a
key is finished if and only if its rows are in all four, in parts whose footers read. A rerun writes the same
names, so no row can come twice. A prompt that failed leaves its part in `failures/` until it succeeds.

`pipeline.compact` merges the parts of many keys into one, whose footer names them.

Readers see rows of finished keys only, so a run can be read while it goes on.
"""

import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schemas import IMAGE_FEATURE, SCHEMAS

T = TypeVar("T")
# How the name of a merged part begins, and the entry of its footer with its keys.
MERGED, KEYS = "merged-", b"srsoup.keys"
# Folders in which merged parts are made.
STAGING = ".compact-"
# How often a reader looks for parts that are merged away under it; one merge takes longer than many looks.
LOOKS = 10

# A finished key has rows in all of these.
FINISHED = ("samples", "scores", "steps", "costs")

Row = dict[str, Any]


def write_part(run: Path, table: str, key: str, rows: Sequence[Row]) -> None:
    """Write the rows of one key as one part, whole or not at all.

    The part goes to a temporary file in the same folder, is flushed to the disk, takes its final name by a
    rename, and the folder is flushed too: after a crash there is the whole part or none.

    Raises:
        OSError: the folder cannot be written, or the disk is full; no part is left behind.
    """
    folder = run / table
    folder.mkdir(parents=True, exist_ok=True)
    data = pa.Table.from_pylist(list(rows), schema=SCHEMAS[table])
    if table == "samples":
        data = data.replace_schema_metadata(IMAGE_FEATURE)
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink, compression="zstd")
    write_whole(folder / f"{key}.parquet", sink.getvalue().to_pybytes())


def write_whole(path: Path, content: bytes) -> None:
    """Give `path` this content in one step: temporary file, fsync, rename, fsync of the folder."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush(path.parent)


def flush(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(run: Path) -> None:
    """Remove the temporary files of a writer that was killed. Only for who alone writes to the run."""
    for leftover in (*run.glob(".part-*"), *run.glob("*/.part-*")):
        leftover.unlink(missing_ok=True)
    for folder in run.glob(f"{STAGING}*"):
        shutil.rmtree(folder)


def remove_part(run: Path, table: str, key: str) -> None:
    """Remove the part of one key, if there is one; it stays removed after a crash."""
    part = run / table / f"{key}.parquet"
    if part.is_file():
        part.unlink(missing_ok=True)
        flush(part.parent)


def finished_keys(run: Path) -> set[str]:
    """Keys whose rows are there in every table, in parts with a footer that reads. A broken part makes its keys
    unfinished."""
    return set.intersection(*(set(locate(run, table)) for table in FINISHED))


def failed_keys(run: Path) -> set[str]:
    """Keys with a part in `failures/`, whose parts stay single."""
    return {part.stem for part in (run / "failures").glob("*.parquet")}


def locate(run: Path, table: str) -> dict[str, Path]:
    """The part that holds the rows of each key of a table."""
    return located_in(readable_parts(run, table))


def located_in(parts: Mapping[Path, Sequence[str]]) -> dict[str, Path]:
    """Key -> part. A part of a key's own, which is younger, goes before a merged one."""
    merged_first = sorted(parts, key=is_merged, reverse=True)
    return {key: part for part in merged_first for key in parts[part]}


def readable_parts(run: Path, table: str) -> dict[Path, tuple[str, ...]]:
    """The parts of a table whose footers read, in the order of their names, each with its keys."""
    return _unmoved(lambda: _readable_parts(run / table))


def _readable_parts(folder: Path) -> dict[Path, tuple[str, ...]]:
    parts = {}
    for part in sorted(folder.glob("*.parquet")):
        try:
            footer = pq.read_metadata(part)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowInvalid):
            continue
        parts[part] = tuple(json.loads(footer.metadata[KEYS])) if is_merged(part) else (part.stem,)
    return parts


def is_merged(part: Path) -> bool:
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


def read_rows(part: Path, table: str, keys: Collection[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of some keys of one part, key by key, with one row group in memory at a time."""
    with pq.ParquetFile(part) as file:
        for group in range(file.num_row_groups):
            rows = _conformed(file.read_row_group(group), SCHEMAS[table])
            start = 0
            for of_one in rows["key"].value_counts().to_pylist():
                if of_one["values"] in keys:
                    yield of_one["values"], rows.slice(start, of_one["counts"])
                start += of_one["counts"]


def _conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, empty where an older version wrote none."""
    if rows.schema.equals(schema):
        return rows.replace_schema_metadata(None)
    columns = [
        rows[f.name].cast(f.type) if f.name in rows.schema.names else pa.nulls(len(rows), f.type) for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def read_table(run: Path, table: str, keys: Iterable[str] | None = None) -> pa.Table:
    """All rows of a table of a run, in the order of the keys' names; of finished keys only.

    Args:
        run: the run's folder.
        table: one of `SCHEMAS`.
        keys: read these only; by default the finished keys (for `failures`: all that failed).

    Raises:
        FileNotFoundError: there is no run in this folder, or no part for one of the keys.
    """
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"no run in {run}: it holds no config.yaml")
    if keys is None:
        keys = failed_keys(run) if table == "failures" else finished_keys(run)
    wanted = sorted(keys)
    rows = _unmoved(lambda: _rows_of(run, table, wanted))
    return pa.concat_tables([SCHEMAS[table].empty_table(), *(rows[key] for key in wanted if key in rows)])


def _rows_of(run: Path, table: str, keys: Sequence[str]) -> dict[str, pa.Table]:
    located, by_part = locate(run, table), defaultdict[Path, list[str]](list)
    for key in keys:
        if key not in located:
            raise FileNotFoundError(f"{run / table}: no part that reads holds {key}")
        by_part[located[key]].append(key)
    rows = dict[str, pa.Table]()
    for part, its_keys in by_part.items():
        rows.update(read_rows(part, table, frozenset(its_keys)))
    return rows
