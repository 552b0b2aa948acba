"""Whole runs from the command line, and whether two of them made the same bits."""

import subprocess
import sys
from pathlib import Path

from pipeline.records import read_table

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo.yaml"


def command(output: Path, *arguments: str, config: Path = DEMO) -> list[str]:
    return [sys.executable, "-m", "pipeline", "run", str(config), *arguments, f"output={output}"]


def run(output: Path, *arguments: str, config: Path = DEMO, seconds: float = 200) -> Path:
    """Run to the end; what went wrong is raised."""
    whole = command(output, *arguments, config=config)
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return output


def same_bits(one: Path, other: Path) -> bool:
    return all(read_table(one, table).equals(read_table(other, table)) for table in ("samples", "scores", "steps"))
