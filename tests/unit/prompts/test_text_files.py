"""Text files: what ends a line, what is no line, encodings, and other formats that are named .txt."""

import gzip
import os
import time
from pathlib import Path

import pytest

from tests.support.planning.prompt_files import refusal_of, texts_of

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        # Old Macs end a line with \r.
        (b"a fox\ran owl\rtwo cats", ["a fox", "an owl", "two cats"]),
        (b"a fox\r\r  an owl \r", ["a fox", "an owl"]),
        (b"a fox\r\r\nan owl\r\r\n", ["a fox", "an owl"]),
        # Lines that show nothing.
        ("a fox\n\u200b\nan owl\n\ufeff\n\u2060\u200d\n".encode(), ["a fox", "an owl"]),
        ("a fox\n\u3164\n\u2800 \n\u00ad\nan owl".encode(), ["a fox", "an owl"]),
        # A byte order mark of each file that was joined with `cat`.
        ("\ufeffa fox\n\ufeffan owl\n".encode(), ["a fox", "an owl"]),
        # Zero-width characters inside a prompt are part of it.
        ("👩\u200d🚀 on the moon\nfile\u200bname\n".encode(), ["👩\u200d🚀 on the moon", "file\u200bname"]),
        # ImageNet's synsets.
        (b"n01440764 tench, Tinca tinca\nn01443537 goldfish\n", ["tench, Tinca tinca", "goldfish"]),
        (b"n01440764\ttench\n\nn01443537: goldfish", ["tench", "goldfish"]),
        # What only looks like a number or like another format.
        (b"1 cat\n2 cats\n3 cats\n", ["1 cat", "2 cats", "3 cats"]),
        (b"1. a fox\nan owl\n", ["1. a fox", "an owl"]),
        (b"{a|b} fox\n[photo] owl\n", ["{a|b} fox", "[photo] owl"]),
        (b"text, logo, poster\na caption\n", ["text, logo, poster", "a caption"]),
    ],
)
def test_the_lines_that_are_meant_are_read(tmp_path: Path, content: bytes, texts: list[str]) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert texts_of(tmp_path / "a.txt") == texts


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        (b"a fox\none\rtwo\n", "line 2", "carriage return"),
        ("a fox\u2028an owl\u2028a cat".encode(), "line 1", "U+2028"),
        (b"a fox\x0ban owl", "line 1", "U+000B"),
        (b"a fox\nn01440764 tench\n", "line 2", "WordNet id, n01440764"),
        (b"n01440764 tench\na fox\n", "line 1", "WordNet id, n01440764"),
        (b"n01440764\nn01443537\n", "line 1", "a WordNet id alone"),
        (b"a fox\nan\0owl\n", "line 2", "NUL character"),
        (b"0: tench\n1: goldfish\n", "line 1", "number"),
        (b"1. a fox\n2. an owl\n3. a cat\n", "line 1", "number"),
        (b"0\ta fox\n1\tan owl\n", "line 1", "number"),
        (b"Prompt\tCategory\na fox\tx\n", "line 1", "header of a table"),
        (b"id,prompt\n1,a fox\n", "line 1", "header of a table"),
        (b'["a fox",\n "an owl"]\n', "line 1", "begins JSON"),
        (b'{"prompt": "a fox"}\n{"prompt": "an owl"}\n', "line 1", "begins JSON"),
        (b"{0: 'tench, Tinca tinca',\n 1: 'goldfish'}\n", "line 1", "Python dictionary"),
        (LFS, "line 1", "pointer of Git LFS"),
        (b"<!DOCTYPE html>\n<html>\n", "line 1", "web page"),
        (b"404: Not Found", "line 1", "missing file"),
        (b"a fox\n" + b"x" * 100_001 + b"\n", "line 2", "100,001 characters"),
        (b"caf\xe9\n", "line 1", "not UTF-8"),
        (b"a fox\n\xff\xfe\n", "line 2", "not UTF-8"),
    ],
)
def test_what_is_not_certain_is_refused_by_line_and_reason(
    tmp_path: Path, content: bytes, row: str, reason: str
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    error = refusal_of(tmp_path / "a.txt")
    assert row in f"{error.key} {error.problem}" and reason in error.problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json", "a.tsv", "a.jsonl"])
def test_wide_encodings_are_refused_with_the_command_that_converts_them(
    tmp_path: Path, name: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes("prompt\na fox\nan owl\n".encode(encoding))
    error = refusal_of(tmp_path / name)
    assert "not UTF-8" in error.problem and "iconv -f UTF-" in error.fix


@pytest.mark.parametrize("name", ["a.txt", "a.ndjson", "a.csv", "a.parquet", "a.json.gz"])
def test_only_regular_files_are_read(tmp_path: Path, name: str) -> None:
    """A pipe would keep the reader waiting, and a device has no end."""
    os.mkfifo(tmp_path / name)
    start = time.monotonic()
    assert "not a regular file" in refusal_of(tmp_path / name).problem
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    assert "not a regular file" in refusal_of(tmp_path / name).problem
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    assert "No such file" in refusal_of(tmp_path / name).problem
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt.gz", b"a fox\nan owl\n"),
        ("a.jsonl.gz", b'{"prompt": "a fox"}\n"an owl"\n'),
        ("a.ndjson.gz", b'{"prompt": "a fox"}\n"an owl"\n'),
        ("a.json.gz", b'["a fox", "an owl"]'),
        ("a.csv.gz", b"prompt\na fox\nan owl\n"),
        ("a.TSV.GZ", b"prompt\tid\na fox\t1\nan owl\t2\n"),
    ],
)
def test_packed_files_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content))
    assert texts_of(path) == ["a fox", "an owl"]
    path.write_bytes(gzip.compress(content)[:-9])
    assert "not a whole gzip file" in refusal_of(path).problem
    path.write_bytes(content)
    assert "not a whole gzip file" in refusal_of(path).problem


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.csv.gz"])
def test_large_files_are_refused_before_they_are_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.planning.prompt_formats.content.MOST_BYTES", 1000)
    content = b"prompt\n" + b"a fox\n" * 200
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert "larger than 1,000 bytes" in refusal_of(tmp_path / name).problem


def test_the_number_of_prompts_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.planning.prompts.MOST_PROMPTS", 3)
    (tmp_path / "a.txt").write_text("a\nb\nc\nd\n")
    error = refusal_of(tmp_path / "a.txt")
    assert "too many prompts" in error.problem and "1..3 prompts" in error.allowed
    assert texts_of(tmp_path / "a.txt", limit=3) == ["a", "b", "c"]
    monkeypatch.setattr("pipeline.planning.prompts.MOST_CHARACTERS", 2)
    assert "too many prompts" in refusal_of(tmp_path / "a.txt", limit=3).problem


@pytest.mark.parametrize("name", ["a.doc", "a.txt.zip", "a.gz", "a", "a.xlsx"])
def test_other_suffixes_are_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a fox\n")
    error = refusal_of(tmp_path / name)
    assert "no known format" in error.problem and ".ndjson" in error.allowed
