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


def actors(mark: dict[str, str], kind: str) -> list[psutil.Process]:
    """Live actors by a pattern for class and method, such as `Cell` or `RewardActor.score`."""
    workers = (process for process in psutil.process_iter() if re.match(rf"ray::_?({kind})\b", title(process)))
    return [process for process in workers if variable(process, MARK) == mark[MARK]]


def wait_for(reached: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
    """Whether it was reached in time; looked for after each pause."""
    deadline = time.monotonic() + seconds
    while not (there := reached()) and time.monotonic() < deadline:
        time.sleep(pause)
    return there
