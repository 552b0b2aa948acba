"""What the contract suite asks rewards with, and how its checks say no."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewards.base import Reward, RewardInfo, checked_score
from rewards.errors import RewardError

# What a network's last bits may move when the batch size or an image's place in it changes; relative above 1.
TOLERANCE = 1e-5


class ContractError(AssertionError):
    """A reward breaks its contract; the message says how."""


@dataclass(frozen=True)
class Probe:
    """A reward that is set up, and what it is asked: n >= 3 unlike images, n prompts that it can tell apart."""

    reward: Reward
    images: Tensor
    prompts: tuple[str, ...]

    def ask(self, images: Tensor | None = None, prompts: Sequence[str] | None = None) -> Tensor:
        images = self.images if images is None else images
        return checked_score(self.reward, images, list(self.prompts if prompts is None else prompts))

    def expect_same(self, got: Tensor, wanted: Tensor, what: str) -> None:
        """The same bits, or within TOLERANCE where the reward declares that its bits depend on the batch."""
        tolerance = TOLERANCE if self.reward.info.batch_sensitive else 0.0
        same = torch.allclose(got, wanted, rtol=tolerance, atol=tolerance)
        expect(same, f"{what}: {got.tolist()} instead of {wanted.tolist()}")


def unlike_images() -> Tensor:
    """Six unlike images, uint8 (6, 3, 40, 56): flat, black and white, a ramp, stripes, noise, a disc."""
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
class _Spoiled:
    """A reward whose answer is spoiled on the way out."""

    reward: Reward
    spoil: Callable[[Tensor], Tensor]

    @property
    def info(self) -> RewardInfo:
        return self.reward.info

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.spoil(self.reward.score(images, prompts))

    def close(self) -> None: ...


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)


def expect_spoiled_refused(probe: Probe, what: str, spoil: Callable[[Tensor], Tensor]) -> None:
    spoiled = dataclasses.replace(probe, reward=_Spoiled(probe.reward, spoil))
    expect_refused(probe, f"answer of {what}", "return", spoiled.ask)


def expect_refused(probe: Probe, what: str, fix: str, ask: Callable[[], Tensor]) -> None:
    try:
        scores = ask()
    except RewardError as error:
        named = probe.reward.info.name in error.problem
        expect(named and fix in error.fix, f"{what}: the error lacks the reward's name or the fix {fix!r}: {error}")
    else:
        raise ContractError(f"{what} was not refused, and gave {scores.tolist()}")
