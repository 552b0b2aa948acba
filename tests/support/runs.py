"""Whole runs, in another process and in this one, and the comparison of their bits."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.records import read_table

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo.yaml"
# Overrides for a run of four fronts that takes seconds, with both phases of the sampler, one-hot and mixed weights, and
# without the network of the held-out reward, which takes longer to load than such a run.
FOUR_FRONTS = (
    "method=srsoup", "steps=3", "queries=3", "soup.steps=1", "weights=[[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]",
    "prompts.list=[snail, crab, owl, lobster]", "rewards.held_out=[]",
)  # fmt: skip


def command(output: Path, *arguments: str, config: Path = DEMO) -> list[str]:
    return [sys.executable, "-m", "pipeline", "run", str(config), *arguments, f"output={output}"]


def run(
    output: Path,
    *arguments: str,
    config: Path = DEMO,
    seconds: float = 200,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Run the command to the end, and fail with its errors if it fails."""
    whole = command(output, *arguments, config=config)
    done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return output


def run_here(output: Path, *arguments: str) -> Path:
    """Run the demo to the end in this process, which is quicker than in another one."""
    from typer.testing import CliRunner

    from pipeline.cli.commands import app

    done = CliRunner().invoke(app, ["run", str(DEMO), *arguments, "--local", f"output={output}"])
    assert done.exit_code == 0, done.output
    return output


def same_bits(one: Path, other: Path) -> bool:
    return all(read_table(one, table).equals(read_table(other, table)) for table in ("samples", "scores", "steps"))
