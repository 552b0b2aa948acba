"""A tiny random model of each family against float64 NumPy and against its own diffusers pipeline."""

import inspect
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SanaPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from diffusion.base import Conditioning, Loading, Sampling, load_model
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from tests.support import reference, tiny
from tests.support.own_passes import own_guidance, own_pass

STEPS, SCALE = 5, 5.0
INSTRUCTION = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
SAMPLING = Sampling(STEPS, SCALE)
PROMPT = "a red fox"
LONG = "abc" * 30 + "q" * 600
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((family, {"prediction_type": prediction, "timestep_spacing": spacing})
      for family in ("sd", "sdxl") for prediction in ("epsilon", "v_prediction", "sample")
      for spacing in ("leading", "trailing", "linspace")),
    ("sd", {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}),
    ("sd3", {"shift": 3.0}),
    ("sd3", {"shift": 1.0}),
    ("sd3", {"use_dynamic_shifting": True, "base_image_seq_len": 16, "max_image_seq_len": 200, "max_shift": 1.2}),
    ("flux", {"max_shift": 1.2}),
    ("pixart", {"timestep_spacing": "leading", "prediction_type": "epsilon"}),
    ("pixart", {"timestep_spacing": "trailing", "prediction_type": "epsilon"}),
    ("flux", {"use_dynamic_shifting": False, "shift": 1.0}),
    ("sana", {"flow_shift": 3.0}),
    ("sana", {"shift": 7.0}),
    ("qwen", {"max_shift": 1.2}),
    ("qwen", {"use_dynamic_shifting": False, "shift": 3.0, "shift_terminal": None}),
    ("zimage", {"shift": 3.0}),
    ("zimage", {"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64}),
]  # fmt: skip
FAMILY_AND_SCHEDULER = pytest.mark.parametrize(
    ("family", "scheduler"), VARIANTS, ids=["-".join([f, *map(str, s.values())]) for f, s in VARIANTS]
)
EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
Folders = Callable[..., Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Saves each variant of a model once."""
    saved: dict[str, Path] = {}

    def folder(family: str, scheduler: dict[str, Any] | None = None, **vae: Any) -> Path:
        name = repr((family, scheduler, vae))
        if name not in saved:
            saved[name] = tiny.save_model(family, tmp_path_factory.mktemp(family), scheduler, **vae)
        return saved[name]

    return folder


def load(folder: Path, device: str = "cpu", **options: Any) -> LatentDiffusion:
    model = load_model(Source(str(folder)), Loading(**options), device)
    assert isinstance(model, LatentDiffusion)
    return model


def noise(model: LatentDiffusion, seed: int, n: int = 2) -> Tensor:
    return torch.randn(n, *model.latent_shape, generator=torch.Generator().manual_seed(seed))


def predicted(
    family: str, pipe: Any, x: Tensor, t: float, conditioning: Conditioning, scale: float = SCALE
) -> np.ndarray:
    """The guided prediction, with a call of the denoiser for each sample and each of the two prompts."""
    parts = []
    for row in range(1 if family == "flux" else 0, 2):
        embeds = conditioning.embeds[row : row + 1]
        pooled = None if conditioning.pooled is None else conditioning.pooled[row : row + 1]
        outputs = [own_pass(family, pipe, sample, t, embeds, pooled, scale) for sample in x.split(1)]
        parts.append(torch.cat(outputs).double())
    guided = own_guidance(family, pipe, parts[0], parts[-1], scale) if scale != 1 else parts[-1]
    return np.asarray(guided.numpy())


def set_timesteps(family: str, pipe: Any, tokens: int) -> None:
    """Set the timesteps of a pipeline's scheduler as its own call does."""
    config = pipe.scheduler.config
    even = family in (*tiny.PACKED, "zimage")
    if not even and not config.get("use_dynamic_shifting"):
        pipe.scheduler.set_timesteps(STEPS)
        return
    shift = calculate_shift(
        tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    shares = np.linspace(1.0, 1 / STEPS, STEPS) if even else None
    pipe.scheduler.set_timesteps(STEPS, sigmas=shares, mu=shift)


@dataclass(frozen=True)
class Equations:
    """A family's timesteps, reverse step and look-ahead in float64 NumPy, from the numbers of its scheduler."""

    family: str
    scheduler: Any
    config: dict[str, Any]

    @property
    def timesteps(self) -> list[float]:
        if self.family in tiny.FLOWS:
            return list(1000 * self.scheduler.sigmas[:-1].double().numpy())
        return [round(t) for t in reference.spaced_timesteps(self.config["timestep_spacing"], STEPS)]

    def reverse(self, x: Tensor, prediction: np.ndarray, step: int) -> reference.ReverseMoments:
        x_ = x.double().numpy()
        if self.family in tiny.FLOWS:
            return reference.flow_sde(x_, prediction, self.scheduler.sigmas.double().numpy(), step, 0.7)
        alphas = self.scheduler.alphas_cumprod.double().numpy()
        t = int(self.timesteps[step])
        a_p = float(self.scheduler.final_alpha_cumprod) if step == STEPS - 1 else alphas[int(self.timesteps[step + 1])]
        return reference.ddim(x_, prediction, alphas[t], a_p, 1.0, self.config["prediction_type"])

    def look_ahead(self, x: Tensor, predict: Callable[[float], np.ndarray], step: int) -> np.ndarray:
        x_ = x.double().numpy()
        if self.family in tiny.FLOWS:
            s = float(self.scheduler.sigmas[step + 1])
            return x_ - s * predict(1000 * s) if s else x_
        t = int([*self.timesteps, 0][step + 1])
        a_t = float(self.scheduler.alphas_cumprod[t])
        return reference.estimate(x_, predict(t), a_t, self.config["prediction_type"])[0]


def assert_near(ours: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@FAMILY_AND_SCHEDULER
def test_every_reverse_step_and_look_ahead_equals_the_equations(
    folders: Folders, family: str, scheduler: dict[str, Any]
) -> None:
    folder = folders(family, scheduler)
    model, pipe = load(folder), tiny.pipeline(family, folder)
    set_timesteps(family, pipe, 64 if family == "sd3" else 16)
    equations, conditioning = Equations(family, pipe.scheduler, scheduler), model.encode(PROMPT, SAMPLING)
    assert list(model.timesteps(SAMPLING)) == [round(t) for t in equations.timesteps]
    x = noise(model, 0)
    for i, t in enumerate(equations.timesteps):
        mean, sigma = model.reverse_step(x, i, conditioning)
        expected = equations.reverse(x, predicted(family, pipe, x, t, conditioning), i)
        assert mean.dtype == torch.float32
        assert_near(mean, expected.mean)
        assert sigma == pytest.approx(expected.sigma, rel=1e-5, abs=1e-9)
        x = mean + sigma * noise(model, i + 1)
        candidates = x

        def predict(later: float, candidates: Tensor = candidates) -> np.ndarray:
            return predicted(family, pipe, candidates, later, conditioning)

        assert_near(model.look_ahead(x, i, conditioning), equations.look_ahead(x, predict, i))


@pytest.mark.parametrize(
    ("family", "scheduler", "noisy"),
    # diffusers' DDIM steps by 1000 // T, which with `linspace` is not the next timestep.
    [(*variant, noisy) for variant in VARIANTS for noisy in (False, True)
     if variant[1].get("timestep_spacing") != "linspace" and (variant[0] not in tiny.FLOWS or not noisy)],
)  # fmt: skip
def test_all_steps_together_equal_the_pipelines_own_call(
    folders: Folders, family: str, scheduler: dict[str, Any], noisy: bool
) -> None:
    """Both start from the same x_T. The noise comes from the pipeline's generator; a flow has none."""
    folder = folders(family, scheduler)
    flow = family in tiny.FLOWS
    sampling = Sampling(STEPS, SCALE, noise_level=0.0) if flow else Sampling(STEPS, SCALE, float(noisy))
    model, pipe = load(folder), tiny.pipeline(family, folder)
    conditioning, x = model.encode(PROMPT, sampling), noise(model, 0, n=1)
    options = {} if flow else {"eta": float(noisy), "generator": torch.Generator().manual_seed(9)}
    # These pipelines take and give tokens, and know their own size only.
    given = x.clone() if family not in tiny.PACKED else pipe._pack_latents(x, 1, 4, 8, 8)
    options |= {"height": 16, "width": 16} if family in (*tiny.PACKED, "zimage") else {}
    # Z-Image's pipeline counts its scale from the prediction for the prompt.
    scale: dict[str, Any] = {"guidance_scale": SCALE - (family == "zimage")}
    if family == "qwen":
        scale = {"true_cfg_scale": SCALE, "negative_prompt": " "}
    # PixArt's pipeline also rounds sizes to those that it was trained at, and cleans captions of the web.
    options |= {"use_resolution_binning": False, "clean_caption": False} if family in ("pixart", "sana") else {}
    # Sana's takes multiples of 32, though the latents decide.
    options |= {"height": 32, "width": 32} if family == "sana" else {}
    own = {
        kind: pipe(
            PROMPT, latents=given.clone(), num_inference_steps=STEPS, output_type=kind,
            **options | scale | ({} if flow else {"generator": torch.Generator().manual_seed(9)}),
        ).images
        for kind in ("latent", "pil")
    }  # fmt: skip
    if family in tiny.PACKED:
        own["latent"] = pipe._unpack_latents(own["latent"], 16, 16, 2).reshape(x.shape)
    generator = torch.Generator().manual_seed(9)
    for i in range(STEPS):
        mean, sigma = model.reverse_step(x, i, conditioning)
        x = mean + sigma * torch.randn(mean.shape, generator=generator)
    np.testing.assert_allclose(x, own["latent"], rtol=1e-4, atol=2e-4 * float(own["latent"].abs().max()))
    image = np.array(own["pil"][0]).transpose(2, 0, 1)
    assert np.abs(model.decode(x)[0].numpy().astype(int) - image).max() <= 1


@EVERY_FAMILY
@pytest.mark.parametrize("negative", [None, "ugly", ""])
@pytest.mark.parametrize("prompt", [PROMPT, "", LONG])
def test_encode_equals_the_pipelines_own(folders: Folders, family: str, prompt: str, negative: str | None) -> None:
    model, pipe = load(folders(family)), tiny.pipeline(family, folders(family))
    more: dict[str, dict[str, Any]] = {
        "sd": {"num_images_per_prompt": 1, "do_classifier_free_guidance": True, "device": "cpu"},
        "sdxl": {},
        "sd3": {"prompt_2": None, "prompt_3": None},
    }
    if family in ("pixart", "sana"):
        options = {} if family == "pixart" else {"complex_human_instruction": INSTRUCTION}
        with torch.inference_mode():
            embeds, mask, empty, empty_mask = pipe.encode_prompt(prompt, negative_prompt=negative or "", **options)
        conditioning = model.encode(prompt, Sampling(STEPS, SCALE, negative_prompt=negative))
        assert torch.equal(conditioning.embeds, torch.cat([empty, embeds])) and conditioning.pooled is not None
        assert torch.equal(conditioning.pooled, torch.cat([empty_mask, mask]).float())
        return
    if family in ("qwen", "zimage"):
        texts = (negative or " " * (negative is None and family == "qwen"), prompt)
        options = {"max_sequence_length": 512} if family == "qwen" else {}
        with torch.inference_mode():
            rows = [pipe.encode_prompt(text, **options)[0][0] for text in texts]
        conditioning = model.encode(prompt, Sampling(STEPS, SCALE, negative_prompt=negative))
        assert conditioning.pooled is not None
        for row, embeds, mask in zip(rows, conditioning.embeds, conditioning.pooled, strict=True):
            assert torch.equal(embeds[: len(row)], row) and not embeds[len(row) :].any()
            assert mask.tolist() == [1.0] * len(row) + [0.0] * (len(mask) - len(row))
        return
    if family == "flux":
        with torch.inference_mode():
            embeds, pooled, _ = pipe.encode_prompt(prompt, prompt_2=None)
        conditioning = model.encode(prompt, Sampling(STEPS, SCALE, negative_prompt=negative))
        assert torch.equal(conditioning.embeds[1:], embeds) and not conditioning.embeds[0].any()
        assert conditioning.pooled is not None and torch.equal(conditioning.pooled[1:], pooled)
        return
    with torch.inference_mode():
        own = pipe.encode_prompt(prompt, negative_prompt=negative, **more[family])
    conditioning = model.encode(prompt, Sampling(STEPS, SCALE, negative_prompt=negative))
    assert torch.equal(conditioning.embeds, torch.cat([own[1], own[0]]))
    if family == "sd":
        assert conditioning.pooled is None
    else:
        assert conditioning.pooled is not None and torch.equal(conditioning.pooled, torch.cat([own[3], own[2]]))


def test_sdxl_has_zeros_without_a_negative_prompt_but_not_for_an_empty_one(folders: Folders) -> None:
    model = load(folders("sdxl"))
    assert not model.encode(PROMPT, SAMPLING).embeds[0].any()
    assert model.encode(PROMPT, Sampling(STEPS, SCALE, negative_prompt="")).embeds[0].any()


@pytest.mark.parametrize(
    ("family", "tokenizers", "cut"),
    [
        ("sd", "tokenizer cut", LONG[75:]),
        ("sdxl", "tokenizer, tokenizer_2 cut", LONG[75:]),
        ("sd3", "tokenizer, tokenizer_2, tokenizer_3 cut", LONG[75:]),
        ("flux", "tokenizer, tokenizer_2 cut", LONG[75:]),
        ("pixart", "tokenizer cut", LONG[299:]),
        ("sana", "tokenizer cut", LONG[298:]),
        ("qwen", "tokenizer cut", LONG[512:]),
        ("zimage", "tokenizer cut", LONG[509:]),
    ],
)
def test_a_cut_prompt_gives_one_warning_with_the_cut_text(
    folders: Folders, caplog: pytest.LogCaptureFixture, family: str, tokenizers: str, cut: str
) -> None:
    model = load(folders(family))
    with caplog.at_level(logging.WARNING):
        for prompt in (PROMPT, LONG, LONG, "a" * 75):
            model.encode(prompt, SAMPLING)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(tokenizers) and cut[:150] in warning


def test_t5_reads_a_prompt_that_clip_cuts(folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(folders("sd3")).encode("ab" * 60, SAMPLING)
    assert caplog.records[0].getMessage().startswith("tokenizer, tokenizer_2 cut")


@EVERY_FAMILY
def test_decode_equals_the_pipelines_own(folders: Folders, family: str) -> None:
    model, pipe = load(folders(family)), tiny.pipeline(family, folders(family))
    x0 = noise(model, 3, n=3)
    config = pipe.vae.config
    shift = config.get("shift_factor") or 0
    with torch.inference_mode():
        if family == "qwen":
            mean, std = (torch.tensor(part).view(4, 1, 1) for part in (config.latents_mean, config.latents_std))
            own = pipe.vae.decode((x0 * std + mean)[:, :, None]).sample[:, :, 0]
        else:
            own = pipe.vae.decode(x0 / config.scaling_factor + shift).sample
    images = np.stack([np.array(image) for image in pipe.image_processor.postprocess(own, output_type="pil")])
    decoded = model.decode(x0)
    assert decoded.dtype == torch.uint8 and decoded.shape == (3, 3, 16, 16)
    assert np.abs(decoded.numpy().transpose(0, 2, 3, 1).astype(int) - images).max() <= 1


def test_a_vae_with_a_mean_and_deviation_for_each_channel_decodes_as_the_pipeline_does(folders: Folders) -> None:
    folder = folders("sdxl", latents_mean=[0.5, -1.0, 0.2, 2.0], latents_std=[3.0, 1.0, 2.0, 0.5])
    model, pipe = load(folder), tiny.pipeline("sdxl", folder)
    x = noise(model, 4, n=1)
    options = {"latents": x.clone(), "num_inference_steps": STEPS, "guidance_scale": SCALE}
    latents, image = (pipe(PROMPT, output_type=kind, **options).images for kind in ("latent", "pil"))
    own = np.array(image[0]).transpose(2, 0, 1)
    assert np.abs(model.decode(latents)[0].numpy().astype(int) - own).max() <= 1


@pytest.mark.parametrize(("dtype", "upcast"), [("float16", True), ("float16", False), ("bfloat16", True)])
def test_the_sdxl_vae_decodes_in_half_precision_only_if_it_does_not_overflow(
    folders: Folders, dtype: str, upcast: bool
) -> None:
    folder = folders("sdxl", force_upcast=upcast)
    model, pipe = load(folder, dtype=dtype), tiny.pipeline("sdxl", folder, getattr(torch, dtype))
    half = getattr(torch, dtype)
    full = torch.float32 if upcast and dtype == "float16" else half
    assert model._pipe.vae.dtype == full and model._pipe.unet.dtype == half
    x0 = noise(model, 5, n=2)
    with torch.inference_mode():
        own = pipe.vae.to(full).decode(x0.to(full) / pipe.vae.config.scaling_factor).sample.float()
    image = ((own / 2 + 0.5).clamp(0, 1) * 255).round()
    assert (model.decode(x0) - image).abs().max() <= 1


@EVERY_FAMILY
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_with_networks_in_half_precision_the_kernel_stays_in_float32(folders: Folders, family: str, dtype: str) -> None:
    full, half = load(folders(family)), load(folders(family), dtype=dtype)
    x, conditioning = noise(full, 6), half.encode(PROMPT, SAMPLING)
    expected = full.reverse_step(x, 0, full.encode(PROMPT, SAMPLING))
    mean, sigma = half.reverse_step(x, 0, conditioning)
    assert mean.dtype == torch.float32 and sigma == expected.sigma
    assert conditioning.embeds.dtype == getattr(torch, dtype)
    overflows = family == "sdxl" and dtype == "float16"
    assert half._pipe.vae.dtype == (torch.float32 if overflows else getattr(torch, dtype))
    assert float((mean - expected.mean).norm() / expected.mean.norm()) < 0.05
    assert half.decode(half.look_ahead(mean, 0, conditioning)).dtype == torch.uint8


@pytest.mark.parametrize("family", [family for family in tiny.FAMILIES if family != "flux"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
@torch.inference_mode()
def test_guidance_with_scale_1_leaves_out_the_negative_prompt(folders: Folders, family: str, scale: float) -> None:
    model, pipe = load(folders(family)), tiny.pipeline(family, folders(family))
    conditioning, x = model.encode(PROMPT, Sampling(STEPS, scale)), noise(model, 7)
    t = float(model._kernel(SAMPLING).timesteps[0]) if family in tiny.FLOWS else model.timesteps(SAMPLING)[0]
    assert_near(model._predict(x, t, conditioning), predicted(family, pipe, x, t, conditioning, scale))
    if scale == 1:
        without = conditioning._replace(
            embeds=torch.cat([torch.full_like(conditioning.embeds[:1], torch.nan), conditioning.embeds[1:]])
        )
        assert model.reverse_step(x, 0, without).mean.isfinite().all()


@EVERY_FAMILY
def test_memory_options_change_no_more_than_the_last_bits(folders: Folders, family: str) -> None:
    model = load(folders(family))
    sliced = load(
        folders(family), attention_slicing=family in ("sd", "sdxl"), vae_slicing=True, offload_text_encoders=True
    )
    assert sliced._pipe.vae.use_slicing
    if family in ("sd", "sdxl"):
        assert {type(p).__name__ for p in sliced._pipe.unet.attn_processors.values()} == {"SlicedAttnProcessor"}
    x, conditioning = noise(model, 8), model.encode(PROMPT, SAMPLING)
    assert torch.equal(sliced.encode(PROMPT, SAMPLING).embeds, conditioning.embeds)
    expected = model.reverse_step(x, 0, conditioning).mean
    assert_near(sliced.reverse_step(x, 0, conditioning).mean, expected.numpy())
    assert (sliced.decode(x).int() - model.decode(x).int()).abs().max() <= 1


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Every move of a module to a device: the class of the module, and the device."""
    seen: list[tuple[str, str]] = []
    to = torch.nn.Module.to

    def spy(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
        seen.append((type(module).__name__, str(args[0] if args else kwargs)))
        return to(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", spy)
    yield seen


@EVERY_FAMILY
def test_offloaded_text_encoders_are_on_the_device_only_while_a_prompt_is_encoded(
    folders: Folders, family: str, moves: list[tuple[str, str]]
) -> None:
    """The device is `cpu:0`, another name of the CPU, so that both directions can be distinguished."""
    model = load(folders(family), "cpu:0", offload_text_encoders=True)
    encoders = [type(encoder).__name__ for encoder in model._encoders]
    assert (
        len(encoders)
        == {"sd": 1, "sdxl": 2, "sd3": 3, "flux": 2, "pixart": 1, "sana": 1, "qwen": 1, "zimage": 1}[family]
    )
    assert not [name for name, device in moves if name in encoders and device == "cpu:0"]
    moves.clear()
    model.encode(PROMPT, SAMPLING)
    ours = [move for move in moves if move[0] in encoders and move[1] in ("cpu:0", "cpu")]
    assert ours == [(name, "cpu:0") for name in encoders] + [(name, "cpu") for name in encoders]


def test_sd3_without_t5_has_zeros_for_its_tokens(folders: Folders, tmp_path: Path) -> None:
    pipe = tiny.pipeline("sd3", folders("sd3"))
    pipe.register_modules(text_encoder_3=None, tokenizer_3=None)
    pipe.save_pretrained(tmp_path)
    conditioning = load(tmp_path).encode(PROMPT, SAMPLING)
    assert conditioning.embeds.shape == (2, 77 + 256, 32)
    assert not conditioning.embeds[:, 77:].any() and conditioning.embeds[:, :77].any()


def test_the_safety_checker_and_the_feature_extractor_are_not_loaded(folders: Folders, tmp_path: Path) -> None:
    """The index of Stable Diffusion 1.5 names both; in this folder their files are missing."""
    shutil.copytree(folders("sd"), tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    checkers = {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }
    index.write_text(json.dumps(json.loads(index.read_text()) | checkers))
    assert load(tmp_path / "model").encode(PROMPT, SAMPLING).embeds.isfinite().all()


def test_a_unet_with_a_height_and_a_width_has_latents_of_that_size(folders: Folders, tmp_path: Path) -> None:
    pipe = tiny.pipeline("sd", folders("sd"))
    pipe.unet.register_to_config(sample_size=[8, 12])
    pipe.save_pretrained(tmp_path)
    assert load(tmp_path).latent_shape == (4, 8, 12)
