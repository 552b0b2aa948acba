"""The checks of a model folder against the shapes of published models, whose configurations are made without weights.

Tiny models do not show a limit that is too low for real ones.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.architectures import FULL
from diffusion.checks.image_size import sizes_of_folder
from diffusion.checks.one_pass import check_one_pass
from diffusion.checks.skeleton import skeleton
from diffusion.checks.weights import weight_parts
from diffusion.checks.whole import check_timesteps
from diffusion.families import FAMILIES
from diffusion.folder import check_folder
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
    for steps in (4, 28, 50):
        check_timesteps(folder, steps, sizes.tokens(sizes.own))
    parts = {part: skeleton(folder, part) for part in weight_parts(family)}
    check_one_pass(folder, family, parts[family.denoiser], parts["vae"])


def test_every_family_has_a_published_model_here() -> None:
    made = {type(architecture.make(torch.device("meta"), torch.float16)).__name__ for architecture in FULL.values()}
    assert made == {pipeline.__name__ for pipeline in PIPELINES.values()} == set(FAMILIES)
