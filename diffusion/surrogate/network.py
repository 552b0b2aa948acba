"""The surrogate: a small convolutional network that predicts the rewards of a clean latent, and its file.

Legend of the shape suffixes: n latents, M rewards, B parts of the denoising steps, C channels, H height, W width,
E width of the text embedding.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

FORMAT = 1
# The number of equal parts of the denoising steps for each of which a deviation is recorded.
STEP_BINS = 5
# Under the root of the pooled standard deviation, whose derivative at 0 would be infinite.
_VARIANCE_FLOOR = 1e-4
_WIDTHS = (32, 48, 48)
_HIDDEN = 32


class SurrogateFileError(ValueError):
    """The content of a file that is not a whole surrogate of this version."""


class SurrogateNetwork(nn.Module):
    """Predicts standardised rewards of clean latents x0.

    The latents, and the output of each of three convolutions before its activation, are pooled over the pixels by
    mean and standard deviation: the deviation of a linear filter's output is what most measures of colour and
    detail are made of. Two of the convolutions halve the size. Two linear layers follow. If a reward reads the
    prompt, the text embedding scales and shifts the layer between them (FiLM, Perez et al. 2018). No layer mixes
    latents, so a row does not depend on the other rows of its batch.

    Args:
        channels: C of the latents.
        rewards: M.
        text: E, the width of the text embedding; 0 for a surrogate that does not read it.
    """

    def __init__(self, channels: int, rewards: int, text: int = 0) -> None:
        super().__init__()
        self.channels = channels
        widths = (channels, *_WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inner, outer, 3, stride=2 if index else 1, padding=1)
            for index, (inner, outer) in enumerate(pairwise(widths))
        )
        self.hidden = nn.Linear(2 * sum(widths), _HIDDEN)
        self.film = nn.Linear(text, 2 * _HIDDEN) if text else None
        self.output = nn.Linear(_HIDDEN, rewards)

    def forward(self, x0_nCHW: Tensor, text_nE: Tensor | None) -> Tensor:
        """Return the standardised predictions, shape (n, M)."""
        pooled, x = _pooled(x0_nCHW), x0_nCHW
        for convolution in self.convolutions:
            x = convolution(x)
            pooled += _pooled(x)
            x = nn.functional.silu(x)
        hidden = self.hidden(torch.cat(pooled, 1))
        if self.film is not None:
            scale, shift = self.film(text_nE).chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        output: Tensor = self.output(nn.functional.silu(hidden))
        return output


def _pooled(x_nCHW: Tensor) -> list[Tensor]:
    variance = x_nCHW.var((2, 3), correction=0)
    return [x_nCHW.mean((2, 3)), (variance + _VARIANCE_FLOOR).sqrt()]


@dataclass(frozen=True)
class Surrogate:
    """A trained surrogate r^.

    Attributes:
        rewards: the names of the M rewards.
        mean_M, std_M: the mean and the standard deviation of each reward over the training pairs, float64.
        deviation_BM: the standard deviation of each reward over the candidates of one row and step, for each part of
            the denoising steps, float64; 0 if it is not known.
        record: what the surrogate was trained on, as plain data: the model's revision among other things.
    """

    network: SurrogateNetwork
    rewards: tuple[str, ...]
    mean_M: Tensor
    std_M: Tensor
    deviation_BM: Tensor
    record: Mapping[str, Any]

    @property
    def reads_prompt(self) -> bool:
        return self.network.film is not None

    def predict(self, x0_nCHW: Tensor, text_E: Tensor) -> Tensor:
        """Return r^ in the units of the rewards, shape (n, M), for latents of one prompt. Float32, as the network."""
        text_nE = text_E.expand(len(x0_nCHW), -1) if self.reads_prompt else None
        standardised: Tensor = self.network(x0_nCHW, text_nE)
        return standardised * self.std_M.to(standardised) + self.mean_M.to(standardised)

    def deviation_at(self, step: int, steps: int) -> Tensor:
        """Return the recorded deviations (M,) of the `step`-th of `steps` denoising steps."""
        return self.deviation_BM[step * STEP_BINS // steps]

    def columns(self, rewards: Sequence[str]) -> tuple[int, ...]:
        """Return the columns of these rewards in `predict`."""
        return tuple(self.rewards.index(name) for name in rewards)


def text_embedding(embeds: Tensor) -> Tensor:
    """Return the mean of a prompt's token embeddings, float32, shape (E,); `embeds` as in `base.Conditioning`."""
    return embeds[1].float().mean(0).clone()


def to_bytes(surrogate: Surrogate) -> bytes:
    """Return the content of a surrogate's file, safetensors. The same surrogate always gives the same bytes."""
    tensors = {
        **{f"network.{name}": weight.detach().contiguous() for name, weight in surrogate.network.state_dict().items()},
        "mean": surrogate.mean_M,
        "std": surrogate.std_M,
        "deviation": surrogate.deviation_BM,
    }
    about = {"format": FORMAT, "rewards": list(surrogate.rewards), "record": dict(surrogate.record)}
    header = json.dumps(about, sort_keys=True)
    # One entry only, because safetensors does not keep the order of several.
    return save(tensors, {"surrogate": json.dumps([header, _digest(tensors, header)])})


def from_bytes(content: bytes) -> Surrogate:
    """Read the content of a surrogate's file.

    Raises:
        SurrogateFileError: it is damaged, or is no surrogate of this version.
    """
    try:
        size = struct.unpack("<Q", content[:8])[0]
        header, digest = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["surrogate"])
        tensors = load(content)
        about = json.loads(header)
    except (SafetensorError, struct.error, ValueError, KeyError, TypeError) as error:
        raise SurrogateFileError("it is no surrogate, or its end is missing") from error
    if _digest(tensors, header) != digest:
        raise SurrogateFileError("its content does not have the SHA-256 that it was saved with")
    if about["format"] != FORMAT:
        raise SurrogateFileError(f"it has format {about['format']}, and this version reads format {FORMAT}")
    weights = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    text = weights["film.weight"].shape[1] if "film.weight" in weights else 0
    network = SurrogateNetwork(weights["convolutions.0.weight"].shape[1], len(about["rewards"]), text)
    network.load_state_dict(weights)
    network.requires_grad_(False)
    return Surrogate(
        network, tuple(about["rewards"]), tensors["mean"], tensors["std"], tensors["deviation"], about["record"]
    )


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
