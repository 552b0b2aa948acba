"""The log of a driver, with one line for each event, and the summary at its end."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.telemetry.cell_monitor import CellReport
from actors.telemetry.pool_totals import CallTotals, PoolTotals
from configs.load import load_config
from pipeline.cli.commands import app
from pipeline.job import driver
from pipeline.job.batches import Batches
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.job.run_log import LOG_NAME, run_log
from pipeline.job.run_prompt import attempt_prompt
from pipeline.job.summary import Summary
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.task import PromptTask
from tests.support.fakes import FakeWorkers, wait

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
SMALL = ["steps=3", "queries=4", "soup.steps=1", "prompts.list=[snail, crab]", "output=runs/of-a-test"]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO   |WARNING|ERROR  ) \S.*")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line on fake workers. The prompt `wrong_for` fails, because they cannot encode it."""

    def call(*arguments: str, wrong_for: str | None = None) -> Result:
        def computed(plan: Plan, batches: Batches, reporter: Reporter) -> Iterator[Any]:
            reporter.started()
            for task in batches:
                yield wait(attempt_prompt(task, FakeWorkers(3, wrong_for), reporter.add))

        monkeypatch.setattr(driver, "_run_here", computed)
        return CliRunner().invoke(app, [*arguments, "--local"])

    return call


