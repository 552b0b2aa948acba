"""`check` shows the prompts as they were read: first and last ones, equal ones, styles, and those that are cut."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from configs.sections.model import ModelConfig
from pipeline.cli.commands import app
from pipeline.planning.prompt_summary import prompt_rows
from pipeline.planning.prompts import Prompt

COMMIT = "0123456789" * 4
LONG = "a snail on a hill in the rain, " * 9


def rows(*texts: str, style: str | None = None, source: str = "a.txt", model: str = "mini") -> dict[str, str]:
    prompts = [Prompt(str(i), text, source, style) for i, text in enumerate(texts)]
    section = ModelConfig(name=model, revision=COMMIT if "/" in model else None)
    return dict(prompt_rows(prompts, section))


def check(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == status, result.output
    return result.output


def test_the_rows_of_some_prompts() -> None:
    found = rows("one", "two", "three", "four", "two", LONG, "two")
    assert found["prompts"] == "7, from a.txt"
    assert found["first prompts"] == "'one'\n'two'\n'three'"
    assert found["last prompts"].startswith("'two'\n'a snail on a hill") and "(279 characters)" in found["last prompts"]
    assert found["equal prompts"] == "2 repeat an earlier one; most often 'two', 3 times"
    assert found["styles"] == "none"
    assert found["cut prompts"] == "1 by tokenizer, after 16 tokens"


def test_few_prompts_have_no_last_ones() -> None:
    found = rows("one", "two")
    assert "last prompts" not in found and found["equal prompts"] == found["cut prompts"] == "none"


def test_styles_and_several_files() -> None:
    prompts = [Prompt(f"{i}", f"{i}", f"{i % 3}.txt", f"style {i % 10}") for i in range(40)]
    found = dict(prompt_rows(prompts, ModelConfig()))
    assert found["prompts"] == "40, from 3 files, 0.txt to 2.txt"
    assert found["styles"].startswith("'style 0' (4), 'style 1' (4)") and found["styles"].endswith("and 2 more")


def test_a_model_that_is_not_here_leaves_the_cuts_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert rows(LONG, model="owner/name")["cut prompts"] == "not known until the model is here"


def test_characters_without_a_shape_and_brackets_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"photo [1]": ["[bold]a fox[/red]", "an\u202eowl", "tab\tand\x1b[31mred"]}))
    printed = check("demo", f"prompts.file={path}", f"output={tmp_path / '[run]'}")
    for text in ("[bold]a fox[/red]", r"an\u202eowl", r"tab\tand\x1b[31mred", "'photo [1]' (3)", "[run]"):
        assert text in printed


def test_a_sweep_shows_its_prompts_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a fox\nan owl\n")
    over = ["--over", "seed=0,1", f"prompts.file={tmp_path / 'a.txt'}", f"output={tmp_path / 'run'}"]
    printed = check("demo", *over)
    assert printed.count("2, from a.txt") == 1 and printed.count("'an owl'") == 1


def test_a_data_set_that_is_not_here_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    dataset = f"prompts.dataset={{name: a/b, split: train, revision: '{COMMIT}'}}"
    printed = check("demo", dataset, f"output={tmp_path / 'run'}")
    assert "not on this machine yet: `run` downloads them" in printed
    assert printed.count("not known until the prompts are on this machine") == 3
    assert "2,720 queries and 1,766 decodes a front" in printed
    swept = check("demo", dataset, f"output={tmp_path / 'run'}", "--over", "seed=0,1")
    assert "not on this machine yet: `run` downloads them" in swept


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": 5}', '["\\ud800"]', "{}", "[]", "[[]]", '[{"prompt": {}}]'])
def test_what_is_no_prompt_is_status_2_and_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    printed = check("demo", f"prompts.file={tmp_path / 'a.json'}", f"output={tmp_path / 'run'}", status=2)
    for part in ("file:", "key:", "value:", "allowed:", "fix:"):
        assert printed.count(part) == 1
    assert not (tmp_path / "run").exists()
