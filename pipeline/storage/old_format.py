"""Whether a run was begun by a version that wrote other types of columns, which the run then keeps."""

import contextlib
import functools

import pyarrow as pa
import pyarrow.parquet as pq

from configs.location import Location, RemotePath
from pipeline.storage.disk import store_of


def has_maps(run: Location, table: str) -> bool:
    """Whether `costs/` of a run has maps, which other programs cannot read beside the lists of later versions."""
    return table == "costs" and (_remote_has_maps(run) if isinstance(run, RemotePath) else _has_maps(run))


def _has_maps(run: Location) -> bool:
    for part in store_of(run).parts(run / "costs"):
        with contextlib.suppress(OSError, pa.ArrowInvalid, UnicodeDecodeError):
            return any(map(pa.types.is_map, pq.read_schema(store_of(part).parquet_source(part)).types))
    return False


# To list a large folder of an object store takes many requests.
_remote_has_maps = functools.cache(_has_maps)
