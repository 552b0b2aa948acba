"""ImageReward on a tiny random model in the layout of its file, against an independent version of the original."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rewards.base import Reward, checked_score
from rewards.errors import RewardError
from rewards.image_reward import BLIP_LARGE, ImageReward, _text, _vision
from rewards.networks.blip_layout import split_image_reward
from rewards.networks.linear_head import WIDTHS
from tests.support.pictures import SIZES, nchw, pictures
from tests.support.tiny_blip import SHAPE, Original, TinyBlip
from tests.support.tiny_clip import pinned

PROMPTS = ("an owl", "a fox, a bear!", "", "owl " * 60, "Bear and FOX?", "zebra 🦓")
# Size of the published file in bytes, from its LFS record.
PUBLISHED_SIZE = 1_786_880_927


@pytest.fixture(scope="module")
def ready(tiny_blip: TinyBlip) -> Reward:
    reward = tiny_blip.reward()
    reward.setup("cpu")
    return reward


def test_a_score_is_what_the_original_computes(ready: Reward, tiny_blip: TinyBlip) -> None:
    queries = [(picture, PROMPTS[i % len(PROMPTS)]) for i, picture in enumerate(pictures())]
    ours = [checked_score(ready, nchw([picture]), [prompt]).item() for picture, prompt in queries]
    expected = [tiny_blip.original(picture, prompt) for picture, prompt in queries]
    assert np.std(expected) > 0.1, "the tiny model does not tell these pictures apart"
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_the_pictures_are_cropped_as_torchvision_does(tiny_blip: TinyBlip, ready: Reward) -> None:
    """The number of pixels to crop is odd: torchvision keeps the 48 of 51 px from 2 on, transformers from 1 on."""
    assert len(SIZES) == 10
    picture = np.random.default_rng(1).integers(0, 256, (51, 48, 3), np.uint8)
    ours = checked_score(ready, nchw([picture]), ["an owl"]).item()
    assert ours == pytest.approx(tiny_blip.original(picture, "an owl"), rel=1e-4, abs=1e-4)


def test_one_image_and_seventeen_score_the_same(ready: Reward) -> None:
    batch = nchw(np.random.default_rng(3).integers(0, 256, (17, 50, 61, 3), np.uint8))
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(17)]
    alone = torch.cat([checked_score(ready, batch[i : i + 1], [prompts[i]]) for i in range(17)])
    torch.testing.assert_close(alone, checked_score(ready, batch, prompts), rtol=1e-5, atol=1e-5)


def test_every_tensor_of_the_published_shape_has_its_place() -> None:
    with torch.device("meta"):
        theirs = Original(BLIP_LARGE).state_dict()
        vision, text = _vision(BLIP_LARGE).state_dict(), _text(BLIP_LARGE).state_dict()
    # A real tensor instead of a meta tensor, because its values are checked.
    theirs["blip.text_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    parts = split_image_reward(theirs, "here")
    assert {k: v.shape for k, v in parts.vision.items()} == {k: v.shape for k, v in vision.items()}
    assert {k: v.shape for k, v in parts.text.items()} == {k: v.shape for k, v in text.items()}
    assert len(parts.head) == 2 * (len(WIDTHS) - 1)
    # The published file has room for these tensors in float32 and for their names, and for nothing else.
    size = sum(v.numel() * v.element_size() for v in theirs.values())
    assert 0 < PUBLISHED_SIZE - size < 1_000_000


def test_every_norm_has_the_epsilon_of_the_original() -> None:
    """A wrong epsilon is too small to show in a score, and the file does not hold it."""
    with torch.device("meta"):
        theirs, vision, text = Original(BLIP_LARGE), _vision(BLIP_LARGE), _text(BLIP_LARGE)

    def epsilons(module: nn.Module) -> list[float]:
        return [part.eps for part in module.modules() if isinstance(part, nn.LayerNorm)]

    assert sorted(epsilons(vision) + epsilons(text)) == sorted(epsilons(theirs))
    assert set(epsilons(vision)) == {1e-6} and set(epsilons(text)) == {1e-12}


def test_unknown_and_missing_tensors_are_refused_by_name(tiny_blip: TinyBlip) -> None:
    state = Original(SHAPE).state_dict()
    with pytest.raises(RewardError, match=r"blip\.visual_encoder\.blocks\.0\.norm3\.weight, clip\.x"):
        unknown = {"clip.x": torch.zeros(1), "blip.visual_encoder.blocks.0.norm3.weight": torch.zeros(1)}
        split_image_reward(state | unknown, "here")
    del state["blip.text_encoder.encoder.layer.1.crossattention.self.key.bias"]
    (tiny_blip.folder / "tiny" / "gap").mkdir()
    torch.save(state, tiny_blip.folder / "tiny" / "gap" / "ImageReward.pt")
    vocabulary = pinned(tiny_blip.folder, "tiny/blip", "vocab.txt")
    gap = ImageReward(SHAPE, pinned(tiny_blip.folder, "tiny/gap", "ImageReward.pt"), vocabulary)
    with pytest.raises(RewardError, match=r"encoder\.layer\.1\.crossattention\.self\.key\.bias"):
        gap.setup("cpu")
    wrong = ImageReward(SHAPE, replace(pinned(tiny_blip.folder, "tiny/blip", "ImageReward.pt"), sha256="0" * 64))
    with pytest.raises(RewardError, match="SHA-256 is"):
        wrong.setup("cpu")


def test_a_prompt_is_tokenised_once(tiny_blip: TinyBlip) -> None:
    reward = tiny_blip.reward()
    reward.setup("cpu")
    image = torch.zeros(1, 3, 48, 48, dtype=torch.uint8)
    for _ in range(3):
        checked_score(reward, image.expand(4, -1, -1, -1), ["an owl", "a fox", "an owl", "a fox"])
    assert reward._tokens.cache_info().misses == 2


def test_a_reward_that_is_not_set_up_says_so() -> None:
    with pytest.raises(RewardError, match=r"call setup\(\) first"):
        checked_score(ImageReward(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), [""])
