"""A run of many prompts, in a small version of the benchmark: parts are merged as it runs, and `status` reads it."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.protocol import RunStopped
from benchmarks import scale
from configs.load import load_config
from pipeline import records
from pipeline.cli.commands import app
from pipeline.job import driver, result_writer
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure
from pipeline.planning.plan import Plan, make_plan
from pipeline.records import RESULT_TABLES, finished_keys, read_table
from pipeline.storage import compact as merging
from pipeline.storage import costs_index
from pipeline.storage.compact import CannotMerge
from pipeline.storage.status import DRIVER_FILE, read_status

PROMPTS = 30


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a run whose parts are full with 8 keys, and which merges 2 or more parts at its end."""
    for module in (merging, result_writer):
        monkeypatch.setattr(module, "FULL_KEYS", 8)
    monkeypatch.setattr(result_writer, "MIN_PARTS_AT_END", 2)
    (tmp_path / "prompts.txt").write_text("".join(f"animal {i}\n" for i in range(PROMPTS)))
    return make_plan(load_config(scale.ROOT / "configs" / "demo.yaml", scale.overrides(tmp_path)), str)


def folder_of(plan: Plan) -> Path:
    assert isinstance(plan.folder, Path)
    return plan.folder


def files(plan: Plan) -> dict[str, int]:
    return {table: len(list((folder_of(plan) / table).glob("*.parquet"))) for table in RESULT_TABLES}


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, failed: int = 0) -> None:
    """Let the benchmark's driver fail the first `failed` prompts and be interrupted after `after` prompts."""
    computed = driver._run_here

    def killed(*arguments: Any) -> Iterator[Any]:
        for i, result in enumerate(itertools.islice(computed(*arguments), after)):
            row = {"key": result.key, "error_class": "ValueError", "message": "no words", "attempts": 1}
            yield PromptFailure(result.key, row) if i < failed else result
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "_run_here", killed)


def execute(plan: Plan) -> None:
    driver.execute([plan], local=True, reporter=Reporter(PROMPTS, 0, 0))


@pytest.fixture(autouse=True)
def free_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_run_here", scale.computed)


def test_a_driver_merges_as_it_goes_and_at_the_end(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, after=19)
        execute(plan)
    assert files(plan) == dict.fromkeys(RESULT_TABLES, 2 + 3)
    execute(plan)
    assert files(plan) == dict.fromkeys(RESULT_TABLES, 4)
    costs = read_table(plan.folder, "costs")["key"].to_pylist()
    assert sorted(costs) == sorted(task.key for task in plan.tasks)
    assert len(read_table(plan.folder, "samples")) == PROMPTS * 6


def test_status_of_a_live_and_of_a_dead_run(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, after=10, failed=1)
        execute(plan)
    dead = read_status(plan.folder)
    assert not dead.alive and (dead.prompts, dead.done, dead.failed, dead.left) == (9, 9, 1, 20)
    assert (dead.decodes, dead.record.decodes) == (9 * 358, PROMPTS * 358)
    assert dead.rate == pytest.approx(9 * 358 / dead.seconds)
    assert dead.seconds_left == pytest.approx(20 * dead.seconds / 9)
    with driver._locked_folder(plan):
        live = read_status(plan.folder)
        status = CliRunner().invoke(app, ["status", str(plan.folder)])
    assert live.alive and live.seconds > dead.seconds
    assert status.exit_code == 0 and "running since" in status.output
    assert "9 of 30 done, 1 failed, 20 left" in status.output and "3,222 of 10,740" in status.output
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        interrupted(patch, after=0)
        execute(plan)
    again = read_status(plan.folder)
    assert again.done == 9 and again.rate is None and again.seconds_left is None


def test_status_of_a_folder_without_a_run(tmp_path: Path) -> None:
    status = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert status.exit_code == 2 and f"it has no {DRIVER_FILE}" in status.output


def test_fronts_that_another_driver_finished_meanwhile_are_not_computed_again(plan: Plan) -> None:
    assert len(plan.open_tasks) == PROMPTS
    execute(make_plan(plan.config, str))
    outcome = driver.execute([plan], local=True, reporter=Reporter(PROMPTS, 0, 0))[0]
    assert (outcome.done, outcome.found) == (0, PROMPTS)


@pytest.fixture
def never_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_swap(*_: Path) -> None:
        raise CannotMerge("Invalid argument")

    monkeypatch.setattr(merging, "_swap_folders", cannot_swap)


@pytest.mark.usefixtures("never_merges")
def test_if_folders_cannot_be_swapped_parts_stay_single_and_the_run_reports_it_once(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(plan)
    assert capsys.readouterr().err.count("parts stay single, one for each front: Invalid argument") == 1
    assert files(plan) == dict.fromkeys(RESULT_TABLES, PROMPTS) and len(finished_keys(plan.folder)) == PROMPTS


@pytest.mark.usefixtures("never_merges")
def test_status_opens_few_parts_if_they_stay_single(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, read = list[Path](), records._open_part

    def counted(part: Path) -> Any:
        opened.append(part)
        return read(part)

    monkeypatch.setattr(result_writer, "FRONTS_PER_INDEX", 5)
    monkeypatch.setattr(records, "_open_part", counted)

    def status() -> tuple[int, int, int, int]:
        opened.clear()
        progress = read_status(plan.folder)
        return len(opened), progress.done, progress.prompts, progress.decodes

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, after=20)
        execute(plan)
    # The first merge, after 8 parts, shows that merging is impossible. The index was written after 8, 13 and 18 parts.
    assert status() == (2, 20, 20, 20 * 358)
    index = folder_of(plan) / costs_index.INDEX_FILE
    content = index.read_bytes()
    index.write_bytes(content[:-8])
    assert status() == (20, 20, 20, 20 * 358), "a damaged index is ignored"
    index.write_bytes(content)
    removed = sorted(finished_keys(plan.folder))[0]
    (folder_of(plan) / "costs" / f"{removed}.parquet").unlink()
    assert status()[1:] == (19, 19, 19 * 358), "the parts decide what is finished, and not the index"
    execute(plan)
    assert status() == (0, PROMPTS, PROMPTS, PROMPTS * 358)
    index.unlink()
    assert status() == (PROMPTS, PROMPTS, PROMPTS, PROMPTS * 358)


def test_after_a_sigterm_no_prompt_is_started_and_finished_results_are_kept(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_sigterm(*arguments: Any) -> Iterator[Any]:
        for i, result in enumerate(scale.computed(*arguments)):
            yield result
            if i == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    # A test that started Ray in this process may have left another handler.
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch, pytest.raises(RunStopped, match="SIGTERM"):
        patch.setattr(driver, "_run_here", with_sigterm)
        execute(plan)
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(finished_keys(plan.folder)) == 5 and capsys.readouterr().err.count("SIGTERM: the driver finishes") == 1
    execute(plan)
    assert len(finished_keys(plan.folder)) == PROMPTS
