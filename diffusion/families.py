"""The table of the model families. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Keys of the section `model` that not every family takes: those of DDIM, of a flow, of a UNet, and of a model that
# makes a prediction of two passes, one of them with the negative prompt.
DDIM_KEYS = frozenset({"eta"})
FLOW_KEYS = frozenset({"noise_level"})
UNET_KEYS = frozenset({"attention_slicing"})
TWO_PASS_KEYS = frozenset({"negative_prompt"})


@dataclass(frozen=True)
class Family:
    """A model family, as far as it must be known before a model is loaded.

    Attributes:
        model: SRSoup's class for the family, as "module:Class".
        denoiser: name of the part that predicts: "unet" or "transformer".
        texts: names of the parts that encode a prompt.
        keys: keys of the configuration that this family takes and some other does not.
        tokens: the tokenizer whose files do not set the limit, and the number of tokens of a prompt, with the special
            ones, that the pipeline passes on from it.
        tokens_without_scale: the same number if the guidance scale is no input of the denoiser; None if it is the same.
        optional: those of `texts` that a model may lack.
        patch: the side of the patches of latents that the denoiser reads, if its configuration names none; None if the
            family has no patches.
        packed: the side of the squares of latents that the denoiser reads as one token, with all their channels.
        side: the side of the latents, if the denoiser's configuration names none.
        widths: keys of the denoiser's configuration, each with the text encoder whose width it is; empty for Stable
            Diffusion, whose denoisers read several encoders together.
        learned_variance: whether the denoiser also predicts a variance, in as many channels again.
        chat: whether its pipeline writes a prompt as a chat, by the template of its tokenizer.
        frames: whether its VAE is that of videos, of which an image is a frame.
        even: whether its pipeline spaces the noise shares evenly, 1 to 1/T, before the scheduler shifts them.
        positions: the number of patches of a side that the denoiser has places for, if its configuration names none;
            None if any number fits.
        schedulers: how the names of its schedulers' classes begin, if it samples a flow.
    """

    model: str
    denoiser: str
    texts: tuple[str, ...]
    keys: frozenset[str]
    tokens: tuple[str, int] | None = None
    tokens_without_scale: int | None = None
    optional: frozenset[str] = frozenset()
    patch: int | None = None
    positions: int | None = None
    packed: int = 1
    side: int | None = None
    widths: tuple[tuple[str, str], ...] = ()
    learned_variance: bool = False
    chat: bool = False
    frames: bool = False
    even: bool = False
    schedulers: tuple[str, ...] = ("FlowMatch",)

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders of a complete pipeline."""
        return tuple(sorted(("scheduler", "vae", self.denoiser, *self.texts)))

    @property
    def is_flow(self) -> bool:
        """Whether the family samples a flow, and not DDIM."""
        return self.keys >= FLOW_KEYS

    @property
    def has_two_passes(self) -> bool:
        """Whether a guided prediction takes a second pass, with the negative prompt."""
        return self.keys >= TWO_PASS_KEYS

    def token_limits(self, denoiser: Mapping[str, Any]) -> dict[str, int]:
        """Return the number of tokens of a prompt that a text encoder is given, by the name of its tokenizer.

        Args:
            denoiser: configuration of the denoiser.
        """
        if self.tokens is None:
            return {}
        name, tokens = self.tokens
        if self.tokens_without_scale is not None and not denoiser.get("guidance_embeds"):
            tokens = self.tokens_without_scale
        return {name: tokens}

    def patch_of(self, denoiser: Mapping[str, Any]) -> Any:
        """Return the side of the squares of latents that are one token, by a denoiser's configuration."""
        return self.packed if self.patch is None else denoiser.get("patch_size", self.patch)

    def own_side(self, denoiser: Mapping[str, Any]) -> Any:
        """Return the side of the latents as a denoiser's configuration has it: a number, or height and width."""
        return denoiser.get("sample_size", self.side)


# Pipeline class, as in `model_index.json` -> its family.
FAMILIES = {
    "StableDiffusionPipeline": Family(
        "diffusion.pipelines.stable_diffusion:StableDiffusion",
        "unet",
        ("text_encoder", "tokenizer"),
        DDIM_KEYS | UNET_KEYS | TWO_PASS_KEYS,
    ),
    "StableDiffusionXLPipeline": Family(
        "diffusion.pipelines.stable_diffusion_xl:StableDiffusionXL",
        "unet",
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        DDIM_KEYS | UNET_KEYS | TWO_PASS_KEYS,
    ),
    "StableDiffusion3Pipeline": Family(
        "diffusion.pipelines.stable_diffusion_3:StableDiffusion3",
        "transformer",
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3"),
        FLOW_KEYS | TWO_PASS_KEYS,
        tokens=("tokenizer_3", 256),
        optional=frozenset({"text_encoder_3", "tokenizer_3"}),
        patch=2,
        positions=96,
    ),
    "FluxPipeline": Family(
        "diffusion.pipelines.flux:Flux",
        "transformer",
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        FLOW_KEYS,
        tokens=("tokenizer_2", 512),
        tokens_without_scale=256,  # of [schnell]
        packed=2,
        side=128,
        widths=(("pooled_projection_dim", "text_encoder"), ("joint_attention_dim", "text_encoder_2")),
        even=True,
    ),
    "PixArtSigmaPipeline": Family(
        "diffusion.pipelines.pixart_sigma:PixArtSigma",
        "transformer",
        ("text_encoder", "tokenizer"),
        DDIM_KEYS | TWO_PASS_KEYS,
        tokens=("tokenizer", 300),
        patch=2,
        widths=(("caption_channels", "text_encoder"),),
        learned_variance=True,
    ),
    "SanaPipeline": Family(
        "diffusion.pipelines.sana:Sana",
        "transformer",
        ("text_encoder", "tokenizer"),
        FLOW_KEYS | TWO_PASS_KEYS,
        # The first token and the 298 after the last one of an instruction, which stands before each prompt.
        tokens=("tokenizer", 299),
        patch=1,
        widths=(("caption_channels", "text_encoder"),),
        schedulers=("FlowMatch", "DPMSolverMultistepScheduler"),
    ),
    "QwenImagePipeline": Family(
        "diffusion.pipelines.qwen_image:QwenImage",
        "transformer",
        ("text_encoder", "tokenizer"),
        FLOW_KEYS | TWO_PASS_KEYS,
        tokens=("tokenizer", 512),
        packed=2,
        side=128,
        widths=(("joint_attention_dim", "text_encoder"),),
        frames=True,
        even=True,
    ),
    "ZImagePipeline": Family(
        "diffusion.pipelines.z_image:ZImage",
        "transformer",
        ("text_encoder", "tokenizer"),
        FLOW_KEYS | TWO_PASS_KEYS,
        # Of the 512 tokens of a chat, three stand before the prompt.
        tokens=("tokenizer", 509),
        patch=2,
        side=128,
        widths=(("cap_feat_dim", "text_encoder"),),
        even=True,
        chat=True,
    ),
}


def takers(key: str) -> tuple[str, ...]:
    """Return the pipeline classes of the families that take a key."""
    return tuple(pipeline for pipeline, family in FAMILIES.items() if key in family.keys)
