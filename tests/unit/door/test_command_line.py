"""The command line: its help in a terminal, packaged configurations by name, and `srsoup demo`."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.packaged import FOLDER, config_file, packaged_configs
from pipeline.records import finished_keys
from srsoup import _app, load_config

COMMANDS = (
    "demo", "run", "sweep", "check", "status", "report", "export", "import", "rewards", "score", "compact", "verify",
)  # fmt: skip
TINY = ("steps=2", "queries=2", "soup.steps=1", "prompts.limit=1", "method=srsoup")


def said(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(_app(), arguments, prog_name="srsoup", env={"COLUMNS": "80"})
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda command: " ".join(command))
def test_help_fits_a_terminal_and_shows_an_example(command: Sequence[str]) -> None:
    text = said(*command, "-h")
    assert text == said(*command, "--help") and max(map(len, text.splitlines())) <= 80
    if command:
        assert re.search(rf"^  Example: srsoup {command[0]}\b.*\n\Z", text, re.MULTILINE)
    else:
        assert "..." not in text.partition("Commands:")[2], "every command is described whole"
        assert re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE) == list(COMMANDS)
        assert "--install-completion" in text


def test_the_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"srsoup \d+\.\d+\S*\n", said("--version"))


def test_completion_knows_commands_and_packaged_configurations(tmp_path: Path) -> None:
    (tmp_path / "depth.yaml").touch()
    environment = os.environ | {
        "_SRSOUP_COMPLETE": "complete_bash", "COMP_WORDS": "srsoup run de", "COMP_CWORD": "2",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    arguments = [sys.executable, "-m", "srsoup"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["depth.yaml", "demo"], done.stderr


def test_every_packaged_configuration_has_a_name_of_its_own() -> None:
    files = [path for path in FOLDER.rglob("*.yaml")]
    assert len(packaged_configs()) == len(files) > 20
    assert all(config_file(path.stem) == path for path in files)


def test_a_file_of_the_name_goes_first_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert config_file("demo") == FOLDER / "demo.yaml"
    (tmp_path / "demo").rmdir()
    (tmp_path / "demo").write_text("name: mine")
    assert config_file("demo") == Path("demo")
    with pytest.raises(RequestError, match="this key is missing"):
        load_config("demo")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("fig7_query", r"give one of the nearest names: fig7_queries, .*fig7_queries_mini"),
        ("Demo", "give one of the nearest names: demo, "),
        ("configs/demo.yaml", "check the path, or give demo, which comes with SRSoup"),
        (".", "this is a folder"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    given: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("run", "sweep", "check"):
        assert re.search(says, said(command, given, status=2))
    with pytest.raises(RequestError, match=says):
        load_config(given)


def test_packaged_names_are_configurations_of_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "demo: the plan" in said("check", "demo") and "the points of the sweep" in said("check", "fig7_queries_mini")
    assert "run it with `srsoup sweep`" in said("run", "fig7_queries_mini", "--local", status=2)
    assert "1 of 1 fronts in runs/demo" in said("run", "demo", *TINY, "--local")
    points = said("sweep", "fig7_queries_mini", *TINY[:1], *TINY[2:4], "rewards.held_out=[]", "--local")
    assert points.count("1 of 1 fronts in runs/fig7_queries_mini/") == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_the_demo_runs_in_the_current_folder_and_says_where_its_report_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said("demo", *TINY, "--local")
    page = tmp_path / "runs" / "demo" / "report" / "index.html"
    assert f"report: {page}\n" in text and page.is_file() and len(finished_keys(tmp_path / "runs" / "demo")) == 1
    assert "1 of 1 fronts are done already" in said("demo", *TINY, "--local")
    assert "did you mean steps?" in said("demo", "stepz=3", "--local", status=2)
