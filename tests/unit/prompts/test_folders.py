"""Folders and patterns: files of one format and one split, by name; and the rows that `skip_empty` leaves out."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import PromptsConfig
from pipeline.planning.prompts import read_prompts
from tests.support.planning.prompt_files import refusal_of, texts_of


def make(folder: Path, **files: str) -> Path:
    """Write files. In their names `__` stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def shards(folder: Path, split: str, *texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        pq.write_table(pa.table({"prompt": [text]}), folder / f"{split}-{i:05}-of-{len(texts):05}.parquet")


def test_a_folder_of_captions_beside_images(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", b__txt="an owl\n", a__txt="a fox", a__png="", b__jpg="", __hidden__txt="no")
    (folder / ".x.txt").write_text("hidden")
    (folder / "_SUCCESS").write_text("")
    prompts = read_prompts(PromptsConfig(file=str(folder)))
    assert [(prompt.text, prompt.source) for prompt in prompts] == [("a fox", "a.txt"), ("an owl", "b.txt")]
    assert texts_of(folder, limit=1) == ["a fox"]


def test_parquet_folders_and_patterns(tmp_path: Path) -> None:
    shards(tmp_path / "data", "train", "a fox", "an owl", "a fox")
    assert texts_of(tmp_path / "data") == ["a fox", "an owl", "a fox"]
    assert texts_of(tmp_path / "data" / "train-*-of-*.parquet", limit=2) == ["a fox", "an owl"]
    shards(tmp_path / "data", "test", "a cat")
    assert "different splits" in refusal_of(tmp_path / "data").problem
    assert texts_of(tmp_path / "data" / "test-*.parquet") == ["a cat"]
    shards(tmp_path / "deep" / "style=anime", "part", "a fox")
    shards(tmp_path / "deep" / "style=photo", "part", "an owl")
    assert texts_of(tmp_path / "deep" / "**" / "*.parquet") == ["a fox", "an owl"]
    assert texts_of(tmp_path / "deep" / "*" / "*.parquet") == ["a fox", "an owl"]


def test_captions_that_are_named_like_splits_are_no_splits(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", train_1__txt="a fox", test_pattern__txt="an owl", testimony__txt="a cat")
    assert texts_of(folder) == ["an owl", "a cat", "a fox"]


def test_a_file_whose_name_is_a_pattern_is_the_file(tmp_path: Path) -> None:
    make(tmp_path, a__txt="a fox")
    (tmp_path / "[a].txt").write_text("an owl")
    assert texts_of(tmp_path / "[a].txt") == ["an owl"]
    assert texts_of(tmp_path / "[a]*.txt") == ["a fox"]


def test_names_that_are_no_text_become_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.txt")
    (tmp_path / name).write_text("a fox")
    (prompt,) = read_prompts(PromptsConfig(file=str(tmp_path)))
    assert prompt.source.encode() == "\ufffd.txt".encode()


@pytest.mark.parametrize(
    ("files", "pattern", "reason"),
    [
        ({}, "", "no file of a known format"),
        ({"a__png": ""}, "", "no file of a known format"),
        ({"a__txt": "x", "b__json": "[]"}, "", "different formats: a.txt and b.json"),
        ({"a__txt": "x", "b__json": "[]"}, "*", "different formats"),
        ({"a__txt": "x", "README__txt": "about"}, "", "README.txt"),
        ({"train__txt": "x", "test__txt": "y"}, "", "different splits"),
        ({"a__txt": "x", "a__png": ""}, "*", "no known format"),
        ({"a__txt": "x"}, "*.csv", "no file of a known format"),
        ({"a__txt": "x", "b__txt": "\n"}, "", "the file has no prompt"),
    ],
)
def test_what_is_not_certain_is_refused(tmp_path: Path, files: dict[str, str], pattern: str, reason: str) -> None:
    folder = make(tmp_path / "set", **files)
    assert reason in refusal_of(folder / pattern if pattern else folder).problem


def test_the_error_of_a_row_names_its_own_file(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", a__csv="prompt\na fox\n", b__csv="prompt\na,b\n")
    error = refusal_of(folder)
    assert error.file == str(folder / "b.csv") and "row 1 (line 2)" in error.problem


def test_a_pipe_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", a__txt="a fox")
    os.mkfifo(folder / "b.txt")
    assert "not a regular file" in refusal_of(folder).problem
    assert "NUL character" in refusal_of(Path(f"{folder}\0")).problem


def test_a_folder_of_a_configuration_is_relative_to_it(tmp_path: Path) -> None:
    make(tmp_path / "deep" / "set", a__txt="a fox")
    path = tmp_path / "deep" / "run.yaml"
    path.write_text("name: a\nweights: [[1.0]]\nprompts: {file: set/*.txt}\nrewards: {guided: [colorfulness]}\n")
    assert [prompt.text for prompt in read_prompts(load_config(path).prompts)] == ["a fox"]


EMPTY = ["a fox", "", " \t", "\u200b", None, "an owl"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet", "a.csv", "a.tsv"])
def test_empty_rows_are_refused_or_left_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"prompt": EMPTY}), path)
    elif name in ("a.csv", "a.tsv"):
        end = "," if name == "a.csv" else "\t"
        path.write_text(f"prompt{end}id\n" + "".join(f"{text or ''}{end}x\n" for text in EMPTY if text != " \t"))
    else:
        path.write_text(json.dumps(EMPTY) if name == "a.json" else "\n".join(map(json.dumps, EMPTY)))
    error = refusal_of(path)
    assert "empty or not text" in error.problem and "prompts.skip_empty=true" in error.fix
    assert texts_of(path, skip_empty=True) == ["a fox", "an owl"]
    assert texts_of(path, skip_empty=True, limit=2) == ["a fox", "an owl"]
    assert texts_of(path, limit=1) == ["a fox"]


def test_a_list_leaves_out_its_empty_texts_and_other_types_are_still_refused(tmp_path: Path) -> None:
    prompts = read_prompts(PromptsConfig(list=("a fox", "", "\u200b"), skip_empty=True))
    assert [prompt.text for prompt in prompts] == ["a fox"]
    with pytest.raises(RequestError, match="no prompts"):
        read_prompts(PromptsConfig(list=("", " "), skip_empty=True))
    (tmp_path / "a.json").write_text('["a fox", 5]')
    assert "entry 1" in refusal_of(tmp_path / "a.json", skip_empty=True).key
    folder = make(tmp_path / "set", a__txt="a fox", b__txt="")
    assert texts_of(folder, skip_empty=True) == ["a fox"]
