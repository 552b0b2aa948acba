"""A prompt that fails does not affect the others, and the same command tries it again."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from typer.testing import CliRunner

from actors.protocol import Floats
from actors.workers import DecodeReport, DiffusionWorker, Pixels, raising_chunk_too_large
from diffusion.base import Conditioning
from pipeline.cli.commands import app
from pipeline.records import read_table
from rewards.colorfulness import Colorfulness

DEMO = str(Path(__file__).parents[3] / "configs" / "demo.yaml")
SMALL = ["steps=2", "queries=2", "soup.steps=1", "method=srsoup", "prompts.list=[snail, lobster]"]


class WrongForLobsters(Colorfulness):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts) * (torch.nan if "lobster" in prompts else 1)


def test_a_failed_prompt_is_listed_the_others_finish_and_a_rerun_completes_it(
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


def test_a_full_disk_stops_the_run_with_one_message_and_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fsync, flushed = tmp_path / "run", os.fsync, 0

    def full(handle: int) -> None:
        nonlocal flushed
        flushed += 1
        # The first prompt and the samples of the second still fit. Each file takes two flushes, and one file is the
        # record of the run.
        if flushed > 2 * (1 + 4 + 1):
            raise OSError(28, "No space left on device")
        fsync(handle)

    command = ["run", DEMO, *SMALL, "--local", f"output={run}"]
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == 1 and "stopped: " in stopped.output and "No space left" in stopped.output
    assert stopped.output.count("No space left") == 1 and isinstance(stopped.exception, SystemExit)
    assert set(read_table(run, "costs").to_pandas().prompt) == {"snail"}
    assert CliRunner().invoke(app, command).exit_code == 0
    assert set(read_table(run, "costs").to_pandas().prompt) == {"snail", "lobster"}


def test_a_disk_without_space_for_the_record_of_a_run_is_a_wrong_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    refused = CliRunner().invoke(app, ["run", DEMO, *SMALL, "--local", f"output={tmp_path / 'run'}"])
    assert refused.exit_code == 2 and "No space left" in refused.output and "key:     output" in refused.output


class SmallMemory(DiffusionWorker):
    """A worker on a device whose memory holds three candidates."""

    def decode_candidates(
        self, x: Floats, step: int, conditioning: Conditioning, chunk: int, *looks: Any
    ) -> tuple[Pixels, DecodeReport]:
        with raising_chunk_too_large(chunk):
            if chunk > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().decode_candidates(x, step, conditioning, chunk, *looks)


EIGHT = ["queries=8", "prompts.list=[snail]"]


def test_an_auto_chunk_is_halved_if_memory_is_small_and_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    command = ["run", DEMO, *SMALL, *EIGHT, "--local", f"output={output}"]
    monkeypatch.setattr("pipeline.job.local_workers.DiffusionWorker", SmallMemory)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "out of memory with 8 candidates at once; from now on 4 at once" in done.output
    assert "out of memory with 4 candidates at once; from now on 2 at once" in done.output
    assert yaml.safe_load((output / "config.yaml").read_text())["chunk"] == 2
    assert read_table(output, "costs").to_pandas().attempts.max() == 3, "started with 8, with 4 and with 2"
    next((output / "costs").iterdir()).unlink()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0 and "out of memory" not in again.output
    by_hand = ["run", DEMO, *SMALL, *EIGHT, "--local", f"output={tmp_path / 'by-hand'}", "compute.chunk=2"]
    assert CliRunner().invoke(app, by_hand).exit_code == 0
    one, other = (read_table(run, "samples").to_pandas().image.tolist() for run in (output, tmp_path / "by-hand"))
    assert one == other


@pytest.mark.parametrize(("chunk", "fix"), [(8, "set compute.chunk=4"), (4, "set compute.chunk=2")])
def test_a_chunk_size_set_by_the_user_that_does_not_fit_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, fix: str
) -> None:
    monkeypatch.setattr("pipeline.job.local_workers.DiffusionWorker", SmallMemory)
    command = ["run", DEMO, *SMALL, *EIGHT, "--local", f"output={tmp_path / 'run'}", f"compute.chunk={chunk}"]
    stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == 1 and f"stopped: out of memory with {chunk}" in stopped.output
    assert fix in stopped.output


class SmallMemoryUnlessUnguided(DiffusionWorker):
    """A worker on a device whose memory holds eight rows; a prediction with guidance has two rows per candidate."""

    def decode_candidates(
        self, x: Floats, step: int, conditioning: Conditioning, chunk: int, *looks: Any
    ) -> tuple[Pixels, DecodeReport]:
        with raising_chunk_too_large(chunk):
            if chunk * (1 if conditioning.sampling.guidance_scale == 1 else 2) > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().decode_candidates(x, step, conditioning, chunk, *looks)


def test_the_chunk_is_halved_for_those_points_of_a_sweep_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points that are finished and points with a smaller chunk keep their chunk."""
    monkeypatch.setattr("pipeline.job.local_workers.DiffusionWorker", SmallMemoryUnlessUnguided)
    over = ["--over", "model.guidance_scale=1.0,5.0", "--over", "queries=8,2"]
    command = ["sweep", DEMO, *SMALL, "prompts.list=[snail]", *over, "--local", f"output={tmp_path}"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert done.output.count("out of memory with 8 candidates at once; from now on 4 at once") == 1
    records = [yaml.safe_load(record.read_text()) for record in tmp_path.glob("*/config.yaml")]
    chunks = {(r["config"]["model"]["guidance_scale"], r["config"]["queries"]): r["chunk"] for r in records}
    assert chunks == {(1.0, 8): 8, (1.0, 2): 2, (5.0, 8): 4, (5.0, 2): 2}
