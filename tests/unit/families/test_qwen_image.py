"""What is Qwen-Image's own: the length of guided tokens, texts of different lengths, the last share of the noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.dimensions import check_denoiser
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.kernels import FlowSDE
from diffusion.pipelines.packing import pack, padded
from diffusion.pipelines.qwen_image import QwenImage
from diffusion.prompt_cuts import _tokenizer
from diffusion.source import Source
from tests.support import tiny

FAMILY = FAMILIES["QwenImagePipeline"]
VAE: dict[str, Any] = {
    "z_dim": 16, "temperal_downsample": [False, True, True], "latents_mean": [0.0] * 16, "latents_std": [1.0] * 16,
}  # fmt: skip
TRANSFORMER = {"in_channels": 64, "out_channels": 16, "patch_size": 2, "guidance_embeds": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> QwenImage:
    folder = tiny.save_model("qwen", tmp_path_factory.mktemp("qwen"))
    loaded = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(loaded, QwenImage)
    return loaded


def test_a_guided_token_is_as_long_as_the_token_of_the_prompt(model: QwenImage) -> None:
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    guided, alone = (
        model._predict(x, 500.0, model.encode("a fox", Sampling(5, scale, negative_prompt="blurry")))
        for scale in (6.0, 1.0)
    )
    assert not torch.allclose(guided, alone, rtol=0.01)
    torch.testing.assert_close(pack(guided).norm(dim=-1), pack(alone).norm(dim=-1))


def test_the_pass_of_a_prompt_does_not_depend_on_the_length_of_the_negative_prompt(model: QwenImage) -> None:
    x = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(2))
    predictions = []
    for negative in ("", "blurry and dark and out of focus"):
        text = model.encode("a fox", Sampling(5, 1.0, negative_prompt=negative))
        assert text.pooled is not None
        predictions.append(model._predict(x, 500.0, text))
    torch.testing.assert_close(*predictions)


class OnTheHost:
    """A table that is copied to the device of a pass, as on a GPU."""

    def __init__(self, table: torch.Tensor) -> None:
        self._table = table

    def to(self, device: torch.device) -> torch.Tensor:
        return self._table.clone()


def test_a_gradient_follows_a_pass_that_copied_the_table_of_places(tmp_path: Path) -> None:
    loaded = load_model(Source(str(tiny.save_model("qwen", tmp_path))), Loading(), "cpu")
    assert isinstance(loaded, QwenImage)
    places = loaded._denoiser.pos_embed
    places.pos_freqs, places.neg_freqs = OnTheHost(places.pos_freqs), OnTheHost(places.neg_freqs)
    text, x = loaded.encode("a fox", Sampling(5, 3.0)), torch.randn(1, *loaded.latent_shape)
    assert not loaded.reverse_step(x, 0, text).mean.requires_grad
    assert loaded.look_ahead_gradient(x, 1, text, lambda x0, _: (x0**2).sum()).norm() > 0


def test_texts_are_padded_at_the_end_with_zeros_that_the_mask_leaves_out() -> None:
    embeds, mask = padded([torch.ones(1, 2), 2 * torch.ones(3, 2)])
    assert embeds.tolist() == [[[1, 1], [0, 0], [0, 0]], [[2, 2], [2, 2], [2, 2]]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_the_shares_are_shifted_and_stretched_to_their_last_value() -> None:
    """s -> e^mu / (e^mu + 1/s - 1), then 1 - s is divided by that of the last share, times 1 - 0.02."""
    config = {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "base_shift": 0.5,
        "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192, "shift_terminal": 0.02,
    }  # fmt: skip
    mu = 0.5 + 0.4 * (4096 - 256) / (8192 - 256)
    shifted = np.exp(mu) / (np.exp(mu) + 1 / np.linspace(1, 1 / 50, 50) - 1)
    expected = 1 - (1 - shifted) / (1 - shifted[-1]) * 0.98
    flow = FlowSDE.from_scheduler(config, 50, 0.7, 4096, even=True)
    np.testing.assert_allclose(flow.sigmas, [*expected, 0.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "vae", "message"),
    [
        ({"guidance_embeds": True}, {}, "distilled for guidance"),
        ({"in_channels": 128}, {}, "takes 128 channels"),
        ({"out_channels": 32}, {}, "predicts 128 channels"),
        ({}, {"latents_mean": [0.0] * 4}, "latents_mean"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], vae: dict[str, Any], message: str) -> None:
    check_denoiser("qwen", FAMILY, TRANSFORMER, VAE)
    with pytest.raises(ModelError, match=message):
        check_denoiser("qwen", FAMILY, TRANSFORMER | changes, VAE | vae)


def test_a_tokenizer_of_two_files_is_that_of_transformers(tmp_path: Path) -> None:
    """Qwen-Image's own folder has no tokenizer.json."""
    letters = [*"abcdefghijklmnopqrstuvwxyzĠ0123456789'.", "Ċ", "Ã", "©", "th", "Ġth", "'s"]
    merges = [("t", "h"), ("Ġ", "th"), ("'", "s")]
    own = type(tiny.qwen_tokenizer())(vocab={letter: i for i, letter in enumerate(letters)}, merges=merges)
    (tmp_path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
    texts = ["the fox's 12 owls", "a\n\nthird  café... it's", "", "  th", "'s'th"]
    ours = _tokenizer(tmp_path)
    assert [ours.encode(text).ids for text in texts] == own(texts)["input_ids"]
