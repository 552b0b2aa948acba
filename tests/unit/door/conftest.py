"""The embedded model as a loaded pipeline."""

from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from diffusion.source import Source


@pytest.fixture(scope="module")
def pipe() -> Any:
    """In float32, all of it: the files hold half precision, which transformers alone would keep."""
    return DiffusionPipeline.from_pretrained(Source("mini").path, dtype=torch.float32)
