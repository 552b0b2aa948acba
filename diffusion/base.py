"""What every model family offers. One file a family; a new one is that file and a row in
`folder.FAMILIES`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from diffusion.folder import family


class Reverse(NamedTuple):
    """Mean, shape (n, C, H, W), and standard deviation of a reverse step."""

    mean: Tensor
    sigma: float


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled.

    Attributes:
        steps: T >= 1, denoising steps.
        guidance_scale: s >= 0 of classifier-free guidance, eps = eps_0 + s (eps_prompt - eps_0); 1 is off.
        eta: noise of the DDIM process, 0..1.
        dtype: torch dtype's name for the networks; the kernels are float32 always.
    """

    steps: int
    guidance_scale: float
    eta: float
    dtype: str = "float32"


class DiffusionModel(Protocol):
    """A pretrained text-to-image model on one device. Latents are float32, images uint8 NCHW RGB."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample's latents."""
        ...

    @property
    def timesteps(self) -> Sequence[int]: ...

    def encode(self, prompt: str) -> Tensor:
        """Text conditioning of one prompt, on the CPU: to be handed back in the calls below."""
        ...

    def reverse_step(self, x: Tensor, step: int, conditioning: Tensor) -> Reverse:
        """Mean and sigma of x_{t-1} given x_t, with classifier-free guidance."""
        ...

    def look_ahead(self, x: Tensor, step: int, conditioning: Tensor) -> Tensor:
        """The denoised estimate x0 of candidates x_{t-1} of a step, by a second guided prediction.

        Rewards are trained on clean images (Chung et al. 2023, Equation 11).
        """
        ...

    def decode(self, x0: Tensor) -> Tensor:
        """Images of clean latents: uint8, shape (n, 3, h, w), on the CPU."""
        ...


def load_model(folder: Path, sampling: Sampling, device: str) -> DiffusionModel:
    """Load the model of a folder with the class of its family."""
    module, name = family(folder).split(":")
    model: DiffusionModel = getattr(import_module(module), name)(folder, sampling, device)
    return model
