"""Prompt files that are not what they seem."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.hostile.case import Case

KIND = "prompts"
# The name and the content of a file -> what the message says.
WRONG: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.txt", b"", "no prompts"),
    "blank lines": ("a.txt", b"\n \n\t\n", "no prompts"),
    "a zero-width line": ("a.txt", "owl\n\u200b\n".encode(), ""),
    "bytes that are not UTF-8": ("a.txt", b"owl\n\xff\n", "not UTF-8"),
    "UTF-16": ("a.txt", "owl\n".encode("utf-16"), "not UTF-8"),
    "an unknown suffix": ("a.doc", b"owl", "suffix|format"),
    "no suffix": ("a", b"owl", "suffix|format"),
    "an object cut off": ("a.json", b"{", "cannot be read"),
    "a number in a list": ("a.json", b"[1]", "not text"),
    "a number": ("a.json", b"5", "holds a int|cannot be read"),
    "null": ("a.json", b"null", "cannot be read|holds"),
    "lists nested 100,000 deep": ("a.json", b"[" * 100_000 + b"]" * 100_000, "cannot be read|deep"),
    "objects nested 100,000 deep": ("a.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "cannot be read|deep"),
    "half a surrogate pair": ("a.json", b'["\\ud800"]', "surrogate"),
    "a NUL character": ("a.json", b'["a\\u0000b"]', ""),
    "an integer of 5,000 digits": ("a.json", b"[" + b"9" * 5_000 + b"]", ""),
    "a column that is missing": ("a.jsonl", b'{"x": 1}\n', "no column"),
    "a line that is no JSON": ("a.jsonl", b'"owl"\n{\n', "line 2"),
    "unquoted commas": ("a.csv", b"prompt\na snail, crawling\n", ""),
    "a quote that never closes": ("a.csv", b'prompt\n"owl\nfox\n', ""),
    "a TSV quote that never closes": ("a.tsv", b'prompt\n"owl\nfox\n', ""),
    "a header alone": ("a.csv", b"prompt\n", "no prompts"),
    "no header": ("a.csv", b"1,2\n3,4\n", "column"),
    "too many fields": ("a.csv", b"prompt\nowl,fox,cat\n", ""),
    "NUL bytes": ("a.csv", b"prompt\nowl\0\n", ""),
    "no Parquet": ("a.parquet", b"owl", "cannot be read"),
    "Parquet cut off": ("a.parquet", b"PAR1" + bytes(100), "cannot be read"),
    "ImageNet's class index": ("a.json", json.dumps({"0": ["n01440764", "tench"]}).encode(), ""),
    "columns of lists": ("a.json", json.dumps({"prompt": ["owl"], "class_id": [3]}).encode(), ""),
    "old Mac line ends": ("a.txt", b"owl\rfox\rcat", ""),
}
# Inputs that the branch of prompts decides: taken as meant, with the number of prompts, or refused.
EITHER = {
    "a zero-width line", "a NUL character", "unquoted commas", "a TSV quote that never closes", "too many fields",
    "NUL bytes", "ImageNet's class index", "columns of lists", "old Mac line ends",
}  # fmt: skip
# What a file means -> the number of prompts that `check` shows, or else a refusal.
MEANT = {
    "old Mac line ends": 3, "unquoted commas": 1, "columns of lists": 1, "ImageNet's class index": 1,
    "a zero-width line": 1,
}  # fmt: skip


def _file(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "a.txt")


def _parquet_page(folder: Path) -> None:
    pq.write_table(pa.table({"prompt": [f"owl {i}" for i in range(5_000)]}), folder / "a.parquet")
    data = bytearray((folder / "a.parquet").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 200] = bytes(200)
    (folder / "a.parquet").write_bytes(data)


def _parquet_bomb(folder: Path) -> None:
    rows = pa.table({"prompt": pa.array(["x" * 1_000_000] * 2_700).dictionary_encode()})
    pq.write_table(rows, folder / "a.parquet", compression="zstd")


def _parquet_numbers(folder: Path) -> None:
    pq.write_table(pa.table({"prompt": [1, 2]}), folder / "a.parquet")


def _parquet_nulls(folder: Path) -> None:
    pq.write_table(pa.table({"prompt": ["owl", None]}), folder / "a.parquet")


def _gzip_bomb(folder: Path) -> None:
    with gzip.open(folder / "a.jsonl.gz", "wb") as file:
        for _ in range(300):
            file.write(b"0" * 10_000_000)


def _huge(folder: Path) -> None:
    with (folder / "a.txt").open("wb") as file:
        file.truncate(20 * 2**30)


def cases() -> Iterator[Case]:
    for name, (file, content, says) in WRONG.items():
        arguments = ("check", "demo", f"prompts.file={file}")
        statuses = (0, 2) if name in EITHER else (2,)
        if name in MEANT:
            # Either the prompts that are meant, or a refusal that names the file.
            says = rf"prompts\W+{MEANT[name]}\b|prompts\.file|error:"
        yield Case(KIND, name, arguments, says, statuses, prepare=_file(file, content))
    files = {
        "a FIFO": ("a.txt", _fifo), "20 GiB": ("a.txt", _huge), "a damaged page": ("a.parquet", _parquet_page),
        "a Parquet bomb": ("a.parquet", _parquet_bomb), "a column of numbers": ("a.parquet", _parquet_numbers),
        "a null": ("a.parquet", _parquet_nulls), "a gzip bomb": ("a.jsonl.gz", _gzip_bomb),
    }  # fmt: skip
    for name, (file, prepare) in files.items():
        arguments = ("check", "demo", f"prompts.file={file}")
        yield Case(KIND, name, arguments, "prompts.file", prepare=prepare, is_slow="bomb" in name or "GiB" in name)
    yield Case(KIND, "/dev/zero", ("check", "demo", "prompts.file=/dev/zero"), "prompts.file")
    yield Case(KIND, "/dev/stdin", ("check", "demo", "prompts.file=/dev/stdin"), "prompts.file")
    yield Case(KIND, "a folder", ("check", "demo", "prompts.file=."), "prompts")
    yield Case(KIND, "no file", ("check", "demo", "prompts.file=gone.txt"), "prompts.file")
    yield Case(KIND, "a path of 5,000 letters", ("check", "demo", f"prompts.file={'x' * 5_000}.txt"), "prompts.file")
    github = (
        "check",
        "demo",
        "prompts.file=../../x.txt",
        f"prompts.github=a/b@{'a' * 40}",
        f"prompts.sha256={'0' * 64}",
    )
    yield Case(KIND, "a path out of the cache", github, "prompts", environment={"HF_HUB_OFFLINE": "1"})
