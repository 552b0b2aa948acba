"""What the checks of `rewards.contract` work with: a reward with images and prompts, and ways to fail."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewards.base import Reward, RewardInfo, checked_score
from rewards.errors import RewardError

# How far a network's scores may move if the batch size or an image's place in the batch changes; relative above 1.
TOLERANCE = 1e-5


class ContractError(AssertionError):
    """A reward breaks its contract. The message says how."""


@dataclass(frozen=True)
class Case:
    """A reward that is set up, with n >= 3 distinct images and n prompts that it can tell apart."""

    reward: Reward
    images: Tensor
    prompts: tuple[str, ...]

    def scores(self, images: Tensor | None = None, prompts: Sequence[str] | None = None) -> Tensor:
        """Return the checked scores of these images and prompts; by default of the case's own."""
        images = self.images if images is None else images
        return checked_score(self.reward, images, list(self.prompts if prompts is None else prompts))

    def expect_same(self, found: Tensor, expected: Tensor, what: str) -> None:
        """Expect the same bits, or scores within TOLERANCE if the reward declares itself batch sensitive."""
        tolerance = TOLERANCE if self.reward.info.batch_sensitive else 0.0
        same = torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
        expect(same, f"{what}: {found.tolist()} instead of {expected.tolist()}")


def distinct_images() -> Tensor:
    """Return six distinct images, uint8 (6, 3, 40, 56): flat, black and white, a ramp, stripes, noise, a disc."""
    height, width = 40, 56
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    noise = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0))
    disc = (rows - 20) ** 2 + (columns - 28) ** 2 < 200
    images = [
        torch.stack([torch.full_like(rows, value) for value in (30, 140, 220)]),
        (255 * (columns < 28)).expand(3, -1, -1),
        torch.stack([6 * rows, 4 * columns, 2 * (rows + columns)]),
        torch.stack([255 * (columns // 4 % 2), 255 * (rows // 4 % 2), 0 * rows]),
        noise,
        torch.stack([255 * disc, 120 * disc, 60 + 0 * rows]),
    ]
    return torch.stack(images).to(torch.uint8)


@dataclass(frozen=True)
class _Altered:
    """A reward whose scores are altered before they are returned."""

    reward: Reward
    alter: Callable[[Tensor], Tensor]

    @property
    def info(self) -> RewardInfo:
        return self.reward.info

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.alter(self.reward.score(images, prompts))

    def close(self) -> None: ...


def expect(condition: bool, message: str) -> None:
    """Raise a ContractError with this message unless the condition holds."""
    if not condition:
        raise ContractError(message)


def expect_result_refused(case: Case, what: str, alter: Callable[[Tensor], Tensor]) -> None:
    """Expect a RewardError if the reward's scores are altered like this."""
    altered = dataclasses.replace(case, reward=_Altered(case.reward, alter))
    expect_refused(f"a result of {what}", case, "return", altered.scores)


def expect_refused(what: str, case: Case, fix: str, query: Callable[[], Tensor]) -> None:
    """Expect a RewardError that names the reward and whose fix holds this text."""
    try:
        scores = query()
    except RewardError as error:
        named = case.reward.info.name in error.problem
        expect(named and fix in error.fix, f"{what}: the error lacks the reward's name or the fix {fix!r}: {error}")
    else:
        raise ContractError(f"{what} was not refused, and gave {scores.tolist()}")
