"""One run of `benchmarks/chaos.py`, in which actors, the cell, a node and the driver are killed."""

import json
import subprocess
import sys

import pytest

from tests.ray.runs import ROOT

# One in which the cell is killed too.
SEED = 1


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(1000)
def test_all_kinds_of_kills_leave_the_same_bits_no_process_and_no_object() -> None:
    arguments = [sys.executable, "-m", "benchmarks.chaos", "--runs", "1", "--seed", str(SEED)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = json.loads(done.stdout.splitlines()[0])["kills"]
    assert {kind.split(".")[0] for kind in kills} == {"DiffusionActor", "RewardActor", "Cell", "node", "driver"}
