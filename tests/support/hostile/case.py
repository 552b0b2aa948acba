"""One hostile input: the files that it needs, the command that meets it, and how that command has to end."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from unittest import mock

import torch
from typer.testing import CliRunner

from rewards import registry
from srsoup import _app

ROOT = Path(__file__).parents[3]
MOST_SECONDS = 30.0
TINY = ("steps=2", "queries=2", "soup.steps=1", "prompts.list=[owl]", "method=srsoup", "rewards.held_out=[]")
# A configuration that is right, and small.
BASE = """\
name: a
prompts: {list: [owl]}
rewards: {guided: [colorfulness, compressibility]}
weights: {grid: 3}
steps: 2
queries: 2
soup: {steps: 1}
"""


@dataclass(frozen=True)
class Case:
    """One command, and how it has to end.

    Attributes:
        kind: the group of the table that it is in.
        name: what is wrong with the input.
        arguments: the arguments of `srsoup`, run in a folder of the case's own.
        says: a regular expression that the output has to match.
        statuses: the exit statuses that are right; 2 for a wrong request.
        prepare: makes the files in that folder.
        environment: variables that are set. `{here}` in a value is the folder.
        in_process: whether the command can run in this process. One that stops a process or a cluster cannot.
        watch: runs the command in its own way, for example to send it a signal, and returns status and output.
        seconds: the most that it may take.
        is_slow: whether it takes more than a second, because its input is huge.
    """

    kind: str
    name: str
    arguments: tuple[str, ...]
    says: str = ""
    statuses: tuple[int, ...] = (2,)
    prepare: Callable[[Path], object] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    in_process: bool = True
    watch: "Callable[[Case, Path], tuple[int, str]] | None" = None
    seconds: float = MOST_SECONDS
    is_slow: bool = False

    @property
    def is_quick(self) -> bool:
        """Whether it takes a second at most, so that a test may run it."""
        return self.in_process and self.watch is None and not self.is_slow


class Ended(NamedTuple):
    """How a command ended. `faults` says what is not as it has to be; it is empty if all is well."""

    case: Case
    status: int | None
    seconds: float
    output: str
    faults: tuple[str, ...]

    @property
    def message(self) -> str:
        """The line of the output that says most: the error, or else the last one."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        wanted = [line for line in lines if re.match(r"(error|stopped|interrupted|failed|warning):", line)]
        return (wanted or lines[-1:] or [""])[0]


class Hung(BaseException):
    """A command took longer than it may."""


def run_case(case: Case, folder: Path) -> Ended:
    """Run a case in an empty folder, and compare how it ended with how it has to end."""
    folder.mkdir(parents=True)
    if case.prepare:
        case.prepare(folder)
    began = time.monotonic()
    try:
        status, output = (case.watch or (_here if case.in_process else spawned))(case, folder)
    except (Hung, subprocess.TimeoutExpired):
        return Ended(case, None, time.monotonic() - began, "", ("it hangs",))
    seconds = time.monotonic() - began
    return Ended(case, status, seconds, output, tuple(_faults(case, status, seconds, output)))


def _faults(case: Case, status: int, seconds: float, output: str) -> list[str]:
    found = []
    if "Traceback (most recent call last)" in output:
        found.append("a traceback")
    if "an error that it does not expect" in output:
        found.append("an error that nobody has foreseen")
    if status not in case.statuses:
        found.append(f"status {status}, not {' or '.join(map(str, case.statuses))}")
    if not re.search(case.says, output, re.DOTALL):
        found.append(f"the message does not say {case.says!r}")
    if seconds > case.seconds:
        found.append(f"{seconds:.0f} s")
    return found


def _here(case: Case, folder: Path) -> tuple[int, str]:
    """Run the command in this process, for at most its seconds."""

    fired = list[int]()

    def hung(number: int, frame: FrameType | None) -> None:
        fired.append(number)
        raise Hung

    registry.forget_plugins()
    threads = torch.get_num_threads()
    before = signal.signal(signal.SIGALRM, hung)
    timer = signal.setitimer(signal.ITIMER_REAL, case.seconds)
    try:
        # The stack of an unexpected error is written to the folder for temporary files.
        temporary = mock.patch.object(tempfile, "tempdir", str(folder))
        with chdir(folder), mock.patch.dict(os.environ, _environment(case, folder)), temporary:
            result = CliRunner().invoke(_app(), case.arguments, prog_name="srsoup")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        # That of pytest, if a test runs the case.
        signal.setitimer(signal.ITIMER_REAL, *timer)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        registry.forget_plugins()
    if fired:
        # The command may have taken the exception for an error of its own.
        raise Hung
    output = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        output += f"\nTraceback (most recent call last): {result.exception!r}"
    return result.exit_code, output


def _environment(case: Case, folder: Path) -> dict[str, str]:
    return {name: value.replace("{here}", str(folder)) for name, value in case.environment.items()}


def process_of(case: Case, folder: Path) -> "subprocess.Popen[str]":
    """Start the command as a process of its own session."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **_environment(case, folder)}
    # A shell that starts the table in the background has it ignore Ctrl-C, and the command would do so too.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "srsoup", *case.arguments],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, ignored)


def spawned(case: Case, folder: Path) -> tuple[int, str]:
    """Run the command as a process."""
    process = process_of(case, folder)
    try:
        output, _ = process.communicate(timeout=case.seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, output


def shell(arguments: tuple[str, ...]) -> str:
    """The command as one would type it, cut to a line."""
    return shlex.join(("srsoup", *(argument[:60] for argument in arguments)))
