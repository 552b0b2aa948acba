"""What is Z-Image's own: its scale of guidance, the chat around a prompt, and texts of different lengths."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.whole import check_whole
from diffusion.errors import ModelError
from diffusion.pipelines.z_image import ZImage
from diffusion.source import Source, model_revision
from tests.support import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model("zimage", tmp_path_factory.mktemp("zimage"))


def load(folder: Path) -> ZImage:
    model = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(model, ZImage)
    return model


def test_the_scale_1_is_the_scale_0_of_the_turbo_model(folder: Path) -> None:
    """The published call of Z-Image-Turbo: nine steps, the scale 0."""
    model, pipe = load(folder), tiny.pipeline("zimage", folder)
    sampling = Sampling(9, 1.0, noise_level=0.0)
    text, x = model.encode("a fox", sampling), torch.randn(1, *model.latent_shape)
    options = {"height": 16, "width": 16, "output_type": "latent"}
    own = pipe("a fox", latents=x.clone(), num_inference_steps=9, guidance_scale=0.0, **options).images
    for step in range(9):
        x, _ = model.reverse_step(x, step, text)
    np.testing.assert_allclose(x, own, rtol=1e-4, atol=2e-4 * float(own.abs().max()))


def test_all_steps_of_few_have_noise(folder: Path) -> None:
    kernel = load(folder)._kernel(Sampling(4, 1.0))
    assert all(kernel.sigma(step) > 0.05 for step in range(4)) and kernel.look_ahead_timestep(3) is None


def test_a_pass_of_both_prompts_is_that_of_each_alone(folder: Path) -> None:
    """Their lengths, 35 and 8 tokens, fill two and one times the 32 places of which a sequence has a multiple."""
    model = load(folder)
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(3))
    both = model.encode("a red fox in the snow at night", Sampling(5, 0.0, negative_prompt=""))
    alone = model.encode("", Sampling(5, 1.0))
    assert both.pooled is not None and both.pooled.sum(1).tolist() == [8.0, 35.0]
    torch.testing.assert_close(model._predict(x, 400.0, both), model._predict(x, 400.0, alone))


def test_a_tokenizer_without_a_chat_is_refused_and_the_chat_is_part_of_the_revision(
    folder: Path, tmp_path: Path
) -> None:
    before = shutil.copytree(folder, tmp_path / "model")
    name = model_revision(Source(str(before)))
    for path in (before / "tokenizer").iterdir():
        if path.suffix == ".jinja":
            path.write_text("{{ messages[0].content }}")
        elif path.name == "tokenizer_config.json":
            config = json.loads(path.read_text())
            assert "chat_template" not in config
    assert model_revision(Source(str(before))) != name
    (before / "tokenizer" / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat_template"):
        check_whole(before)
