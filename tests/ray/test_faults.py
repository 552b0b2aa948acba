"""Whole runs on Ray with something broken in them: a faulty reward, killed workers, a killed cell, no worker at all."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.records import read_table
from tests.ray.runs import ROOT, command, run, same_bits

SMALL = ["steps=4", "queries=4", "soup.steps=2", "method=srsoup", "prompts.list=[snail, crab]"]
CALL_SECONDS = 8

# A reward of somebody else's package, announced as theirs are; a prompt says what becomes of it.
FAULTY = """
import dataclasses, os, signal, time
import torch
from rewards.colorfulness import Colorfulness

class Faulty(Colorfulness):
    info = dataclasses.replace(Colorfulness.info, name="faulty")

    def setup(self, device):
        if "FAULTY_SETUP" in os.environ:
            raise OSError("no weights for faulty")

    def score(self, images, prompts):
        if "FAULTY_MEMORY" in os.environ and len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        scores = super().score(images, prompts)
        match prompts[0]:
            case "raise":
                raise RuntimeError("no words for this")
            case "hang":
                time.sleep(1e6)
            case "nan":
                return scores * torch.nan
            case "shape":
                return scores[:, None]
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return scores
"""
# Prompt -> error class, message and attempts that its failure must show.
FAULTS = {
    "raise": ("RuntimeError", r"no words for this \(reward faulty, candidate 0 of its chunk, tried 3 times\)", 3),
    "nan": ("RewardError", r"answered nan .*\(reward faulty, candidate 0", 3),
    "shape": ("RewardError", r"answered shape \(1, 1\) .*\(reward faulty, candidate 0", 3),
    "hang": ("WorkerOverdue", r"no answer within 8 s \(reward faulty, .*tried 3 times\)", 3),
    "kill": ("WorkerDied", r"the worker died.* \(reward faulty, .*tried 5 times\)", 5),
}


@pytest.fixture
def faulty_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package of the faulty reward is installed."""
    site = tmp_path / "site"
    (site / "faulty-1.dist-info").mkdir(parents=True)
    (site / "faulty.py").write_text(FAULTY)
    (site / "faulty-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (site / "faulty-1.dist-info" / "entry_points.txt").write_text("[srsoup.rewards]\nfaulty = faulty:Faulty\n")
    return {**os.environ, "PYTHONPATH": f"{site}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def run_faulty(output: Path, prompts: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    arguments = [*SMALL, f"prompts.list=[{prompts}]", "rewards.guided=[faulty, compressibility]",
                 "report.reference_point=null", f"compute.call_seconds={CALL_SECONDS}",
                 "compute.diffusion_actors=1", "compute.prompts_in_flight=7"]  # fmt: skip
    return subprocess.run(
        command(output, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )


@pytest.mark.ray
@pytest.mark.slow
def test_prompts_that_a_reward_fails_for_fail_alone_each_with_its_cause(
    tmp_path: Path, faulty_environment: dict[str, str]
) -> None:
    """All at once, so that those that hang or kill their worker do so beside the others' calls."""
    output = tmp_path / "run"
    done = run_faulty(output, ", ".join(["snail", *FAULTS, "crab"]), faulty_environment)
    assert done.returncode == 1, done.stderr
    failures = {row["prompt"]: row for row in read_table(output, "failures").to_pylist()}
    assert set(failures) == set(FAULTS)
    for prompt, (error_class, message, attempts) in FAULTS.items():
        failure = failures[prompt]
        assert (failure["error_class"], failure["attempts"]) == (error_class, attempts), failure
        assert re.search(message, failure["message"]), failure["message"]
    assert set(read_table(output, "costs").to_pandas().prompt) == {"snail", "crab"}
    assert "5 failed" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert re.search(r"^busy      diffusion \d+% of 1 CPU actor; .*rewards \d+% of \d+ CPU actor", done.stdout, re.M)
    # Three that hung, and five or more that were killed or struck out.
    assert (lost := re.search(r"^faults .* (\d+) actors lost", done.stdout, re.M)) and int(lost[1]) >= 8
    log = (output / "driver.log").read_text()
    assert len(re.findall(r"Z WARNING prompt \S+, srsoup failed: ", log)) == 5
    assert log.count("is let go: no answer within 8 s") >= 3 and log.count("is let go") == int(lost[1])
    assert "a call failed (reward faulty): RuntimeError: no words for this" in log
    alone = run_faulty(tmp_path / "alone", "snail, crab", faulty_environment)
    assert alone.returncode == 0 and same_bits(output, tmp_path / "alone")


@pytest.mark.ray
@pytest.mark.chaos
def test_a_run_without_workers_stops_with_one_message(tmp_path: Path, faulty_environment: dict[str, str]) -> None:
    done = run_faulty(tmp_path / "run", "snail", {**faulty_environment, "FAULTY_SETUP": "1"})
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "stopped: a worker could not be started" in done.stderr and "no weights for faulty" in done.stderr


@pytest.mark.ray
@pytest.mark.chaos
def test_out_of_memory_on_a_worker_halves_the_chunk_of_the_run(
    tmp_path: Path, faulty_environment: dict[str, str]
) -> None:
    done = run_faulty(tmp_path / "run", "snail", {**faulty_environment, "FAULTY_MEMORY": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("out of memory with 4 candidates at once: from here on 2 at once") == 1
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["chunk"] == 2
    assert "Z WARNING out of memory with 4 candidates at once" in (tmp_path / "run" / "driver.log").read_text()


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_killed_workers_and_a_killed_cell_are_replaced_and_the_bits_are_the_same(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "local", *SMALL, "--local")
    arguments = command(tmp_path / "run", *SMALL, "compute.diffusion_actors=2", "compute.reward_actors=2")
    driver = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killed: list[str] = []

    def chaos() -> None:
        for kind in ("DiffusionActor", "RewardActor", "Cell", "DiffusionActor", "RewardActor"):
            time.sleep(3)
            if send_to_one(driver.pid, kind, signal.SIGKILL):
                killed.append(kind)

    thread = threading.Thread(target=chaos)
    thread.start()
    _, errors = driver.communicate(timeout=300)
    thread.join()
    assert driver.returncode == 0, errors
    assert {"DiffusionActor", "RewardActor", "Cell"} <= set(killed), killed
    assert same_bits(tmp_path / "run", undisturbed)
    log = (tmp_path / "run" / "driver.log").read_text()
    assert re.search(r"WARNING cell \d+: lost: .*INFO    cell \d+: starts its workers", log, re.S)


@pytest.mark.ray
@pytest.mark.chaos
def test_a_worker_that_is_alive_but_never_answers_is_replaced(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "local", *SMALL, "--local")
    arguments = command(tmp_path / "run", *SMALL, "compute.diffusion_actors=1", f"compute.call_seconds={CALL_SECONDS}")
    driver = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert send_to_one(driver.pid, r"DiffusionActor\.decode", signal.SIGSTOP)
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert same_bits(tmp_path / "run", undisturbed)
    assert read_table(tmp_path / "run", "costs").to_pandas().attempts.max() > 1


def send_to_one(driver: int, kind: str, sign: signal.Signals) -> bool:
    """Signal one of the actors of a driver, once there is one; false if the driver ended first."""
    while psutil.pid_exists(driver):
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if re.match(rf"ray::_?{kind}\b", line) and driver_of(process) == driver:
                os.kill(process.pid, sign)
                return True
        time.sleep(0.1)
    return False


def driver_of(process: psutil.Process) -> int | None:
    """The process that started this one's raylet."""
    try:
        parents = process.parents()
    except psutil.Error:
        return None
    return parents[1].pid if len(parents) > 1 else None


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_node_dies_and_another_joins_and_the_bits_are_the_same(tmp_path: Path) -> None:
    longer = ["steps=6", "queries=8", "soup.steps=2", "method=srsoup", "prompts.list=[snail, crab, owl, lobster]"]
    undisturbed = run(tmp_path / "local", *longer, "--local")
    output = tmp_path / "run"
    driver = command(output, *longer, "compute.diffusion_actors=2", "compute.reward_actors=2")
    script = str(Path(__file__).parent / "dying_node.py")
    done = subprocess.run([sys.executable, script, str(output), *driver], cwd=ROOT, capture_output=True, text=True,
                          timeout=400)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert same_bits(output, undisturbed)
