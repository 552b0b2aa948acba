"""The suite that every reward must pass, ours and other people's: `check_reward(MyReward)`. It needs no pytest.

Checks of `CHECKS` look at a reward that is set up; those of `LIFECYCLE` make their own from a factory.
"""

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rewards.base import Reward, RewardInfo, checked_score
from rewards.errors import RewardError
from rewards.probe import Probe, expect, expect_refused, expect_spoiled_refused, unlike_images

PROMPTS = ("a cheetah", "an owl", "a fish", "a snail", "a rabbit", "a bear")
ODD_PROMPTS = ("", " ", "/dev/null", "..\\..\\a.png", "one\ntwo\r\n", "\"quoted\" 'too'", "🦉 été", "owl " * 1250)

Factory = Callable[[], Reward]
Check = Callable[[Probe], None]
LifecycleCheck = Callable[[Factory, str, Tensor, Sequence[str]], None]


def check_reward(
    factory: Factory, *, device: str = "cpu", images: Tensor | None = None, prompts: Sequence[str] = PROMPTS
) -> None:
    """Run every check.

    Args:
        factory: makes a reward that is not set up yet, for example its class.
        images: n >= 3 unlike ones, uint8 (n, 3, h, w); by default `unlike_images()`.
        prompts: n that the reward can tell apart.

    Raises:
        ExceptionGroup: one error for each check that failed, with the check's name as a note.
    """
    images = unlike_images() if images is None else images
    failures = []
    reward = factory()
    reward.setup(device)
    try:
        for check in CHECKS:
            failures += _failure(check.__name__, check, Probe(reward, images.clone(), tuple(prompts)))
    finally:
        failures += _failure("close", reward.close)
    for lifecycle in LIFECYCLE:
        failures += _failure(lifecycle.__name__, lifecycle, factory, device, images.clone(), tuple(prompts))
    if failures:
        raise ExceptionGroup(f"{type(reward).__name__} breaks the contract of rewards", failures)


def info_is_filled_in(probe: Probe) -> None:
    info = probe.reward.info
    expect(isinstance(info, RewardInfo), f"info is a {type(info).__name__}, not a RewardInfo")
    expect(bool(re.fullmatch(r"[a-z0-9_.-]+", info.name)), f"name {info.name!r} is not of [a-z0-9_.-]+")
    expect(bool(info.description.strip() and info.source.strip()), "description or source is empty")
    low, high = info.range
    expect(low < high, f"range is {info.range}; the first must be below the second")
    for flag in ("reads_prompt", "differentiable", "batch_sensitive", "any_prompt"):
        expect(isinstance(getattr(info, flag), bool), f"{flag} is {getattr(info, flag)!r}, not a bool")


def answers_floats(probe: Probe) -> None:
    """float32, one an image, finite, without a gradient, on the CPU: before the door has cast anything."""
    scores = probe.reward.score(probe.images, list(probe.prompts))
    expect(isinstance(scores, Tensor), f"score gave a {type(scores).__name__}, not a tensor")
    shape, n = tuple(scores.shape), len(probe.images)
    expect(shape == (n,), f"score gave shape {shape} for {n} images")
    expect(scores.dtype == torch.float32, f"score gave {scores.dtype}, not float32")
    expect(scores.device.type == "cpu", f"score left the answer on {scores.device}")
    expect(not scores.requires_grad, "the answer drags a gradient's graph along")
    expect(bool(torch.isfinite(scores).all()), f"score gave {scores.tolist()}")


def stays_in_range(probe: Probe) -> None:
    low, high = probe.reward.info.range
    scores = probe.ask()
    expect(bool(((low <= scores) & (scores <= high)).all()), f"{scores.tolist()} leave [{low}, {high}]")


def tells_images_apart(probe: Probe) -> None:
    expect(len(set(probe.ask().tolist())) > 1, "all images score the same")


