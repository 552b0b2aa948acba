"""A reward of one's own, as a function and as the source of a plugin, and a front that is small enough for tests."""

from typing import Any

import torch

SMALL: dict[str, Any] = {"steps": 3, "queries": 4, "soup_steps": 2, "weights": {"grid": 3}}
SOURCE = """
def warmth(images, prompts):
    return images[:, 0].float().mean((1, 2)) - images[:, 2].float().mean((1, 2))

REWARDS = {"warmth": warmth}
"""


def warmth(images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
    """Return the mean of red minus the mean of blue of each image."""
    return images[:, 0].float().mean((1, 2)) - images[:, 2].float().mean((1, 2))
