"""A run of many prompts at reduced size, by the benchmark's own means: merged as it goes, and told by `status`."""

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
from pipeline.records import FINISHED, finished_keys, read_table
from pipeline.storage import compact as merging
from pipeline.storage import costs_index
from pipeline.storage.compact import CannotExchange
from pipeline.storage.status import DRIVER_FILE, read_status

PROMPTS = 30


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Of a run whose parts are full with 8 keys, and which merges 2 or more at its end."""
    for module in (merging, result_writer):
        monkeypatch.setattr(module, "FULL_KEYS", 8)
    monkeypatch.setattr(result_writer, "WORTH_MERGING", 2)
    (tmp_path / "prompts.txt").write_text("".join(f"animal {i}\n" for i in range(PROMPTS)))
    return make_plan(load_config(scale.ROOT / "configs" / "demo.yaml", scale.overrides(tmp_path)), str)


def files(run: Path) -> dict[str, int]:
    return {table: len(list((run / table).glob("*.parquet"))) for table in FINISHED}


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, failed: int = 0) -> None:
    """The benchmark's driver, that fails the first prompts and is killed after so many."""
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
    assert files(plan.folder) == dict.fromkeys(FINISHED, 2 + 3)
    execute(plan)
    assert files(plan.folder) == dict.fromkeys(FINISHED, 4)
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
    with driver._folder_of_our_own(plan):
        live = read_status(plan.folder)
        told = CliRunner().invoke(app, ["status", str(plan.folder)])
    assert live.alive and live.seconds > dead.seconds
    assert told.exit_code == 0 and "at work since" in told.output
    assert "9 of 30 done, 1 failed, 20 left" in told.output and "3,222 of 10,740" in told.output
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        interrupted(patch, after=0)
        execute(plan)
    again = read_status(plan.folder)
    assert again.done == 9 and again.rate is None and again.seconds_left is None


def test_status_of_no_run(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert told.exit_code == 2 and f"it holds no {DRIVER_FILE}" in told.output


def test_what_another_driver_finished_meanwhile_is_not_computed_again(plan: Plan) -> None:
    assert len(plan.open_tasks) == PROMPTS
    execute(make_plan(plan.config, str))
    outcome = driver.execute([plan], local=True, reporter=Reporter(PROMPTS, 0, 0))[0]
    assert (outcome.done, outcome.found) == (0, PROMPTS)


@pytest.fixture
def never_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_here(*_: Path) -> None:
        raise CannotExchange("Invalid argument")

    monkeypatch.setattr(merging, "_exchange", not_here)


@pytest.mark.usefixtures("never_merges")
def test_where_folders_cannot_be_exchanged_parts_stay_single_and_the_run_says_so_once(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(plan)
    assert capsys.readouterr().err.count("parts stay single, one a prompt: Invalid argument") == 1
    assert files(plan.folder) == dict.fromkeys(FINISHED, PROMPTS) and len(finished_keys(plan.folder)) == PROMPTS


@pytest.mark.usefixtures("never_merges")
def test_of_parts_that_stay_single_status_opens_few(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, read = list[Path](), records._opened

    def noted(part: Path) -> Any:
        opened.append(part)
        return read(part)

    monkeypatch.setattr(result_writer, "UNINDEXED", 5)
    monkeypatch.setattr(records, "_opened", noted)

    def status() -> tuple[int, int, int, int]:
        opened.clear()
        told = read_status(plan.folder)
        return len(opened), told.done, told.prompts, told.decodes

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, after=20)
        execute(plan)
    # It merges until 8 are single, and finds then that it cannot; the index was last written after 8, 13 and 18.
    assert status() == (2, 20, 20, 20 * 358)
    index = plan.folder / costs_index.INDEX
    whole = index.read_bytes()
    index.write_bytes(whole[:-8])
    assert status() == (20, 20, 20, 20 * 358), "one that is damaged is as good as none"
    index.write_bytes(whole)
    gone = sorted(finished_keys(plan.folder))[0]
    (plan.folder / "costs" / f"{gone}.parquet").unlink()
    assert status()[1:] == (19, 19, 19 * 358), "the parts say what is finished, and not the index"
    execute(plan)
    assert status() == (0, PROMPTS, PROMPTS, PROMPTS * 358)
    index.unlink()
    assert status() == (PROMPTS, PROMPTS, PROMPTS, PROMPTS * 358)


def test_a_sigterm_begins_no_prompt_any_more_and_keeps_what_is_finished(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: Any) -> Iterator[Any]:
        for i, result in enumerate(scale.computed(*arguments)):
            yield result
            if i == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(RunStopped, match="SIGTERM"):
        patch.setattr(driver, "_run_here", told)
        execute(plan)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert len(finished_keys(plan.folder)) == 5 and capsys.readouterr().err.count("told to end") == 1
    execute(plan)
    assert len(finished_keys(plan.folder)) == PROMPTS
