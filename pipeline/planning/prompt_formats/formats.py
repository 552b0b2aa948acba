"""The table of the formats, and the reader of one file."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.planning.prompt_formats.content import read_text
from pipeline.planning.prompt_formats.json_shapes import read_json
from pipeline.planning.prompt_formats.json_text import read_jsonl
from pipeline.planning.prompt_formats.lines import read_txt
from pipeline.planning.prompt_formats.parquet import read_parquet
from pipeline.planning.prompt_formats.rows import Columns, Row, WrongFileError
from pipeline.planning.prompt_formats.tables import read_csv, read_tsv

_READERS: dict[str, Callable[[str, Columns], Iterator[Row]]] = {
    ".txt": read_txt,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
}
FORMATS = {
    ".txt": "one prompt per line",
    ".json": "a list of strings, a list of records, {style: [...]}, {id: {prompt: ...}}, columns, or COCO captions",
    ".jsonl": "a string or a record per line",
    ".csv": "a header, then one prompt per row",
    ".tsv": "a header, then one prompt per row",
    ".parquet": "a table with a column of strings",
}
"""Suffix -> what a file with it holds. `.ndjson` is `.jsonl`, and all but Parquet may be packed as `.gz`."""


def suffix_of(path: Path) -> str:
    """Return the suffix that names the format of a file: that of b.jsonl.gz is .jsonl."""
    suffix = Path(path.stem).suffix if is_packed(path) else path.suffix
    return {".ndjson": ".jsonl"}.get(suffix.lower(), suffix.lower())


def is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a file, whose suffix gives the format.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        WrongFileError: the file does not have its format, or lacks the column; names the row.
    """
    suffix = suffix_of(path)
    if suffix != ".parquet":
        yield from _READERS[suffix](read_text(path, is_packed(path)), columns)
    elif is_packed(path):
        raise WrongFileError("a Parquet file is packed already, and cannot be read inside .gz", "unpack it with gunzip")
    else:
        yield from read_parquet(path, columns)
