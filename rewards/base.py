"""The contract of a reward, and the door that holds every call to it. `rewards.contract` tests a reward against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rewards.errors import RewardError
from rewards.pinned_files import WeightFile


@dataclass(frozen=True)
class RewardInfo:
    """What a reward declares of itself.

    Attributes:
        name: the registry's name.
        description: one line for people: what a higher value means.
        unit: of the value; "" for a pure number.
        range: lowest and highest value there can be, infinite where there is no bound.
        reads_prompt: whether the value depends on the prompt.
        differentiable: whether the value, as a function of real-valued pixels and rounding to bytes aside, has a
            gradient almost everywhere. `score` gives none: it is asked as a black box.
        batch_sensitive: whether its last bits may depend on how many images are asked at once, as a network's
            do; such a reward is only ever asked in chunks of one size.
        source: paper or project that defines it.
        licence: of its weights; "" where it has none.
        preprocessing: size, resize kernel, crop or pad; "" where the pixels are taken as they are.
        paper_value: what the SRSoup paper reports for it; "" where it does not.
        weights: files that `setup` reads; `srsoup rewards --fetch` gets them beforehand.
        any_prompt: whether every text is scored. Where not, a prompt that the reward cannot judge is a RewardError
            that says why, and fails alone.
    """

    name: str
    description: str
    unit: str
    range: tuple[float, float]
    reads_prompt: bool
    differentiable: bool
    batch_sensitive: bool
    source: str
    licence: str = ""
    preprocessing: str = ""
    paper_value: str = ""
    weights: tuple[WeightFile, ...] = ()
    any_prompt: bool = True


class Reward(Protocol):
    """f(images, prompts) -> one float an image, the higher the better.

    Images are uint8 RGB, shape (n, 3, h, w), as they would be saved, and must not be written to. Prompts are
    texts, never paths. An image's score depends on that image and its prompt alone, whatever else is in the batch.
    """

    @property
    def info(self) -> RewardInfo: ...

    def setup(self, device: str) -> None:
        """Load what it needs, once, before the first `score`."""
        ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Scores, float32, shape (n,), on the CPU; n >= 1."""
        ...

    def close(self) -> None:
        """Let go of what `setup` took. May be called twice, and without `setup`."""
        ...


def checked_score(reward: Reward, images: Tensor, prompts: Sequence[str]) -> Tensor:
    """Ask a reward, and check what goes in and what comes out.

    Args:
        images: uint8, shape (n, 3, h, w), n >= 0, h and w >= 1.
        prompts: n texts, one for each image.

    Returns:
        Scores, float32, shape (n,), finite, on the CPU.

    Raises:
        RewardError: the images or prompts are not of that form, or the reward's answer is not.
    """
    name = reward.info.name
    _check_images(name, images)
    _check_prompts(name, prompts, len(images))
    if not len(images):
        return torch.empty(0)
    return _checked_answer(name, reward.score(images, prompts), len(images))


def _checked_answer(name: str, scores: object, n: int) -> Tensor:
    if not isinstance(scores, Tensor):
        raise RewardError(f"{name} returned a {type(scores).__name__}", f"return a tensor of shape ({n},)")
    if tuple(scores.shape) != (n,):
        raise RewardError(
            f"{name} returned shape {tuple(scores.shape)} for {n} images",
            f"return shape ({n},), one score for each image",
        )
    if scores.is_complex():
        raise RewardError(f"{name} returned scores of type {scores.dtype}", "return real numbers")
    scores = scores.detach().to("cpu", torch.float32)
    bad = torch.nonzero(~torch.isfinite(scores)).flatten().tolist()
    if bad:
        value = scores[bad[0]].item()
        raise RewardError(f"{name} returned {value} for image {bad[0]} of {n}", "return a finite number for each image")
    return scores


def _check_prompts(name: str, prompts: Sequence[str], n: int) -> None:
    # A text is a sequence of texts too: "owl" would pass as three prompts.
    if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
        raise RewardError(f"{name}: prompts are {prompts!r:.80}", "give a list of texts, one for each image")
    if len(prompts) != n:
        raise RewardError(f"{name}: {len(prompts)} prompts for {n} images", "give one prompt for each image")


def _check_images(name: str, images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise RewardError(f"{name}: images are a {type(images).__name__}", "give a torch tensor")
    if images.dtype != torch.uint8:
        raise RewardError(f"{name}: images are {images.dtype}", "give uint8, 0..255")
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise RewardError(f"{name}: images have shape {shape}", "give (n, 3, height, width)")
    if shape[1] != 3:
        fixes = {1: "repeat a grey image's channel three times", 4: "lay an image with alpha on a background"}
        fix = fixes.get(shape[1], "give (n, 3, height, width)")
        raise RewardError(f"{name}: images have shape {shape}, {shape[1]} channels instead of the 3 of RGB", fix)
    if 0 in shape[2:]:
        raise RewardError(f"{name}: images of shape {shape} have no pixels", "give at least one")
