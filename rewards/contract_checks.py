"""The checks of the contract of rewards, one function each. A check returns nothing, and raises if it fails.

Checks of a `Case` query a reward that is set up. Checks of the life cycle make their own rewards with a factory.
"""

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rewards.base import Reward, RewardInfo, checked_score
from rewards.contract_case import Case, expect, expect_refused, expect_result_refused
from rewards.errors import RewardError

ODD_PROMPTS = ("", " ", "/dev/null", "..\\..\\a.png", "one\ntwo\r\n", "\"quoted\" 'too'", "🦉 été", "owl " * 1250)

Factory = Callable[[], Reward]
Check = Callable[[Case], None]
LifecycleCheck = Callable[[Factory, str, Tensor, Sequence[str]], None]


def info_is_filled_in(case: Case) -> None:
    info = case.reward.info
    expect(isinstance(info, RewardInfo), f"info is a {type(info).__name__}, not a RewardInfo")
    expect(bool(re.fullmatch(r"[a-z0-9_.-]+", info.name)), f"name {info.name!r} has other characters than [a-z0-9_.-]")
    expect(bool(info.description.strip() and info.source.strip()), "description or source is empty")
    low, high = info.range
    expect(low < high, f"range is {info.range}; its first value must be below its second")
    for flag in ("reads_prompt", "differentiable", "batch_sensitive", "any_prompt"):
        expect(isinstance(getattr(info, flag), bool), f"{flag} is {getattr(info, flag)!r}, not a bool")


def returns_floats(case: Case) -> None:
    """`score` itself returns float32, one score for each image, finite, without a gradient, on the CPU."""
    scores = case.reward.score(case.images, list(case.prompts))
    expect(isinstance(scores, Tensor), f"score returned a {type(scores).__name__}, not a tensor")
    shape, n = tuple(scores.shape), len(case.images)
    expect(shape == (n,), f"score returned shape {shape} for {n} images")
    expect(scores.dtype == torch.float32, f"score returned {scores.dtype}, not float32")
    expect(scores.device.type == "cpu", f"score returned a tensor on {scores.device}, not on the CPU")
    expect(not scores.requires_grad, "the scores require a gradient")
    expect(bool(torch.isfinite(scores).all()), f"score returned {scores.tolist()}")


def stays_in_range(case: Case) -> None:
    low, high = case.reward.info.range
    scores = case.scores()
    expect(bool(((low <= scores) & (scores <= high)).all()), f"scores {scores.tolist()} are not within [{low}, {high}]")


def tells_images_apart(case: Case) -> None:
    expect(len(set(case.scores().tolist())) > 1, "all images score the same")


def repeats_its_bits(case: Case) -> None:
    first, second = case.scores(), case.scores()
    expect(torch.equal(first, second), f"two equal queries gave {first.tolist()} and {second.tolist()}")


def batch_does_not_matter(case: Case) -> None:
    pairs = zip(torch.split(case.images, 1), case.prompts, strict=True)
    alone = torch.cat([case.scores(image, [prompt]) for image, prompt in pairs])
    case.expect_same(alone, case.scores(), "each image alone and all in one batch")


def order_does_not_matter(case: Case) -> None:
    backwards = list(reversed(range(len(case.images))))
    scores = case.scores(case.images[backwards], [case.prompts[i] for i in backwards])
    case.expect_same(scores, case.scores()[backwards], "images and prompts in reverse")


def neighbours_do_not_matter(case: Case) -> None:
    """At one batch size the first image has the same bits whatever images follow it. Padding relies on this."""
    n = len(case.images)
    padded = case.scores(case.images[:1].expand(n, -1, -1, -1), [case.prompts[0]] * n)
    first, expected = padded[0].item(), case.scores()[0].item()
    expect(first == expected, f"an image scores {expected} among others and {first} among copies of itself")


def prompts_go_with_their_images(case: Case) -> None:
    """With one image and all prompts, scores move with the prompts, or are all the same if no prompt is read."""
    n, backwards = len(case.prompts), list(reversed(range(len(case.prompts))))
    same_image = case.images[-1:].expand(n, -1, -1, -1)
    scores = case.scores(same_image)
    reverse = case.scores(same_image, [case.prompts[i] for i in backwards])
    case.expect_same(reverse, scores[backwards], "prompts in reverse")
    if case.reward.info.reads_prompt:
        expect(len(set(scores.tolist())) > 1, "reads_prompt is declared, but all prompts score the same")
    else:
        case.expect_same(scores, scores[:1].expand(n), "reads_prompt is not declared, but prompts matter")


