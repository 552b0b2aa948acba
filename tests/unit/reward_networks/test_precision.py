"""`rewards.precision`: networks compute in fewer bits, what is no network stays exact, and nothing is left behind."""

import numpy as np
import pytest
import torch

from actors.workers import RewardWorker
from configs.errors import RequestError
from configs.load import load_config
from rewards import registry
from rewards.networks.precision import Precision, computing_in
from tests.support.runs import DEMO


def scores(name: str, precision: Precision, images: np.ndarray) -> np.ndarray:
    reward = registry.create(name)
    reward.setup("cpu")
    return RewardWorker({name: reward}, precision).score(name, images, "a photo of a snail", 8)[0]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)
    return smooth.repeat(8, 2).repeat(8, 3)


def test_bfloat16_changes_a_networks_scores_in_the_third_digit(images: np.ndarray) -> None:
    exact, half = (scores("mini_clip", precision, images) for precision in ("float32", "bfloat16"))
    assert not np.array_equal(exact, half)
    np.testing.assert_allclose(half, exact, atol=0.02)


@pytest.mark.parametrize("name", ["colorfulness", "compressibility", "sharpness", "brightness"])
def test_what_is_no_network_is_exact(name: str, images: np.ndarray) -> None:
    assert np.array_equal(scores(name, "bfloat16", images), scores(name, "float32", images))


def test_tf32_is_all_bits_on_a_cpu(images: np.ndarray) -> None:
    assert np.array_equal(scores("mini_clip", "tf32", images), scores("mini_clip", "float32", images))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_the_flags_are_set_inside_and_as_before_after_it(precision: Precision) -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(KeyError), computing_in(precision, "cpu"):
        assert torch.backends.cuda.matmul.allow_tf32 == (before if precision == "bfloat16" else precision == "tf32")
        assert torch.is_autocast_enabled("cpu") == (precision == "bfloat16")
        raise KeyError
    assert torch.backends.cuda.matmul.allow_tf32 == before and not torch.is_autocast_enabled("cpu")


def test_the_default_is_not_recorded_and_another_word_is_refused() -> None:
    assert "precision" not in load_config(DEMO, []).model_dump(mode="json")["rewards"]
    config = load_config(DEMO, ["rewards.precision=tf32"])
    assert config.model_dump(mode="json")["rewards"]["precision"] == "tf32"
    with pytest.raises(RequestError, match="float32 or tf32 or bfloat16"):
        load_config(DEMO, ["rewards.precision=float16"])
