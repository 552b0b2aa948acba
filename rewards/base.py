"""The interface of a reward, and `checked_score`, through which every reward is queried.

`rewards.contract` tests whether a reward keeps to the interface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from configs.plain.texts import writable
from rewards.errors import RewardError
from rewards.pinned_files import WeightFile


@dataclass(frozen=True)
class RewardInfo:
    """What a reward declares about itself.

    Attributes:
        name: name in the registry.
        description: one line for people that says what a higher value means.
        unit: unit of the value; "" for a pure number.
        range: lowest and highest possible value, infinite if there is no bound.
        reads_prompt: whether the value depends on the prompt.
        differentiable: whether the value, as a function of real-valued pixels without rounding to bytes, has a
            gradient almost everywhere. `score` returns no gradient, because a reward is queried as a black box.
        batch_sensitive: whether the last bits of a value may depend on the number of images in the call, as a
            network's do. Such a reward is only queried in chunks of one size.
        source: paper or project that defines the reward.
        licence: licence of its weights; "" if it has none.
        preprocessing: size, resize kernel, crop or padding; "" if the pixels are used as they are.
        paper_value: value that the SRSoup paper reports; "" if it reports none.
        weights: files that `setup` reads. `srsoup rewards --fetch` downloads them beforehand.
        any_prompt: whether the reward scores every text. If not, it raises a RewardError with the reason for a prompt
            that it cannot judge, and only that prompt fails.
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
    """A function f(images, prompts) that returns one number for each image, the higher the better.

    Images are uint8 RGB, shape (n, 3, h, w), with the values that a saved file would have. A reward must not write to
    them. Prompts are texts, never paths. The score of an image depends on that image and its prompt alone, whatever
    else is in the batch.
    """

    @property
    def info(self) -> RewardInfo: ...

    def setup(self, device: str) -> None:
        """Load what the reward needs. Called once, before the first `score`."""
        ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the scores, float32, shape (n,), on the CPU; n >= 1."""
        ...

    def close(self) -> None:
        """Release what `setup` loaded. May be called twice, and without `setup`."""
        ...


def checked_score(reward: Reward, images: Tensor, prompts: Sequence[str]) -> Tensor:
    """Query a reward, and check its arguments and its result.

    Args:
        reward: a reward that is set up.
        images: uint8, shape (n, 3, h, w), n >= 0, h and w >= 1.
        prompts: n texts, one for each image.

    Returns:
        Scores, float32, shape (n,), finite, on the CPU.

    Raises:
        RewardError: the images, the prompts or the scores do not have this form.
    """
    name = reward.info.name
    _check_images(name, images)
    _check_prompts(name, prompts, len(images))
    if not len(images):
        return torch.empty(0)
    return _checked_scores(name, reward.score(images, prompts), len(images))


def _checked_scores(name: str, scores: object, n: int) -> Tensor:
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
    # A text is also a sequence of texts: without this check "owl" would pass as three prompts.
    if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
        raise RewardError(f"{name}: the prompts are {prompts!r:.80}", "give a list of texts, one for each image")
    if any(writable(prompt) != prompt for prompt in prompts):
        raise RewardError(
            f"{name}: a prompt has half of a surrogate pair, which is not a character", "give Unicode text"
        )
    if len(prompts) != n:
        raise RewardError(f"{name}: there are {len(prompts)} prompts for {n} images", "give one prompt for each image")


def _check_images(name: str, images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise RewardError(f"{name}: the images are a {type(images).__name__}", "give a torch tensor")
    if images.dtype != torch.uint8:
        raise RewardError(f"{name}: the images have dtype {images.dtype}", "give uint8, 0..255")
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise RewardError(f"{name}: the images have shape {shape}", "give (n, 3, height, width)")
    if shape[1] != 3:
        fixes = {1: "repeat a grey image's channel three times", 4: "lay an image with alpha on a background"}
        fix = fixes.get(shape[1], "give (n, 3, height, width)")
        raise RewardError(
            f"{name}: the images have shape {shape}, with {shape[1]} channels instead of the 3 of RGB", fix
        )
    if 0 in shape[2:]:
        raise RewardError(
            f"{name}: the images have shape {shape}, without any pixels", "give images of at least one pixel"
        )
