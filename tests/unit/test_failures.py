"""A prompt that fails loses itself and no other, and the same command tries it again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from pipeline.commands import app
from pipeline.records import read_table
from rewards.colorfulness import Colorfulness

DEMO = str(Path(__file__).parents[2] / "configs" / "demo.yaml")
SMALL = ["steps=2", "queries=2", "soup.steps=1", "method=srsoup", "prompts.list=[snail, lobster]"]


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A run in this process sets both for its own bits."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


class WrongForLobsters(Colorfulness):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts) * (torch.nan if "lobster" in prompts else 1)


def test_a_failed_prompt_is_listed_the_others_finish_and_a_rerun_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", DEMO, *SMALL, "--local", f"output={tmp_path / 'run'}"]
    with monkeypatch.context() as patch:
        patch.setattr("rewards.colorfulness.Colorfulness", WrongForLobsters)
        failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 1 and "'lobster': RewardError" in failed.output
    (failure,) = read_table(tmp_path / "run", "failures").to_pylist()
    assert failure["prompt"] == "lobster" and "finite" in failure["message"] and "Traceback" in failure["traceback"]
    assert set(read_table(tmp_path / "run", "samples").to_pandas().prompt) == {"snail"}

    (tmp_path / "run" / "samples" / ".part-left").write_bytes(b"of a killed writer")
    assert CliRunner().invoke(app, command).exit_code == 0
    assert set(read_table(tmp_path / "run", "samples").to_pandas().prompt) == {"snail", "lobster"}
    assert not len(read_table(tmp_path / "run", "failures"))
    assert not (tmp_path / "run" / "samples" / ".part-left").exists()
