"""`srsoup report --table`: what is printed, and what is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from srsoup import _app
from tests.support.synthetic_run import write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first = write_run(folder, "one", prompts=["a fox", "a cat"], weights=3)
    return first, write_run(folder, "two", prompts=["a fox"], guided=("sharpness", "brightness"), weights=3)


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(_app(), ["report", *map(str, arguments)])


def test_a_table_is_printed_and_nothing_is_written(runs: tuple[Path, Path]) -> None:
    before = set(runs[0].rglob("*"))
    done = report(runs[0], "--table", "1", "--format", "markdown")
    assert done.exit_code == 0, done.output
    assert "| Cross-reward | Method | w₁ = 0 | w₁ = 0.5 | w₁ = 1 |" in done.output.splitlines()
    assert set(runs[0].rglob("*")) == before
    assert "Held-out rewards by weighting" in report(runs[0], "--table", "cross_reward").output


def test_runs_of_different_rewards_share_table_6_and_have_a_table_1_each(runs: tuple[Path, Path]) -> None:
    shared = json.loads(report(*runs, "--table", "6", "--format", "json").output)
    assert shared["columns"][2:4] == ["Colorfulness & Compressibility, Total", "Colorfulness & Compressibility, Decode"]
    assert len(shared["columns"]) == 2 + 2 * 3
    assert report(*runs, "--table", "1", "--format", "latex").output.count(r"\begin{table}") == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--table", "7"), "there is no table '7'; allowed: 1, 2, 3, 4, 5, 6, hypervolume"),
        (("--table", "1", "--format", "pdf"), "there is no format 'pdf'; allowed: screen, markdown, latex, csv, json"),
        (("--format", "csv"), "--format is the format of a table; fix: give --table too"),
        (("--table", "cost_ratios"), "an equal-quality ratio needs two guided methods"),
    ],
)
def test_a_wrong_request_is_refused(runs: tuple[Path, Path], arguments: tuple[str, ...], told: str) -> None:
    done = report(runs[0], *arguments)
    assert done.exit_code == 2 and told in " ".join(done.output.split())


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    done = report(tmp_path, "--table", "1")
    assert done.exit_code == 2 and "config.yaml is missing" in " ".join(done.output.split())
