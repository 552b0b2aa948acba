"""Hostile surroundings: addresses of clusters, folders for temporary files, terminals, and signals."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.records import finished_keys
from tests.support.hostile.case import MOST_SECONDS, ROOT, TINY, Case, process_of

KIND = "surroundings"
RUN = ("run", "demo", *TINY, "output=run")
LOCAL = (*RUN, "--local")
NAMES = "snail, crab, owl, lobster, ant, bee, cat, cow, dog, fox, koala, lion, mouse, panda, pig, tiger"
LONG = ("run", "demo", "steps=4", "queries=4", "soup.steps=1", "method=srsoup", f"prompts.list=[{NAMES}]",
        "rewards.held_out=[]", "compute.prompts_in_flight=2", "output=run")  # fmt: skip
# A signal is sent after this time at the latest. A run on Ray takes some seconds to start, and many on a busy machine.
WAIT_SECONDS, RAY_SECONDS = 120.0, 120.0


def _signalled(
    number: int, *, group: bool = False, after: Callable[[Path], bool] | None = None
) -> Callable[[Case, Path], tuple[int, str]]:
    """A way to run a command: it is sent a signal as soon as its first front is finished, or `after` says so."""

    def watch(case: Case, folder: Path) -> tuple[int, str]:
        process, deadline = process_of(case, folder), time.monotonic() + WAIT_SECONDS
        ready = after or (lambda where: bool(finished_keys(where / "run")))
        while not ready(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        (os.killpg if group else os.kill)(process.pid, number)
        try:
            output, _ = process.communicate(timeout=case.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        done = len(finished_keys(folder / "run")) if (folder / "run").is_dir() else 0
        return process.returncode, f"{output}\n{done} fronts are there"

    return watch


def _closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _deaf_port() -> int:
    """A port that takes connections and never answers; it stays open until this process ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    _OPEN.append(listener)
    return int(listener.getsockname()[1])


_OPEN: list[socket.socket] = []


def _no_space(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "driver.log").symlink_to("/dev/full")


def _read_only(folder: Path) -> None:
    (folder / "run").touch()


def _gone(case: Case, folder: Path) -> tuple[int, str]:
    """Run the command in a folder that is removed before it starts, as a job's own folder may be."""
    words = shlex.join((sys.executable, "-m", "srsoup", *case.arguments))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", f"mkdir gone && cd gone && rmdir ../gone && exec {words}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=case.seconds,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _loads(folder: Path) -> bool:
    return (folder / "run" / "driver.yaml").is_file()


def cases() -> Iterator[Case]:
    addresses = {
        "a stale address": f"127.0.0.1:{_closed_port()}",
        "a host that does not exist": "no-such-host.invalid:6379",
        "a port that never answers": f"127.0.0.1:{_deaf_port()}",
        "a dashboard": "http://127.0.0.1:8265",
        "a client": "ray://127.0.0.1:10001",
        "no port": "127.0.0.1",
        "a port too high": "127.0.0.1:99999",
        "no number": "127.0.0.1:port",
        "auto without a head": "auto",
        "colons": "::::",
        "spaces": " ",
        "surrogates": "\udcff:6379",
    }
    for name, address in addresses.items():
        environment = {"RAY_ADDRESS": address, "RAY_TMPDIR": "/tmp/no-ray-here"}
        yield Case(KIND, f"RAY_ADDRESS is {name}", RUN, "RAY_ADDRESS", environment=environment)
    open_cluster = {"RAY_ADDRESS": f"127.0.0.1:{_closed_port()}"}
    yield Case(KIND, "a stale address, open", (*RUN, "--allow-open-cluster"), "RAY_ADDRESS", environment=open_cluster)
    yield Case(KIND, "right: a terminal of ASCII", ("check", "demo", "prompts.list=[é 🦊]"), "the plan", (0,),
               environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, in_process=False)  # fmt: skip
    yield Case(KIND, "right: a log on a full disk", LOCAL, "1 of 1 fronts", (0,), prepare=_no_space)
    yield Case(KIND, "a file for the folder", LOCAL, "output", prepare=_read_only)
    for command in (("check", "demo"), ("status", "run"), ("rewards",), ("demo",), LOCAL):
        yield Case(KIND, f"the folder is gone: {command[0]}", command, "current folder does not exist", watch=_gone)
    long = "a-job-of-slurm-" * 6
    yield Case(
        KIND, "right: TMPDIR too long for a socket", RUN, "1 of 1 fronts", (0,), seconds=RAY_SECONDS, in_process=False,
        environment={"TMPDIR": f"{{here}}/{long}"}, prepare=lambda folder: (folder / long).mkdir(),
    )  # fmt: skip
    signals = {
        "Ctrl-C, local": (signal.SIGINT, False, (*LONG, "--local"), (130,), "interrupted: finished fronts are kept"),
        "Ctrl-C, Ray": (signal.SIGINT, True, LONG, (130,), "interrupted: finished fronts are kept"),
        "SIGTERM, local": (signal.SIGTERM, False, (*LONG, "--local"), (1,), "stopped: a SIGTERM arrived"),
        "SIGTERM to the group, Ray": (signal.SIGTERM, True, LONG, (1,), r"stopped: a SIGTERM arrived.*[2-9] fronts"),
    }
    for name, (number, group, arguments, statuses, says) in signals.items():
        watch = _signalled(number, group=group)
        yield Case(KIND, name, arguments, says, statuses, watch=watch, seconds=RAY_SECONDS + WAIT_SECONDS)
    early = _signalled(signal.SIGINT, after=_loads)
    yield Case(
        KIND,
        "Ctrl-C while models load",
        (*LONG, "--local"),
        "interrupted",
        (130,),
        watch=early,
        seconds=2 * MOST_SECONDS,
    )
