"""Images of other sizes than a model's own, against its own pipeline and against float64 NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.image_size import ImageSizes, image_sizes
from diffusion.checks.schedulers import check_scheduler
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.kernels import FlowSDE
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from tests.support import reference, tiny

STEPS, SCALE, PROMPT = 4, 5.0, "a red fox"
# Four blocks make images 8 times as wide as latents, as those of real models are.
WIDE_VAE: dict[str, Any] = {
    "block_out_channels": (16,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
DYNAMIC = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 16,
           "max_image_seq_len": 200, "shift": 1.0}  # fmt: skip
Folders = Callable[..., Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    saved: dict[str, Path] = {}

    def folder(family: str, scheduler: dict[str, Any] | None = None, **vae: Any) -> Path:
        name = repr((family, scheduler, vae))
        if name not in saved:
            saved[name] = tiny.save_model(family, tmp_path_factory.mktemp(family), scheduler, **vae)
        return saved[name]

    return folder


def load(folder: Path) -> LatentDiffusion:
    model = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


@pytest.mark.parametrize(
    ("family", "scheduler", "vae", "height", "width"),
    [
        ("sd", None, {}, 16, 24),
        ("sd", None, {}, 24, None),
        # Latents of 9 x 13: the UNet halves 13 to 7 and has to come back to 13.
        ("sd", None, WIDE_VAE, 72, 104),
        ("sdxl", None, {}, 16, 24),
        ("sdxl", None, {}, 40, 8),
        ("sd3", None, {}, 16, 24),
        ("sd3", None, {}, None, 32),
        ("sd3", DYNAMIC, {}, 16, 24),
        ("sd3", DYNAMIC, {}, None, None),
        ("sd3", DYNAMIC | {"time_shift_type": "linear"}, {}, 32, 24),
    ],
)
def test_all_steps_together_equal_the_pipelines_own_call(
    folders: Folders, family: str, scheduler: Any, vae: dict[str, Any], height: int | None, width: int | None
) -> None:
    """Both start from the same x_T and have no noise. The pipeline gets its time ids and its shift from the size."""
    folder = folders(family, scheduler, **vae)
    model, pipe = load(folder), tiny.pipeline(family, folder)
    sampling = Sampling(STEPS, SCALE, eta=0.0, noise_level=0.0, height=height, width=width)
    shape, own = model.latent_shape_of(sampling), model.latent_shape[1] * pipe.vae_scale_factor
    assert shape[1:] == ((height or own) // pipe.vae_scale_factor, (width or own) // pipe.vae_scale_factor)
    x = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))
    latents, images = (
        pipe(
            PROMPT, latents=x.clone(), num_inference_steps=STEPS, guidance_scale=SCALE, output_type=kind,
            height=height, width=width, **({} if family == "sd3" else {"eta": 0.0}),
        ).images
        for kind in ("latent", "pil")
    )  # fmt: skip
    conditioning = model.encode(PROMPT, sampling)
    for i in range(STEPS):
        x, _ = model.reverse_step(x, i, conditioning)
    np.testing.assert_allclose(x, latents, rtol=1e-4, atol=2e-4 * float(latents.abs().max()))
    image = np.array(images[0]).transpose(2, 0, 1)
    assert image.shape == (3, height or own, width or own)
    assert np.abs(model.decode(x)[0].numpy().astype(int) - image).max() <= 1


def test_the_time_ids_of_sdxl_are_the_size_of_the_image(folders: Folders) -> None:
    """The same latents with the time ids of another size give another prediction, so the comparison above sees them."""
    model = load(folders("sdxl"))
    x = torch.zeros(2, 4, 8, 12)
    assert model._time_ids(x).tolist() == [[16, 24, 0, 0, 16, 24]] * 2  # type: ignore[attr-defined]
    conditioning = model.encode(PROMPT, Sampling(STEPS, SCALE, height=16, width=24))
    expected = model.reverse_step(x, 0, conditioning).mean
    model._time_ids = lambda x: x.new_tensor([16, 16, 0, 0, 16, 16]).expand(len(x), 6)  # type: ignore[attr-defined]
    assert not torch.allclose(model.reverse_step(x, 0, conditioning).mean, expected, rtol=1e-4)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_models_own_size_by_name_gives_the_bits_of_no_size(folders: Folders, family: str) -> None:
    model = load(folders(family))
    unset, named = Sampling(STEPS, SCALE), Sampling(STEPS, SCALE, height=16, width=16)
    assert model.latent_shape_of(named) == model.latent_shape_of(unset) == model.latent_shape
    x = torch.randn((2, *model.latent_shape), generator=torch.Generator().manual_seed(2))
    one, other = (model.reverse_step(x, 1, model.encode(PROMPT, sampling)) for sampling in (unset, named))
    assert torch.equal(one.mean, other.mean) and one.sigma == other.sigma


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize(("tokens", "steps"), [(16, 4), (96, 10), (200, 28), (500, 50)])
def test_dynamic_shifting_equals_its_equations(tokens: int, steps: int, kind: str) -> None:
    """mu is the line of the configuration at the number of tokens; the noise shares follow from it in float64."""
    config = DYNAMIC | {"_class_name": "FlowMatchEulerDiscreteScheduler", "time_shift_type": kind}
    flow = FlowSDE.from_scheduler(config, steps, 0.7, tokens)
    mu = np.interp(tokens, [16, 200], [0.5, 1.15]) if tokens <= 200 else 1.15 + (tokens - 200) * 0.65 / 184
    plain = np.linspace(1, 1 / 1000, steps)
    size = np.exp(mu) if kind == "exponential" else mu
    expected = np.append(size / (size + 1 / plain - 1), 0.0)
    np.testing.assert_allclose(flow.sigmas, expected, rtol=1e-5)
    x, v = (torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for i in range(steps):
        step = reference.flow_sde(x.double().numpy(), v.double().numpy(), np.array(flow.sigmas), i, 0.7)
        np.testing.assert_allclose(flow.mean(x, v, i), step.mean, rtol=1e-5, atol=1e-5 * np.abs(step.mean).max())
        assert flow.sigma(i) == pytest.approx(step.sigma, rel=1e-5)


def test_larger_images_start_their_steps_with_more_noise() -> None:
    small, large = (FlowSDE.from_scheduler(DYNAMIC, 8, 0.7, tokens).sigmas[1:-1] for tokens in (64, 256))
    assert all(a < b for a, b in zip(small, large, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_shift_type": "cubic"}, "exponential or linear"),
        ({"base_shift": "much"}, "a positive number"),
        ({"max_shift": None}, "a positive number"),
        ({"base_image_seq_len": 0}, "whole number"),
        ({"base_image_seq_len": 200}, "not below its max_image_seq_len"),
        ({"use_dynamic_shifting": "yes"}, "true or false"),
    ],
)
def test_wrong_values_of_dynamic_shifting_are_refused(changes: dict[str, Any], message: str) -> None:
    config = {**FlowMatchEulerDiscreteScheduler(**DYNAMIC).config, "_class_name": "FlowMatchEulerDiscreteScheduler"}
    check_scheduler("m", "StableDiffusion3Pipeline", config, STEPS)
    with pytest.raises(ModelError, match=message):
        check_scheduler("m", "StableDiffusion3Pipeline", config | changes, STEPS)


# Numbers of the published configurations: sample_size, patch_size, pos_embed_max_size -> own, multiple, longest side.
@pytest.mark.parametrize(
    ("pipeline", "denoiser", "expected"),
    [
        ("StableDiffusionPipeline", {"sample_size": 64}, ImageSizes((512, 512), 8, 8192)),
        ("StableDiffusionPipeline", {"sample_size": [64, 96]}, ImageSizes((512, 768), 8, 8192)),
        ("StableDiffusionXLPipeline", {"sample_size": 128}, ImageSizes((1024, 1024), 8, 8192)),
        ("StableDiffusion3Pipeline", {"sample_size": 128, "patch_size": 2, "pos_embed_max_size": 192},
         ImageSizes((1024, 1024), 16, 3072)),
        ("StableDiffusion3Pipeline", {"sample_size": 128, "patch_size": 2, "pos_embed_max_size": 384},
         ImageSizes((1024, 1024), 16, 6144)),
        ("StableDiffusion3Pipeline", {"sample_size": 128}, ImageSizes((1024, 1024), 16, 1536)),
        ("FluxPipeline", {"patch_size": 1, "in_channels": 64}, ImageSizes((1024, 1024), 16, 8192)),
    ],
)  # fmt: skip
def test_sizes_of_the_published_layouts(pipeline: str, denoiser: dict[str, Any], expected: ImageSizes) -> None:
    assert image_sizes(FAMILIES[pipeline], denoiser, {"block_out_channels": [128, 256, 512, 512]}) == expected


def test_a_side_that_does_not_divide_is_refused_with_the_nearest_that_does() -> None:
    sizes = ImageSizes((1024, 1024), 16, 3072)
    assert sizes.chosen(512, 768) == (512, 768) and sizes.chosen(None, 768) == (1024, 768)
    allowed = range(16, 3073, 16)
    for side in (1, 15, 17, 24, 503, 504, 505, 3073, 3080, 8192):
        nearest = max(allowed, key=lambda other: (-abs(other - side), other))
        for key, arguments in (("height", (side, None)), ("width", (512, side))):
            with pytest.raises(ModelError, match=f"fix: set model.{key}={nearest}$") as refused:
                sizes.chosen(*arguments)
            assert refused.value.key == f"model.{key}"
    assert sizes.tokens((512, 768)) == 32 * 48


@pytest.mark.parametrize("changes", [{"patch_size": 0}, {"patch_size": "2"}, {"pos_embed_max_size": [96]}])
def test_a_transformer_without_a_size_of_its_patches_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="a whole number"):
        image_sizes(FAMILIES["StableDiffusion3Pipeline"], {"sample_size": 128} | changes, {})
