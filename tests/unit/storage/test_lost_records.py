"""Runs whose config.yaml or driver.yaml is lost or was edited: a clear error, and no mixture of two runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.records import finished_keys, read_table
from srsoup import _app
from tests.support.computed_run import SMALL
from tests.support.computed_run import run as computed_run
from tests.support.runs import DEMO
from tests.support.synthetic_run import write_driver

Write = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of two fronts."""
    folder = tmp_path / "run"
    computed_run(folder)
    return folder


def ask(command: str, *arguments: object) -> tuple[int, str]:
    told = CliRunner().invoke(_app(), [command, *map(str, arguments)])
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.exit_code, " ".join(told.output.split())


def request(run: Path, *settings: str) -> tuple[object, ...]:
    return (DEMO, *(text for text in SMALL if not text.startswith("output")), f"output={run}", *settings)


def test_the_same_command_writes_a_lost_record_of_the_driver_again_although_all_is_done(run: Path) -> None:
    before = {table: read_table(run, table).to_pylist() for table in ("samples", "scores", "costs")}
    (run / "driver.yaml").unlink()
    assert ask("verify", run)[0] == 1 and ask("report", run)[0] == 0
    assert ask("status", run)[0] == 2
    outcome = computed_run(run)
    assert (outcome.done, outcome.found) == (0, 2)
    assert ask("verify", run)[0] == 0 and ask("status", run)[0] == 0
    assert before == {table: read_table(run, table).to_pylist() for table in before}


def test_without_its_record_a_run_is_neither_shown_nor_fine(run: Path) -> None:
    (run / "config.yaml").unlink()
    for command, status in (("verify", 1), ("status", 2), ("report", 2), ("compact", 2)):
        found, told = ask(command, run)
        assert found == status and "config.yaml" in told, told
    assert len(finished_keys(run)) == 2


BROKEN = {
    "no YAML": "config: [",
    "a list": "- 1\n",
    "empty": "",
    "a configuration that is text": "config: hello\n",
    "deep": "config: " + "[" * 5_000,
    "not UTF-8": "config: \xff",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_a_clear_error_of_every_reader(run: Path, content: str) -> None:
    (run / "config.yaml").write_bytes(content.encode("latin-1"))
    for command, status in (("verify", 1), ("report", 2), ("status", 2)):
        found, told = ask(command, run)
        assert found == status and "config.yaml: " in told and "not the record of a run" in told, told


def edited(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    change(document)
    (run / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "config.steps": lambda document: document["config"].pop("steps"),
    "config.queries": lambda document: document["config"].update(queries="16"),
    "config.seed": lambda document: document["config"].update(seed=[1]),
    "config.name": lambda document: document["config"].update(name=3),
    "config.weights": lambda document: document["config"].update(weights=[]),
    "a row of weights": lambda document: document["config"].update(weights=[[1.0, 0.0, 0.0]]),
    "config.rewards.guided": lambda document: document["config"]["rewards"].update(guided="colorfulness"),
    "a reward is named twice": lambda document: document["config"]["rewards"].update(held_out=["colorfulness"]),
    "reference_point": lambda document: document["config"].update(report={"reference_point": {"colorfulness": 1.0}}),
    "units": lambda document: document.update(units=["kB"]),
    "versions": lambda document: document.update(versions="1.0"),
    "chunk": lambda document: document.update(chunk="four"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_ends_no_report_in_a_traceback(synthetic_run: Write, edit: str) -> None:
    run = synthetic_run(prompts=["a"], weights=2)
    edited(run, EDITS[edit])
    status, told = ask("report", run)
    assert status == 2 and "config.yaml: the file is not the record of a run" in told and edit in told, told


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompts": 0}, ""),
        ({"fronts": "many"}, ""),
        ({"prompts": 4, "fronts": 6}, "6 fronts are not the same number for each of 4 prompts"),
        ({"more": 1}, ""),
        ({"fronts": 1, "prompts": 1}, "there are 2 finished fronts, but the run has only 1"),
    ],
)
def test_an_edited_record_of_the_driver_is_damage(synthetic_run: Write, change: dict[str, Any], reason: str) -> None:
    run = synthetic_run(prompts=["a"])
    write_driver(run, fronts=2)
    assert ask("verify", run)[0] == 0
    file = run / "driver.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text(encoding="utf-8")) | change))
    status, told = ask("verify", run)
    assert status == 1 and reason in told and ("driver.yaml: this is not what a driver wrote" in told or reason), told


def test_a_run_is_not_begun_in_a_folder_with_a_foreign_merged_part(run: Path) -> None:
    pq.write_table(pa.table({"key": ["a"]}), run / "steps" / "merged-mine.parquet")
    for command in ("run", "check"):
        status, told = ask(command, *request(run))
        assert status == 2 and "merged-mine.parquet is not a merged part of a run" in told, told
        assert "move it out of the folder" in told and "key: output" in told
    assert (run / "steps" / "merged-mine.parquet").exists()


def test_a_plan_with_nothing_lost_begins_no_driver(run: Path) -> None:
    began = (run / "driver.yaml").read_bytes()
    assert computed_run(run).done == 0
    assert (run / "driver.yaml").read_bytes() == began