def repeats_its_bits(probe: Probe) -> None:
    first, second = probe.ask(), probe.ask()
    expect(torch.equal(first, second), f"asked twice: {first.tolist()}, then {second.tolist()}")


def alone_as_together(probe: Probe) -> None:
    pairs = zip(probe.images.split(1), probe.prompts, strict=True)
    alone = torch.cat([probe.ask(image, [prompt]) for image, prompt in pairs])
    probe.expect_same(alone, probe.ask(), "alone and in a batch")


def order_does_not_matter(probe: Probe) -> None:
    back = list(reversed(range(len(probe.images))))
    scores = probe.ask(probe.images[back], [probe.prompts[i] for i in back])
    probe.expect_same(scores, probe.ask()[back], "images and prompts in reverse")


def neighbours_do_not_matter(probe: Probe) -> None:
    """At one batch size the first image has the same bits whatever follows it: padding rests on this."""
    n = len(probe.images)
    padded = probe.ask(probe.images[:1].expand(n, -1, -1, -1), [probe.prompts[0]] * n)
    first, wanted = padded[0].item(), probe.ask()[0].item()
    expect(first == wanted, f"an image scores {wanted} among others and {first} among copies of itself")


def prompts_go_with_their_images(probe: Probe) -> None:
    """One image with each prompt: the prompts' scores move with them, or are one score where none is read."""
    n, back = len(probe.prompts), list(reversed(range(len(probe.prompts))))
    same_image = probe.images[-1:].expand(n, -1, -1, -1)
    scores = probe.ask(same_image)
    turned = probe.ask(same_image, [probe.prompts[i] for i in back])
    probe.expect_same(turned, scores[back], "prompts in reverse")
    if probe.reward.info.reads_prompt:
        expect(len(set(scores.tolist())) > 1, "reads_prompt is declared, but all prompts score the same")
    else:
        probe.expect_same(scores, scores[:1].expand(n), "reads_prompt is not declared, but prompts matter")


def prompts_may_be_any_text(probe: Probe) -> None:
    """Paths, line ends, quotes, emoji, nothing and 5,000 characters are texts like any other.

    Where `any_prompt` is not declared they may be refused, by a RewardError that names the reward.
    """
    odd = ODD_PROMPTS if probe.reward.info.any_prompt else [p for p in ODD_PROMPTS if not _refused(probe, p)]
    image = probe.images[-1:].expand(len(odd), -1, -1, -1)
    probe.expect_same(probe.ask(image, odd), probe.ask(image, odd), "odd prompts, twice")


def input_is_untouched(probe: Probe) -> None:
    images, prompts = probe.images.clone(), list(probe.prompts)
    probe.reward.score(images, prompts)
    expect(torch.equal(images, probe.images), "score wrote to the images")
    expect(prompts == list(probe.prompts), "score wrote to the prompts")


def memory_layout_does_not_matter(probe: Probe) -> None:
    images = probe.images.contiguous(memory_format=torch.channels_last)
    probe.expect_same(probe.ask(images), probe.ask(), "channels last in memory")


def random_state_is_untouched(probe: Probe) -> None:
    with torch.random.fork_rng(devices=[]):
        # Away from where a reward that seeds in each call has left the generator already.
        torch.rand(1)
        before = torch.get_rng_state()
        probe.ask()
        expect(torch.equal(before, torch.get_rng_state()), "score drew from or seeded the global generator")


def empty_batch(probe: Probe) -> None:
    scores = probe.ask(probe.images[:0], [])
    expect(scores.shape == (0,) and scores.dtype == torch.float32, f"no images gave {scores!r}")


def one_pixel(probe: Probe) -> None:
    low, high = probe.reward.info.range
    value = probe.ask(probe.images[-1:, :, 20:21, 28:29], probe.prompts[:1]).item()
    expect(low <= value <= high, f"one pixel scores {value}, outside [{low}, {high}]")


