"""Runs on an existing cluster, as a job and with each placement of the actors, have the bits of one process."""

import subprocess
import time
import uuid
from pathlib import Path

import pytest
import yaml

from tests.support.cluster.head import BIN
from tests.support.runs import FOUR_FRONTS, ROOT, command, same_bits


def submit(head: dict[str, str], *arguments: str, named: str = "") -> subprocess.CompletedProcess[str]:
    environment = head | {"RAY_ADDRESS": head["DASHBOARD"]}
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
def test_a_job_on_a_cluster_with_a_token_gives_the_bits_of_one_process(
    head: dict[str, str], undisturbed: Path, tmp_path: Path
) -> None:
    options = [*FOUR_FRONTS, "compute.device=cpu", "compute.diffusion_actors=1", f"output={tmp_path / 'job'}"]
    submitted = submit(head, "run", "configs/demo.yaml", *options, named="first")
    assert submitted.returncode == 0 and "4 of 4 fronts" in submitted.stdout, submitted.stdout + submitted.stderr
    assert same_bits(tmp_path / "job", undisturbed)
    status = [str(BIN / "ray"), "job", "status", "first"]
    seen = subprocess.run(status, env=head | {"RAY_ADDRESS": head["DASHBOARD"]}, capture_output=True, text=True)
    assert "Job 'first' succeeded" in seen.stdout, seen.stdout + seen.stderr
    wrong = submit(head, "run", "configs/demo.yaml", "stepz=3")
    assert wrong.returncode == 1 and "did you mean steps?" in wrong.stdout, "the command fails if the job fails"
    stranger = submit(head | {"RAY_AUTH_TOKEN": uuid.uuid4().hex}, "check", "configs/demo.yaml")
    assert stranger.returncode != 0 and "authentication is enabled" in stranger.stderr


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("placement", "options"), [("separate", []), ("colocated", ["compute.cells=2"])], ids=["separate", "colocated"]
)
def test_placements_and_cells_give_the_bits_of_one_process(
    head: dict[str, str], undisturbed: Path, tmp_path: Path, placement: str, options: list[str]
) -> None:
    on_gpus = [*FOUR_FRONTS, "compute.device=gpu", f"compute.placement={placement}", *options]
    arguments = command(tmp_path / "run", *on_gpus)
    done = subprocess.run(arguments, cwd=ROOT, env=head, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert same_bits(tmp_path / "run", undisturbed)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["config"]["compute"]["device"] == "gpu"
