"""The rows within a part: cut by key, checked, and converted between memory and file."""

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.location import Location
from pipeline.storage.schemas import QUERIES, QUERIES_IN_FILES, SCHEMAS

# The columns whose values together name a row of each table.
IDENTITY = {
    "samples": ("weight_index",),
    "scores": ("weight_index", "reward"),
    "steps": ("step", "weight_index", "reward"),
    "costs": (),
    "failures": (),
}


class DamagedPart(OSError):
    """A part that cannot be read, or whose rows cannot be what was written."""

    def __init__(self, part: Location, problem: str, fix: str = "remove it and run again") -> None:
        super().__init__(f"{part} {problem}; {fix}")
        self.problem, self.fix = problem, fix


class BadRows(ValueError):
    """The rows of a part cannot be what was written. The message says why."""


def checked_rows(
    file: pq.ParquetFile, table: str, columns: Collection[str] | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Yield each key of a part with its rows, with one row group in memory at a time.

    Args:
        columns: read only these, and those that name a row; by default all.

    Raises:
        BadRows: the rows of a key are not together, or a row is there twice.
    """
    found = set[str]()
    schema = schema_of(table, columns)
    names = None if columns is None else schema.names
    for group in range(file.num_row_groups):
        for key, rows in _split_by_key(with_schema(file.read_row_group(group, columns=names), schema), table):
            if key in found:
                raise BadRows(f"the rows of {key} are there twice")
            found.add(key)
            yield key, rows


def schema_of(table: str, columns: Collection[str] | None = None) -> pa.Schema:
    """Return the schema of a table with only these columns and those that name a row; by default with all."""
    if columns is None:
        return SCHEMAS[table]
    return pa.schema([field for field in SCHEMAS[table] if field.name in {"key", *IDENTITY[table], *columns}])


def _split_by_key(rows: pa.Table, table: str) -> Iterator[tuple[str, pa.Table]]:
    runs = pc.run_end_encode(rows["key"].combine_chunks()) if len(rows) else None
    keys = runs.values.to_pylist() if runs is not None else []
    if len(set(keys)) < len(keys):
        raise BadRows("the rows of a key are not together, or are there twice")
    identity = ["key", *IDENTITY[table]]
    if rows.select(identity).group_by(identity).aggregate([]).num_rows < len(rows):
        raise BadRows("a row is there twice")
    start = 0
    for key, end in zip(keys, runs.run_ends.to_pylist() if runs is not None else [], strict=True):
        yield key, rows.slice(start, end - start)
        start = end


def with_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows of a part with the columns of a schema; a column that an older version did not write is null.

    Raises:
        BadRows: there is a column that the schema does not have.
    """
    if rows.schema.equals(schema):
        return rows.replace_schema_metadata(None)
    if unknown := set(rows.schema.names) - set(schema.names):
        raise BadRows(f"no version has written a column {min(unknown)!r}")
    columns = [
        _as_type(rows[f.name], f.type) if f.name in rows.schema.names else pa.nulls(len(rows), f.type) for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_map(kind) and pa.types.is_list(column.type):
        pairs = [row and [(entry["key"], entry["value"]) for entry in row] for row in column.to_pylist()]
        return pa.chunked_array([pa.array(pairs, type=QUERIES)])
    return column.cast(kind)


def for_file(rows: pa.Table) -> pa.Table:
    """Return the rows with lists of key and value in place of maps, which Hugging Face `datasets` cannot read."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_map(field.type):
            rows = rows.set_column(number, field.name, rows.column(number).cast(QUERIES_IN_FILES))
    return rows
