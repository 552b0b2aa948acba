"""How a session hands out prompts to the cells of a run, also when cells die: without Ray."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from ray.exceptions import RayActorError

from actors.cluster import cell_supervisor, session
from actors.cluster.cell import Progress
from actors.cluster.session import RaySession
from actors.cluster.sizing import BusySeconds
from actors.cluster.workforce import Sizes
from actors.protocol import RunStopped, WorkersLost
from actors.telemetry.run_monitor import RunMonitor
from configs.schema import RunConfig

CONFIG = RunConfig.model_validate(
    {"name": "fed", "weights": [[1.0]], "prompts": {"list": ["noise"]}, "rewards": {"guided": ["colorfulness"]}}
)


class FakeCell:
    """An actor whose every method gives a reference that nothing is known of."""

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": staticmethod(lambda *facts: object())})


class FakeTask:
    def __init__(self, restarts: int = 0) -> None:
        self.restarts = restarts

    def restarted(self) -> "FakeTask":
        return FakeTask(self.restarts + 1)


def test_the_tasks_of_a_cell_that_died_know_that_they_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = list[Any]()
    monkeypatch.setattr(cell_supervisor.ray, "kill", killed.append)
    ours = cell_supervisor.CellSupervisor(lambda sizes, number: FakeCell(), Sizes(1, 0, 1), RunMonitor())
    first = ours._cell

    def dead(reference: Any, timeout: float) -> Any:
        raise RayActorError

    monkeypatch.setattr(cell_supervisor.ray, "get", dead)
    for task in (FakeTask(), FakeTask(1)):
        ours.give(task)
    assert ours.take(ours.references[-1]) == [] and killed == [first] and ours._cell is not first
    assert [task.restarts for task in ours.begin_again] == [1, 2] and not ours.tasks and not ours.is_open
    assert ours.take(object()) == [], "what is left of the dead cell is forgotten"
    ours.take(ours.references[0])
    with pytest.raises(RunStopped, match="3 cells in a row"):
        ours.take(ours.references[0])


class FakePlace:
    """A cell that finishes a task now and then, and now and then dies and is opened again."""

    up, work, progress = Sizes(1, 0, 1), BusySeconds(), Progress()

    def __init__(self, rng: random.Random, deaths: int) -> None:
        self.rng, self.deaths, self.sizes, self.is_open = rng, deaths, Sizes(2, 0, 1), False
        self.tasks: dict[Any, Any] = {}
        self.begin_again: list[Any] = []
        self.most, self.lost = 0, False

    @property
    def references(self) -> list[Any]:
        return list(self.tasks) if self.is_open else [self, *self.tasks]

    def give(self, task: Any) -> None:
        self.tasks[object()] = task
        self.most = max(self.most, len(self.tasks))

    def take(self, reference: Any) -> list[Any]:
        if reference is self:
            self.is_open = True
            return []
        if self.lost:
            raise WorkersLost("no weights")
        return [self.tasks.pop(reference)] if reference in self.tasks else []

    def leave(self) -> None:
        self.begin_again += self.tasks.values()
        self.tasks = {}

    def ask(self) -> None: ...

    def hear(self, reference: None) -> None:
        if self.deaths and self.rng.random() < 0.2:
            self.deaths -= 1
            self.leave()
            self.is_open = False

    def hear_last(self, seconds: float) -> None: ...

    def check_opening(self) -> None: ...


def fed(supervisors: list[FakePlace], monkeypatch: pytest.MonkeyPatch, tasks: int = 200) -> list[Any]:
    rng = supervisors[0].rng

    def wait(references: list[Any], num_returns: int = 1, timeout: float = 0.0) -> tuple[list[Any], list[Any]]:
        assert references, "a session that waits for nothing waits for ever"
        return rng.sample(references, min(len(references), 2)), []

    monkeypatch.setattr(session.ray, "wait", wait)
    monkeypatch.setattr(RaySession, "_follow_cluster", lambda self: None)
    monkeypatch.setattr(session.RunMetrics, "export", lambda *facts: None)
    feeding = RaySession(CONFIG, None)  # type: ignore[arg-type]
    feeding._supervisors = supervisors  # type: ignore[assignment]
    return list(feeding.results(numbers(tasks), lambda progress: None))


def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@pytest.mark.parametrize("seed", range(20))
def test_every_task_comes_to_a_result_once_whatever_dies(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    supervisors = [FakePlace(rng, deaths=10) for _ in range(1 + seed % 3)]
    assert sorted(fed(supervisors, monkeypatch)) == list(range(200))
    assert max(one.most for one in supervisors) == 4, "two prompts in flight for each diffusion actor"


def test_a_cell_that_dies_with_no_task_yet_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a run's one cell can die between its opening and its first task."""
    ours = FakePlace(random.Random(0), deaths=0)
    feeding = RaySession(CONFIG, None)  # type: ignore[arg-type]
    feeding._supervisors = [ours]  # type: ignore[list-item]
    assert feeding._hand_out(session._Queue([1, 2])) and not ours.tasks


def test_a_cell_without_workers_leaves_its_tasks_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    supervisors = [FakePlace(rng, 0), FakePlace(rng, 0)]
    supervisors[0].lost = True
    assert sorted(fed(supervisors, monkeypatch)) == list(range(200)) and len(supervisors) == 1


def test_a_run_without_any_workers_stops_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = FakePlace(random.Random(0), 0)
    ours.lost = True
    with pytest.raises(RunStopped, match="no weights"):
        fed([ours], monkeypatch)
