"""The interface of a model, and the functions that load one.

Each model family is one module. A new family is such a module and a row in `families.FAMILIES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from torch import device as Device

from diffusion.checks.dimensions import check_denoiser
from diffusion.checks.image_size import image_sizes
from diffusion.checks.schedulers import check_scheduler
from diffusion.errors import ModelError
from diffusion.families import FAMILIES, Family
from diffusion.folder import pipeline_class
from diffusion.source import Source, metadata_folder
from diffusion.surrogate.gradient import Value


class ReverseMoments(NamedTuple):
    """The mean, shape (n, C, H, W), and the standard deviation of a reverse step."""

    mean: Tensor
    sigma: float


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    Attributes:
        dtype: name of the networks' torch dtype. The kernels always compute in float32.
        attention_slicing: whether attention is computed head by head, which takes less memory and more time. UNets
            only.
        vae_slicing: whether images are decoded one by one, which takes less memory and more time.
        offload_text_encoders: whether the text encoders stay on the CPU except while a prompt is encoded.
        gradient_checkpointing: whether a backward pass computes activations again instead of keeping them, which takes
            less memory and more time.
    """

    dtype: str = "float32"
    attention_slicing: bool = False
    vae_slicing: bool = False
    offload_text_encoders: bool = False
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class AdapterSoup:
    """How the fine-tuned models of several rewards are mixed, for each row of latents.

    Attributes:
        output: whether the predictions of the M models are mixed, eps = sum_m w_m eps_m, and not their weights.
        mix: what is added up if weights are mixed: `deltas` gives W + sum_m w_m (alpha_m / r_m) B_m A_m (rewarded
            soups, Rame et al. 2023), `factors` gives W + (alpha / r) (sum_m w_m B_m) (sum_m w_m A_m).
        rewards: the names of the M rewards in `Source.by_reward`, in the order of the weights.
        weights: one row w on the simplex for each row of latents, or one for all of them.
    """

    output: bool
    mix: str
    rewards: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Sampling:
    """How a loaded model is sampled. Each prompt may have its own sampling.

    Attributes:
        steps: T >= 1, the number of denoising steps.
        guidance_scale: scale s >= 0 of classifier-free guidance, eps = eps_0 + s (eps_prompt - eps_0); 1 turns it off.
        eta: noise of the DDIM process, 0..1; a flow ignores it.
        noise_level: noise a >= 0 of a flow's SDE; DDIM ignores it.
        negative_prompt: prompt that gives eps_0; None for the family's default (an empty prompt, or zeros in SDXL).
        height: the height of the images in pixels; None for the model's own side.
        width: the same for the width.
        lookahead_guided: whether the estimates of candidates have classifier-free guidance, as the means have.
        lookahead_downscale: the divisor of the sides of candidates' images.
        soup: the mix of fine-tuned models that predicts in place of the model; None for the model itself.
    """

    steps: int
    guidance_scale: float
    eta: float = 1.0
    noise_level: float = 0.7
    negative_prompt: str | None = None
    height: int | None = None
    width: int | None = None
    lookahead_guided: bool = True
    lookahead_downscale: int = 1
    soup: AdapterSoup | None = None


class Conditioning(NamedTuple):
    """The text inputs of the denoiser for one prompt, on the CPU. Row 0 is the negative prompt, row 1 the prompt.

    Attributes:
        sampling: how the prompt is sampled.
        embeds: one vector for each token, shape (2, tokens, width).
        pooled: one vector for the whole text, shape (2, width), or what else of a text the family's denoiser reads;
            None in families without one.
    """

    sampling: Sampling
    embeds: Tensor
    pooled: Tensor | None = None

    def copied(self) -> "Conditioning":
        """Return the same inputs in tensors of their own."""
        return Conditioning(self.sampling, self.embeds.clone(), None if self.pooled is None else self.pooled.clone())


