"""A part without rows in `failures/`, so that other programs can read that table of a run without failures."""

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
    part = run / "failures" / f"{NO_FAILURES}.parquet"
    if part in store_of(run).parts(run / "failures"):
        return
    sink = pa.BufferOutputStream()
    # With a row group, even an empty one, `datasets` would fail on it.
    with pq.ParquetWriter(sink, SCHEMAS["failures"]):
        pass
    store_of(part).write(part, sink.getvalue().to_pybytes())
