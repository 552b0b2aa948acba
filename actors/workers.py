"""The workers as plain classes: tests and the one-process run drive them without Ray."""

import io
import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from actors.from_config import loading_of, source_of
from actors.protocol import ChunkTooLarge, Doubles, Encoded, Floats, ReverseStepResult
from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.base import Conditioning, DiffusionModel, Sampling, load_model
from rewards import registry
from rewards.base import Reward, checked_score
from rewards.errors import RewardError
from rewards.plugin import Plugin
from rewards.vlm_judge import VlmJudge

Pixels = NDArray[np.uint8]
LOGICAL_GPUS = "SRSOUP_LOGICAL_GPUS"


class DecodeReport(NamedTuple):
    """Busy seconds of a decoded chunk, and the worker's peak memory and the size of the images in bytes."""

    seconds_lookahead: float
    seconds_decode: float
    peak_memory: int
    pixel_bytes: int


def set_threads(threads: int) -> None:
    """Fix what decides the bits of a CPU computation; keeps denormals from slowing it down."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_for(gpus: float) -> str:
    """Where an actor computes for which Ray keeps so much of a GPU.

    Raises:
        RuntimeError: torch sees no GPU on its node. With SRSOUP_LOGICAL_GPUS set GPUs are only numbers that Ray
            counts, as where placement is tested, and all is computed on CPUs.
    """
    if not gpus or os.environ.get(LOGICAL_GPUS):
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError(
            "Ray counts a GPU on this node, and torch sees none; install a CUDA build of torch there, "
            "or set compute.device=cpu"
        )
    return "cuda"


@contextmanager
def fitting(chunk: int) -> Iterator[None]:
    """Work on a chunk; where memory does not suffice for it, say so in the words of the run."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ChunkTooLarge(chunk) from error


class DiffusionWorker:
    """Holds the diffusion model. Stateless between calls: the same call gives the same bits.

    Every chunk is padded to `chunk` rows, because a network's last bits depend on the batch size.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model

    @classmethod
    def from_config(cls, config: RunConfig, device: str) -> Self:
        set_threads(config.compute.threads)
        return cls(load_model(source_of(config.model), loading_of(config.model), device))

    def encode(self, prompt: str, sampling: Sampling) -> Encoded:
        conditioning, timesteps = self.model.encode(prompt, sampling), self.model.timesteps(sampling)
        return Encoded(conditioning, self.model.latent_shape, tuple(timesteps))

    def reverse_step(self, x: Floats, step: int, conditioning: Conditioning) -> ReverseStepResult:
        start = time.perf_counter()
        mean, sigma = self.model.reverse_step(as_tensor(x), step, conditioning)
        return ReverseStepResult(mean.numpy(), sigma, time.perf_counter() - start)

    def decode_candidates(
        self, x: Floats, step: int, conditioning: Conditioning, chunk: int
    ) -> tuple[Pixels, DecodeReport]:
        """Images uint8 (n, 3, h, w) of the denoised estimates of one chunk of candidates x_{t-1}."""
        start = time.perf_counter()
        with fitting(chunk):
            x0 = self.model.look_ahead(as_tensor(pad(x, chunk)), step, conditioning)
            middle = time.perf_counter()
            pixels = self.model.decode(x0)[: len(x)].numpy()
        return pixels, DecodeReport(middle - start, time.perf_counter() - middle, peak_memory(), pixels.nbytes)

    def decode(self, x: Floats, chunk: int) -> tuple[Pixels, DecodeReport]:
        """Images uint8 (n, 3, h, w) of final latents, any number of them."""
        start = time.perf_counter()
        parts = [x[i : i + chunk] for i in range(0, len(x), chunk)]
        with fitting(chunk):
            images = [self.model.decode(as_tensor(pad(part, chunk)))[: len(part)].numpy() for part in parts]
        pixels = np.concatenate(images)
        return pixels, DecodeReport(0.0, time.perf_counter() - start, peak_memory(), pixels.nbytes)


class RewardWorker:
    """Holds the reward models. Asked by name, one reward and one chunk of one prompt at a time."""

    def __init__(self, rewards: dict[str, Reward]) -> None:
        self.rewards = rewards

    @classmethod
    def from_config(cls, config: RunConfig, names: Sequence[str], device: str, plugins: Sequence[Plugin] = ()) -> Self:
        """Load some of the rewards of a configuration.

        Raises:
            RequestError: a plugin does not run here, or a reward's weights or packages are not here.
        """
        set_threads(config.compute.threads)
        try:
            registry.plug_in(plugins)
            rewards = {name: _created(name, config) for name in names}
            for reward in rewards.values():
                reward.setup(device)
        except RewardError as error:
            raise unloadable(config, error) from error
        return cls(rewards)

    def score(self, name: str, pixels: Pixels, prompt: str, chunk: int) -> tuple[Doubles, float]:
        """Scores float64 (n,) of images for one prompt, and the seconds they took.

        A reward whose last bits depend on the batch size sees whole chunks only.
        """
        start = time.perf_counter()
        reward = self.rewards[name]
        size = chunk if reward.info.batch_sensitive else min(chunk, len(pixels))
        parts = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        with fitting(chunk):
            scores = [checked_score(reward, as_tensor(pad(part, size)), [prompt] * size)[: len(part)] for part in parts]
        return torch.cat(scores).double().numpy(), time.perf_counter() - start

    def close(self) -> None:
        for reward in self.rewards.values():
            reward.close()


def _created(name: str, config: RunConfig) -> Reward:
    """A reward of the configuration; the judge is the one that has settings in it."""
    return VlmJudge(config.rewards.judge) if name == "vlm_judge" else registry.create(name)


def unloadable(config: RunConfig, error: RewardError) -> RequestError:
    """Return the refusal of a run whose rewards cannot be loaded on a machine that is to query them."""
    return RequestError(
        file=config.name,
        key="rewards",
        value=[*config.rewards.guided, *config.rewards.held_out],
        problem=error.problem,
        allowed="rewards whose weights and packages are on every machine that queries them",
        fix=error.fix or "correct the reward where it is defined, or name other rewards",
    )


def pad(rows: NDArray, size: int) -> NDArray:
    """The rows, with the last one repeated until there are `size`."""
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing > 0 else rows


def as_tensor(array: NDArray) -> torch.Tensor:
    """A tensor of its own: what comes from an object store is read-only."""
    return torch.from_numpy(array.copy())


def png_files(pixels: Pixels) -> tuple[bytes, ...]:
    """Each image of uint8 (n, 3, h, w) as a PNG file."""
    files = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, format="PNG")
        files.append(file.getvalue())
    return tuple(files)


def peak_memory() -> int:
    """Bytes: peak GPU memory where there is a GPU, else the peak resident memory of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stack_scores(columns: Sequence[Doubles]) -> Doubles:
    """One column a reward: shape (n, R)."""
    return np.stack(columns, axis=1)


def join_scores(parts: Sequence[Doubles]) -> Doubles:
    """The rows of several parts, shape (n,)."""
    return np.concatenate(parts)
