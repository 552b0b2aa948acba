"""The model families, one row each. Imports no torch."""

from dataclasses import dataclass

# Configuration keys under `model` that not every family takes, by what they belong to.
DDIM_KEYS = frozenset({"eta"})
FLOW_KEYS = frozenset({"noise_level"})
UNET_KEYS = frozenset({"attention_slicing"})


@dataclass(frozen=True)
class Family:
    """What has to be known of a family before a model of it is loaded.

    Attributes:
        model: "module:Class" of ours.
        denoiser: the part that predicts, a UNet or a transformer.
        texts: the parts that encode a prompt.
        keys: configuration keys that this family takes and another does not.
        optional: of `texts`, those that a model may lack.
    """

    model: str
    denoiser: str
    texts: tuple[str, ...]
    keys: frozenset[str]
    optional: frozenset[str] = frozenset()

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders of a whole pipeline."""
        return tuple(sorted(("scheduler", "vae", self.denoiser, *self.texts)))

    @property
    def is_flow(self) -> bool:
        return self.keys >= FLOW_KEYS


# Pipeline class of `model_index.json` -> its family.
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
    ),
}


def takers(key: str) -> tuple[str, ...]:
    """Pipeline classes of the families that take a key."""
    return tuple(pipeline for pipeline, family in FAMILIES.items() if key in family.keys)
