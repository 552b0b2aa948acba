"""The diffusion worker and the reward worker: plain classes that hold the models.

Model actors (`actors.cluster.model_actors`) wrap them on Ray. The one-process run, the library and tests call them
directly.
"""

import io
import logging
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

from actors.arrays import as_tensor as as_tensor
from actors.arrays import join_scores as join_scores
from actors.arrays import pad as pad
from actors.arrays import stack_scores as stack_scores
from actors.from_config import loading_of, source_of
from actors.protocol import ChunkTooLarge, Doubles, EncodeResult, Floats, GradientResult, Looks, ReverseStepResult
from actors.surrogates import SurrogateReader
from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.base import Conditioning, DiffusionModel, Sampling, load_model
from diffusion.errors import BackwardMemoryError, ModelError, NotFiniteError
from diffusion.surrogate.network import text_embedding
from rewards import registry
from rewards.base import Reward, checked_score
from rewards.errors import RewardError
from rewards.networks.precision import Precision, computing_in
from rewards.pinned_files import accepting
from rewards.plugin import Plugin
from rewards.vlm_judge import VlmJudge

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
# The environment variable for tests of placement: if it is set, GPUs are only numbers that Ray counts.
LOGICAL_GPUS = "SRSOUP_LOGICAL_GPUS"


class DecodeReport(NamedTuple):
    """Measurements of one call that decodes: busy seconds, the worker's peak memory and the images' size in bytes.

    A call that looks ahead also reports what else it computed from the estimates.
    """

    seconds_lookahead: float
    seconds_decode: float
    peak_memory: int
    pixel_bytes: int
    looks: Looks | None = None


def set_threads(threads: int) -> None:
    """Fix the number of threads, which decides the bits of a CPU computation, and flush denormals, which slow it."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def default_device() -> str:
    """The device for computations in this process: the GPU if torch sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_for(gpus: float) -> str:
    """The device of an actor for which Ray reserves `gpus` GPUs: a CPU if that is 0 or SRSOUP_LOGICAL_GPUS is set.

    Raises:
        RuntimeError: Ray reserves a GPU, and torch sees none on this node.
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
def raising_chunk_too_large(chunk: int) -> Iterator[None]:
    """Raise `ChunkTooLarge` in place of torch's error if the computation on a chunk runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ChunkTooLarge(chunk) from error


class DiffusionWorker:
    """Holds the diffusion model. It keeps no state between calls: the same call gives the same bits.

    Every chunk is padded to `chunk` rows, because the last bits of a network's output depend on the batch size.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model
        self._surrogates = SurrogateReader(model.device)

    @classmethod
    def from_config(cls, config: RunConfig, device: str) -> Self:
        """Load the model of a configuration.

        Raises:
            RequestError: the model or an adapter of it is missing on this machine, or cannot be loaded.
        """
        set_threads(config.compute.threads)
        try:
            return cls(load_model(source_of(config.model), loading_of(config.model), device))
        except ModelError as error:
            raise unloadable_model(config, error) from error

    def encode(self, prompt: str, sampling: Sampling) -> EncodeResult:
        """Compute the text conditioning of a prompt."""
        conditioning, timesteps = self.model.encode(prompt, sampling), self.model.timesteps(sampling)
        text = text_embedding(conditioning.embeds).numpy()
        return EncodeResult(conditioning, self.model.latent_shape_of(sampling), tuple(timesteps), text=text)

    def reverse_step(self, x: Floats, step: int, conditioning: Conditioning) -> ReverseStepResult:
        """Compute mean and sigma of x_{t-1} for latents x_t."""
        start = time.perf_counter()
        mean, sigma = self.model.reverse_step(as_tensor(x), step, conditioning)
        return ReverseStepResult(mean.numpy(), sigma, time.perf_counter() - start)

    def decode_candidates(
        self,
        x: Floats,
        step: int,
        conditioning: Conditioning,
        chunk: int,
        surrogate: bytes | None = None,
        keep: int = 0,
    ) -> tuple[Pixels, DecodeReport]:
        """Look ahead from one chunk of candidates x_{t-1} and decode the estimates: images uint8 (n, 3, h, w).

        The report holds the surrogate's predictions for all rows, and the estimates of the first `keep`.
        """
        start = time.perf_counter()
        with raising_chunk_too_large(chunk):
            x0 = self.model.look_ahead(as_tensor(pad(x, chunk)), step, conditioning)
            looks = self._surrogates.looks(x0, len(x), conditioning, surrogate, keep)
            middle = time.perf_counter()
            try:
                pixels = self.model.decode(downscaled(x0, conditioning.sampling))[: len(x)].numpy()
            except NotFiniteError as error:
                raise error.at(step) from None
        return pixels, DecodeReport(middle - start, time.perf_counter() - middle, peak_memory(), pixels.nbytes, looks)

    def surrogate_gradient(
        self, x: Floats, step: int, factors: Doubles, conditioning: Conditioning, surrogate: bytes, at_once: int = 1
    ) -> GradientResult:
        """Compute the gradient of sum_m factors_m r^_m(x0(x)) for each row of x, `at_once` rows in one pass."""
        start = time.perf_counter()
        value = self._surrogates.value(surrogate, conditioning, factors)
        try:
            gradient = self.model.look_ahead_gradient(as_tensor(x), step, conditioning, value, at_once)
        except torch.OutOfMemoryError as error:
            raise BackwardMemoryError from error
        return GradientResult(gradient.numpy(), time.perf_counter() - start, peak_memory())

    def decode(self, x: Floats, chunk: int) -> tuple[Pixels, DecodeReport]:
        """Decode any number of final latents in chunks: images uint8 (n, 3, h, w)."""
        start = time.perf_counter()
        chunks = [x[i : i + chunk] for i in range(0, len(x), chunk)]
        with raising_chunk_too_large(chunk):
            images = [self.model.decode(as_tensor(pad(rows, chunk)))[: len(rows)].numpy() for rows in chunks]
        pixels = np.concatenate(images)
        return pixels, DecodeReport(0.0, time.perf_counter() - start, peak_memory(), pixels.nbytes)


def downscaled(x0: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return the latents of candidates' images: the means of squares whose side is `lookahead_downscale`."""
    side = sampling.lookahead_downscale
    return x0 if side == 1 else torch.nn.functional.avg_pool2d(x0, side)


