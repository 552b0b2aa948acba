"""A run on a cluster whose nodes join and leave, as spot nodes do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.records import read_table
from tests.support.runs import ROOT, command, run, same_bits

NAMES = "ant, bee, cat, cow, crab, dog, fox, frog, koala, lion, lobster, mouse, octopus, owl, panda, pig, rabbit, snail"
SOME = ["steps=5", "queries=6", "soup.steps=2", "method=srsoup", f"prompts.list=[{NAMES}]"]


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_actors_start_on_a_new_node_and_leave_a_drained_one_without_a_retry(tmp_path: Path) -> None:
    output, script = tmp_path / "run", Path(__file__).parent / "changing_nodes.py"
    arguments = [sys.executable, str(script), str(output), *command(output, *SOME)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout.splitlines()[-1])
    assert stages["begun"] == [1] and stages["grown"] == [1, 1] and stages["drained"] == [0, 1]
    assert read_table(output, "costs").to_pandas().attempts.max() == 1, "no call was retried"
    assert same_bits(output, run(tmp_path / "local", *SOME, "--local"))
