"""The checks of a model folder against the shapes of published models, whose configurations are made without weights.

Tiny models do not show a limit that is too low for real ones.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.architectures import FULL
from configs.load import load_config
from diffusion.checks.image_size import sizes_of_folder
from diffusion.checks.one_pass import check_one_pass
from diffusion.checks.skeleton import skeleton
from diffusion.checks.weights import weight_parts
from diffusion.checks.whole import check_timesteps, count_weights
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import check_folder
from pipeline.planning.gpu.estimate import gpu_memory
from pipeline.planning.hub_sizes import MODELS
from tests.support.runs import DEMO
from tests.support.tiny import PIPELINES


def written(pipe: Any, folder: Path) -> Path:
    """Write the configuration files of a pipeline without weights."""
    for name, part in pipe.components.items():
        if hasattr(part, "save_config"):
            part.save_config(folder / name)
        elif isinstance(part, torch.nn.Module):
            part.config.save_pretrained(folder / name)  # type: ignore[union-attr, operator]
        elif part is not None:
            part.save_pretrained(folder / name)
    pipe.save_config(folder)
    return folder


@pytest.mark.parametrize("name", FULL)
def test_a_published_model_passes_every_check_that_needs_no_weights(tmp_path: Path, name: str) -> None:
    folder = written(FULL[name].make(torch.device("meta"), torch.float32), tmp_path)
    pipeline = check_folder(folder, 50, whole=False)
    family = FAMILIES[pipeline]
    sizes = sizes_of_folder(folder, family)
    assert sizes.own == ((512, 512) if name == "sd15" else (1024, 1024))
    assert sizes.chosen(512, 768) == (512, 768)
    nearest = min(range(0, 2048, sizes.multiple), key=lambda side: (abs(side - 500), -side))
    with pytest.raises(ModelError, match=f"set model.height={nearest}"):
        sizes.chosen(500, 768)
    for steps in (4, 28, 50):
        check_timesteps(folder, steps, sizes.tokens(sizes.own))
    parts = {part: skeleton(folder, part) for part in weight_parts(family)}
    check_one_pass(folder, family, parts[family.denoiser], parts["vae"])


@pytest.mark.parametrize("name", FULL)
def test_the_weights_of_a_published_model_are_counted_for_its_memory(tmp_path: Path, name: str) -> None:
    pipe = FULL[name].make(torch.device("meta"), torch.float32)
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    folder, weights = written(pipe, tmp_path), count_weights(written(pipe, tmp_path))
    assert sum(p.numel() for part in parts for p in part.parameters()) <= weights <= sum(p.numel() for p in tensors)
    # The files of the hub have as many numbers, and some kilobytes of headers; of one, three digits are known.
    known = [size for (model, _), size in MODELS.items() if model == FULL[name].name]
    assert all(weights == pytest.approx(size.total / size.bytes_per_weight, rel=5e-3) for size in known)
    config = load_config(DEMO, [f"model.name={folder}", "model.dtype=bfloat16", "model.eta=null"])
    assert f"at least {weights * 2 / 1e9:.2f} GB in bfloat16" in gpu_memory(config)


def test_every_family_has_a_published_model_here() -> None:
    made = {type(architecture.make(torch.device("meta"), torch.float16)).__name__ for architecture in FULL.values()}
    assert made == {pipeline.__name__ for pipeline in PIPELINES.values()} == set(FAMILIES)
