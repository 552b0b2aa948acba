"""The text-to-image model: its untrained parts, the averages of their weights, and the export of the trained model.

The exported folder has the layout of Stable Diffusion 1.5: safetensors in half precision.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mini.captions import LENGTH

WEIGHTS = Path(__file__).parent / "weights"
EMA_DECAY = 0.9985
TEXT_WIDTH = 128


def build_scheduler() -> DDIMScheduler:
    """Returns the noise schedule of Stable Diffusion 1.5."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Returns an untrained text encoder, 128 wide and 2 layers deep."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet() -> UNet2DConditionModel:
    """Returns an untrained UNet for 16 x 16 x 4 latents: 5.1 M parameters, cross attention at 8 x 8 and at 4 x 4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 144),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


class Ema(nn.Module):
    """Exponential moving averages of the weights of the UNet and of the text encoder.

    The decay grows to its full value during the first steps: min(EMA_DECAY, (1 + step) / (10 + step)).
    """

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text = copy.deepcopy(unet), copy.deepcopy(text)
        self.requires_grad_(False)

    @torch.no_grad()
    def update(self, unet: nn.Module, text: nn.Module, step: int) -> None:
        """Sets each average to decay * average + (1 - decay) * weight."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        averages = [*self.unet.parameters(), *self.text.parameters()]
        torch._foreach_lerp_(averages, [*unet.parameters(), *text.parameters()], 1 - decay)


def export_pipeline(unet_checkpoint: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the averaged weights of a checkpoint, with the autoencoder, as a `StableDiffusionPipeline`."""
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
