"""Parquet tables: one column is read, in batches, whatever else is in the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.planning.prompt_formats.content import MOST_BYTES, open_regular
from pipeline.planning.prompt_formats.rows import Columns, Row, WrongFileError, find_tags, pick_column, tags_of

BATCH = 1024


def read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the prompts of a table.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        WrongFileError: the file is not a Parquet table, is damaged, or has no column of texts with the name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with open_regular(path) as file:
        try:
            schema = pq.read_schema(file)
            name = pick_column(schema.names, columns.prompts, "the table")
            _check_type(name, schema.field(name).type)
            tags = find_tags(schema.names, columns.tags, "the table")
            wanted = [name] if tags is None else [name, tags]
            # As a dictionary, a text that is in many rows is in memory once.
            table = pq.ParquetFile(file, read_dictionary=[name])
            _check_sizes(name, table.metadata)
            for batch in table.iter_batches(batch_size=BATCH, columns=wanted):
                tagged = [()] * len(batch) if tags is None else batch.column(tags).to_pylist()
                for scalar, value in zip(batch.column(name), tagged, strict=True):
                    yield Row(scalar.as_py(), f"row {number}", tags=tags_of(value, columns, f"row {number}"))
                    number += 1
        except (pa.ArrowException, OSError) as error:
            raise WrongFileError(f"from row {number} on: {error}", "write or download the file again") from error


def _check_type(name: str, kind: Any) -> None:
    import pyarrow as pa

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(is_text(value) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)):
        raise WrongFileError(
            f"the column {name!r} has values of the type {value} from row 0 on, which are not texts",
            "set prompts.column to a column of texts",
        )


def _check_sizes(name: str, metadata: Any) -> None:
    """Refuse a row group whose texts would not fit in memory. A file of some kilobytes can have one."""
    for group in range(metadata.num_row_groups):
        chunks = [metadata.row_group(group).column(index) for index in range(metadata.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)
        if size > MOST_BYTES:
            raise WrongFileError(
                f"the column {name!r} has {size:,} bytes in row group {group}, and at most {MOST_BYTES:,} are read",
                "write the file again with smaller row groups",
            )
