"""The processes that a command makes, wherever Ray puts them.

A process inherits the environment of the one that starts it, so a mark in it finds the workers of a cluster, whose
parent is a raylet or, once that is dead, init.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator

import psutil

MARK = "SRSOUP_MARK"


def new_mark() -> dict[str, str]:
    """For the environment of a command."""
    return {MARK: uuid.uuid4().hex}


def marked(mark: dict[str, str]) -> Iterator[psutil.Process]:
    """Every live process that carries the mark."""
    for process in psutil.process_iter():
        if variable(process, MARK) == mark[MARK]:
            yield process


def variable(process: psutil.Process, name: str) -> str | None:
    """Of a process's environment; none too where the process is gone or another user's."""
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


def title(process: psutil.Process) -> str:
    """The command line; a worker of Ray's says in it what it does: `ray::_RewardActor.score`. Empty if it is gone."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def matches(kind: str, name: str) -> bool:
    """Whether an actor, by its class or class and method, is of a kind, such as `Cell` or `RewardActor.score`."""
    return re.match(rf"_?({kind})\b", name) is not None


def actors(mark: dict[str, str], kind: str) -> list[psutil.Process]:
    """Live actors of a kind, as `matches` has it."""
    titled = ((process, title(process)) for process in psutil.process_iter())
    workers = [process for process, name in titled if name.startswith("ray::") and matches(kind, name[len("ray::") :])]
    return [process for process in workers if variable(process, MARK) == mark[MARK]]


class Family:
    """The processes of clusters that this process starts, with a mark in their environment."""

    def __init__(self, mark: dict[str, str]) -> None:
        self.mark = mark
        # Ray's agents write their titles over the mark, and are our descendants only as long as their raylet lives.
        self._seen: set[psutil.Process] = set()

    def living(self) -> set[psutil.Process]:
        """All that carry the mark, descend from this process, or did when last looked for."""
        found = self._seen | {*marked(self.mark), *psutil.Process().children(recursive=True)}
        self._seen = {process for process in found if title(process)}
        return self._seen

    def orphans(self) -> list[str]:
        """Titles of what no living node needs: workers of a job, and what has not this process for an ancestor."""
        return [title(process) for process in self.living() if variable(process, "RAY_JOB_ID") or not _ours(process)]


def _ours(process: psutil.Process) -> bool:
    try:
        return psutil.Process() in process.parents()
    except psutil.NoSuchProcess:
        return True  # gone by now


def wait_for(reached: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
    """Whether it was reached in time; looked for after each pause."""
    deadline = time.monotonic() + seconds
    while not (there := reached()) and time.monotonic() < deadline:
        time.sleep(pause)
    return there
