"""Every command that README.md and docs/ print is run as printed, or at least taken by the program that it names.

A command that needs a cluster, the network or a store is parsed by its program; `REASONS` says why it is not run. A
run that would take minutes gets a few more overrides at its end, which name a tiny model with random weights and few
steps, and `--local`, which spares the start of Ray.
"""

import argparse
import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import srsoup
from configs.load import load_config
from configs.packaged import config_file
from diffusion.source import local_folder
from pipeline.cli.commands import app as cluster_app
from rewards import registry
from tests.support import tiny
from tests.support.pages.printed import PAGES, Command, commands, inline_commands, snippets
from tests.support.runs import ROOT

RANDOM_MODEL = "model.name={model}"
TINY = (RANDOM_MODEL, "steps=2", "queries=2", "soup.steps=1", "prompts.limit=1", "--local")
TWO_WEIGHTS = "weights=[[0, 1], [1, 0]]"
# How a command begins -> what is added so that it takes seconds; None for a command that is fast as it is.
SMALL: dict[str, tuple[str, ...] | None] = {
    "srsoup check": None,
    "srsoup report": None,
    "srsoup rewards": None,
    "srsoup score": None,
    "srsoup verify": None,
    "srsoup export": None,
    "srsoup run": TINY,
    "srsoup run configs/animals_mini.yaml": (*TINY, "model.dtype=float32", "seeds=1", "best_of.samples=2"),
    "srsoup sweep configs/demo.yaml --over soup.steps=0,10,20": (
        RANDOM_MODEL, "steps=20", "queries=2", "prompts.limit=1", "method=srsoup", TWO_WEIGHTS, "--local"),
    "srsoup sweep configs/experiments/fig1_animals": (RANDOM_MODEL, "prompts.limit=1", TWO_WEIGHTS, "--local"),
}  # fmt: skip
READERS = ("srsoup report", "srsoup verify", "srsoup export")
# How a command begins -> why it is only parsed.
REASONS = {
    "source .venv/bin/activate": "it changes the shell, and the environment is the one of this test",
    "export ": "it changes the shell",
    "cd ": "it changes the shell",
    "git clone ": "it needs the network",
    "make ": "it installs packages or takes minutes",
    "kubectl ": "it needs a cluster",
    "sbatch ": "it needs a cluster",
    "ray ": "it needs a cluster",
    "python -m pipeline run ": "it needs a cluster",
    "python -m benchmarks.": "it takes minutes",
    "srsoup run configs/demo.yaml output=s3://": "it needs an object store",
    "srsoup run configs/experiments/hpd_aesthetic_hpsv2.yaml name=": "it needs the prompt files of a benchmark",
    "srsoup run demo report.tracker=wandb": "it needs an extra",
    "srsoup report runs/a --watch": "it serves until Ctrl-C",
    "srsoup export runs/demo --to hub": "it needs the network",
    "srsoup import theirs": "it needs images of the released code",
    "srsoup status s3://": "it needs an object store",
    "srsoup report s3://": "it needs an object store",
    "srsoup run configs/demo.yaml 'rewards.held_out=[vlm_judge]'": "it needs a server with a model",
    "srsoup run configs/demo.yaml 'rewards.guided=[far, compressibility]'": "it needs a reward server",
    "srsoup serve-reward ": "it serves until Ctrl-C",
}


def rule(command: Command, rules: dict[str, Any]) -> str | None:
    """The longest beginning of a command that has a rule."""
    return max((begin for begin in rules if command.text.startswith(begin)), key=len, default=None)


