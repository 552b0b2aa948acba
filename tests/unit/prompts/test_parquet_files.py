"""Parquet: one column is read, in batches, whatever else is in the file; damage and other types are refused by row."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.planning.prompt_formats import parquet
from tests.support.planning.prompt_files import refusal_of, texts_of

ROWS, IMAGE = 4000, 10_000


class Counting(io.FileIO):
    """A file that counts the bytes that are read from it."""

    total = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(-1 if size is None else size)
        Counting.total += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        Counting.total += count
        return count


@contextmanager
def own_pool() -> Iterator[pa.MemoryPool]:
    """Let Arrow take its memory from a pool that counts what is taken in this block."""
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(usual)


@pytest.fixture(scope="module")
def with_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 40 MB in two row groups: images that do not compress, and 200 kB of prompts."""
    path = tmp_path_factory.mktemp("parquet") / "images.parquet"
    noise = np.random.default_rng(0).bytes(ROWS * IMAGE // 2)
    images = [noise[i * IMAGE // 2 :][:IMAGE] for i in range(ROWS)]
    prompts = [f"a fox, number {i}, in the snow and under a tree" for i in range(ROWS)]
    table = pa.table({"image": pa.array(images, pa.binary()), "prompt": prompts})
    pq.write_table(table, path, row_group_size=ROWS // 2, compression="none")
    return path


@pytest.mark.parametrize("limit", [2, None])
def test_of_a_table_with_images_only_the_prompts_are_read(
    with_images: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_images.stat().st_size > 35_000_000
    monkeypatch.setattr(parquet, "open_regular", lambda path: Counting(str(path)))
    Counting.total = 0
    with own_pool() as pool:
        texts = texts_of(with_images, limit=limit)
    assert texts[1] == "a fox, number 1, in the snow and under a tree" and len(texts) == (limit or ROWS)
    assert Counting.total < 1_000_000
    assert 10_000 < pool.max_memory() < 4_000_000


def write(path: Path, **columns: pa.Array | list[Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())],
    ids=["string", "large", "dictionary"],
)
def test_every_type_of_text_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    texts = ["a fox", "an owl", "a fox", " a\ncat "] * 700
    path = write(tmp_path / "a.parquet", Prompts=pa.array(texts).cast(kind), id=list(range(2800)))
    assert texts_of(path) == texts
    assert texts_of(path, limit=1025) == texts[:1025]


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        ({"prompt": [1, 2]}, "row 0", "type int64"),
        ({"prompt": [b"a fox"]}, "row 0", "type binary"),
        ({"prompt": [["a fox"]]}, "row 0", "type list"),
        ({"prompt": ["a fox", None]}, "row 1", "empty or not text"),
        ({"prompt": ["a fox", "\u200b"]}, "row 1", "invisible characters only"),
        ({"prompt": ["a\0fox"]}, "row 0", "NUL character"),
        ({"prompt": pa.nulls(2)}, "row 0", "empty or not text"),
        ({"words": ["a fox"]}, "the table", "has no column"),
    ],
)
def test_what_is_no_text_is_refused_by_row(tmp_path: Path, columns: dict[str, Any], row: str, reason: str) -> None:
    error = refusal_of(write(tmp_path / "a.parquet", **columns))
    assert row in f"{error.key} {error.problem}" and reason in error.problem


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a fox"]), pa.array(["an owl"])], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "2 columns named 'prompt'" in refusal_of(tmp_path / "a.parquet").problem


@pytest.mark.parametrize("damage", ["cut", "page", "text", "empty"])
def test_a_damaged_table_is_refused(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "a.parquet", prompt=[f"a fox, number {i}" for i in range(3000)])
    content = bytearray(path.read_bytes())
    if damage == "page":
        content[4:2000] = b"\xff" * 1996
    damaged = {"cut": bytes(content[:-5]), "page": bytes(content), "text": b"prompt\na fox\n", "empty": b""}
    path.write_bytes(damaged[damage])
    assert "from row 0 on" in refusal_of(path).problem


def test_a_column_that_would_not_fit_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MOST_BYTES", 10_000)
    path = tmp_path / "a.parquet"
    texts = pa.array([f"{i} " + "x" * 1000 for i in range(100)])
    pq.write_table(pa.table({"prompt": texts}), path, use_dictionary=False, compression="zstd")
    assert path.stat().st_size < 10_000
    assert "bytes in row group 0" in refusal_of(path).problem


def test_a_long_text_in_many_rows_is_in_memory_once(tmp_path: Path) -> None:
    """The file has some kilobytes, and the first batch of its rows would have 200 MB."""
    text = pa.array(["x" * 200_000])
    path = write(
        tmp_path / "a.parquet", prompt=pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), text)
    )
    assert path.stat().st_size < 100_000
    with own_pool() as pool:
        assert "200,000 characters" in refusal_of(path).problem
    assert 200_000 < pool.max_memory() < 10_000_000


def test_a_packed_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet.gz").write_bytes(b"x")
    assert "unpack it" in refusal_of(tmp_path / "a.parquet.gz").fix
