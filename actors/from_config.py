"""What a configuration says of its model, in the words of `diffusion`: its source, its loading, its sampling."""

from configs.model import ModelConfig
from configs.schema import RunConfig
from diffusion.base import Loading, Sampling
from diffusion.source import Adapter, Source


def source_of(model: ModelConfig) -> Source:
    """The model that a configuration names."""
    adapters = (Adapter(part.name, part.weight, part.revision, part.file) for part in model.adapters)
    return Source(model.name, model.revision, tuple(adapters))


def loading_of(model: ModelConfig) -> Loading:
    """How a configuration loads its model."""
    return Loading(
        dtype=model.dtype,
        attention_slicing=model.attention_slicing,
        vae_slicing=model.vae_slicing,
        offload_text_encoders=model.offload_text_encoders,
    )


def sampling_of(config: RunConfig) -> Sampling:
    """How a configuration samples its model."""
    model = config.model
    return Sampling(
        steps=config.steps,
        guidance_scale=model.guidance_scale,
        eta=Sampling.eta if model.eta is None else model.eta,
        noise_level=Sampling.noise_level if model.noise_level is None else model.noise_level,
        negative_prompt=model.negative_prompt,
    )
