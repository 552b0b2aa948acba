"""The decodes and the prompt of each finished front in one file, for runs whose parts stay single.

Without this index, `srsoup status` would open every part of `costs/`, and on an object store each part is a request.
The driver rewrites the index after a fixed number of fronts. Fronts that are not in it yet are read from their parts.
The index only saves time: the parts alone say which fronts are finished.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from configs.location import Location
from pipeline.records import has_file, read_columns, read_file, write_atomically

INDEX_FILE = ".costs-index.parquet"


class FrontCost(NamedTuple):
    """The decodes that a finished front cost, and the id of its prompt."""

    decodes: int
    prompt_id: str


def costs_of(run: Location, keys: Collection[str]) -> dict[str, FrontCost]:
    """Return the costs of these finished fronts, except of one whose part was removed in the meantime."""
    indexed = _read_index(run)
    costs = {key: indexed[key] for key in keys if key in indexed}
    rows = read_columns(run, "costs", FrontCost._fields, set(keys) - costs.keys())
    # Nobody counted the decodes of imported images: they are null in costs/.
    return costs | {key: FrontCost(decodes or 0, prompt_id) for key, (decodes, prompt_id) in rows.items()}


def write_index(run: Location, costs: Mapping[str, FrontCost]) -> None:
    """Replace the index. Raises OSError if the folder cannot be written."""
    names = {name: [getattr(cost, name) for cost in costs.values()] for name in FrontCost._fields}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"key": list(costs)} | names), sink, compression="zstd")
    write_atomically(run / INDEX_FILE, sink.getvalue().to_pybytes())


def _read_index(run: Location) -> dict[str, FrontCost]:
    if not has_file(run, INDEX_FILE):
        return {}
    try:
        rows = pq.read_table(pa.BufferReader(read_file(run, INDEX_FILE)))
    except pa.ArrowInvalid:  # incomplete, on a file system that shows a file while it is written
        return {}
    columns = [rows[name].to_pylist() for name in ("key", *FrontCost._fields)]
    return {key: FrontCost(*cost) for key, *cost in zip(*columns, strict=True)}
