"""One suite that every reward passes, and rewards that must not pass it."""

import io
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rewards import registry
from rewards.base import RewardError, RewardInfo, checked_score


@pytest.fixture(scope="module", params=registry.names())
def reward(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    made = registry.create(request.param)
    made.setup("cpu")
    yield made
    made.close()
    made.close()


def pictures(n: int, px: int = 64) -> Tensor:
    return torch.randint(0, 256, (n, 3, px, px), generator=torch.Generator().manual_seed(0)).byte()


PROMPTS = ["snail", "a red lobster", "", "🦊 " * 500, "octopus"]


def test_scores_are_finite_float32_within_the_declared_range(reward) -> None:  # type: ignore[no-untyped-def]
    scores = checked_score(reward, pictures(5), PROMPTS)
    assert scores.dtype == torch.float32 and scores.shape == (5,)
    low, high = reward.info.range
    assert (low <= scores).all() and (scores <= high).all()


def test_a_score_does_not_depend_on_the_batch(reward) -> None:  # type: ignore[no-untyped-def]
    images, order = pictures(5), [3, 1, 4, 0, 2]
    whole = checked_score(reward, images, PROMPTS)
    turned = checked_score(reward, images[order], [PROMPTS[i] for i in order])
    alone = torch.cat([checked_score(reward, images[i : i + 1], PROMPTS[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(turned, whole[order], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-5)
    if not reward.info.batch_sensitive:
        assert torch.equal(alone, whole)


def test_only_a_reward_that_says_so_reads_the_prompt(reward) -> None:  # type: ignore[no-untyped-def]
    images = pictures(5)
    same = torch.equal(checked_score(reward, images, PROMPTS), checked_score(reward, images, PROMPTS[::-1]))
    assert same != reward.info.reads_prompt


def test_the_input_is_not_written_to(reward) -> None:  # type: ignore[no-untyped-def]
    images = pictures(3)
    checked_score(reward, images, PROMPTS[:3])
    assert torch.equal(images, pictures(3))


def test_no_image_and_one_pixel(reward) -> None:  # type: ignore[no-untyped-def]
    assert checked_score(reward, pictures(0), []).shape == (0,)
    assert checked_score(reward, pictures(2, 1), PROMPTS[:2]).shape == (2,)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_alpha_are_refused_with_the_mend(reward, channels: int) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RewardError, match=r"grey image's channel|lay an image with alpha"):
        checked_score(reward, torch.zeros(2, channels, 8, 8, dtype=torch.uint8), ["a", "b"])


class Broken:
    info = RewardInfo("broken", "", "", (0, 1), False, False, False, "")

    def __init__(self, answer: Tensor) -> None:
        self.answer = answer

    def setup(self, device: str) -> None: ...

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.answer

    def close(self) -> None: ...


@pytest.mark.parametrize("answer", [torch.tensor([1.0, math.nan]), torch.tensor([math.inf, 0]), torch.zeros(2, 1)])
def test_a_wrong_answer_is_an_error_and_no_score(answer: Tensor) -> None:
    with pytest.raises(RewardError, match="broken"):
        checked_score(Broken(answer), pictures(2), ["a", "b"])


def test_jpeg_sizes_are_pillows() -> None:
    images = pictures(3)
    for name, sign in (("compressibility", -1), ("incompressibility", 1)):
        got = checked_score(registry.create(name), images, [""] * 3)
        for image, value in zip(images, got, strict=True):
            file = io.BytesIO()
            Image.fromarray(image.numpy().transpose(1, 2, 0)).save(file, format="JPEG", quality=95)
            assert value.item() == pytest.approx(sign * len(file.getvalue()) / 1000, rel=1e-6)


def test_colorfulness_is_hasler_and_suesstrunks() -> None:
    images = pictures(4)
    got = checked_score(registry.create("colorfulness"), images, [""] * 4)
    for image, value in zip(images.numpy().astype(np.float64), got, strict=True):
        rg, yb = image[0] - image[1], 0.5 * (image[0] + image[1]) - image[2]
        want = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
        assert value.item() == pytest.approx(want, rel=1e-6)
    assert checked_score(registry.create("colorfulness"), torch.full((1, 3, 4, 4), 90).byte(), [""]).item() == 0


def test_an_unknown_reward_names_the_nearest() -> None:
    with pytest.raises(registry.UnknownRewardError, match="did you mean 'colorfulness'"):
        registry.create("colourfulness")
