"""A run that Ray starts with `ray job submit` on a cluster with a token, and a run that SIGTERM ends."""

import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from pipeline.records import finished_keys
from tests.support.cluster.head import BIN, Head
from tests.support.runs import ROOT, command, run, same_bits

SMALL = ["steps=3", "queries=4", "soup.steps=1", "method=srsoup"]


@pytest.fixture
def head(start_head: Head) -> dict[str, str]:
    environment = start_head("--num-cpus=2")
    return environment | {"RAY_ADDRESS": environment["DASHBOARD"]}


def submit(environment: dict[str, str], *arguments: str, named: str = "") -> subprocess.CompletedProcess[str]:
    name = ["--submission-id", named] if named else []
    ray = [str(BIN / "ray"), "job", "submit", *name, "--working-dir", "."]
    whole = [*ray, "--", "python", "-m", "pipeline", *arguments]
    deadline = time.monotonic() + 90
    while True:
        done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
        # The head's port answers before its agent does, on a busy machine long before.
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_on_a_cluster_with_a_token_gives_the_bits_of_one_process(head: dict[str, str], tmp_path: Path) -> None:
    small = [*SMALL, "prompts.list=[snail, crab]"]
    submitted = submit(head, "run", "configs/demo.yaml", *small, f"output={tmp_path / 'job'}", named="first")
    assert submitted.returncode == 0 and "2 of 2 fronts" in submitted.stdout, submitted.stdout + submitted.stderr
    assert same_bits(tmp_path / "job", run(tmp_path / "local", *small, "--local"))
    status = subprocess.run([BIN / "ray", "job", "status", "first"], env=head, capture_output=True, text=True)
    assert "Job 'first' succeeded" in status.stdout, status.stdout + status.stderr
    wrong = submit(head, "run", "configs/demo.yaml", "stepz=3")
    assert wrong.returncode == 1 and "did you mean steps?" in wrong.stdout, "the command fails if the job fails"
    stranger = submit(head | {"RAY_AUTH_TOKEN": uuid.uuid4().hex}, "check", "configs/demo.yaml")
    assert stranger.returncode != 0 and "authentication is enabled" in stranger.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_lets_started_prompts_finish_and_the_same_command_resumes_the_run(tmp_path: Path) -> None:
    names = "snail, crab, owl, lobster, ant, bee, cat, cow, dog, fox, koala, lion, mouse, panda, pig, tiger"
    some = [*SMALL, f"prompts.list=[{names}]", "compute.diffusion_actors=1"]
    arguments = command(tmp_path / "run", *some, "compute.prompts_in_flight=2")
    driver = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not finished_keys(tmp_path / "run") and driver.poll() is None:
        time.sleep(0.02)
    driver.send_signal(signal.SIGTERM)
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 1 and "stopped: a SIGTERM arrived" in errors, errors
    assert 1 < len(finished_keys(tmp_path / "run")) < 16, "one prompt was finished, and one or two had been started"
    assert same_bits(run(tmp_path / "run", *some, "--local"), run(tmp_path / "local", *some, "--local"))
