"""Whole runs from the command line, for the tests beside this file."""

import subprocess
import sys
from pathlib import Path

from pipeline.records import read_table

ROOT = Path(__file__).parents[2]


def command(output: Path, *arguments: str) -> list[str]:
    config = str(ROOT / "configs" / "demo.yaml")
    return [sys.executable, "-m", "pipeline", "run", config, *arguments, f"output={output}"]


def run(output: Path, *arguments: str) -> Path:
    done = subprocess.run(command(output, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return output


def same_bits(one: Path, other: Path) -> bool:
    return all(read_table(one, table).equals(read_table(other, table)) for table in ("samples", "scores", "steps"))