def prompts_may_be_any_text(case: Case) -> None:
    """Paths, line ends, quotes, emoji, an empty text and 5,000 characters are prompts like any other.

    A reward that does not declare `any_prompt` may refuse them, by a RewardError that names the reward.
    """
    odd = ODD_PROMPTS if case.reward.info.any_prompt else [p for p in ODD_PROMPTS if not _is_refused(case, p)]
    image = case.images[-1:].expand(len(odd), -1, -1, -1)
    case.expect_same(case.scores(image, odd), case.scores(image, odd), "odd prompts, twice")


def input_is_untouched(case: Case) -> None:
    images, prompts = case.images.clone(), list(case.prompts)
    case.reward.score(images, prompts)
    expect(torch.equal(images, case.images), "score wrote to the images")
    expect(prompts == list(case.prompts), "score wrote to the prompts")


def memory_layout_does_not_matter(case: Case) -> None:
    images = case.images.contiguous(memory_format=torch.channels_last)
    case.expect_same(case.scores(images), case.scores(), "channels last in memory")


def random_state_is_untouched(case: Case) -> None:
    with torch.random.fork_rng(devices=[]):
        # A reward that seeds in each call has left the generator in one state; move it to another.
        torch.rand(1)
        before = torch.get_rng_state()
        case.scores()
        expect(torch.equal(before, torch.get_rng_state()), "score drew from the global generator, or seeded it")


def empty_batch(case: Case) -> None:
    scores = case.scores(case.images[:0], [])
    expect(scores.shape == (0,) and scores.dtype == torch.float32, f"no images gave {scores!r}")


def one_pixel(case: Case) -> None:
    low, high = case.reward.info.range
    value = case.scores(case.images[-1:, :, 20:21, 28:29], case.prompts[:1]).item()
    expect(low <= value <= high, f"an image of one pixel scores {value}, outside [{low}, {high}]")


def other_images_are_refused(case: Case) -> None:
    images = case.images
    alpha = torch.cat([images, images[:, :1]], dim=1)
    expect_refused("grey", case, "repeat", lambda: case.scores(images[:, :1]))
    expect_refused("alpha", case, "background", lambda: case.scores(alpha))
    expect_refused("channels last", case, "(n, 3, height, width)", lambda: case.scores(images.movedim(1, -1)))
    expect_refused("no batch axis", case, "(n, 3, height, width)", lambda: case.scores(images[0]))
    expect_refused("no pixels", case, "at least one", lambda: case.scores(images[..., :0]))
    expect_refused("float32", case, "uint8", lambda: case.scores(images.float()))
    expect_refused("int64", case, "uint8", lambda: case.scores(images.long()))


def other_prompts_are_refused(case: Case) -> None:
    images, prompts = case.images, case.prompts
    expect_refused("one prompt short", case, "one prompt for each", lambda: case.scores(None, prompts[1:]))
    text = "x" * len(images)
    expect_refused("one text", case, "list of texts", lambda: checked_score(case.reward, images, text))


def a_broken_result_is_an_error(case: Case) -> None:
    """A wrong result, which the model behind a reward may give one day, becomes an error and never a score."""
    expect_result_refused(case, "nan", lambda s: s.index_fill(0, torch.tensor([1]), math.nan))
    expect_result_refused(case, "inf", lambda s: s.index_fill(0, torch.tensor([1]), math.inf))
    expect_result_refused(case, "one score short", lambda s: s[1:])
    expect_result_refused(case, "a column", lambda s: s[:, None])
    expect_result_refused(case, "one number for all", lambda s: s.mean())


def closes_twice(factory: Factory, device: str, images: Tensor, prompts: Sequence[str]) -> None:
    reward = factory()
    reward.setup(device)
    checked_score(reward, images, prompts)
    reward.close()
    reward.close()


def closes_without_setup(factory: Factory, device: str, images: Tensor, prompts: Sequence[str]) -> None:
    """An actor whose start failed half-way closes its rewards too."""
    factory().close()


def two_of_them_agree(factory: Factory, device: str, images: Tensor, prompts: Sequence[str]) -> None:
    """Two instances give the same bits, so a run does not depend on which actor scores an image."""
    scores = []
    for _ in range(2):
        reward = factory()
        reward.setup(device)
        scores.append(checked_score(reward, images, prompts))
        reward.close()
    expect(torch.equal(*scores), f"two instances gave {scores[0].tolist()} and {scores[1].tolist()}")


def _is_refused(case: Case, prompt: str) -> bool:
    try:
        case.scores(case.images[-1:], [prompt])
    except RewardError as error:
        expect(case.reward.info.name in str(error), f"the error for {prompt!r:.20} lacks the reward's name: {error}")
        return True
    return False
