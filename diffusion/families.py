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
# The number of tokens of a prompt that Stable Diffusion 3 passes to T5, whose tokenizer has no limit of its own.
T5_TOKENS = 256
# The same for FLUX.1, by whether the guidance scale is an input of the transformer: [dev], [schnell].
FLUX_TOKENS = {True: 512, False: 256}


@dataclass(frozen=True)
class Family:
    """A model family, as far as it must be known before a model is loaded.

    Attributes:
        model: SRSoup's class for the family, as "module:Class".
        denoiser: name of the part that predicts: "unet" or "transformer".
        texts: names of the parts that encode a prompt.
        keys: keys of the configuration that this family takes and some other does not.
        optional: those of `texts` that a model may lack.
        patch: the side of the patches of latents that the denoiser reads, if its configuration names none; None if the
            family has no patches.
        packed: the side of the squares of latents that the denoiser reads as one token, with all their channels.
        side: the side of the latents, if the denoiser's configuration names none.
        even: whether its pipeline spaces the noise shares evenly, 1 to 1/T, before the scheduler shifts them.
        positions: the number of patches of a side that the denoiser has places for, if its configuration names none;
            None if any number fits.
    """

    model: str
    denoiser: str
    texts: tuple[str, ...]
    keys: frozenset[str]
    optional: frozenset[str] = frozenset()
    patch: int | None = None
    positions: int | None = None
    packed: int = 1
    side: int | None = None
    even: bool = False

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
        optional=frozenset({"text_encoder_3", "tokenizer_3"}),
        patch=2,
        positions=96,
    ),
    "FluxPipeline": Family(
        "diffusion.pipelines.flux:Flux",
        "transformer",
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        FLOW_KEYS,
        packed=2,
        side=128,
        even=True,
    ),
}


def takers(key: str) -> tuple[str, ...]:
    """Return the pipeline classes of the families that take a key."""
    return tuple(pipeline for pipeline, family in FAMILIES.items() if key in family.keys)
