"""In one process a failed call is repeated as on a cluster: halved down to the candidate, and three times."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.pool.transport import Limits
from actors.protocol import CallFailed, ChunkTooLarge
from pipeline.cli.commands import app
from pipeline.job.attempts import attempt
from pipeline.records import finished_keys, read_table
from rewards import registry
from tests.support.runs import DEMO

LIMITS = Limits(1.0)
SMALL = ["steps=2", "queries=4", "soup.steps=1", "method=srsoup", "prompts.list=[snail]", "rewards.held_out=[]",
         "report.reference_point=null"]  # fmt: skip


class Calls:
    """Computes rows, and raises for some of them a number of times."""

    def __init__(self, failing: set[int], times: int) -> None:
        self.failing, self.times, self.made = failing, times, list[tuple[int, int]]()

    def __call__(self, start: int, stop: int) -> list[int]:
        self.made.append((start, stop))
        if self.failing & set(range(start, stop)) and self.times > 0:
            self.times -= 1
            raise ValueError("no")
        return list(range(start, stop))


@pytest.mark.parametrize(("failing", "times", "retries"), [(set(), 0, 0), ({3}, 1, 2), ({0}, 2, 4), ({5}, 4, 7)])
def test_the_rows_come_in_order_and_the_retries_are_counted(failing: set[int], times: int, retries: int) -> None:
    calls = Calls(failing, times)
    parts, counted = attempt("reward r", 8, calls, LIMITS, divisible=True)
    assert [row for part in parts for row in part] == list(range(8)) and counted == retries


@pytest.mark.parametrize("row", [0, 5, 7])
def test_the_error_names_the_candidate_that_always_fails(row: int) -> None:
    calls = Calls({row}, 10**6)
    with pytest.raises(CallFailed, match=rf"no \(reward r, candidate {row} of its chunk, tried 3 times\)") as caught:
        attempt("reward r", 8, calls, LIMITS, divisible=True)
    assert caught.value.attempts == 3 and isinstance(caught.value.__cause__, ValueError)
    assert calls.made.count((row, row + 1)) == 3


def test_what_cannot_be_divided_is_tried_three_times_and_a_chunk_too_large_once() -> None:
    calls = Calls({0}, 10**6)
    with pytest.raises(CallFailed, match=r"candidates 0\.\.7 of its chunk, tried 3 times"):
        attempt("decode", 8, calls, LIMITS)
    assert calls.made == [(0, 8)] * 3
    with pytest.raises(ChunkTooLarge):
        attempt("decode", 8, lambda start, stop: (_ for _ in ()).throw(ChunkTooLarge(8)), LIMITS)
    with pytest.raises(ValueError, match=r"^no$"):
        attempt("decode", 8, calls, None)


PLUGIN = """
import os, sys
FOLDER = os.environ["FOLDER"]
def r(images, prompts):
    with open(f"{FOLDER}/calls", "a") as file:
        file.write("x")
    calls = os.path.getsize(f"{FOLDER}/calls")
    if os.path.exists(f"{FOLDER}/repaired"):
        pass
    else:
        BODY
    return images.double().mean((1, 2, 3))
REWARDS = {"r": r}
"""


@pytest.fixture
def run_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A function that runs one prompt in the folder `run`, with a reward that begins with these lines."""
    monkeypatch.setenv("FOLDER", str(tmp_path))

    def run(body: str) -> Any:
        (tmp_path / "p.py").write_text(PLUGIN.replace("BODY", body))
        words = ["run", str(DEMO), *SMALL, "rewards.guided=[r, compressibility]", "--plugin", str(tmp_path / "p.py")]
        registry.forget_plugins()
        return CliRunner().invoke(app, [*words, "--local", f"output={tmp_path / 'run'}"])

    return run


def test_a_reward_that_fails_once_costs_no_prompt_and_no_bit(tmp_path: Path, run_with: Callable[[str], Any]) -> None:
    images, attempts = [], []
    for body in ("pass", "if calls in (2, 5): raise OSError('busy')"):
        done = run_with(body)
        assert done.exit_code == 0, done.output
        images.append([image["bytes"] for image in read_table(tmp_path / "run", "samples").to_pandas().image])
        attempts.append(read_table(tmp_path / "run", "costs").to_pandas().attempts.max())
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "calls").unlink()
    assert images[0] == images[1] and attempts[0] == 1 < attempts[1]


@pytest.mark.parametrize(
    ("body", "class_", "text"),
    [
        ("raise ValueError('no \\ud800 word')", "ValueError", r"no \ud800 word (reward r, candidate 0 of its chunk"),
        ("sys.exit(0)", "RewardError", "r ended with SystemExit: 0"),
        ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "E", "(its message cannot be read)"),
    ],
)
def test_a_reward_that_always_fails_loses_its_prompt_alone_and_every_command_goes_on(
    tmp_path: Path, run_with: Callable[[str], Any], body: str, class_: str, text: str
) -> None:
    """Half a surrogate pair in an error's text stopped the whole run, and every command that continued it."""
    for _ in range(2):
        failed = run_with(body)
        assert failed.exit_code == 1 and "1 failed" in failed.output, failed.output
    (failure,) = read_table(tmp_path / "run", "failures").to_pylist()
    assert failure["error_class"] == class_ and text in failure["message"] and failure["attempts"] == 3
    (tmp_path / "repaired").touch()
    done = run_with(body)
    assert done.exit_code == 0 and len(finished_keys(tmp_path / "run")) == 1, done.output
