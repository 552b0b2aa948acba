"""Every reward keeps the contract of rewards, and its checks catch rewards that break it on purpose."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from rewards import registry
from rewards.base import Reward, RewardInfo, checked_score
from rewards.contract import CHECKS, LIFECYCLE, PROMPTS, check_reward
from rewards.contract_case import Case, distinct_images
from rewards.contract_checks import Check, LifecycleCheck
from rewards.errors import RewardError
from rewards.vlm_judge import VlmJudge
from tests.support.servers.fake_judge import FakeJudge
from tests.support.tiny_blip import TinyBlip
from tests.support.tiny_clip import Tiny


@pytest.fixture(scope="module")
def factories(tiny: Tiny, tiny_blip: TinyBlip, judge: FakeJudge) -> dict[str, Callable[[], Reward]]:
    """A factory for each reward of the registry, with tiny weights if its own would take gigabytes."""
    ours: dict[str, Callable[[], Reward]] = {name: partial(registry.create, name) for name in registry.names()}
    return ours | tiny.rewards | {"image_reward": tiny_blip.reward, "vlm_judge": lambda: VlmJudge(judge.settings())}


@pytest.fixture(scope="module", params=registry.names())
def reward(request: pytest.FixtureRequest, factories: dict[str, Callable[[], Reward]]) -> Iterator[Reward]:
    made = factories[request.param]()
    assert type(made) is type(registry.create(request.param))
    assert made.info.name == request.param
    made.setup("cpu")
    yield made
    made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_reward_keeps_its_contract(reward: Reward, check: Check) -> None:
    check(Case(reward, distinct_images(), PROMPTS))


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("check", LIFECYCLE, ids=lambda check: check.__name__)
def test_a_reward_keeps_the_contract_of_its_life_cycle(
    name: str, check: LifecycleCheck, factories: dict[str, Callable[[], Reward]]
) -> None:
    check(factories[name], "cpu", distinct_images(), PROMPTS)


class Sound:
    """Mean brightness, 0..255, which keeps the contract. Each class below breaks one thing of it."""

    info = RewardInfo("sound", "the brighter, the higher", "", (0.0, 255.0), False, True, False, "this test")

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return torch.tensor([image.double().mean() for image in images], dtype=torch.float32)

    def close(self) -> None: ...


class Writes(Sound):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().score(images, prompts)
        images.sub_(1)
        return scores


class Centres(Sound):
    """Scores depend on the batch, as with a batch norm that is left in training mode."""

    info = dataclasses.replace(Sound.info, range=(-255.0, 255.0))

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().score(images, prompts)
        return scores - scores.mean()


class ReadsPromptInSecret(Sound):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts) / torch.tensor([1.0 + len(prompt) for prompt in prompts])


class IgnoresPrompt(Sound):
    info = dataclasses.replace(Sound.info, reads_prompt=True)


class MixesUpPrompts(Sound):
    """Pairs the images with the prompts in alphabetical order."""

    info = dataclasses.replace(Sound.info, reads_prompt=True)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts) / torch.tensor([1.0 + len(prompt) for prompt in sorted(prompts)])


class Sorts(Sound):
    """Returns the scores in ascending order, not in the order of the images."""

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts).sort().values


class OpensPrompts(Sound):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        for prompt in prompts:
            if prompt.startswith("/"):
                raise FileNotFoundError(prompt)
        return super().score(images, prompts)


class Refuses(Sound):
    """Refuses every prompt that it was not made for."""

    message = "sound knows no such prompt"

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if not set(prompts) <= set(PROMPTS):
            raise RewardError(self.message)
        return super().score(images, prompts)


class Draws(Sound):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts) * torch.rand(len(images))


class Seeds(Sound):
    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        torch.manual_seed(0)
        return super().score(images, prompts)


class ReadsMemory(Sound):
    """Reads the pixels in the order of memory and ignores the strides."""

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        in_memory = images.as_strided((len(images), images[0].numel()), (images[0].numel(), 1), 0)
        return in_memory[:, : in_memory.shape[1] // 3].double().mean(1).float()


class NeedsTwoPixels(Sound):
    """Returns the sample variance, which is 0 / 0 for a single pixel."""

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        red = images[:, 0].double().flatten(1)
        squares = ((red - red.mean(1, keepdim=True)) ** 2).sum(1)
        return (squares / (red.shape[1] - 1)).float() / 255


class DependsOnInstance(Sound):
    """Each instance has other scores, as with a seed from the clock or from an address."""

    made = 0

    def __init__(self) -> None:
        DependsOnInstance.made += 1
        self.factor = 1 / DependsOnInstance.made

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().score(images, prompts) * self.factor


class ClosesOnce(Sound):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class ClosesWhatItNeverOpened(Sound):
    def setup(self, device: str) -> None:
        self.model: str | None = device

    def close(self) -> None:
        self.model = None if self.model else self.model


def returning(alter: Callable[[Tensor], Any]) -> type[Sound]:
    """A class whose scores are altered before they are returned."""

    class Altered(Sound):
        def score(self, images: Tensor, prompts: Sequence[str]) -> Any:
            return alter(super().score(images, prompts))

    return Altered


def declaring(**changes: Any) -> type[Sound]:
    """A class with changes to its declaration."""

    class Declared(Sound):
        info = dataclasses.replace(Sound.info, **changes)

    return Declared


BROKEN = [
    ("returns_floats", returning(lambda s: s * math.nan)),
    ("returns_floats", returning(lambda s: s[:, None])),
    ("returns_floats", returning(lambda s: s[1:])),
    ("returns_floats", returning(lambda s: s.tolist())),
    ("returns_floats", returning(lambda s: s.double())),
    ("returns_floats", returning(lambda s: s.requires_grad_())),
    ("stays_in_range", returning(lambda s: s + 300)),
    ("tells_images_apart", returning(lambda s: 0 * s)),
    ("order_does_not_matter", returning(lambda s: s + torch.arange(len(s)) / 100)),
    ("order_does_not_matter", Sorts),
    ("batch_does_not_matter", Centres),
    ("neighbours_do_not_matter", Centres),
    ("repeats_its_bits", Draws),
    ("random_state_is_untouched", Draws),
    ("random_state_is_untouched", Seeds),
    ("prompts_go_with_their_images", ReadsPromptInSecret),
    ("prompts_go_with_their_images", IgnoresPrompt),
    ("prompts_go_with_their_images", MixesUpPrompts),
    ("prompts_may_be_any_text", OpensPrompts),
    ("prompts_may_be_any_text", Refuses),
    ("input_is_untouched", Writes),
    ("memory_layout_does_not_matter", ReadsMemory),
    ("one_pixel", NeedsTwoPixels),
    ("closes_twice", ClosesOnce),
    ("closes_without_setup", ClosesWhatItNeverOpened),
    ("two_of_them_agree", DependsOnInstance),
    ("info_is_filled_in", declaring(name="")),
    ("info_is_filled_in", declaring(source=" ")),
    ("info_is_filled_in", declaring(range=(1.0, 0.0))),
    ("info_is_filled_in", declaring(range=(math.nan, 0.0))),
    ("info_is_filled_in", declaring(differentiable=None)),
]


def test_a_sound_reward_passes() -> None:
    check_reward(Sound)


@pytest.mark.parametrize(("check", "broken"), BROKEN)
def test_the_checks_catch_a_broken_reward(check: str, broken: type[Sound]) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        check_reward(broken)
    assert f"check: {check}" in [note for error in caught.value.exceptions for note in error.__notes__]


def test_last_bits_may_depend_on_the_batch_only_if_that_is_declared() -> None:
    jitters = returning(lambda s: s * (1 + 2e-6 * (len(s) == 1)))
    with pytest.raises(ExceptionGroup):
        check_reward(jitters)
    jitters.info = dataclasses.replace(Sound.info, batch_sensitive=True)
    check_reward(jitters)


def test_a_prompt_may_be_refused_only_if_that_is_declared_and_with_the_rewards_name() -> None:
    declared = {"info": dataclasses.replace(Sound.info, any_prompt=False)}
    check_reward(type("Declared", (Refuses,), declared))
    for base, more in ((Refuses, {"message": "no such prompt"}), (OpensPrompts, {})):
        with pytest.raises(ExceptionGroup) as caught:
            check_reward(type("Declared", (base,), {**declared, **more}))
        assert [error.__notes__ for error in caught.value.exceptions] == [["check: prompts_may_be_any_text"]]


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ([1.0, math.nan], "sound returned nan for image 1 of 2"),
        ([-math.inf, 0.0], "sound returned -inf for image 0 of 2"),
        ([[1.0], [2.0]], r"sound returned shape \(2, 1\) for 2 images"),
        ([1.0], r"sound returned shape \(1,\) for 2 images"),
        ([1j, 0j], "return real numbers"),
    ],
)
def test_a_wrong_result_is_an_error_and_no_score(scores: list[float], problem: str) -> None:
    with pytest.raises(RewardError, match=problem):
        checked_score(returning(lambda s: torch.tensor(scores))(), distinct_images()[:2], ["a", "b"])


def test_a_score_too_large_for_float32_is_an_error() -> None:
    with pytest.raises(RewardError, match="returned inf"):
        checked_score(returning(lambda s: s.double() * 1e300)(), distinct_images()[:2], ["a", "b"])
