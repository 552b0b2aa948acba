"""`prompts.template`: plain text around each prompt, which enters its id, its key and the record."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from pipeline.cli.commands import app
from pipeline.planning.plan import make_plan
from pipeline.planning.prompts import Prompt, read_prompts
from pipeline.records import read_table

# Each would do something, or fail, if a prompt or a template were a format string, a pattern or a command.
PROMPTS = (
    "tench", "{0}", "{prompt}", "{prompt.text!r:>{width}}", "{{double}}", "100 % %s %(a)d", "a, b, and c",
    r"\1 \g<0> $1", "Größe 雪豹 🦊", "$(reboot) `ls`", "it's \"quoted\"",
)  # fmt: skip
TEMPLATES = (
    "{prompt}", "a photo of {prompt}", "a photo of {prompt}, 8k, {soft} light", "{{prompt}}", "{} {0} {prompt} %s",
    "ein Foto: {prompt} – schön", "{prompt}\\1",
)  # fmt: skip


def write(tmp_path: Path, **prompts: Any) -> Path:
    path = tmp_path / "run.yaml"
    data = {
        "name": "t", "steps": 2, "queries": 2, "soup": {"steps": 1}, "weights": {"grid": 2}, "prompts": prompts,
        "rewards": {"guided": ["colorfulness", "compressibility"]}, "output": str(tmp_path / "run"),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return path


def prompts_of(tmp_path: Path, **prompts: Any) -> list[Prompt]:
    return read_prompts(load_config(write(tmp_path, **prompts)).prompts)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_plain_text_around_each_prompt(tmp_path: Path, template: str) -> None:
    before, place, after = template.partition("{prompt}")
    texts = [before + text + after for text in PROMPTS]
    found = prompts_of(tmp_path, list=list(PROMPTS), template=template)
    assert place and [prompt.text for prompt in found] == texts
    assert found == prompts_of(tmp_path, list=texts), "ids are those of the filled texts"


@pytest.mark.parametrize("suffix", ["txt", "json", "csv"])
def test_prompts_of_a_file_are_filled_in_and_keep_their_styles_and_tags(tmp_path: Path, suffix: str) -> None:
    content = {
        "txt": "a fox\n\nan owl\n", "json": '{"ink": ["a fox"], "oil": ["an owl"]}',
        "csv": "prompt,tags\na fox,red\nan owl,blue\n",
    }  # fmt: skip
    file = tmp_path / f"p.{suffix}"
    file.write_text(content[suffix])
    plain, found = (prompts_of(tmp_path, file=str(file), **more) for more in ({}, {"template": "{prompt}!"}))
    assert [prompt.text for prompt in found] == ["a fox!", "an owl!"]
    assert [(p.style, p.tags, p.source) for p in found] == [(p.style, p.tags, p.source) for p in plain]
    assert not {p.prompt_id for p in found} & {p.prompt_id for p in plain}


def test_a_template_does_not_make_a_prompt_of_a_blank_row(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the prompt is empty"):
        prompts_of(tmp_path, list=["a fox", " "], template="a photo of {prompt}")
    skipped = prompts_of(tmp_path, list=["a fox", " "], template="a photo of {prompt}", skip_empty=True)
    assert [prompt.text for prompt in skipped] == ["a photo of a fox"]


def test_wordnet_ids_are_removed_before_a_prompt_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("n01440764 tench\nn01443537 goldfish\n")
    found = prompts_of(tmp_path, file=str(tmp_path / "p.txt"), template="a photo of {prompt}")
    assert [prompt.text for prompt in found] == ["a photo of tench", "a photo of goldfish"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "0 times"), ("a photo", "0 times"), ("{ prompt }", "0 times"), ("{Prompt}", "0 times"),
        ("{prompt} and {prompt}", "2 times"), (3, "text"), (["{prompt}"], "text"), ("{prompt}" + "x" * 10_000, "10000"),
    ],
)  # fmt: skip
def test_a_wrong_template_is_refused(tmp_path: Path, template: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        prompts_of(tmp_path, list=["a fox"], template=template)
    assert refused.value.key == "prompts.template"


def test_the_record_has_the_template_and_only_a_run_with_the_same_one_continues(tmp_path: Path) -> None:
    file = write(tmp_path, list=list(PROMPTS[:6]), template="{soft}, {prompt}, 雪")

    def run(*more: str) -> Any:
        arguments = ["run", str(file), "--local", "prompts.limit=3", "method=unguided", "steps=1", *more]
        return CliRunner().invoke(app, arguments)

    assert run().exit_code == 0
    folder = tmp_path / "run"
    record = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert record["config"]["prompts"]["template"] == "{soft}, {prompt}, 雪"
    texts = [f"{{soft}}, {text}, 雪" for text in PROMPTS[:3]]
    assert sorted(set(read_table(folder, "samples").to_pandas().prompt)) == sorted(texts)
    assert "3 of 3 fronts are done already" in run().output
    for other in ("prompts.template=null", "prompts.template='{prompt}'"):
        refused = run(other)
        assert refused.exit_code == 2 and "key:     prompts.template\n" in refused.output


def test_a_run_without_a_template_has_the_record_and_the_keys_of_earlier_versions(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, list=["a fox"]))
    assert not {"template", "packaged", "synonyms"} & set(config.model_dump(mode="json")["prompts"])
    one, other = (
        make_plan(load_config(write(tmp_path, list=texts, **more)), str).tasks[0].key
        for texts, more in ((["a photo of a fox"], {}), (["a fox"], {"template": "a photo of {prompt}"}))
    )
    assert one == other, "the key follows the filled text"
