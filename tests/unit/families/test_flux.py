"""What is FLUX's own: packed latents, the guidance scale as an input, [schnell] without it, the published sizes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline

from configs.load import load_config
from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.image_size import sizes_of_folder
from diffusion.families import FAMILIES
from diffusion.folder import check_folder
from diffusion.kernels import FlowSDE
from diffusion.pipelines.flux import Flux
from diffusion.pipelines.packing import image_ids, pack, unpack
from diffusion.source import Source
from pipeline.planning.gpu.estimate import gpu_memory
from tests.support import tiny
from tests.support.runs import DEMO

DEV = ("black-forest-labs/FLUX.1-dev", "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21")


def load(folder: Path, **options: Any) -> Flux:
    model = load_model(Source(str(folder)), Loading(**options), "cpu")
    assert isinstance(model, Flux)
    return model


def test_packing_is_that_of_the_pipeline_and_has_an_inverse() -> None:
    x = torch.arange(2 * 4 * 6 * 10, dtype=torch.float32).reshape(2, 4, 6, 10)
    assert torch.equal(pack(x), FluxPipeline._pack_latents(x, 2, 4, 6, 10))
    assert torch.equal(unpack(pack(x), 6, 10), x)
    own = FluxPipeline._prepare_latent_image_ids(1, 3, 5, "cpu", torch.float32)
    assert torch.equal(image_ids(6, 10).float(), own)


def test_the_guidance_scale_is_an_input_of_dev_and_there_is_no_second_pass(tmp_path: Path) -> None:
    model = load(tiny.save_model("flux", tmp_path))
    x, passes = torch.randn(3, *model.latent_shape, generator=torch.Generator().manual_seed(1)), list[int]()
    model._pipe.transformer.register_forward_hook(lambda *call: passes.append(len(call[1]) or len(call[2][0])))
    means = [model.reverse_step(x, 0, model.encode("a fox", Sampling(5, scale))).mean for scale in (1.0, 3.5, 3.5)]
    assert passes == [3, 3, 3] and torch.equal(means[1], means[2]) and not torch.equal(means[0], means[1])


def test_schnell_has_no_scale_and_fewer_tokens(tmp_path: Path) -> None:
    tiny._flux({"use_dynamic_shifting": False, "shift": 1.0}, {}, distilled=False).save_pretrained(tmp_path)
    model = load(tmp_path)
    text = model.encode("a fox", Sampling(4, 1.0))
    x = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    assert text.embeds.shape[1] == 256
    other = model.encode("a fox", Sampling(4, 7.0))
    assert torch.equal(model.reverse_step(x, 0, text).mean, model.reverse_step(x, 0, other).mean)
    pipe = tiny.pipeline("flux", tmp_path)
    own = pipe(
        "a fox", latents=pack(x), num_inference_steps=4, guidance_scale=0.0, height=16, width=16, output_type="pil",
        max_sequence_length=256,
    ).images  # fmt: skip
    still = model.encode("a fox", Sampling(4, 1.0, noise_level=0.0))
    for step in range(4):
        x, _ = model.reverse_step(x, step, still)
    image = np.array(own[0]).transpose(2, 0, 1)
    assert np.abs(model.decode(x)[0].numpy().astype(int) - image).max() <= 1


def test_even_shares_are_shifted_as_the_equation_says() -> None:
    """s -> e^mu / (e^mu + 1/s - 1) of the shares 1, (T-1)/T, ..., 1/T."""
    config = {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "base_shift": 0.5,
        "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096, "shift": 3.0,
    }  # fmt: skip
    shares = np.linspace(1, 1 / 28, 28)
    expected = np.exp(1.15) / (np.exp(1.15) + 1 / shares - 1)
    flow = FlowSDE.from_scheduler(config, 28, 0.7, 4096, even=True)
    np.testing.assert_allclose(flow.sigmas, [*expected, 0.0], rtol=1e-6)


def published(folder: Path) -> Path:
    """The configuration files of FLUX.1 [dev], by the facts that the public ones hold."""
    index = {
        "_class_name": "FluxPipeline", "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "FluxTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],
    }  # fmt: skip
    files: dict[str, dict[str, Any]] = {
        "model_index.json": index,
        "scheduler/scheduler_config.json": {
            "_class_name": "FlowMatchEulerDiscreteScheduler", "base_image_seq_len": 256, "base_shift": 0.5,
            "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0,
            "use_dynamic_shifting": True,
        },
        "transformer/config.json": {
            "_class_name": "FluxTransformer2DModel", "attention_head_dim": 128, "guidance_embeds": True,
            "in_channels": 64, "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 19,
            "num_single_layers": 38, "patch_size": 1, "pooled_projection_dim": 768,
        },
        "vae/config.json": {
            "_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "latent_channels": 16,
            "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False, "use_post_quant_conv": False,
        },
        "text_encoder/config.json": {"hidden_size": 768, "projection_dim": 768},
        "text_encoder_2/config.json": {"d_model": 4096},
        "tokenizer/tokenizer_config.json": {},
        "tokenizer_2/tokenizer_config.json": {},
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def test_the_published_configuration_is_known_with_its_size(tmp_path: Path) -> None:
    folder = published(tmp_path / "flux")
    assert check_folder(folder, 28, whole=False) == "FluxPipeline"
    sizes = sizes_of_folder(folder, FAMILIES["FluxPipeline"])
    assert sizes.own == (1024, 1024) and sizes.multiple == 16 and sizes.tokens(sizes.own) == 4096
    assert sizes.chosen(512, 768) == (512, 768)
    name, revision = DEV
    keys = [f"model.name={name}", f"model.revision='{revision}'", "model.dtype=bfloat16", "model.eta=null"]
    assert "33.74 GB in bfloat16" in gpu_memory(load_config(DEMO, keys))
