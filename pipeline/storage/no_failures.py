"""A part without rows in `failures/`, so that other programs can read that table of a run without failures."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from configs.location import Location
from pipeline.storage.disk import store_of
from pipeline.storage.schemas import SCHEMAS

# The name of the part. The names of all others are keys, which are digests.
NO_FAILURES = "schema"


def write_part_without_rows(run: Location) -> None:
    """Write the part, unless the run has it.

    Raises:
        OSError: the folder cannot be written.
    """
    sink = pa.BufferOutputStream()
    # With a row group, even an empty one, `datasets` would fail on it.
    with pq.ParquetWriter(sink, SCHEMAS["failures"]):
        pass
    content, part = sink.getvalue().to_pybytes(), run / "failures" / f"{NO_FAILURES}.parquet"
    if isinstance(part, Path):
        _write_unflushed(part, content)
    elif part not in store_of(run).parts(run / "failures"):
        store_of(part).write(part, content)


def remove_part_without_rows(run: Location) -> None:
    """Remove the part, and on a disk the folder that is then empty, of a run that was refused before it had any result.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = run / "failures"
    store_of(run).remove(folder / f"{NO_FAILURES}.parquet")
    if isinstance(folder, Path) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _write_unflushed(part: Path, content: bytes) -> None:
    """Write a file that a power failure may take, because the next driver writes it again."""
    if part.is_file() and part.stat().st_size == len(content):
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    # `remove_leftovers` removes a file with this name if we are killed.
    temporary = part.with_name(f".part-{NO_FAILURES}")
    temporary.write_bytes(content)
    temporary.replace(part)