class RewardWorker:
    """Holds the reward models. A call queries one of them, by name, on images of one prompt."""

    def __init__(self, rewards: dict[str, Reward], precision: Precision = "float32", device: str = "cpu") -> None:
        self.rewards, self._precision, self._device = rewards, precision, device

    @classmethod
    def from_config(cls, config: RunConfig, names: Sequence[str], device: str, plugins: Sequence[Plugin] = ()) -> Self:
        """Load the rewards of these names.

        Raises:
            RequestError: a plugin does not run on this machine, or a reward's weights or packages are missing on it.
        """
        set_threads(config.compute.threads)
        try:
            registry.plug_in(plugins)
            rewards = {name: _create_reward(name, config) for name in names}
            with accepting(config.rewards.accept_sha256):
                for reward in rewards.values():
                    reward.setup(device)
        except RewardError as error:
            raise unloadable(config, error) from error
        return cls(rewards, config.rewards.precision, device)

    def score(self, name: str, pixels: Pixels, prompt: str, chunk: int) -> tuple[Doubles, float]:
        """Score images for one prompt: scores float64 (n,), and the seconds that the computation took.

        A reward whose last bits depend on the batch size gets whole chunks only.
        """
        start = time.perf_counter()
        reward = self.rewards[name]
        size = chunk if reward.info.batch_sensitive else min(chunk, len(pixels))
        batches = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        # The last bits of networks depend on the batch size; what else scores is exact in any case.
        precision = self._precision if reward.info.batch_sensitive else "float32"
        with raising_chunk_too_large(chunk), computing_in(precision, self._device):
            scores = [checked_score(reward, as_tensor(pad(b, size)), [prompt] * size)[: len(b)] for b in batches]
        return torch.cat(scores).double().numpy(), time.perf_counter() - start

    def close(self) -> None:
        """Free what the rewards hold, such as connections. An error of it is logged, and changes no result."""
        for reward in self.rewards.values():
            try:
                reward.close()
            except RewardError as error:
                log.warning("%s", error)


def _create_reward(name: str, config: RunConfig) -> Reward:
    """Create a reward by name. Only the judge has settings in the configuration."""
    return VlmJudge(config.rewards.judge) if name == "vlm_judge" else registry.create(name)


def unloadable_model(config: RunConfig, error: ModelError) -> RequestError:
    """Return the refusal of a run whose model cannot be loaded on a machine that is to compute it."""
    adapters = [adapter.name for adapter in (*config.model.adapters, *config.model.adapters_by_reward.values())]
    return RequestError(
        file=config.name,
        key=error.key,
        value=adapters if error.key.startswith("model.adapters") else config.model.name,
        problem=error.problem,
        allowed=error.allowed,
        fix=error.fix,
    )


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


def png_files(pixels: Pixels) -> tuple[bytes, ...]:
    """Encode images uint8 (n, 3, h, w) as PNG files."""
    files = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, format="PNG")
        files.append(file.getvalue())
    return tuple(files)


def peak_memory() -> int:
    """The peak GPU memory of this process in bytes, or its peak resident memory if there is no GPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
