"""What only loading a model shows ends a run on Ray with one message and status 2, and no actor is started again."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusion.checks.tensor_file import read_tensor_file
from tests.support.runs import FOUR_FRONTS, ROOT, command

MINI = ROOT / "mini" / "weights" / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"


@pytest.mark.ray
@pytest.mark.slow
def test_a_lora_with_an_alpha_of_nan_stops_a_run_before_it_starts(tmp_path: Path) -> None:
    """Alpha is among the numbers of the file, which `check` does not read."""
    tensors = read_tensor_file(MINI).tensors
    name, shape = next((name.removesuffix(".weight"), one.shape) for name, one in tensors.items() if "to_q" in name)
    weights = {
        "lora_A.weight": torch.ones(1, shape[1]), "lora_B.weight": torch.ones(shape[0], 1),
        "alpha": torch.tensor(torch.nan),
    }  # fmt: skip
    lora = tmp_path / "lora.safetensors"
    save_file({f"unet.{name}.{key}": one for key, one in weights.items()}, lora)
    flags = (f"model.adapters=[{{name: {lora}}}]", "compute.diffusion_actors=1", "compute.cells=1")
    whole = command(tmp_path / "run", *FOUR_FRONTS, *flags)
    done = subprocess.run(whole, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert f"the alpha unet.{name}.alpha of a LoRA is nan" in done.stderr
    for part in ("file:", "key:     model.adapters", "value:", "allowed:", "fix:"):
        assert done.stderr.count(part) == 1, done.stderr
    assert "Traceback" not in done.stderr
    log = (tmp_path / "run" / "driver.log").read_text()
    assert log.count("starts its workers") == 1 and "faults    none" in log, log
    assert "did not start" not in log and "is removed" not in log, log
