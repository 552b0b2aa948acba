"""Runs `benchmarks/chaos.py`, which kills actors, the cell, a node and the driver, and checks what it finds."""

import json
import subprocess
import sys
import tempfile

import pytest

from tests.support.cluster.head import Head
from tests.support.runs import ROOT

# With this seed the cell is killed too.
SEED = 2

# A driver that leaves behind an actor with a process and an object. Prints what is found before and after it.
LITTERING = """
import json, os, subprocess, sys
from pathlib import Path
from tests.support.cluster.processes import Family, new_mark
from tests.support.cluster.three_nodes import closed_to_others, stored_bytes, three_nodes

DRIVER = '''
import subprocess
import ray

class Left:
    def __init__(self):
        self.kept, self.child = ray.put(bytes(1_000_000)), subprocess.Popen(["sleep", "60"])
    def ready(self):
        pass

ray.init(logging_level="ERROR")
left = ray.remote(Left).options(num_cpus=0, lifetime="detached", name="left").remote()
ray.get(left.ready.remote())
'''
family = Family(new_mark())
os.environ |= closed_to_others() | family.mark
with three_nodes(Path(sys.argv[1])) as cluster:
    clean = family.orphans(), stored_bytes(cluster)
    subprocess.run([sys.executable, "-c", DRIVER], env={**os.environ, "RAY_ADDRESS": cluster.address}, check=True)
    print(json.dumps([*clean, sorted(family.orphans()), stored_bytes(cluster)]))
"""

# Another job, whose actor has the name of one of ours. It ends with an error if the actor dies.
OTHERS = """
import time
import ray

class DiffusionActor:
    def ready(self):
        pass

ray.init(logging_level="ERROR", log_to_driver=False)
theirs = ray.remote(DiffusionActor).options(num_cpus=0).remote()
while True:
    ray.get(theirs.ready.remote())
    print("up", flush=True)
    time.sleep(0.5)
"""


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(1000)
def test_a_run_whose_processes_are_killed_gives_the_same_bits_and_leaves_nothing_behind() -> None:
    arguments = [sys.executable, "-m", "benchmarks.chaos", "--runs", "1", "--seed", str(SEED)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = json.loads(done.stdout.splitlines()[-1])["kills"]
    assert {kind.split(".")[0] for kind in kills} == {"DiffusionActor", "RewardActor", "Cell", "node", "driver"}


@pytest.mark.ray
@pytest.mark.chaos
def test_an_actor_and_an_object_that_are_left_behind_are_found() -> None:
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        whole = [sys.executable, "-c", LITTERING, folder]
        done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    orphans, stored, orphans_then, stored_then = json.loads(done.stdout.splitlines()[-1])
    assert (orphans, stored) == ([], 0)
    assert orphans_then == ["ray::Left", "sleep 60"] and stored_then >= 1_000_000


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(1000)
def test_on_an_existing_cluster_only_our_own_run_is_disturbed(
    start_head: Head,
) -> None:
    environment = start_head("--num-cpus=3")
    with subprocess.Popen([sys.executable, "-c", OTHERS], env=environment, cwd=ROOT, stdout=subprocess.PIPE) as others:
        assert others.stdout and others.stdout.readline() == b"up\n"
        arguments = [sys.executable, "-m", "benchmarks.chaos", "--on-cluster", "--runs", "1", "--seed", str(SEED)]
        done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
        assert others.poll() is None
        others.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    kills = json.loads(done.stdout.splitlines()[-1])["kills"]
    assert kills.keys() == {"DiffusionActor", "RewardActor", "Cell", "driver"} and sum(kills.values()) >= 6
