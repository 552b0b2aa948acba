"""Translates the model part of a configuration into the types of `diffusion`. Called by the planner and the workers."""

from configs.schema import RunConfig
from configs.sections.model import ModelConfig
from diffusion.base import Loading, Sampling
from diffusion.source import Adapter, Source, Vae


def source_of(model: ModelConfig) -> Source:
    """The source of a configuration's model: its name and revision, its adapters, and its VAE."""
    adapters = (Adapter(one.name, one.weight, one.revision, one.file) for one in model.adapters)
    vae = Vae(model.vae.name, model.vae.revision) if model.vae else None
    return Source(model.name, model.revision, tuple(adapters), vae)


def loading_of(model: ModelConfig) -> Loading:
    """The dtype and the memory options with which a configuration's model is loaded."""
    return Loading(
        dtype=model.dtype,
        attention_slicing=model.attention_slicing,
        vae_slicing=model.vae_slicing,
        offload_text_encoders=model.offload_text_encoders,
        gradient_checkpointing=model.gradient_checkpointing,
    )


def sampling_of(config: RunConfig) -> Sampling:
    """The options with which a configuration's model is sampled."""
    model = config.model
    return Sampling(
        steps=config.steps,
        guidance_scale=model.guidance_scale,
        eta=Sampling.eta if model.eta is None else model.eta,
        noise_level=Sampling.noise_level if model.noise_level is None else model.noise_level,
        negative_prompt=model.negative_prompt,
        height=model.height,
        width=model.width,
        lookahead_guided=config.lookahead.guidance,
        lookahead_downscale=config.lookahead.downscale,
    )
