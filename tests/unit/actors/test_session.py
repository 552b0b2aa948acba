"""How a session passes tasks to the cells of a run, even when cells die. Tested without Ray."""

import random
from typing import Any

import pytest
from ray.exceptions import RayActorError

from actors.cluster.cell import Progress
from actors.cluster.cell_supervisor import CellSupervisor
from actors.cluster.session import RaySession, _Queue
from actors.cluster.sizing import BusySeconds
from actors.cluster.workforce import Sizes
from actors.protocol import RunStopped, WorkersLost
from actors.telemetry.prometheus import RunMetrics
from actors.telemetry.run_monitor import RunMonitor
from configs.schema import RunConfig

CONFIG = RunConfig.model_validate(
    {"name": "session", "weights": [[1.0]], "prompts": {"list": ["noise"]}, "rewards": {"guided": ["colorfulness"]}}
)


class FakeCell:
    """A cell's handle. Every method returns a new reference."""

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": staticmethod(lambda *arguments: object())})


class FakeTask:
    def __init__(self, restarts: int = 0) -> None:
        self.restarts = restarts

    def restarted(self) -> "FakeTask":
        return FakeTask(self.restarts + 1)


def test_the_tasks_of_a_dead_cell_restart_and_count_their_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = list[Any]()
    monkeypatch.setattr("ray.kill", killed.append)
    supervisor = CellSupervisor(lambda sizes, number: FakeCell(), Sizes(1, 0, 1), RunMonitor())
    first = supervisor._cell

    def dead(reference: Any, timeout: float) -> Any:
        raise RayActorError

    monkeypatch.setattr("ray.get", dead)
    for task in (FakeTask(), FakeTask(1)):
        supervisor.submit(task)
    assert supervisor.take(supervisor.references[-1]) == [] and killed == [first] and supervisor._cell is not first
    assert [task.restarts for task in supervisor.tasks_to_restart] == [1, 2]
    assert not supervisor.tasks and not supervisor.is_open
    assert supervisor.take(object()) == [], "the other references of a dead cell are ignored"
    supervisor.take(supervisor.references[0])
    with pytest.raises(RunStopped, match="3 cells in a row"):
        supervisor.take(supervisor.references[0])


class FakeSupervisor:
    """The supervisor of a cell that dies `deaths` times, at random.

    Attributes:
        max_tasks: the most tasks that the cell has had at once.
        workers_lost: whether the cell has lost its workers.
    """

    live, busy, progress = Sizes(1, 0, 1), BusySeconds(), Progress()

    def __init__(self, rng: random.Random, deaths: int) -> None:
        self.rng, self.deaths, self.sizes, self.is_open = rng, deaths, Sizes(2, 0, 1), False
        self.tasks: dict[Any, Any] = {}
        self.tasks_to_restart: list[Any] = []
        self.max_tasks, self.workers_lost = 0, False

    @property
    def references(self) -> list[Any]:
        return list(self.tasks) if self.is_open else [self, *self.tasks]

    def submit(self, task: Any) -> None:
        self.tasks[object()] = task
        self.max_tasks = max(self.max_tasks, len(self.tasks))

    def take(self, reference: Any) -> list[Any]:
        if reference is self:
            self.is_open = True
            return []
        if self.workers_lost:
            raise WorkersLost("no weights")
        return [self.tasks.pop(reference)] if reference in self.tasks else []

    def abandon(self) -> None:
        self.tasks_to_restart += self.tasks.values()
        self.tasks = {}

    def request_state(self) -> None: ...

    def read_state(self, reference: None) -> None:
        if self.deaths and self.rng.random() < 0.2:
            self.deaths -= 1
            self.abandon()
            self.is_open = False

    def read_last_report(self, seconds: float) -> None: ...

    def check_opening(self) -> None: ...


def session_of(supervisors: Any) -> RaySession:
    """Create a session whose cells these supervisors supervise."""
    run_prompt: Any = None
    session = RaySession(CONFIG, run_prompt)
    session._supervisors = supervisors
    return session


def results_of(supervisors: list[FakeSupervisor], monkeypatch: pytest.MonkeyPatch, tasks: int = 200) -> list[Any]:
    """Run tasks 0, 1, 2, ... in a session with these supervisors. A task is its own result."""
    rng = supervisors[0].rng

    def wait(references: list[Any], num_returns: int = 1, timeout: float = 0.0) -> tuple[list[Any], list[Any]]:
        assert references, "a session must not wait without a reference to wait for"
        return rng.sample(references, min(len(references), 2)), []

    monkeypatch.setattr("ray.wait", wait)
    monkeypatch.setattr(RaySession, "_follow_cluster", lambda self: None)
    monkeypatch.setattr(RunMetrics, "export", lambda *arguments: None)
    return list(session_of(supervisors).results(iter(range(tasks)), lambda progress: None))


@pytest.mark.parametrize("seed", range(20))
def test_every_task_gives_one_result_whatever_cells_die(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    supervisors = [FakeSupervisor(rng, deaths=10) for _ in range(1 + seed % 3)]
    assert sorted(results_of(supervisors, monkeypatch)) == list(range(200))
    assert max(supervisor.max_tasks for supervisor in supervisors) == 4, "two tasks at once for each diffusion actor"


def test_a_cell_that_dies_before_its_first_task_does_not_end_the_run() -> None:
    """The only cell of a run can die between its opening and its first task."""
    supervisor = FakeSupervisor(random.Random(0), deaths=0)
    assert session_of([supervisor])._submit(_Queue([1, 2])) and not supervisor.tasks


def test_the_tasks_of_a_cell_without_workers_go_to_the_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    supervisors = [FakeSupervisor(rng, 0), FakeSupervisor(rng, 0)]
    supervisors[0].workers_lost = True
    assert sorted(results_of(supervisors, monkeypatch)) == list(range(200)) and len(supervisors) == 1


def test_a_run_without_workers_stops_and_names_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = FakeSupervisor(random.Random(0), 0)
    supervisor.workers_lost = True
    with pytest.raises(RunStopped, match="no weights"):
        results_of([supervisor], monkeypatch)
