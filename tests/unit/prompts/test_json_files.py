"""JSON: its shape says which of its texts are prompts; where it does not, the file is refused."""

import json
from pathlib import Path

import pytest

from configs.schema import PromptsConfig
from pipeline.planning.prompts import read_prompts
from tests.support.planning.prompt_files import refusal_of, texts_of

COCO = {
    "info": {"year": 2014},
    "licenses": [{"id": 1, "name": "x"}],
    "images": [{"id": 9, "file_name": "a.jpg"}],
    "annotations": [
        {"image_id": 9, "id": 1, "caption": "A fox in snow."},
        {"image_id": 9, "id": 2, "caption": "An owl. "},
    ],
}


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (COCO, ["A fox in snow.", "An owl. "]),
        ({"images": [{"id": 9}], "annotations": COCO["annotations"]}, ["A fox in snow.", "An owl. "]),
        # Records by id.
        ({"7": {"prompt": "a fox", "seed": 1}, "a.png": {"text": "an owl"}}, ["a fox", "an owl"]),
        ({"x": {"Caption": "a fox"}}, ["a fox"]),
        # Texts by number or file.
        ({"0": "tench", "1": "goldfish"}, ["tench", "goldfish"]),
        ({"n01440764": "tench"}, ["tench"]),
        ({"a.png": "a fox", "b.JPG": "an owl"}, ["a fox", "an owl"]),
        # ImageNet's class index.
        ({"0": ["n01440764", "tench"], "2": ["n01484850", "great_white_shark"]}, ["tench", "great white shark"]),
        # Columns.
        ({"prompt": ["a fox", "an owl"], "style": ["anime", "photo"]}, ["a fox", "an owl"]),
        ({"id": [1, 2], "text": ["a fox", "an owl"]}, ["a fox", "an owl"]),
        ({"caption": ["a fox"], "negative_prompt": ["ugly"]}, ["a fox"]),
        ({"Prompts": ["a fox"], "author": ["me"]}, ["a fox"]),
        # One record.
        ({"prompt": "a fox", "negative_prompt": "ugly", "seed": 3, "tags": ["x"]}, ["a fox"]),
        ([{"prompt_en": "a fox", "prompt_zh": "狐狸"}], ["a fox"]),
        (["n01440764 tench", "n01443537 goldfish"], ["tench", "goldfish"]),
    ],
)
def test_the_prompts_of_a_document_are_read_without_its_other_texts(
    tmp_path: Path, data: object, texts: list[str]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(data))
    prompts = read_prompts(PromptsConfig(file=str(tmp_path / "a.json")))
    assert [prompt.text for prompt in prompts] == texts
    assert {prompt.style for prompt in prompts} == {None}


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        ('{"prompt": ["a", "b"], "style": ["x"]}', "entry 1", "2 entries, but 'style' has 1"),
        ('{"negative_prompt": ["ugly"], "words": ["a fox"]}', "entry 0", "may be a column or a style"),
        ('{"id": ["1"], "sentence": ["a fox"]}', "entry 0", "may be a column or a style"),
        ('{"text": ["a fox"], "photo": ["an owl"]}', "entry 0", "may be a column or a style"),
        ('{"words": ["a fox"], "score": [0.5]}', "entry 0", "may be a column or a style"),
        ('{"prompts": [{"prompt": "a fox"}], "tags": ["x"]}', "entry 0", "may be a column or a style"),
        ('{"images": [], "annotations": [{"bbox": [1]}]}', "annotations, entry 0", "has no column"),
        ('{"a": {"prompt": "a fox"}, "b": {"words": "x"}}', "entry 'b'", "has no column"),
        ('{"negative": "ugly", "words": "a fox"}', "'negative'", "not all lists"),
        ('{"anime": ["a"], "anime": ["b"]}', "'anime' twice", "twice"),
        ('[{"prompt": "a", "prompt": "b"}]', "'prompt' twice", "twice"),
        ('["a fox", "x\\u0000y"]', "entry 1", "NUL character"),
        ('["a fox", "x\\ud800y"]', "entry 1", "half of a surrogate pair"),
        ('{"\\udc00": ["a fox"]}', "entry 0", "half of a surrogate pair"),
        ('["a fox", "\\u200b"]', "entry 1", "invisible characters only"),
        ('["a fox", ""]', "entry 1", "empty or not text"),
        ('["a fox", null]', "entry 1", "empty or not text"),
        ('["a fox", ["b"]]', "entry 1", "empty or not text"),
        ('["a fox", "n01440764 tench"]', "entry 1", "WordNet id"),
        ('"a fox"', "", "holds a str"),
        ("[" + "9" * 5000 + "]", "", "4300 digits"),
        ('["a fox",', "line 1", "Expecting value"),
    ],
)
def test_what_is_not_certain_is_refused_by_entry(tmp_path: Path, content: str, row: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(content)
    error = refusal_of(tmp_path / "a.json")
    assert row in f"{error.key} {error.problem}" and reason in error.problem


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[" * 5000 + "]" * 5000])
def test_deep_nesting_is_a_clear_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert "line 1 begins JSON that is nested too deeply" in refusal_of(tmp_path / name).problem


def test_the_column_that_is_named_decides(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"text": ["a fox"], "photo": ["an owl"]}')
    assert texts_of(path, column="photo") == ["an owl"]
    path.write_text('{"1.png": {"p": "a fox", "se": 1}}')
    assert texts_of(path, column="p") == ["a fox"]
    path.write_text('{"negative_prompt": ["ugly"], "words": ["a fox"]}')
    assert texts_of(path, column="words") == ["a fox"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_json_lines_are_read_under_each_of_their_names(tmp_path: Path, name: str, end: str) -> None:
    lines = ['\ufeff{"prompt": "a fox"}', "", '{"Prompts": "an owl"}', '\ufeff{"prompt_en": "a \\r cat"}', ""]
    (tmp_path / name).write_bytes(end.join(lines).encode())
    assert texts_of(tmp_path / name) == ["a fox", "an owl", "a \r cat"]


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        ('{"prompt": "a"}\n{"prompt": }\n', "line 2", "Expecting value"),
        ('{"prompt": "a"}\n{"words": "b"}\n', "line 2", "has no column"),
        ('{"prompt": "a"}\n{"prompt": "b", "prompt": "c"}\n', "line 2", "twice"),
        ('{"prompt": "a"}\n\n5\n', "line 3", "empty or not text"),
        ('[\n "a fox"\n]\n', "line 1", "rename the file to end in .json"),
    ],
)
def test_wrong_lines_are_refused_by_their_number(tmp_path: Path, content: str, row: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    error = refusal_of(tmp_path / "a.jsonl")
    assert row in f"{error.key} {error.problem}" and reason in error.problem + error.fix
