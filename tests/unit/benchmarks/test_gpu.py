"""The benchmark of a GPU, on tiny models and on the CPU, so that it works when a GPU is at hand."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import candidates, towers
from benchmarks.gpu.architectures import CLIP_G, CLIP_L, FULL, T5_XXL, TINY

# Millions of parameters, as their model cards and papers give them.
MILLIONS = {
    "sd15": (860, 84, 123),
    "sdxl": (2567, 84, 123),
    "sd35_medium": (2243, 84, 124),
    "sd35_large": (8057, 84, 124),
    "flux_dev": (11901, 84, 123),
    "pixart_sigma": (611, 84, 4762),
    "sana": (1604, 312, 2614),
    "qwen_image": (20430, 127, 8292),
    "z_image": (6155, 84, 4022),
}


@pytest.mark.parametrize("name", FULL)
def test_full_size_models_have_as_many_parameters_as_the_trained_ones(name: str) -> None:
    pipe = FULL[name].make(torch.device("meta"), torch.float16)
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    found = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (denoiser, pipe.vae, pipe.text_encoder)]
    assert found == pytest.approx(MILLIONS[name], rel=0.01)


def test_full_size_text_encoders_have_the_widths_that_the_denoisers_read() -> None:
    assert CLIP_L.hidden_size + CLIP_G.hidden_size == 2048 and T5_XXL.d_model == 4096


@pytest.mark.parametrize("name", TINY)
def test_a_model_is_measured_as_the_product_makes_it_and_bare(name: str) -> None:
    rows = list(candidates.measure(TINY[name], torch.device("cpu"), "float32", (1, 2), ("bare", "channels_last")))
    assert [(row["way"], row["chunk"]) for row in rows] == [
        ("product", 1), ("product", 2), ("bare", 2), ("channels_last", 2),
    ]  # fmt: skip
    for row in rows:
        assert row["look_ahead_ms"] > 0 and row["decode_ms"] > 0 and row["peak_gb"] is None
        assert row["candidate_ms"] > 0
        assert row["candidates_per_s"] == pytest.approx(1e3 / row["candidate_ms"])
    assert rows[2]["look_ahead_tflop"] > 0 and rows[2]["decode_tflop"] > 0


def test_a_chunk_that_memory_does_not_hold_is_said_so_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_candidates(self: object, *arguments: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr("actors.workers.DiffusionWorker.decode_candidates", decode_candidates)
    rows = list(candidates.measure(TINY["sd15"], torch.device("cpu"), "float32", (1,), ("bare",)))
    assert [row.get("error") for row in rows] == ["no memory", None]


def test_the_command_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gpu.jsonl"
    monkeypatch.setattr(towers, "SHAPES", {})
    monkeypatch.setattr(
        "sys.argv", ["gpu", "--size", "tiny", "--device", "cpu", "--models", "sd15", "--ways", "--output", str(file)]
    )
    command.main()
    assert file.read_text() == capsys.readouterr().out
    assert {json.loads(line)["dtype"] for line in file.read_text().splitlines()} == {"float16"}


def test_without_a_gpu_the_command_says_what_runs_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit, match="DEVICE=cpu SIZE=tiny"):
        command.main()


def test_a_tower_changes_little_in_fewer_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from rewards.networks.clip_encoder import ClipShape, Tower

    small = ClipShape(Tower(16, 32, 1, 2), Tower(32, 64, 2, 4), 24, "gelu", pixels=28)
    monkeypatch.setattr(towers, "SHAPES", {"small": small})
    exact, tf32, half = towers.measure(torch.device("cpu"), 2, 32)
    assert [row["precision"] for row in (exact, tf32, half)] == ["float32", "tf32", "bfloat16"]
    assert exact["change"] == 0 and 0 < half["change"] < 0.02
