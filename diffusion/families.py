"""The table of the model families. Imports no torch."""

from dataclasses import dataclass

# Keys of the section `model` that not every family takes: those of DDIM, of a flow, and of a UNet.
DDIM_KEYS = frozenset({"eta"})
FLOW_KEYS = frozenset({"noise_level"})
UNET_KEYS = frozenset({"attention_slicing"})
# The number of tokens of a prompt that Stable Diffusion 3 passes to T5, whose tokenizer has no limit of its own.
T5_TOKENS = 256


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

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders of a complete pipeline."""
        return tuple(sorted(("scheduler", "vae", self.denoiser, *self.texts)))

    @property
    def is_flow(self) -> bool:
        """Whether the family samples a flow, and not DDIM."""
        return self.keys >= FLOW_KEYS


# Pipeline class, as in `model_index.json` -> its family.
FAMILIES = {
    "StableDiffusionPipeline": Family(
        "diffusion.stable_diffusion:StableDiffusion", "unet", ("text_encoder", "tokenizer"), DDIM_KEYS | UNET_KEYS
    ),
    "StableDiffusionXLPipeline": Family(
        "diffusion.stable_diffusion_xl:StableDiffusionXL",
        "unet",
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        DDIM_KEYS | UNET_KEYS,
    ),
    "StableDiffusion3Pipeline": Family(
        "diffusion.stable_diffusion_3:StableDiffusion3",
        "transformer",
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3"),
        FLOW_KEYS,
        optional=frozenset({"text_encoder_3", "tokenizer_3"}),
        patch=2,
        positions=96,
    ),
}


def takers(key: str) -> tuple[str, ...]:
    """Return the pipeline classes of the families that take a key."""
    return tuple(pipeline for pipeline, family in FAMILIES.items() if key in family.keys)
