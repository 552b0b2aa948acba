"""Full-size and tiny pipelines with random weights, made on the device itself: they need no hub and no disk.

The shapes are those of the public configuration files. Random weights take as long as trained ones, and as much memory.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLQwenImage,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from tests.support import tiny

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CROSS_DOWN, DOWN, CROSS_UP, UP = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"
# The tokenizers have one token for a letter, so the ends of a text have the numbers 0 and 1.
ENDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
Make = Callable[[torch.device, torch.dtype], Any]


@dataclass(frozen=True)
class Architecture:
    """A model that can be measured.

    Attributes:
        name: the model, as the hub or this project knows it.
        make: function of a device and a dtype that returns the pipeline with random weights.
        chunks: the numbers of candidates that are computed at once.
    """

    name: str
    make: Make
    chunks: tuple[int, ...] = (2, 6)


@contextmanager
def drawn_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Make the parameters of new modules on a device and in a dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def _clip(width: int, mlp: int, layers: int, heads: int, activation: str = "gelu") -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads,
        projection_dim=width, hidden_act=activation, **ENDS,
    )  # fmt: skip


CLIP_L, CLIP_G = _clip(768, 3072, 12, 12, "quick_gelu"), _clip(1280, 5120, 32, 20)
T5_XXL = T5Config(
    vocab_size=32128, d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu",
    dropout_rate=0.0,
)  # fmt: skip


def _vae(side: int, **changes: Any) -> AutoencoderKL:
    shape: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": side,
    }  # fmt: skip
    return AutoencoderKL(**shape | changes)


def _stable_diffusion(device: torch.device, dtype: torch.dtype) -> Any:
    with drawn_on(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8,
            down_block_types=(CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN),
            up_block_types=(UP, CROSS_UP, CROSS_UP, CROSS_UP),
        )  # fmt: skip
        vae, text = _vae(512), CLIPTextModel(CLIP_L)
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tiny.clip_tokenizer(), unet=unet,
        scheduler=DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _stable_diffusion_xl(device: torch.device, dtype: torch.dtype) -> Any:
    with drawn_on(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048,
            attention_head_dim=(5, 10, 20), transformer_layers_per_block=(1, 2, 10), use_linear_projection=True,
            down_block_types=(DOWN, CROSS_DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, CROSS_UP, UP),
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip
        vae = _vae(1024, scaling_factor=0.13025, force_upcast=True)
        texts = CLIPTextModel(CLIP_L), CLIPTextModelWithProjection(CLIP_G)
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=texts[0], text_encoder_2=texts[1], tokenizer=tiny.clip_tokenizer(),
        tokenizer_2=tiny.clip_tokenizer("!"), unet=unet, scheduler=EulerDiscreteScheduler(**SCHEDULE),
        force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip


def _stable_diffusion_3(layers: int, heads: int, **more: Any) -> Make:
    def make(device: torch.device, dtype: torch.dtype) -> Any:
        with drawn_on(device, dtype):
            transformer = SD3Transformer2DModel(
                sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=layers,
                attention_head_dim=64, num_attention_heads=heads, joint_attention_dim=4096,
                caption_projection_dim=64 * heads, pooled_projection_dim=2048, qk_norm="rms_norm", **more,
            )  # fmt: skip
            vae = _vae(
                1024, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
                use_post_quant_conv=False,
            )  # fmt: skip
            texts = CLIPTextModelWithProjection(CLIP_L), CLIPTextModelWithProjection(CLIP_G), T5EncoderModel(T5_XXL)
        return StableDiffusion3Pipeline(
            transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae,
            text_encoder=texts[0], text_encoder_2=texts[1], text_encoder_3=texts[2], tokenizer=tiny.clip_tokenizer(),
            tokenizer_2=tiny.clip_tokenizer("!"), tokenizer_3=tiny.t5_tokenizer(),
        )  # fmt: skip

    return make


def _flux(device: torch.device, dtype: torch.dtype) -> Any:
    with drawn_on(device, dtype):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
        vae = _vae(
            1024, latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
            use_post_quant_conv=False,
        )  # fmt: skip
        texts = CLIPTextModel(CLIP_L), T5EncoderModel(T5_XXL)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FluxPipeline(
        transformer=transformer, scheduler=scheduler, vae=vae, text_encoder=texts[0], text_encoder_2=texts[1],
        tokenizer=tiny.clip_tokenizer(), tokenizer_2=tiny.t5_tokenizer(),
    )  # fmt: skip


def _pixart_sigma(device: torch.device, dtype: torch.dtype) -> Any:
    with drawn_on(device, dtype):
        transformer = PixArtTransformer2DModel(
            sample_size=128, caption_channels=4096, interpolation_scale=2, use_additional_conditions=False
        )
        vae, text = _vae(1024, scaling_factor=0.13025), T5EncoderModel(T5_XXL)
    return PixArtSigmaPipeline(
        transformer=transformer, vae=vae, text_encoder=text, tokenizer=tiny.t5_tokenizer(),
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )  # fmt: skip


def _sana(device: torch.device, dtype: torch.dtype) -> Any:
    gemma = Gemma2Config(
        vocab_size=256000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8,
        num_key_value_heads=4, head_dim=256, max_position_embeddings=8192,
    )  # fmt: skip
    attention = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    with drawn_on(device, dtype):
        vae = AutoencoderDC(
            encoder_block_types=attention, decoder_block_types=attention, downsample_block_type="conv",
            upsample_block_type="interpolate", scaling_factor=0.41407,
        )  # fmt: skip
        transformer, text = SanaTransformer2DModel(), Gemma2Model(gemma)
    return SanaPipeline(
        transformer=transformer, vae=vae, text_encoder=text, tokenizer=tiny.gemma_tokenizer(),
        scheduler=DPMSolverMultistepScheduler(**tiny.SOLVER),
    )  # fmt: skip


def _qwen_image(device: torch.device, dtype: torch.dtype) -> Any:
    language = {
        "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 128000,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    }  # fmt: skip
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }  # fmt: skip
    with drawn_on(device, dtype):
        text = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=language, vision_config=vision))
        transformer, vae = QwenImageTransformer2DModel(), AutoencoderKLQwenImage()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, max_image_seq_len=8192, max_shift=0.9, shift_terminal=0.02
    )
    return QwenImagePipeline(
        transformer=transformer, scheduler=scheduler, vae=vae, text_encoder=text, tokenizer=tiny.qwen_tokenizer()
    )


def _z_image(device: torch.device, dtype: torch.dtype) -> Any:
    qwen = Qwen3Config(
        vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=40960,
    )  # fmt: skip
    with drawn_on(device, dtype):
        transformer, text = ZImageTransformer2DModel(), Qwen3Model(qwen)
        vae = _vae(
            1024, latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
            use_post_quant_conv=False,
        )  # fmt: skip
    tokenizer = tiny.qwen_tokenizer()
    tokenizer.chat_template = tiny.CHAT
    return ZImagePipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae, text_encoder=text,
        tokenizer=tokenizer,
    )  # fmt: skip


def _tiny(family: str) -> Make:
    return lambda device, dtype: tiny.make_pipeline(family).to(device, dtype)


FULL: Mapping[str, Architecture] = {
    "sd15": Architecture("stable-diffusion-v1-5/stable-diffusion-v1-5", _stable_diffusion, (6, 15, 30)),
    "sdxl": Architecture("stabilityai/stable-diffusion-xl-base-1.0", _stable_diffusion_xl),
    "sd35_medium": Architecture(
        "stabilityai/stable-diffusion-3.5-medium",
        _stable_diffusion_3(24, 24, pos_embed_max_size=384, dual_attention_layers=tuple(range(13))),
    ),
    "sd35_large": Architecture(
        "stabilityai/stable-diffusion-3.5-large", _stable_diffusion_3(38, 38, pos_embed_max_size=192)
    ),
    "flux_dev": Architecture("black-forest-labs/FLUX.1-dev", _flux),
    "pixart_sigma": Architecture("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", _pixart_sigma),
    "sana": Architecture("Efficient-Large-Model/Sana_1600M_1024px_diffusers", _sana),
    "qwen_image": Architecture("Qwen/Qwen-Image", _qwen_image),
    "z_image": Architecture("Tongyi-MAI/Z-Image-Turbo", _z_image),
}  # fmt: skip
TINY: Mapping[str, Architecture] = {
    "sd15": Architecture("tiny Stable Diffusion", _tiny("sd")),
    "sdxl": Architecture("tiny Stable Diffusion XL", _tiny("sdxl")),
    "sd35_medium": Architecture("tiny Stable Diffusion 3", _tiny("sd3")),
    "flux_dev": Architecture("tiny FLUX.1", _tiny("flux")),
    "pixart_sigma": Architecture("tiny PixArt-Sigma", _tiny("pixart")),
    "sana": Architecture("tiny Sana", _tiny("sana")),
    "qwen_image": Architecture("tiny Qwen-Image", _tiny("qwen")),
    "z_image": Architecture("tiny Z-Image", _tiny("zimage")),
}
