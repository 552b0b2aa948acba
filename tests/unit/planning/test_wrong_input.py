"""A wrong request ends with exit status 2 and one message: file, key, value, the allowed values and the fix."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import PromptsConfig
from pipeline.cli.commands import app
from pipeline.job.driver import _locked_folder
from pipeline.planning.plan import make_plan
from pipeline.planning.prompts import read_prompts

CONFIGS = Path(__file__).parents[3] / "configs"
DEMO = str(CONFIGS / "demo.yaml")
COMMIT = "abcdef6789" * 4


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["run", DEMO, *arguments])
    assert result.exit_code == 2, result.output
    for part in ("file:", "key:", "value:", "allowed:", "fix:"):
        assert result.output.count(part) == 1, result.output
    return result.output


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        ("stepz=3", "stepz", "did you mean steps?"),
        ("soup.corection=none", "soup.corection", "did you mean correction?"),
        ("weights=[[0.5, 0.6]]", "weights", "off the simplex"),
        ("weights=[[1]]", "weights", "2 rewards"),
        ("queries=0", "queries", ">= 1"),
        ("queries=1", "queries", "2 or more"),
        ("soup.steps=26", "soup.steps", "0..25"),
        ("prompts.list=[]", "prompts.list", "no prompts"),
        ("prompts.file=/no/such.txt", "prompts.file", "cannot be read"),
        ("model.name=/no/such/model", "model.name", "no folder"),
        ("rewards.guided=[colorfulnes, compressibility]", "rewards.guided.0", "did you mean colorfulness?"),
        ("output=/proc/none/run", "output", "another folder"),
        ("report.reference_point={a: 1}", "report.reference_point", "colorfulness, compressibility"),
        ("model.eta=0", "model.eta", "method=unguided"),
        ("seed=1.5", "seed", "whole number"),
        ("method=[srsoup, srsoup]", "method", "each once"),
        ("steps", "steps", "KEY=VALUE"),
    ],
)
def test_wrong_values_are_refused(override: str, key: str, message: str, tmp_path: Path) -> None:
    extra = [] if override.startswith("output") else [f"output={tmp_path / 'run'}"]
    output = refused(override, *extra)
    assert f"key:     {key}\n" in output and message in output
    assert ("file:    /no/such.txt\n" if "such.txt" in override else "file:    command line\n") in output
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_configuration_is_refused(tmp_path: Path) -> None:
    with _locked_folder(make_plan(load_config(Path(DEMO), [f"output={tmp_path}"]), lambda key: DEMO)):
        pass
    assert "key:     seed\n" in refused("seed=7", f"output={tmp_path}")


def test_two_drivers_on_one_folder_are_refused(tmp_path: Path) -> None:
    plan = make_plan(load_config(Path(DEMO), [f"output={tmp_path}"]), lambda key: DEMO)
    with _locked_folder(plan), pytest.raises(RequestError, match="another run"), _locked_folder(plan):
        pass


def test_a_model_is_a_path_from_its_file_or_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line a path is relative to the current folder, and another model needs another revision."""
    monkeypatch.chdir(tmp_path)
    commit, hub = COMMIT, "model: {name: a/b, revision: " + COMMIT + ", adapters: [{name: x.st}]}"
    path = tmp_path / "folder" / "a.yaml"
    path.parent.mkdir()
    rest = "\nname: a\nweights: [[1.0]]\nprompts: {list: [p]}\nrewards: {guided: [colorfulness]}\n"

    def model(text: str, *overrides: str) -> tuple[str, str | None]:
        path.write_text(text + rest)
        config = load_config(path, overrides).model
        return config.name, config.revision

    assert model(hub) == ("a/b", commit)
    assert load_config(path).model.adapters[0].name == str(path.parent / "x.st")
    adapters = load_config(
        path, ["model.adapters=[{name: y.st}, {name: c/d, revision: " + commit + "}]"]
    ).model.adapters
    assert [adapter.name for adapter in adapters] == [str(tmp_path / "y.st"), "c/d"]
    assert model("model: {name: a/b}") == (str(path.parent / "a/b"), None)
    assert model(hub, "model.name=local") == (str(tmp_path / "local"), None)
    assert model(hub, "model.name=mini") == ("mini", None)
    other = commit[::-1]
    for overrides in (["model.name=c/d", f"model.revision='{other}'"], [f"model.revision='{other}'", "model.name=c/d"]):
        assert model(hub, *overrides) == ("c/d", other)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_loads(path: Path) -> None:
    assert load_config(path).name == path.stem


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", b"\xef\xbb\xbfone\r\n\r\n two ", ["one", "two"]),
        ("a.json", b'["a/b\\nc", "a/b\\nc"]', ["a/b\nc", "a/b\nc"]),
        ("a.json", b'{"anime": ["x"], "photo": ["x"]}', ["x", "x"]),
        ("a.jsonl", b'{"prompt": "p", "tag": 1}\n"q"\n', ["p", "q"]),
        ("a.tsv", b'Prompt\tCategory\na "b\tz\n', ['a "b']),
        ("a.csv", b'id,text\n1,"x, y"\n', ["x, y"]),
    ],
)
def test_prompts_of_every_text_format_are_read(tmp_path: Path, name: str, content: bytes, texts: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    prompts = read_prompts(PromptsConfig(file=str(tmp_path / name)))
    assert [prompt.text for prompt in prompts] == texts
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"ok\nb\xffd\n", "byte 4, in line 2"),
        ("a.txt", b"\n \n", "no prompts"),
        ("a.json", b"{", "cannot be read as .json"),
        ("a.json", b"[1]", "the prompt is empty or not text"),
        ("a.jsonl", b'{"x": 1}', "has no column"),
        ("a.doc", b"x", "no known format"),
    ],
)
def test_wrong_prompt_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        read_prompts(PromptsConfig(file=str(tmp_path / name)))
