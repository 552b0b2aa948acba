"""Placement changes no bit: one process, separate GPUs, and colocated models in two cells give the same results."""

import subprocess
from pathlib import Path

import pytest
import yaml

from actors.workers import LOGICAL_GPUS
from tests.support.cluster.head import Head
from tests.support.runs import ROOT, command, run, same_bits

SMALL = ["steps=4", "queries=4", "soup.steps=2", "method=srsoup", "prompts.list=[snail, crab, owl]"]


@pytest.mark.ray
@pytest.mark.slow
def test_placements_and_cells_give_the_bits_of_one_process(start_head: Head, tmp_path: Path) -> None:
    """Ray counts GPUs that this machine does not have, and the models compute on its CPUs."""
    head = start_head("--num-cpus=4", "--num-gpus=2", **{LOGICAL_GPUS: "1"})
    alone = run(tmp_path / "local", *SMALL, "--local")
    for name, options in {
        "separate": ["compute.placement=separate"],
        "colocated": ["compute.placement=colocated", "compute.cells=2"],
    }.items():
        arguments = command(tmp_path / name, *SMALL, "compute.device=gpu", *options)
        done = subprocess.run(arguments, cwd=ROOT, env=head, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        assert same_bits(tmp_path / name, alone)
        assert yaml.safe_load((tmp_path / name / "config.yaml").read_text())["config"]["compute"]["device"] == "gpu"
