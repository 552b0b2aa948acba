"""Translates the model part of a configuration into the types of `diffusion`. Called by the planner and the workers."""

from configs.schema import RunConfig
from configs.sections.model import ModelConfig
from configs.step_checks import SOUPS_OF_ADAPTERS
from diffusion.base import AdapterSoup, Loading, Sampling
from diffusion.source import Adapter, Source, Vae


def source_of(model: ModelConfig) -> Source:
    """The source of a configuration's model: its name and revision, its adapters, and its VAE."""
    adapters = (Adapter(one.name, one.weight, one.revision, one.file) for one in model.adapters)
    vae = Vae(model.vae.name, model.vae.revision) if model.vae else None
    by_reward = (
        (reward, Adapter(one.name, one.weight, one.revision, one.file))
        for reward, one in sorted(model.adapters_by_reward.items())
    )
    return Source(model.name, model.revision, tuple(adapters), vae, tuple(by_reward))


def loading_of(model: ModelConfig) -> Loading:
    """The dtype and the memory options with which a configuration's model is loaded."""
    return Loading(
        dtype=model.dtype,
        attention_slicing=model.attention_slicing,
        vae_slicing=model.vae_slicing,
        offload_text_encoders=model.offload_text_encoders,
        gradient_checkpointing=model.gradient_checkpointing,
    )


def sampling_of(config: RunConfig, method: str | None = None) -> Sampling:
    """The options with which a method samples a configuration's model."""
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
        soup=_soup_of(config, method),
    )


def _soup_of(config: RunConfig, method: str | None) -> AdapterSoup | None:
    """The mix of fine-tuned models by which a method predicts, one row of weights for each weighting."""
    if method not in SOUPS_OF_ADAPTERS:
        return None
    return AdapterSoup(method == "output_soup", config.model.mix, config.rewards.guided, config.weights)
