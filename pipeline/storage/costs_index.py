"""Decodes and prompt of each finished front in one file, for a run whose parts stay single.

Who asks how far a run is would else open every part of `costs/`, and on an object store each is a request. The driver
writes the index anew for every so many fronts; what it does not hold yet is read from the parts. It is only a shortcut:
which fronts are finished, the parts alone say.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from configs.location import Location
from pipeline.records import holds, read_columns, read_file, write_whole

INDEX = ".costs-index.parquet"


class FrontCost(NamedTuple):
    decodes: int
    prompt_id: str


def costs_of(run: Location, keys: Collection[str]) -> dict[str, FrontCost]:
    """What was paid for each of these finished fronts, but for one whose part was taken away meanwhile."""
    indexed = _read_index(run)
    costs = {key: indexed[key] for key in keys if key in indexed}
    rows = read_columns(run, "costs", FrontCost._fields, set(keys) - costs.keys())
    return costs | {key: FrontCost(*row) for key, row in rows.items()}


def write_index(run: Location, costs: Mapping[str, FrontCost]) -> None:
    """Write the index anew; OSError where the folder cannot be written."""
    names = {name: [getattr(cost, name) for cost in costs.values()] for name in FrontCost._fields}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"key": list(costs)} | names), sink, compression="zstd")
    write_whole(run / INDEX, sink.getvalue().to_pybytes())


def _read_index(run: Location) -> dict[str, FrontCost]:
    if not holds(run, INDEX):
        return {}
    try:
        rows = pq.read_table(pa.BufferReader(read_file(run, INDEX)))
    except pa.ArrowInvalid:  # cut off, on a store where a file shows while it is written
        return {}
    columns = [rows[name].to_pylist() for name in ("key", *FrontCost._fields)]
    return {key: FrontCost(*cost) for key, *cost in zip(*columns, strict=True)}