def logged(folder: Path) -> list[str]:
    """Return the lines of the log without their times."""
    lines = (folder / LOG_NAME).read_text(encoding="utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    return [line[25:] for line in lines]


def test_a_driver_logs_its_events_and_the_next_one_appends_to_the_same_file(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    command = ["run", str(DEMO), *SMALL, f"output={tmp_path}"]
    first = run(*command, wrong_for="crab")
    assert first.exit_code == 1, first.output
    lines = logged(tmp_path)
    assert lines[0].startswith("INFO    driver starts, process ")
    assert lines[1] == f"INFO    {tmp_path}: 4 of 4 fronts are open, chunks of 4 candidates"
    failed = [line for line in lines if "failed: ValueError" in line]
    assert len(failed) == 2 and all("no words for (the prompt)" in line and "crab" not in line for line in failed)
    # 4 (2 * 1 + 6 * 2) candidates and 6 images: a soup step of 2 rewards, 2 steps of 6 weightings. Or 6 images alone.
    snail = a_task().prompt.prompt_id
    assert [re.sub(r" in [0-9.]+ s;", ";", line) for line in lines if f"prompt {snail}" in line] == [
        f"INFO    prompt {snail}, srsoup done: 62 decodes; 1 of 4 fronts",
        f"INFO    prompt {snail}, unguided done: 6 decodes; 2 of 4 fronts",
    ]
    assert re.search(r"^INFO    done      2 fronts in 00:\d\d, 2 failed", "\n".join(lines), re.MULTILINE)
    assert run(*command).exit_code == 0
    assert logged(tmp_path)[: len(lines)] == lines
    assert f"INFO    {tmp_path}: 2 of 4 fronts are open, chunks of 4 candidates" in logged(tmp_path)[len(lines) :]
    idle = run(*command)
    assert idle.exit_code == 0 and "done    " not in idle.output, "without open tasks there is no summary"


def test_the_summary_is_printed_after_the_results_and_names_the_log(run: Callable[..., Result], tmp_path: Path) -> None:
    output = run("run", str(DEMO), *SMALL, f"output={tmp_path}").output
    _, done, faults, log, after = output[output.index("4 of 4 fronts") :].splitlines()
    assert re.fullmatch(
        r"done      4 fronts in 00:\d\d, 0 failed; 00:\d\d until .* then [\d,.]+ candidates a second", done
    )
    # The fake workers measure no seconds, so the summary has no lines `busy` and `slowest`.
    assert faults == "faults    none" and log == f"log       {tmp_path / LOG_NAME}" and after.startswith("next: ")


def test_the_log_of_a_sweep_is_in_its_first_folder_and_the_other_folders_name_it(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    swept = run("sweep", str(DEMO), *SMALL, f"output={tmp_path}", "--over", "seed=0,1")
    assert swept.exit_code == 0, swept.output
    first, second = sorted(path for path in tmp_path.iterdir())
    assert sum("fronts are open" in line for line in logged(first)) == 2
    assert logged(second) == [f"INFO    this run is part of a sweep; the log of the sweep is {first / LOG_NAME}"]


def test_a_log_that_can_no_longer_be_written_costs_no_prompt(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    done = run("run", str(DEMO), *SMALL, f"output={tmp_path}")
    assert done.exit_code == 0 and done.output.count(f"{tmp_path / LOG_NAME} cannot be written") == 1


def test_a_log_that_cannot_be_opened_stops_the_run_with_one_message(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).mkdir()
    stopped = run("run", str(DEMO), *SMALL, f"output={tmp_path}")
    assert stopped.exit_code == 1 and "stopped: " in stopped.output and LOG_NAME in stopped.output


def test_the_loggers_are_as_before_when_a_driver_has_ended(tmp_path: Path) -> None:
    before = [
        (logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in ("actors", "pipeline")
    ]
    with pytest.raises(KeyboardInterrupt), run_log([tmp_path], print):
        logging.getLogger("actors.x").info("two\nlines")
        raise KeyboardInterrupt
    after = [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in ("actors", "pipeline")]
    assert before == after
    assert logged(tmp_path)[1:] == ["INFO    two lines", "ERROR   ended with KeyboardInterrupt"]


def a_task() -> PromptTask:
    return make_plan(load_config(DEMO, SMALL), str).tasks[0]


def a_result(seconds: float, attempts: int = 1, warnings: tuple[str, ...] = ()) -> PromptResult:
    costs = {
        "decodes": 6,
        "seconds_total": 9.0,
        "seconds_denoise": seconds,
        "seconds_lookahead": 3 * seconds,
        "seconds_decode": 0.0,
        "attempts": attempts,
    }
    return PromptResult("key", {"costs": [costs]}, {"slow": 5 * seconds, "fast": seconds / 2}, warnings)


def test_a_truncated_prompt_is_warned_of_once_although_it_has_several_fronts(caplog: pytest.LogCaptureFixture) -> None:
    summary, task = Summary(), a_task()
    for method in ("srsoup", "unguided", "srsoup"):
        summary.add(replace(task, method=method), a_result(1.0, warnings=("the end is cut",)))
    assert [record.getMessage() for record in caplog.records] == [
        f"prompt {task.prompt.prompt_id}, srsoup: the end is cut"
    ]


def test_the_summary_adds_up_stages_and_pools() -> None:
    time = iter((100.0, 230.0))
    summary = Summary(lambda: next(time))
    summary.add(a_task(), a_result(1.0))
    summary.add(a_task(), a_result(2.0, attempts=4))
    failure = PromptFailure("key", {"error_class": "ValueError", "message": "no", "attempts": 3})
    summary.add(a_task(), failure)
    gpus = PoolTotals("GPU", 2, 3, 1, 0, 100.0, 87.6, 2, Counter(), {"decode": CallTotals(4, 64, 10.0, 4.0)})
    cpus = PoolTotals("CPU", 0, 1, 1, 0, 50.0, 10.0)
    for pools in ({"diffusion": gpus, "cpu rewards": cpus}, {"diffusion": gpus}):
        summary.run_monitor.cell_reported(summary.run_monitor.cell_started(), CellReport(pools, ()))
    summary.loaded_at, summary.candidates = 110.0, 2_400
    assert summary.lines() == [
        "done      2 fronts in 02:10, 1 failed; 00:10 until the models were loaded, then 20.0 candidates a second",
        "busy      diffusion 88% of 4 GPU actors; cpu rewards 20% of 1 CPU actor (ended)",
        "slowest   reward slow 15.0 s (53%), look-ahead 9.0 s (32%), reverse step 3.0 s (11%), reward fast 1.5 s (5%)",
        "faults    5 calls retried, 3 actors lost or removed, 4 failed starts of actors",
    ]
    assert summary.details() == [
        "diffusion, decode: 8 calls with 128 rows, 2.500 s on average, 4.000 s at most",
    ]
    assert summary.run_monitor.fronts == {"wanted": 0, "done": 2, "failed": 1}
