"""The errors of rewards: their problem and fix survive pickling and reach the command line unchanged."""

import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from actors.workers import RewardWorker, unloadable
from configs.errors import RequestError
from configs.load import load_config
from configs.plain.texts import is_writable, with_writable_text
from pipeline.planning.plugins import plug_in
from rewards import registry
from rewards.chat_endpoint import EndpointError
from rewards.errors import PluginError, RewardError, WeightsError
from rewards.plugin import Plugin
from srsoup import _app

app = _app()

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
SEMICOLONS = "the size is 3; the model takes 4; see its card"


class TooLong(RewardError):
    """An error as the author of a reward may write it, with arguments of its own."""

    def __init__(self, words: int) -> None:
        super().__init__(f"the prompt has {words} words", "shorten it")
        self.words = words


@pytest.fixture(autouse=True)
def nothing_plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugged", {})


@pytest.mark.parametrize("kind", [RewardError, WeightsError, PluginError, EndpointError])
def test_problem_and_fix_survive_pickling(kind: type[RewardError]) -> None:
    for error in (kind(SEMICOLONS, "do this; then that"), kind("no fix is known")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind and (copy.problem, copy.fix) == (error.problem, error.fix)
        assert str(copy) == str(error) and isinstance(copy, ValueError)


def test_the_text_is_the_problem_and_then_the_fix_if_there_is_one() -> None:
    assert str(RewardError("a; b", "c")) == "a; b; c"
    assert str(RewardError("a")) == "a" and RewardError("a").fix == ""


def test_a_subclass_with_arguments_of_its_own_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(TooLong(90)))
    assert type(copy) is TooLong and copy.words == 90 and str(copy) == "the prompt has 90 words; shorten it"


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (RewardError(SEMICOLONS, "take another"), "take another"),
        (RewardError(SEMICOLONS), "correct the reward where it is defined, or name other rewards"),
    ],
)
def test_a_worker_that_cannot_load_a_reward_says_problem_and_fix(error: RewardError, fix: str) -> None:
    request = unloadable(load_config(DEMO), error)
    assert (request.problem, request.fix, request.key) == (SEMICOLONS, fix, "rewards")


def test_a_reward_that_fails_in_setup_is_a_refusal_with_its_whole_text() -> None:
    source = f"""
from rewards.errors import RewardError
class Large:
    def setup(self, device): raise RewardError({SEMICOLONS!r})
    def score(self, images, prompts): ...
    def close(self): ...
REWARDS = {{"large": Large}}
"""
    with pytest.raises(RequestError) as caught:
        RewardWorker.from_config(load_config(DEMO), ["large"], "cpu", [Plugin("large.py", source)])
    assert caught.value.problem == SEMICOLONS and caught.value.fix.startswith("correct the reward")


def test_a_plugin_that_raises_keeps_its_semicolons_in_the_problem() -> None:
    with pytest.raises(RequestError) as caught:
        plug_in([Plugin("mine.py", f"raise ValueError({SEMICOLONS!r})")])
    assert caught.value.problem == f"plugin mine.py does not run: ValueError: {SEMICOLONS}"
    assert caught.value.fix.startswith("correct the file, or install what it imports")


def test_scores_of_files_end_with_the_problem_and_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(images: Tensor, prompts: list[str]) -> Tensor:
        raise RewardError(SEMICOLONS)

    def returns_nan(images: Tensor, prompts: list[str]) -> Tensor:
        return torch.full((len(images),), torch.nan)

    plugin = Plugin("mine.py", "")
    monkeypatch.setattr(registry, "_plugged", {"fails": (plugin, fails), "nan": (plugin, returns_nan)})
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for name, problem, fix in (
        ("fails", SEMICOLONS, "correct the reward where it is defined, or leave it out"),
        ("nan", "nan returned nan for image 0 of 1", "return a finite number for each image"),
    ):
        result = CliRunner().invoke(app, ["score", str(tmp_path / "a.png"), "--rewards", name, "--prompt", "an owl"])
        assert result.exit_code == 2, result.output
        assert f"error: {problem}\n" in result.output and f"fix:     {fix}\n" in result.output


class _Stubborn(Exception):
    def __str__(self) -> str:
        return "half \ud800"


@pytest.mark.parametrize(
    ("error", "class_", "text"),
    [
        (ValueError("half \ud800", 3), ValueError, r"('half \\ud800', 3)"),
        (ValueError("half \ud800"), ValueError, r"half \ud800"),
        (_Stubborn(), RuntimeError, r"_Stubborn: half \ud800"),
    ],
)
def test_an_error_of_half_a_surrogate_pair_gets_a_text_that_ray_can_send(
    error: Exception, class_: type[Exception], text: str
) -> None:
    sent = with_writable_text(error)
    assert is_writable(ValueError("é 🦊")) and is_writable(sent)
    assert type(sent) is class_ and str(sent) == text
