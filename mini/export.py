"""From checkpoints to the committed weights: half precision, safetensors, Stable Diffusion 1.5's layout."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer

from mini.train_unet import Ema, build_scheduler, build_text_encoder, build_unet

WEIGHTS = Path(__file__).parent / "weights"


def export_pipeline(unet_checkpoint: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the averaged UNet and text encoder of a checkpoint with the autoencoder as a
    `StableDiffusionPipeline`."""
    ema = Ema(build_unet(), build_text_encoder(tokenizer))
    ema.load_state_dict(torch.load(unet_checkpoint, weights_only=True)["ema"])
    assert isinstance(ema.text, CLIPTextModel)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=ema.text,
        tokenizer=tokenizer,
        unet=ema.unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
