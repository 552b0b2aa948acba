"""Tiny random models of every family, saved with `save_pretrained` like real ones. Needs no network."""

import re
from pathlib import Path
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
from safetensors.torch import save_file
from tokenizers import AddedToken
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
FAMILIES = ("sd", "sdxl", "sd3", "flux", "pixart", "sana", "qwen", "zimage")
FLOWS = ("sd3", "flux", "sana", "qwen", "zimage")
# Those that read latents as tokens of 2 x 2, which their own pipelines take and give.
PACKED = ("flux", "qwen")
# Those whose VAE is an AutoencoderKL, which another one can replace.
WITH_KL = ("sd", "sdxl", "sd3", "flux", "pixart", "zimage")
PIPELINES = {
    "sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline, "sd3": StableDiffusion3Pipeline,
    "flux": FluxPipeline, "pixart": PixArtSigmaPipeline, "sana": SanaPipeline, "qwen": QwenImagePipeline,
    "zimage": ZImagePipeline,
}  # fmt: skip


def save_model(family: str, folder: Path, scheduler: dict[str, Any] | None = None, **vae: Any) -> Path:
    """Save a pipeline of a family, with changes to its scheduler and its VAE, and return the folder."""
    make_pipeline(family, scheduler, **vae).save_pretrained(folder)
    return folder


def make_pipeline(family: str, scheduler: dict[str, Any] | None = None, **vae: Any) -> Any:
    """Return a pipeline of a family, with changes to its scheduler and its VAE."""
    torch.manual_seed(0)
    make = {
        "sd": _stable_diffusion, "sdxl": _stable_diffusion_xl, "sd3": _stable_diffusion_3, "flux": _flux,
        "pixart": _pixart, "sana": _sana, "qwen": _qwen,
        "zimage": _z_image,
    }[family]  # fmt: skip
    return make(scheduler or {}, vae)


def save_vae(model: Path, folder: Path, **changes: Any) -> Path:
    """Save a VAE like that of a saved model, with other weights and changes to its configuration; return its folder."""
    torch.manual_seed(5)
    config = AutoencoderKL.load_config(model / "vae")
    AutoencoderKL.from_config(dict(config) | changes).save_pretrained(folder)
    return folder