def other_images_are_refused(probe: Probe) -> None:
    images = probe.images
    alpha = torch.cat([images, images[:, :1]], dim=1)
    expect_refused(probe, "grey", "repeat", lambda: probe.ask(images[:, :1]))
    expect_refused(probe, "alpha", "background", lambda: probe.ask(alpha))
    expect_refused(probe, "channels last", "(n, 3, height, width)", lambda: probe.ask(images.movedim(1, -1)))
    expect_refused(probe, "no batch axis", "(n, 3, height, width)", lambda: probe.ask(images[0]))
    expect_refused(probe, "no pixels", "at least one", lambda: probe.ask(images[..., :0]))
    expect_refused(probe, "float32", "uint8", lambda: probe.ask(images.float()))
    expect_refused(probe, "int64", "uint8", lambda: probe.ask(images.long()))


def other_prompts_are_refused(probe: Probe) -> None:
    images, prompts = probe.images, probe.prompts
    expect_refused(probe, "one prompt short", "one prompt for each", lambda: probe.ask(None, prompts[1:]))
    text = "x" * len(images)
    expect_refused(probe, "one text", "list of texts", lambda: checked_score(probe.reward, images, text))


def a_broken_answer_is_an_error(probe: Probe) -> None:
    """What the model behind the reward may do one day: the door turns it into an error, never into a score."""
    expect_spoiled_refused(probe, "nan", lambda s: s.index_fill(0, torch.tensor([1]), math.nan))
    expect_spoiled_refused(probe, "inf", lambda s: s.index_fill(0, torch.tensor([1]), math.inf))
    expect_spoiled_refused(probe, "one score short", lambda s: s[1:])
    expect_spoiled_refused(probe, "a column", lambda s: s[:, None])
    expect_spoiled_refused(probe, "one number for all", lambda s: s.mean())


def closes_twice(factory: Factory, device: str, images: Tensor, prompts: Sequence[str]) -> None:
    reward = factory()
    reward.setup(device)
    checked_score(reward, images, prompts)
    reward.close()
    reward.close()


def closes_without_setup(factory: Factory, device: str, images: Tensor, prompts: Sequence[str]) -> None:
    """What an actor does whose start-up failed half-way."""
    factory().close()


def two_of_them_agree(factory: Factory, device: str, images: Tensor, prompts: Sequence[str]) -> None:
    """The same bits from two actors, or a run would depend on which of them was asked."""
    scores = []
    for _ in range(2):
        reward = factory()
        reward.setup(device)
        scores.append(checked_score(reward, images, prompts))
        reward.close()
    expect(torch.equal(*scores), f"two instances: {scores[0].tolist()} and {scores[1].tolist()}")


CHECKS: tuple[Check, ...] = (
    info_is_filled_in,
    answers_floats,
    stays_in_range,
    tells_images_apart,
    repeats_its_bits,
    alone_as_together,
    order_does_not_matter,
    neighbours_do_not_matter,
    prompts_go_with_their_images,
    prompts_may_be_any_text,
    input_is_untouched,
    memory_layout_does_not_matter,
    random_state_is_untouched,
    empty_batch,
    one_pixel,
    other_images_are_refused,
    other_prompts_are_refused,
    a_broken_answer_is_an_error,
)
LIFECYCLE: tuple[LifecycleCheck, ...] = (closes_twice, closes_without_setup, two_of_them_agree)


def _refused(probe: Probe, prompt: str) -> bool:
    try:
        probe.ask(probe.images[-1:], [prompt])
    except RewardError as error:
        expect(probe.reward.info.name in str(error), f"the error for {prompt!r:.20} lacks the reward's name: {error}")
        return True
    return False


def _failure(name: str, call: Callable[..., None], *arguments: object) -> list[Exception]:
    try:
        call(*arguments)
    except Exception as error:
        error.add_note(f"check: {name}")
        return [error]
    return []
