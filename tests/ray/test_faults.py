"""Whole runs on Ray with a fault: a reward that fails, a worker that hangs, or no worker at all.

`test_chaos.py` tests killed workers, cells, nodes and drivers.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.records import read_table
from tests.support.cluster.processes import actors, new_mark, wait_for
from tests.support.runs import FOUR_FRONTS, ROOT, command, run, same_bits

SMALL = [*FOUR_FRONTS, "queries=4", "prompts.list=[snail, crab]"]
CALL_SECONDS = 8

# A reward in another package, with an entry point. The prompt selects the fault.
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
# For each prompt, the error class, message and attempts in its row of `failures`.
FAULTS = {
    "raise": ("RuntimeError", r"no words for this \(reward faulty, candidate 0 of its chunk, tried 3 times\)", 3),
    "nan": ("RewardError", r"returned nan .*\(reward faulty, candidate 0", 3),
    "shape": ("RewardError", r"returned shape \(1, 1\) .*\(reward faulty, candidate 0", 3),
    "hang": ("WorkerOverdue", r"no answer within 8 s \(reward faulty, .*tried 3 times\)", 3),
    "kill": ("WorkerDied", r"the worker died.* \(reward faulty, .*tried 5 times\)", 5),
}


@pytest.fixture
def faulty_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the faulty reward's package is installed."""
    site = tmp_path / "site"
    (site / "faulty-1.dist-info").mkdir(parents=True)
    (site / "faulty.py").write_text(FAULTY)
    (site / "faulty-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (site / "faulty-1.dist-info" / "entry_points.txt").write_text("[srsoup.rewards]\nfaulty = faulty:Faulty\n")
    return {**os.environ, "PYTHONPATH": f"{site}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def run_faulty(
    output: Path, prompts: str, environment: dict[str, str], *flags: str
) -> subprocess.CompletedProcess[str]:
    arguments = [*SMALL, f"prompts.list=[{prompts}]", "rewards.guided=[faulty, compressibility]",
                 "report.reference_point=null", f"compute.call_seconds={CALL_SECONDS}",
                 "compute.diffusion_actors=1", "compute.prompts_in_flight=7", *flags]  # fmt: skip
    return subprocess.run(
        command(output, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )


@pytest.mark.ray
@pytest.mark.slow
def test_prompts_for_which_a_reward_fails_are_failures_with_their_cause_and_the_others_finish(
    tmp_path: Path, faulty_environment: dict[str, str]
) -> None:
    """All prompts run at once, so that some calls hang or kill their worker while the others are computed."""
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
    # Three actors hung, and at least five were killed or replaced because calls raised on them.
    assert (lost := re.search(r"^faults .* (\d+) actors lost", done.stdout, re.M)) and int(lost[1]) >= 8
    log = (output / "driver.log").read_text()
    assert len(re.findall(r"Z WARNING prompt \S+, srsoup failed: ", log)) == 5
    assert log.count("is removed: no answer within 8 s") >= 3 and log.count("is removed") == int(lost[1])
    assert "a call failed (reward faulty): RuntimeError: no words for this" in log
    alone = run_faulty(tmp_path / "alone", "snail, crab", faulty_environment, "--local")
    assert alone.returncode == 0 and same_bits(output, tmp_path / "alone")


@pytest.mark.ray
@pytest.mark.chaos
def test_a_run_without_workers_stops_with_one_message(tmp_path: Path, faulty_environment: dict[str, str]) -> None:
    done = run_faulty(tmp_path / "run", "snail", {**faulty_environment, "FAULTY_SETUP": "1"})
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "stopped: a worker could not be started" in done.stderr and "no weights for faulty" in done.stderr


@pytest.mark.ray
@pytest.mark.chaos
def test_a_worker_that_is_out_of_memory_halves_the_chunk_of_the_run(
    tmp_path: Path, faulty_environment: dict[str, str]
) -> None:
    done = run_faulty(tmp_path / "run", "snail", {**faulty_environment, "FAULTY_MEMORY": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("out of memory with 4 candidates at once; from now on 2 at once") == 1
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["chunk"] == 2
    assert "Z WARNING out of memory with 4 candidates at once" in (tmp_path / "run" / "driver.log").read_text()


@pytest.mark.ray
@pytest.mark.chaos
def test_the_log_names_a_killed_cell_and_the_one_that_replaces_it(tmp_path: Path) -> None:
    mark, arguments = new_mark(), command(tmp_path / "run", *SMALL)
    driver = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **mark}, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert wait_for(lambda: any(actors(mark, r"DiffusionActor\.decode")), 200)
    actors(mark, "Cell")[0].kill()
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    log = (tmp_path / "run" / "driver.log").read_text()
    assert re.search(r"WARNING cell \d+: lost: .*INFO    cell \d+: starts its workers", log, re.S)


@pytest.mark.ray
@pytest.mark.chaos
def test_a_worker_that_is_alive_but_never_answers_is_replaced(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "local", *SMALL, "--local")
    arguments = command(tmp_path / "run", *SMALL, "compute.diffusion_actors=1", f"compute.call_seconds={CALL_SECONDS}")
    mark = new_mark()
    driver = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **mark}, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert wait_for(lambda: any(actors(mark, r"DiffusionActor\.decode")), 200)
    actors(mark, "DiffusionActor")[0].suspend()
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert same_bits(tmp_path / "run", undisturbed)
    assert read_table(tmp_path / "run", "costs").to_pandas().attempts.max() > 1