def pipeline(family: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Load a saved folder with diffusers. Families other than flows get a DDIM scheduler.

    A DPM solver of a flow becomes one of the first order, which for a flow is Euler's step.
    """
    options: dict[str, dict[str, Any]] = {
        "sd": {"safety_checker": None, "requires_safety_checker": False},
        "sdxl": {"add_watermarker": False},
    }
    pipe = PIPELINES[family].from_pretrained(folder, dtype=dtype, **options.get(family, {}))
    if family not in FLOWS:
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    elif isinstance(pipe.scheduler, DPMSolverMultistepScheduler):
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, solver_order=1)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_lora(family: str, path: Path, width: int | None = None, seed: int = 1, scale: float = 1.0) -> Path:
    """Save a LoRA of rank 2 for one attention layer of the family's denoiser, in diffusers' layout."""
    layer, (out_width, in_width) = {
        "sd": ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", (32, 16)),
        "sdxl": ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", (64, 32)),
        "sd3": ("transformer.transformer_blocks.0.attn.to_q", (32, 32)),
        "pixart": ("transformer.transformer_blocks.0.attn2.to_k", (24, 24)),
        "qwen": ("transformer.transformer_blocks.0.img_mod.1", (288, 48)),
        "zimage": ("transformer.layers.0.attention.to_q", (16, 16)),
        "sana": ("transformer.transformer_blocks.0.attn1.to_k", (16, 16)),
        "flux": ("transformer.single_transformer_blocks.0.attn.to_q", (48, 48)),
    }[family]
    generator = torch.Generator().manual_seed(seed)
    weights = {
        f"{layer}.lora_A.weight": torch.randn(2, width or in_width, generator=generator),
        f"{layer}.lora_B.weight": scale * torch.randn(out_width, 2, generator=generator),
    }
    save_file(weights, path)
    return path


def _stable_diffusion(scheduler: dict[str, Any], vae: dict[str, Any]) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=_vae(4, vae),
        text_encoder=CLIPTextModel(_clip(16)),
        tokenizer=clip_tokenizer(),
        unet=_unet(16, ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")),
        scheduler=DDIMScheduler(**SCHEDULE | {"clip_sample": False, "set_alpha_to_one": False} | scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _stable_diffusion_xl(scheduler: dict[str, Any], vae: dict[str, Any]) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(
        vae=_vae(4, {"force_upcast": True} | vae),
        text_encoder=CLIPTextModel(_clip(16)),
        text_encoder_2=CLIPTextModelWithProjection(_clip(16, seed=1)),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer("!"),
        unet=_unet(
            32, ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D"),
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16, transformer_layers_per_block=(1, 1),
        ),
        scheduler=EulerDiscreteScheduler.from_config(SCHEDULE | {"set_alpha_to_one": False} | scheduler),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )  # fmt: skip


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=32, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def _pixart(scheduler: dict[str, Any], vae: dict[str, Any]) -> PixArtSigmaPipeline:
    return PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=8, patch_size=1, in_channels=4, out_channels=8, num_layers=2, attention_head_dim=12,
            num_attention_heads=2, cross_attention_dim=24, caption_channels=32, use_additional_conditions=False,
            norm_num_groups=8,
        ),
        scheduler=DDIMScheduler(
            **{"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False,
               "set_alpha_to_one": False, "steps_offset": 1} | scheduler
        ),
        vae=_vae(4, {"scaling_factor": 0.13025} | vae),
        text_encoder=_t5(),
        tokenizer=t5_tokenizer(),
    )  # fmt: skip


# What Sana comes with: a solver whose shares of noise are those of a flow.
SOLVER: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}


def _sana(scheduler: dict[str, Any], vae: dict[str, Any]) -> SanaPipeline:
    blocks: dict[str, Any] = {
        f"{part}_{key}": value
        for part in ("encoder", "decoder")
        for key, value in {
            "block_types": ("ResBlock", "EfficientViTBlock"), "block_out_channels": (8, 8), "layers_per_block": (1, 1),
            "qkv_multiscales": ((), (5,)),
        }.items()
    }  # fmt: skip
    vae = blocks | {"latent_channels": 4, "attention_head_dim": 2, "scaling_factor": 0.41407} | vae
    flow = "shift" in scheduler
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2,
            attention_head_dim=8, num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
            caption_channels=24,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(**scheduler) if flow else DPMSolverMultistepScheduler(
            **SOLVER | scheduler
        ),
        vae=AutoencoderDC(**vae),
        text_encoder=Gemma2Model(
            Gemma2Config(
                vocab_size=32, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, head_dim=12, max_position_embeddings=2048, query_pre_attn_scalar=12,
            )
        ),
        tokenizer=gemma_tokenizer(),
    )  # fmt: skip


def _qwen(scheduler: dict[str, Any], vae: dict[str, Any]) -> QwenImagePipeline:
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    # As with FLUX, its own size is not in its configuration.
    transformer.register_to_config(sample_size=8)
    tokenizer = qwen_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    places = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    text = Qwen2_5_VLConfig(
        text_config=sizes | {
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        **dict.fromkeys(places, 1),
    )  # fmt: skip
    moments: dict[str, Any] = {"latents_mean": [0.5, -1.0, 0.2, 0.0], "latents_std": [2.0, 1.0, 3.0, 0.5]}
    return QwenImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            **{"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64, "max_shift": 0.9,
               "shift_terminal": 0.02} | scheduler
        ),
        vae=AutoencoderKLQwenImage(
            **{"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1], "num_res_blocks": 1, "temperal_downsample": [False]}
            | moments | vae
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(text),
        tokenizer=tokenizer,
    )  # fmt: skip


def _z_image(scheduler: dict[str, Any], vae: dict[str, Any]) -> ZImagePipeline:
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=16, n_layers=2, n_refiner_layers=1, n_heads=1, n_kv_heads=1, cap_feat_dim=20,
        axes_dims=[8, 4, 4], axes_lens=[1024, 512, 512],
    )  # fmt: skip
    with torch.no_grad():  # of what fills a sequence, which is zeros in a new model
        for token in (transformer.x_pad_token, transformer.cap_pad_token):
            token.normal_()
    # As with FLUX, its own size is not in its configuration.
    transformer.register_to_config(sample_size=8)
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = CHAT
    text = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=20, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return ZImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0} | scheduler),
        vae=_vae(4, {"scaling_factor": 0.3611, "shift_factor": 0.1159} | vae),
        text_encoder=Qwen3Model(text),
        tokenizer=tokenizer,
    )


def _flux(scheduler: dict[str, Any], vae: dict[str, Any], distilled: bool = True) -> FluxPipeline:
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=3,
        joint_attention_dim=32, pooled_projection_dim=16, guidance_embeds=distilled, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    # FLUX's own size is not in its configuration; this one is small.
    transformer.register_to_config(sample_size=8)
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            **{"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64, "shift": 3.0} | scheduler
        ),
        vae=_vae(4, {"scaling_factor": 0.3611, "shift_factor": 0.1159} | vae),
        text_encoder=CLIPTextModel(_clip(16)),
        text_encoder_2=_t5(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
    )


def _stable_diffusion_3(scheduler: dict[str, Any], vae: dict[str, Any]) -> StableDiffusion3Pipeline:
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
            joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32, out_channels=4,
            pos_embed_max_size=16, qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0} | scheduler),
        vae=_vae(4, {"scaling_factor": 1.5305, "shift_factor": 0.0609} | vae),
        text_encoder=CLIPTextModelWithProjection(_clip(16)),
        text_encoder_2=CLIPTextModelWithProjection(_clip(16, seed=1)),
        text_encoder_3=_t5(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def _unet(text_width: int, down: tuple[str, ...], up: tuple[str, ...], **more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=down, up_block_types=up, attention_head_dim=8, norm_num_groups=8,
        cross_attention_dim=text_width, **more,
    )  # fmt: skip


def _vae(channels: int, changes: dict[str, Any]) -> AutoencoderKL:
    return AutoencoderKL(
        **{
            "in_channels": 3, "out_channels": 3, "latent_channels": channels, "block_out_channels": (16, 16),
            "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
            "norm_num_groups": 8, "sample_size": 16,
        } | changes
    )  # fmt: skip


def _clip(width: int, seed: int = 0) -> CLIPTextConfig:
    activation = "gelu" if seed else "quick_gelu"
    return CLIPTextConfig(
        vocab_size=len(_clip_vocabulary()), hidden_size=width, intermediate_size=32, num_hidden_layers=3,
        num_attention_heads=2, max_position_embeddings=77, projection_dim=16, hidden_act=activation,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip


def _clip_vocabulary() -> dict[str, int]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", "!", "!</w>", *letters, *(f"{letter}</w>" for letter in letters)]
    return {token: index for index, token in enumerate(tokens)}


def clip_tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """A tokenizer with one token for each letter."""
    return CLIPTokenizer(vocab=_clip_vocabulary(), merges=[], model_max_length=77, pad_token=pad)


def gemma_tokenizer() -> GemmaTokenizer:
    """A tokenizer with one token for each letter, and without a limit, as Gemma's is."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    vocabulary = {token: index for index, token in enumerate([*special, *"▁abcdefghijklmnopqrstuvwxyz"])}
    return GemmaTokenizer(vocab=vocabulary, merges=[], mask_token=None, add_bos_token=True)


# What Qwen-Image's pipeline writes before a prompt, of which it drops 34 tokens.
QWEN_PREFIX = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)


# The template of Qwen3's chats, as far as one message of a user needs it.
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A tokenizer with one token for each letter, and one for each word of Qwen-Image's template, as in Qwen's."""
    letters = ["<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    tokenizer = Qwen2Tokenizer(vocab={letter: index for index, letter in enumerate(letters)}, merges=[])
    words = [*re.findall(r"<\|\w+\|>| ?\w+|\n|[,:]", QWEN_PREFIX), "assistant"]
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in dict.fromkeys(words)])
    return tokenizer


def t5_tokenizer() -> T5Tokenizer:
    """A tokenizer with one token for each letter."""
    letters = [(letter, -2.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *letters]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)