class DiffusionModel(Protocol):
    """A pretrained text-to-image model on one device. Latents are float32, images uint8 NCHW RGB."""

    @property
    def device(self) -> Device:
        """The device on which the model computes."""
        ...

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of one sample's latents at the model's own size."""
        ...

    def latent_shape_of(self, sampling: Sampling) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of one sample's latents at the size of a sampling."""
        ...

    def timesteps(self, sampling: Sampling) -> Sequence[int]:
        """Return the T timesteps for the record, largest first. Those of a flow are rounded to whole numbers."""
        ...

    def has_noise(self, sampling: Sampling) -> bool:
        """Return whether any of the T steps has noise, without which it cannot be guided."""
        ...

    def encode(self, prompt: str, sampling: Sampling) -> Conditioning:
        """Return the text inputs of one prompt, which the methods below take, together with its sampling."""
        ...

    def reverse_step(self, x: Tensor, step: int, conditioning: Conditioning) -> ReverseMoments:
        """Return the mean and the sigma of x_{t-1} given x_t, with classifier-free guidance."""
        ...

    def look_ahead(self, x: Tensor, step: int, conditioning: Conditioning) -> Tensor:
        """Return the denoised estimates x0 of a step's candidates x_{t-1}, by a second guided prediction.

        The rewards need them because they are trained on clean images (Chung et al. 2023, Equation 11).
        """
        ...

    def look_ahead_gradient(
        self, x: Tensor, step: int, conditioning: Conditioning, value: Value, at_once: int = 1
    ) -> Tensor:
        """Return, for each row of x, the gradient of a function of its denoised estimate x0, float32, shape of x.

        Each row is one forward and one backward pass through the denoiser, with classifier-free guidance. A row's bits
        do not depend on the others, but on `at_once`.

        Args:
            x: candidates x_{t-1} of a step.
            value: a differentiable function of the x0 of some rows, shape (n, C, H, W), and of the number of the first
                of them: the sum of one number for each row.
            at_once: the number of rows that one pass computes; the memory grows with it.
        """
        ...

    def decode(self, x0: Tensor) -> Tensor:
        """Return the images of clean latents: uint8, shape (n, 3, h, w), on the CPU."""
        ...


def load_model(source: Source, loading: Loading, device: str) -> DiffusionModel:
    """Load a model with the class of its family. A model of the hub is downloaded if it is not on this machine.

    Args:
        source: the model and its adapters.
        loading: options of the load.
        device: the torch device.

    Raises:
        ModelError: there is no such model, or its family is not supported.
    """
    model: DiffusionModel = _model_class(pipeline_class(metadata_folder(source)))(source, loading, device)
    return model


def take_pipeline(pipe: Any, loading: Loading, sampling: Sampling) -> DiffusionModel:
    """Make a model from a loaded diffusers pipeline. Its weights, adapters and device are used as they are.

    The betas (or the shift), the prediction type and the spacing of its scheduler are used, its other settings are not.
    If the VAE of an SDXL in float16 would overflow, it becomes float32, as the pipeline does when it decodes.

    Args:
        pipe: a pipeline of exactly the class that a family names, not of a subclass.
        loading: options; `dtype` is the denoiser's, and the pipeline itself has those that concern memory.
        sampling: how the model will be sampled: the number of steps and the size of the images are checked.

    Raises:
        ModelError: the family is not supported, the scheduler or the denoiser does not belong to the family, or the
            model makes no images of this size.
    """
    name, family = type(pipe).__name__, pipeline_family(pipe)
    scheduler = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    denoiser = getattr(pipe, family.denoiser).config
    check_scheduler("the pipeline", name, scheduler, sampling.steps)
    check_denoiser("the pipeline", family, denoiser, pipe.vae.config)
    image_sizes(family, denoiser, pipe.vae.config).chosen(sampling.height, sampling.width)
    model: DiffusionModel = _model_class(name)(pipe, loading, str(pipe.device))
    return model


def pipeline_family(pipe: Any) -> Family:
    """Return the family of a loaded diffusers pipeline, by its class.

    Raises:
        ModelError: the family is not supported.
    """
    name = type(pipe).__name__
    if name not in FAMILIES:
        raise ModelError(
            f"the pipeline is a {name}, which is not supported",
            ", ".join(FAMILIES),
            "load a text-to-image model of a supported class",
        )
    return FAMILIES[name]


def _model_class(pipeline: str) -> Any:
    module, name = FAMILIES[pipeline].model.split(":")
    return getattr(import_module(module), name)
