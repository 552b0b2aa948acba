"""What every model family offers. One file a family; a new one is that file and a row in
`families.FAMILIES`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple, Protocol

from torch import Tensor

from diffusion.families import FAMILIES
from diffusion.folder import pipeline_class
from diffusion.source import Source, metadata_folder


class Reverse(NamedTuple):
    """Mean, shape (n, C, H, W), and standard deviation of a reverse step."""

    mean: Tensor
    sigma: float


class Conditioning(NamedTuple):
    """What the denoiser is told of a prompt, on the CPU. Row 0 is the negative prompt, row 1 the prompt.

    Attributes:
        embeds: a vector a token, shape (2, tokens, width).
        pooled: a vector a prompt, shape (2, width); None in families without one.
    """

    embeds: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled.

    Attributes:
        steps: T >= 1, denoising steps.
        guidance_scale: s >= 0 of classifier-free guidance, eps = eps_0 + s (eps_prompt - eps_0); 1 is off.
        eta: noise of the DDIM process, 0..1; not of a flow.
        noise_level: a >= 0, noise of a flow's SDE; not of DDIM.
        negative_prompt: stands for eps_0; None is the family's own (an empty prompt, or zeros in SDXL).
        dtype: torch dtype's name for the networks; the kernels are float32 always.
        attention_slicing: attention one head after the other: less memory, more time. UNets only.
        vae_slicing: images are decoded one by one: less memory, more time.
        offload_text_encoders: they wait on the CPU, and are on the device while a prompt is encoded only.
    """

    steps: int
    guidance_scale: float
    eta: float = 1.0
    noise_level: float = 0.7
    negative_prompt: str | None = None
    dtype: str = "float32"
    attention_slicing: bool = False
    vae_slicing: bool = False
    offload_text_encoders: bool = False


class DiffusionModel(Protocol):
    """A pretrained text-to-image model on one device. Latents are float32, images uint8 NCHW RGB."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample's latents."""
        ...

    @property
    def timesteps(self) -> Sequence[int]:
        """The T timesteps, largest first: for the record, so a flow's are rounded to whole ones."""
        ...

    def encode(self, prompt: str) -> Conditioning:
        """Text conditioning of one prompt: to be handed back in the calls below."""
        ...

    def reverse_step(self, x: Tensor, step: int, conditioning: Conditioning) -> Reverse:
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


def load_model(source: Source, sampling: Sampling, device: str) -> DiffusionModel:
    """Load a model with the class of its family; one of the hub is downloaded where it is not there yet.

    Raises:
        ModelError: there is no such model, or its pipeline is of a family that is not supported.
    """
    module, name = FAMILIES[pipeline_class(metadata_folder(source))].model.split(":")
    model: DiffusionModel = getattr(import_module(module), name)(source, sampling, device)
    return model
