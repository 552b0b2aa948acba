"""What every model family offers. One file a family; a new one is that file and a row in
`families.FAMILIES`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from diffusion.errors import ModelError
from diffusion.families import FAMILIES, Family
from diffusion.folder import check_denoiser, check_scheduler, pipeline_class
from diffusion.source import Source, metadata_folder


class ReverseMoments(NamedTuple):
    """Mean, shape (n, C, H, W), and standard deviation of a reverse step."""

    mean: Tensor
    sigma: float


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    Attributes:
        dtype: torch dtype's name for the networks; the kernels are float32 always.
        attention_slicing: attention one head after the other: less memory, more time. UNets only.
        vae_slicing: images are decoded one by one: less memory, more time.
        offload_text_encoders: they wait on the CPU, and are on the device while a prompt is encoded only.
    """

    dtype: str = "float32"
    attention_slicing: bool = False
    vae_slicing: bool = False
    offload_text_encoders: bool = False


@dataclass(frozen=True)
class Sampling:
    """How a model that is loaded is sampled: each prompt may have it its own way.

    Attributes:
        steps: T >= 1, denoising steps.
        guidance_scale: s >= 0 of classifier-free guidance, eps = eps_0 + s (eps_prompt - eps_0); 1 is off.
        eta: noise of the DDIM process, 0..1; not of a flow.
        noise_level: a >= 0, noise of a flow's SDE; not of DDIM.
        negative_prompt: stands for eps_0; None is the family's own (an empty prompt, or zeros in SDXL).
    """

    steps: int
    guidance_scale: float
    eta: float = 1.0
    noise_level: float = 0.7
    negative_prompt: str | None = None


class Conditioning(NamedTuple):
    """What the denoiser is told of a prompt, on the CPU. Row 0 is the negative prompt, row 1 the prompt.

    Attributes:
        sampling: how the prompt is sampled.
        embeds: a vector a token, shape (2, tokens, width).
        pooled: a vector a prompt, shape (2, width); None in families without one.
    """

    sampling: Sampling
    embeds: Tensor
    pooled: Tensor | None = None


class DiffusionModel(Protocol):
    """A pretrained text-to-image model on one device. Latents are float32, images uint8 NCHW RGB."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample's latents."""
        ...

    def timesteps(self, sampling: Sampling) -> Sequence[int]:
        """The T timesteps, largest first: for the record, so a flow's are rounded to whole ones."""
        ...

    def encode(self, prompt: str, sampling: Sampling) -> Conditioning:
        """Text conditioning of one prompt: to be handed back in the calls below, which sample it as it says."""
        ...

    def reverse_step(self, x: Tensor, step: int, conditioning: Conditioning) -> ReverseMoments:
        """Mean and sigma of x_{t-1} given x_t, with classifier-free guidance."""
        ...

    def look_ahead(self, x: Tensor, step: int, conditioning: Conditioning) -> Tensor:
        """The denoised estimate x0 of candidates x_{t-1} of a step, by a second guided prediction.

        Rewards are trained on clean images (Chung et al. 2023, Equation 11).
        """
        ...

    def decode(self, x0: Tensor) -> Tensor:
        """Images of clean latents: uint8, shape (n, 3, h, w), on the CPU."""
        ...


def load_model(source: Source, loading: Loading, device: str) -> DiffusionModel:
    """Load a model with the class of its family; one of the hub is downloaded where it is not there yet.

    Raises:
        ModelError: there is no such model, or its pipeline is of a family that is not supported.
    """
    model: DiffusionModel = _model_class(pipeline_class(metadata_folder(source)))(source, loading, device)
    return model


def take_pipeline(pipe: Any, loading: Loading, steps: int) -> DiffusionModel:
    """A model from a diffusers pipeline that is loaded already, where it is: weights, adapters and device are its own.

    Of its settings the scheduler's betas (or shift), prediction type and spacing count. The VAE of an SDXL in float16
    is made float32 where it overflows, as the pipeline itself does when it decodes.

    Args:
        pipe: of the class that a family names, not of one derived from it.
        loading: `dtype` is the denoiser's; what concerns memory is the pipeline's own affair.
        steps: T, that it is to be sampled with.

    Raises:
        ModelError: its family is not supported, or its scheduler or denoiser is not what the family has.
    """
    name, family = type(pipe).__name__, pipeline_family(pipe)
    scheduler = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    check_scheduler("the pipeline", name, scheduler, steps)
    check_denoiser("the pipeline", family, getattr(pipe, family.denoiser).config, pipe.vae.config)
    model: DiffusionModel = _model_class(name)(pipe, loading, str(pipe.device))
    return model


def pipeline_family(pipe: Any) -> Family:
    """The family of a diffusers pipeline that is loaded already, by its class.

    Raises:
        ModelError: it is not supported.
    """
    name = type(pipe).__name__
    if name not in FAMILIES:
        raise ModelError(f"the pipeline is a {name}", ", ".join(FAMILIES), "load a text-to-image model of such a class")
    return FAMILIES[name]


def _model_class(pipeline: str) -> Any:
    module, name = FAMILIES[pipeline].model.split(":")
    return getattr(import_module(module), name)
