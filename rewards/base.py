"""The contract of a reward, and the check that holds every reward to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class RewardError(ValueError):
    """A reward was asked wrongly, or answered wrongly; the message says what, and the mend."""


@dataclass(frozen=True)
class RewardInfo:
    """What a reward declares of itself.

    Attributes:
        name: the registry's name.
        description: one line for people: what a higher value means.
        unit: of the value; "" for a pure number.
        low, high: bounds of the value, infinite where there are none.
        reads_prompt: whether the value depends on the prompt.
        batch_sensitive: whether its last bits may depend on how many images are asked at once, as a network's
            do; such a reward is only ever asked in chunks of one size.
        source: paper or project that defines it.
        licence: of its weights; "" where it has none.
    """

    name: str
    description: str
    unit: str
    low: float
    high: float
    reads_prompt: bool
    batch_sensitive: bool
    source: str
    licence: str = ""


class Reward(Protocol):
    """f(images, prompts) -> one float an image, the higher the better.

    Images are uint8 RGB, shape (n, 3, h, w), as they would be saved, and must not be written to. An image's
    score depends on that image and its prompt alone, whatever else is in the batch.
    """

    @property
    def info(self) -> RewardInfo: ...

    def setup(self, device: str) -> None:
        """Load what it needs, once, before the first `score`."""
        ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Scores, shape (n,), on the CPU."""
        ...

    def close(self) -> None:
        """Let go of what `setup` took. May be called twice."""
        ...


def checked_score(reward: Reward, images: Tensor, prompts: Sequence[str]) -> Tensor:
    """Ask a reward, and check what goes in and what comes out.

    Args:
        images: uint8, shape (n, 3, h, w), n >= 0, h and w >= 1.
        prompts: n texts, one for each image.

    Returns:
        Scores, float32, shape (n,), finite.

    Raises:
        RewardError: the images or prompts are not of that form, or the reward's answer is not.
    """
    name = reward.info.name
    _check_images(name, images)
    if len(prompts) != len(images):
        raise RewardError(f"{name}: {len(prompts)} prompts for {len(images)} images; give one prompt for each image")
    if not len(images):
        return torch.empty(0)
    scores = reward.score(images, prompts)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (len(images),):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise RewardError(f"{name} answered {shape} for {len(images)} images; it must be a tensor of shape (n,)")
    scores = scores.to("cpu", torch.float32)
    if not torch.isfinite(scores).all():
        bad = torch.nonzero(~torch.isfinite(scores)).flatten().tolist()
        raise RewardError(f"{name} answered {scores[bad[0]].item()} for image {bad[0]} of {len(images)}; "
                          "a score must be a finite number")  # fmt: skip
    return scores


def _check_images(name: str, images: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise RewardError(f"{name}: images are {images.dtype}; give uint8, 0..255")
    if images.ndim != 4:
        raise RewardError(f"{name}: images have shape {tuple(images.shape)}; give (n, 3, height, width)")
    channels = images.shape[1]
    if channels != 3:
        mend = {1: "repeat a grey image's channel three times", 4: "lay an image with alpha on a background"}
        raise RewardError(
            f"{name}: images have shape {tuple(images.shape)}, with {channels} channels, not the 3 of RGB "
            f"in second place; {mend.get(channels, 'give (n, 3, height, width)')}"
        )
    if 0 in images.shape[2:]:
        raise RewardError(f"{name}: images of shape {tuple(images.shape)} have no pixels; give at least one")
