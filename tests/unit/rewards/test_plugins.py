"""Rewards that users write: plugin files, functions, classes, and the commands that list, test and query them."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from pipeline.planning.plan import make_plan
from pipeline.planning.plugins import plug_in, read_plugins
from rewards import registry
from rewards.base import checked_score
from rewards.colorfulness import Colorfulness
from rewards.contract import check_reward
from rewards.contract_case import distinct_images
from rewards.errors import RewardError
from rewards.networks.clip_encoder import Checkpoint
from rewards.own_reward import as_reward
from rewards.pinned_files import WeightFile
from rewards.plugin import Plugin
from srsoup import _app

app = _app()

ROOT = Path(__file__).parents[3]
TEMPLATE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "own_reward.md").read_text(), re.DOTALL)
FUNCTION = (
    "def half(images, prompts):\n    '''Always a half.'''\n    return [0.5] * len(images)\nREWARDS = {'half': half}\n"
)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    assert TEMPLATE
    path = tmp_path / "my_rewards.py"
    path.write_text(TEMPLATE.group(1))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Iterator[Path]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    yield tmp_path / "a.png"


def command(*arguments: Any, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == status, result.output
    return result.output


def plugged(source: str, name: str = "mine.py") -> None:
    registry.plug_in([Plugin(name, source)])


@pytest.mark.parametrize("name", ["redness", "contrast"])
def test_the_template_in_the_documentation_keeps_the_contract(template: Path, name: str) -> None:
    registry.plug_in([Plugin.read(template)])
    check_reward(lambda: registry.create(name))


def test_the_template_is_tested_and_queried_from_the_shell(template: Path, picture: Path) -> None:
    tested = command("rewards", "--plugin", template, "--check", "redness", "--check", "contrast")
    assert tested == "redness: keeps its contract\ncontrast: keeps its contract\n"
    header, row = command("score", picture, "--rewards", "redness,contrast", "--plugin", template).splitlines()
    pixels = np.asarray(Image.open(picture)).astype(float)
    expected = [(pixels @ [1, -0.5, -0.5]).mean(), pixels.mean(2).std()]
    assert header == "image\tredness\tcontrast" and row.split("\t")[0] == str(picture)
    np.testing.assert_allclose([float(value) for value in row.split("\t")[1:]], expected, rtol=1e-5)


def test_the_check_from_the_shell_names_what_a_reward_breaks(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FUNCTION)
    output = command("rewards", "--plugin", tmp_path / "mine.py", "--check", "half", status=1)
    assert "half: breaks its contract" in output and "tells_images_apart: all images score the same" in output


def test_the_table_has_every_reward_and_its_declaration(template: Path) -> None:
    table = command("rewards", "--plugin", template)
    assert all(name in table for name in (*registry.REWARDS, "redness", "contrast"))
    assert "0.27 (SD1.5" in table and "-1 to 1" in table and "-kB" in table and "Apache-2.0" in table


@pytest.mark.parametrize("scores", ["[0.5] * n", "np.full(n, 0.5)", "torch.full((n,), 0.5).requires_grad_()"])
def test_a_function_may_return_a_list_an_array_or_a_tensor(scores: str) -> None:
    plugged(
        f"import numpy as np, torch\ndef f(images, prompts):\n n = len(images)\n return {scores}\nREWARDS = {{'f': f}}"
    )
    found = registry.create("f").score(distinct_images(), [""] * 6)
    assert found.tolist() == [0.5] * 6 and found.dtype == torch.float32 and not found.requires_grad


@pytest.mark.parametrize(
    ("scores", "fix"),
    [
        ("None", "return one number for each image"),
        ("[0.5]", "return shape"),
        ("[float('nan')] * 6", "return a finite"),
    ],
)
def test_a_function_that_returns_wrong_scores_is_an_error(scores: str, fix: str) -> None:
    plugged(f"REWARDS = {{'f': lambda images, prompts: {scores}}}")
    with pytest.raises(RewardError, match=f"f returned .*; {fix}"):
        checked_score(registry.create("f"), distinct_images(), [""] * 6)


def test_a_function_without_a_declaration_has_the_default_one() -> None:
    plugged(FUNCTION)
    info = registry.create("half").info
    assert (info.description, info.source) == ("Always a half.", "mine.py")
    assert info.reads_prompt and info.batch_sensitive and not info.differentiable


def test_a_plugin_may_be_loaded_twice_but_its_names_are_taken() -> None:
    plugged(FUNCTION)
    plugged(FUNCTION)
    with pytest.raises(RewardError, match="half is a reward already; choose another name"):
        plugged(FUNCTION + "\n# changed")
    with pytest.raises(RewardError, match="colorfulness is a reward already"):
        plugged("REWARDS = {'colorfulness': print}")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("REWARDS = ", "does not run"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("x = 1", "set REWARDS ="),
        ("REWARDS = {}", "set REWARDS ="),
        ("REWARDS = {'a': 1}", "set REWARDS ="),
        ("raise ValueError('no')", "ValueError: no"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_a_wrong_request(source: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(RequestError) as caught:
        plug_in(read_plugins([tmp_path / "mine.py"]))
    assert words in str(caught.value) and caught.value.key == "--plugin" and "mine.py" in str(caught.value.problem)


def test_a_class_without_a_method_and_a_wrong_name_are_refused() -> None:
    with pytest.raises(RewardError, match="class int of here has no setup, score, close; write the missing methods"):
        as_reward("a", int, "here")
    plugged("from rewards.colorfulness import Colorfulness\nREWARDS = {'mine': Colorfulness}")
    with pytest.raises(RewardError, match="its info has the name 'colorfulness'"):
        registry.create("mine")


def test_a_package_may_announce_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "builtins:len", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "_announced", lambda: {"theirs": point})
    assert registry.create("theirs").info.source == "builtins:len"


def test_a_changed_plugin_changes_the_keys_of_all_tasks(tmp_path: Path) -> None:
    overrides = [f"output={tmp_path / 'run'}"]
    config = load_config(ROOT / "configs" / "demo.yaml", overrides)

    def keys(*plugins: Plugin) -> set[str]:
        registry._plugged.clear()
        return {task.key for task in make_plan(config, lambda key: "here", plugins).tasks}

    without, one, other = keys(), keys(Plugin("m.py", FUNCTION)), keys(Plugin("m.py", FUNCTION + "\n"))
    assert not without & one and not one & other
    assert keys(Plugin("m.py", FUNCTION)) == one


def test_a_configuration_cannot_name_a_plugin(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such key"):
        load_config(ROOT / "configs" / "demo.yaml", ["plugin=my_rewards.py"])
    with pytest.raises(RequestError, match="no such key"):
        load_config(ROOT / "configs" / "demo.yaml", ["rewards.plugin=my_rewards.py"])


def test_weights_are_fetched_and_checked_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    file = WeightFile("some/model", "a" * 40, "model.bin", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(Colorfulness, "info", replace(Colorfulness.info, weights=(file,)))
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path))
    place = tmp_path / "some" / "model" / "model.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    assert command("rewards", "--fetch", "colorfulness") == f"colorfulness: {place}\n"
    assert file.sha256 and file.sha256[:12] in command("rewards")
    place.write_bytes(b"other")
    assert "SHA-256 is" in command("rewards", "--fetch", "colorfulness", status=2)


@pytest.mark.parametrize("name", ["aesthetic", "clip_score", "pickscore", "hpsv2", "hpsv2.1", "image_reward"])
def test_a_learned_reward_declares_every_file_that_it_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reward = registry.create(name)
    held = {value for value in vars(reward).values() if isinstance(value, WeightFile)}
    for checkpoint in (value for value in vars(reward).values() if isinstance(value, Checkpoint)):
        text = {checkpoint.vocabulary, checkpoint.merges} if reward.info.reads_prompt else set()
        held |= {checkpoint.weights, *text}
    assert held and set(reward.info.weights) == held


def test_wrong_requests_for_scores_are_refused(picture: Path, tmp_path: Path) -> None:
    assert "did you mean colorfulness?" in command("score", picture, "--rewards", "colorfulnes", status=2)
    assert "give --prompt TEXT" in command("score", picture, "--rewards", "mini_clip", status=2)
    assert "cannot be read" in command("score", tmp_path / "none.png", "--rewards", "colorfulness", status=2)
    Image.new("RGBA", (4, 4)).save(tmp_path / "alpha.png")
    assert "alpha channel" in command("score", tmp_path / "alpha.png", "--rewards", "colorfulness", status=2)


def test_files_of_many_kinds_and_sizes_are_scored(picture: Path, tmp_path: Path) -> None:
    Image.new("L", (4, 7), 90).save(tmp_path / "grey.png")
    Image.open(picture).save(tmp_path / "b.jpg")
    output = command("score", picture, tmp_path / "grey.png", tmp_path / "b.jpg", "--rewards", "colorfulness,mini_clip",
                   "--prompt", "an owl")  # fmt: skip
    rows = [line.split("\t") for line in output.splitlines()[1:]]
    assert [Path(row[0]).name for row in rows] == ["a.png", "grey.png", "b.jpg"]
    assert float(rows[1][1]) == 0 and all(-1 <= float(row[2]) <= 1 for row in rows)