def is_run(command: Command) -> bool:
    reason, small = rule(command, REASONS), rule(command, SMALL)
    return small is not None and len(small) > len(reason or "")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model("sd", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """The folder of a small run that is finished."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    small = [word.format(model=model) for word in TINY]
    done = call("srsoup", "run", str(ROOT / "configs" / "demo.yaml"), *small, f"output={folder}")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def place(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as a reader has it after the steps before: configurations, images and a plugin."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64), "teal").save(tmp_path / name)
    (tmp_path / "my_rewards.py").write_text(snippets(ROOT / "docs" / "own_reward.md")[0])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    registry.forget_plugins()


def call(*words: str) -> Any:
    registry.forget_plugins()
    return CliRunner().invoke(srsoup._app(), words[1:], prog_name="srsoup", env={"COLUMNS": "200"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(map(is_run, commands(page)))], ids=lambda page: page.name
)
def test_the_commands_of_a_page_run_as_printed_one_after_the_other(
    page: Path, place: Path, finished: Path, model: Path
) -> None:
    """A run that a command reads, and that no command before it on the page has made, is the finished one."""
    for command in filter(is_run, commands(page)):
        begin = rule(command, SMALL)
        runs = command.words[2:3] if begin == "srsoup export" else command.words[2:]
        for run in runs if begin in READERS else ():
            if not Path(run).exists():
                shutil.copytree(finished, run)
        done = call(*command.words, *(word.format(model=model) for word in SMALL[begin or ""] or ()))
        assert done.exit_code == 0, f"{command.text}\n{done.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_other_command_of_a_page_is_taken_by_its_program(page: Path) -> None:
    for command in commands(page):
        if not is_run(command):
            assert rule(command, REASONS), f"{command.text}: neither run nor given a reason"
            parse(command.words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_in_the_sentences_of_a_page_exist_with_their_options(page: Path) -> None:
    group: Any = get_command(srsoup._app())
    for command in inline_commands(page):
        known: Any = group.commands.get(command.words[1])
        assert known is not None, command.text
        options = {option for parameter in known.params for option in parameter.opts}
        assert {word for word in command.words if word.startswith("--")} <= options | {"--help"}, command.text


def parse(words: tuple[str, ...]) -> None:
    """Have a command parsed by the program that it names, without running it."""
    match words:
        case ["make", target]:
            done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        case ["ray", *rest]:
            _parse_ray(rest)
            if "--" in rest:
                parse(tuple(rest[rest.index("--") + 1 :]))
        case ["python", "-m", "pipeline", *rest]:
            _parse_click(get_command(cluster_app), rest)
        case ["python", "-m", module, *rest]:
            _parse_options(module, rest)
        case ["sbatch", script, *rest]:
            assert (ROOT / script).is_file()
            _parse_click(get_command(cluster_app), ["run", *rest])
        case ["kubectl", "apply", "-f", file]:
            assert (ROOT / file).is_file()
        case ["srsoup", *rest]:
            _parse_click(get_command(srsoup._app()), rest)


def _parse_click(group: Any, words: list[str]) -> None:
    """Parse the arguments, and check the configuration that they make."""
    command = group.commands[words[0]]
    given = command.make_context(words[0], words[1:]).params
    if "config" in given:
        named = str(given["config"])
        file = config_file(ROOT / named if "/" in named else named)
        overrides = [text.replace("$HOME", "/home/me") for text in given.get("overrides") or []]
        assert load_config(file, overrides).steps


def _parse_ray(words: list[str]) -> None:
    from ray.scripts.scripts import cli

    command: Any = cli
    rest = words
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context("ray", list(rest), resilient_parsing=True)
    options = {option for parameter in command.params for option in parameter.opts}
    before = rest[: rest.index("--")] if "--" in rest else rest
    assert {word.partition("=")[0] for word in before if word.startswith("--")} <= options


def _parse_options(module: str, words: list[str]) -> None:
    """Have the parser of a benchmark take the words, and stop before it starts."""

    class Parsed(Exception):
        pass

    def stop(self: argparse.ArgumentParser, *given: Any, **options: Any) -> Any:
        taken(self, *given, **options)
        raise Parsed

    taken, program = argparse.ArgumentParser.parse_args, importlib.import_module(module)
    if hasattr(program, "__path__"):
        program = importlib.import_module(f"{module}.__main__")
    if not words:
        assert hasattr(program, "main") or Path(str(program.__file__)).is_file()
        return
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(sys, "argv", [module, *words]),
        pytest.raises(Parsed),
    ):
        program.main()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("srsoup run configs/demo.yaml --locl", "No such option"),
        ("srsoup run configs/demo.yaml stepz=3", "no such key"),
        ("srsoup run configs/dem.yaml", "no such file"),
        ("srsoup rum configs/demo.yaml", "rum"),
        ("make no-such-target", "No rule"),
        ("ray statr", "statr"),
        ("ray start --hed", "--hed"),
        ("sbatch docs/slurm.sh configs/demo.yaml steps=0", "greater than or equal to 1"),
        ("python -m benchmarks.scale --prompt-count 3", "2"),
    ],
)
def test_a_command_that_its_program_does_not_take_is_seen(words: str, problem: str) -> None:
    with pytest.raises((Exception, SystemExit), match=problem):
        parse(tuple(words.split()))


def test_the_python_of_the_page_on_the_library_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the embedded model, on the CPU, with fewer steps; the page names a model of the hub and a GPU."""
    front, run = snippets(ROOT / "docs" / "library.md")
    front = re.sub(r'^name = ".*"$', "name = folder", front, flags=re.MULTILINE).replace('.to("cuda")', "")
    small: dict[str, Any] = {"steps": 2, "queries": 2, "soup_steps": 1, "progress": False}
    sample_front, run_all = srsoup.sample_front, srsoup.run
    monkeypatch.setattr(srsoup, "sample_front", lambda *given: sample_front(*given, **small), raising=False)
    exec(front.replace("torch.float16", "torch.float32"), {"folder": local_folder("mini")})
    assert len(list(place.glob("snail_*.png"))) == 6
    few = ["steps=2", "queries=2", "soup.steps=1"]
    monkeypatch.setattr(
        srsoup, "run", lambda config, given: run_all(config, [*given, *few], local=True, progress=False)
    )
    exec(run, {})
    assert (place / "snail.png").is_file()


def test_the_python_of_the_page_on_files_runs(place: Path, finished: Path) -> None:
    shutil.copytree(finished, place / "runs" / "demo")
    for code in snippets(ROOT / "docs" / "files.md"):
        exec(code, {})
    assert (place / "first.png").is_file()


def test_the_python_of_the_readme_runs(place: Path, finished: Path) -> None:
    shutil.copytree(finished, place / "runs" / "mine")
    (code,) = snippets(ROOT / "README.md")
    exec(code, {})


def test_the_python_of_the_page_on_rewards_keeps_the_contract() -> None:
    template, check = snippets(ROOT / "docs" / "own_reward.md")
    named: dict[str, Any] = {}
    exec(template, named)
    exec(check, named)
