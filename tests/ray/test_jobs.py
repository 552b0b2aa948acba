"""The run as others end and start it: `ray job submit` on a cluster with a token, and SIGTERM."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.records import finished_keys
from tests.ray.runs import ROOT, command, run, same_bits

SMALL = ["steps=3", "queries=4", "soup.steps=1", "method=srsoup"]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def head(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A head of this machine's own, as `ray start` makes it; what it takes to speak to it."""
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": f"http://127.0.0.1:{(port := free_port())}",
    }  # fmt: skip
    # The packed working directory is all that a job may need.
    environment.pop("PYTHONPATH", None)
    # Sockets of Ray have short paths, and tmp_path has not.
    folder = Path("/tmp") / f"srsoup-{uuid.uuid4().hex[:8]}"
    arguments = ["start", "--head", "--block", f"--port={free_port()}", f"--dashboard-port={port}", "--num-cpus=2",
                 f"--temp-dir={folder}", "--node-ip-address=127.0.0.1",
                 # Its own: the agent of another head here has the usual one, and without it no job is taken.
                 f"--dashboard-agent-listen-port={free_port()}"]  # fmt: skip
    without_address = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with (tmp_path / "head.log").open("w") as log:
        ray = subprocess.Popen([BIN / "ray", *arguments], env=without_address, stdout=log, stderr=log, cwd=tmp_path)
        try:
            wait_for_port(port, ray)
            yield environment
        finally:
            ray.terminate()
            ray.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as one:
            if not one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.2)
    raise AssertionError("the head did not come up")


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [BIN / "ray", "job", "submit", "--working-dir", ".", "--", "python", "-m", "pipeline", *arguments]
    return subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_on_a_cluster_with_a_token_gives_the_bits_of_one_process(head: dict[str, str], tmp_path: Path) -> None:
    small = [*SMALL, "prompts.list=[snail, crab]"]
    submitted = submit(head, "run", "configs/demo.yaml", *small, f"output={tmp_path / 'job'}")
    assert submitted.returncode == 0 and "2 of 2 fronts" in submitted.stdout, submitted.stdout + submitted.stderr
    assert same_bits(tmp_path / "job", run(tmp_path / "local", *small, "--local"))
    wrong = submit(head, "run", "configs/demo.yaml", "stepz=3")
    assert wrong.returncode == 1 and "did you mean steps?" in wrong.stdout, "a job that fails is a failed command"
    stranger = submit(head | {"RAY_AUTH_TOKEN": uuid.uuid4().hex}, "check", "configs/demo.yaml")
    assert stranger.returncode != 0 and "authentication is enabled" in stranger.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_finishes_the_prompts_under_way_and_the_same_command_goes_on(tmp_path: Path) -> None:
    names = "snail, crab, owl, lobster, ant, bee, cat, cow, dog, fox, koala, lion, mouse, panda, pig, tiger"
    some = [*SMALL, f"prompts.list=[{names}]", "compute.diffusion_actors=1"]
    arguments = command(tmp_path / "run", *some, "compute.prompts_in_flight=2")
    driver = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not finished_keys(tmp_path / "run") and driver.poll() is None:
        time.sleep(0.02)
    driver.send_signal(signal.SIGTERM)
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 1 and "stopped: told to end by SIGTERM" in errors, errors
    assert 1 < len(finished_keys(tmp_path / "run")) < 16, "one was done, and one or two were under way"
    assert same_bits(run(tmp_path / "run", *some, "--local"), run(tmp_path / "local", *some, "--local"))
