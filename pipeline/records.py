"""The files of a run: Parquet schemas, parts that are written whole, and the readers.

A run is one folder. Every finished prompt (of one method) is one `key` and leaves one part file named by
that key in each of `samples/`, `scores/`, `steps/` and `costs/`. The part in `costs/` is written last: a
key is finished if and only if its costs part is there and its footer reads. A rerun writes the same names,
so no row can come twice. A prompt that failed leaves its part in `failures/` until it succeeds.

Readers see rows of finished keys only, so a run can be read while it goes on.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# The `Image` feature of Hugging Face `datasets` is recognised by this entry of the schema's metadata.
_IMAGE_FEATURE = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}

SAMPLES = pa.schema(
    [
        ("key", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("source", pa.string()),
        ("style", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("weight_index", pa.int32()),
        ("weights", pa.list_(pa.float64())),
        ("image", IMAGE),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
SCORES = pa.schema(
    [
        ("key", pa.string()),
        ("weight_index", pa.int32()),
        ("reward", pa.string()),
        ("role", pa.string()),
        ("value", pa.float64()),
    ]
)
STEPS = pa.schema(
    [
        ("key", pa.string()),
        ("step", pa.int32()),
        ("timestep", pa.int32()),
        ("phase", pa.string()),
        ("sigma", pa.float64()),
        ("weight_index", pa.int32()),
        ("reward", pa.string()),
        ("gradient_norm", pa.float64()),
        ("reward_mean", pa.float64()),
        ("reward_std", pa.float64()),
        ("overlap_q25", pa.float64()),
        ("overlap_q50", pa.float64()),
        ("overlap_q75", pa.float64()),
    ]
)
COSTS = pa.schema(
    [
        ("key", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("queries", pa.int64()),
        ("queries_by_reward", pa.map_(pa.string(), pa.int64())),
        ("decodes", pa.int64()),
        ("denoises", pa.int64()),
        ("seconds_total", pa.float64()),
        ("seconds_denoise", pa.float64()),
        ("seconds_lookahead", pa.float64()),
        ("seconds_decode", pa.float64()),
        ("seconds_reward", pa.float64()),
        ("seconds_wait", pa.float64()),
        ("peak_memory_bytes", pa.int64()),
        ("attempts", pa.int32()),
    ]
)
FAILURES = pa.schema(
    [
        ("key", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("error_class", pa.string()),
        ("message", pa.string()),
        ("traceback", pa.string()),
        ("attempts", pa.int32()),
    ]
)
SCHEMAS: Mapping[str, pa.Schema] = {
    "samples": SAMPLES,
    "scores": SCORES,
    "steps": STEPS,
    "costs": COSTS,
    "failures": FAILURES,
}

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
        data = data.replace_schema_metadata(_IMAGE_FEATURE)
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
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(run: Path) -> None:
    """Remove the temporary files of a writer that was killed. Only for who alone writes to the run."""
    for leftover in (*run.glob(".part-*"), *run.glob("*/.part-*")):
        leftover.unlink(missing_ok=True)


def remove_part(run: Path, table: str, key: str) -> None:
    """Remove the part of one key, if there is one; it stays removed after a crash."""
    part = run / table / f"{key}.parquet"
    if part.is_file():
        part.unlink(missing_ok=True)
        _flush_folder(part.parent)


def finished_keys(run: Path) -> set[str]:
    """Keys whose every part is there with a footer that reads. A broken part makes its key unfinished."""
    return {
        part.stem
        for part in (run / "costs").glob("*.parquet")
        if all(_is_readable(run / table / part.name) for table in ("costs", "samples", "scores", "steps"))
    }


def failed_keys(run: Path) -> set[str]:
    """Keys with a part in `failures/`."""
    return {part.stem for part in (run / "failures").glob("*.parquet")}


def _is_readable(part: Path) -> bool:
    try:
        pq.read_metadata(part)
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def read_table(run: Path, table: str, keys: Iterable[str] | None = None) -> pa.Table:
    """All rows of a table of a run, in the order of the keys' names; of finished keys only.

    Args:
        run: the run's folder.
        table: one of `SCHEMAS`.
        keys: read these only; by default the finished keys (for `failures`: all that failed).

    Raises:
        FileNotFoundError: there is no run in this folder.
    """
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"no run in {run}: it holds no config.yaml")
    if keys is None:
        keys = failed_keys(run) if table == "failures" else finished_keys(run)
    parts = [pq.read_table(run / table / f"{key}.parquet", schema=SCHEMAS[table]) for key in sorted(keys)]
    if not parts:
        return SCHEMAS[table].empty_table()
    return pa.concat_tables(part.replace_schema_metadata(None) for part in parts)
