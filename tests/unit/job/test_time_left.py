"""The time left: `run` and `status` show the same, computed here by hand from the decodes and the clock."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_config
from pipeline.checked_request import reporter_of
from pipeline.job import driver, progress, result_writer
from pipeline.job.progress import Reporter
from pipeline.job.run_prompt import attempt_prompt
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.task import PromptTask
from pipeline.storage import status
from pipeline.storage.clock import Pace, clock
from pipeline.storage.status import Status, read_status
from tests.support.fakes import FakeWorkers, wait
from tests.support.runs import DEMO


class Clock:
    """Stands in for the module `time`, and stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    time = monotonic


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock()
    for module in (progress, result_writer, status):
        monkeypatch.setattr(module, "time", standing)
    return standing


@pytest.mark.parametrize(
    ("rate", "under_way", "decodes", "seconds"),
    [(None, 0, 10, None), (2.0, 0, 10, 5.0), (2.0, 4, 10, 3.0), (4.0, 12, 10, 0.0), (0.5, 0, 0, 0.0)],
)
def test_the_time_left_is_that_of_the_decodes_left(
    rate: float | None, under_way: int, decodes: int, seconds: float | None
) -> None:
    assert Pace(rate, under_way).seconds_left(decodes) == seconds


def test_a_reporter_counts_candidates_and_images_since_the_models_were_loaded(now: Clock) -> None:
    """Four fronts of 10 candidates and 2 images each: 48 decodes."""
    shown = io.StringIO()
    reporter = Reporter(4, 8, 40, shown, images=8)
    with reporter:
        now.seconds += 500
        reporter.started()
        assert reporter.pace == Pace(None, 0)
        now.seconds += 8
        reporter.update(3, 14)
        reporter.front_closed(12, 10, 2)
        # 14 candidates and 2 images in 8 s. Of the 36 decodes of the three open fronts, 4 are done: 32 at 2/s.
        assert reporter.pace == Pace(2.0, 4) and reporter.pace.seconds_left(36) == 16.0
        reporter.prompt_done()
        # A front that fails is not made again: 24 decodes are open, of which the 4 are no part any more.
        reporter.front_closed(12, 4, 0)
        assert reporter.pace.seconds_left(24) == 12.0
        reporter.prompt_done()
    assert re.findall(r"prompts (\d)/4.*, (\d+:\d+|--:--) left", shown.getvalue())[-1] == ("2", "00:12")
    assert "--:-- left" in shown.getvalue()


def test_run_and_status_show_the_same_time_left_during_a_run_and_after_it(
    tmp_path: Path, now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each prompt takes 30 s on fake workers; the second one fails, and the driver dies before the fourth."""
    words = ["steps=3", "queries=4", "soup.steps=1", "method=srsoup", "prompts.list=[ant, bee, cat, dog, eel]"]
    plan = make_plan(load_config(DEMO, [*words, f"output={tmp_path}"]), str)
    shown, seen = io.StringIO(), list[tuple[str, Status]]()

    def computed(plan: Plan, tasks: Sequence[PromptTask], reporter: Reporter) -> Iterator[Any]:
        now.seconds += 100
        reporter.started()
        for number, task in enumerate(tasks):
            yield wait(attempt_prompt(task, FakeWorkers(3, "bee"), reporter.add))
            # Lines are shown every 10 s, and the pace is noted for `status` every 5 s.
            now.seconds += 30
            reporter.add(0, 0)
            seen.append((shown.getvalue().splitlines()[-1], read_status(tmp_path)))
            if number == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(driver, "_run_here", computed)
    with pytest.raises(KeyboardInterrupt):
        driver.execute([plan], local=True, reporter=reporter_of([plan], shown, Reporter))
    for line, found in seen:
        assert found.alive and found.seconds_left is not None
        assert line.endswith(f"{clock(found.seconds_left)} left"), (line, found)
    # By hand: two of five fronts in 90 s, and one that failed without a decode, so two fronts are left.
    _, last = seen[-1]
    assert (last.done, last.failed) == (2, 1) and last.seconds_left == pytest.approx(2 * 90 / 2, rel=0.01)
    dead = read_status(tmp_path)
    assert not dead.alive and dead.seconds_left == pytest.approx(last.seconds_left, rel=0.01)
