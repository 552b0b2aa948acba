"""Ctrl-C ends a command with one line and exit status 130, also while its modules are imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import ROOT

CONSOLE_SCRIPT = ("-c", "from srsoup import _main; _main()")
# Stands in for a module that a command imports: somebody presses Ctrl-C meanwhile. A shell that starts the tests in
# the background has them ignore it.
PRESSED = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("words", [CONSOLE_SCRIPT, ("-m", "srsoup"), ("-m", "pipeline")], ids=["script", "srsoup", "m"])
@pytest.mark.parametrize("module", ["typer", "yaml", "torch"])
def test_ctrl_c_during_an_import_is_one_line_and_status_130(
    tmp_path: Path, words: tuple[str, ...], module: str
) -> None:
    """The command line imports typer and yaml, and `check` then imports torch."""
    (tmp_path / f"{module}.py").write_text(PRESSED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, *words, "check", "demo"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
