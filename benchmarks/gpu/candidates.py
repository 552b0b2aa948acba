"""Times what a candidate costs on one device: the product's calls, beside the bare passes of the same networks."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from actors.protocol import ChunkTooLarge
from actors.workers import DiffusionWorker
from benchmarks.gpu.architectures import Architecture
from diffusion.base import Conditioning, Loading, Sampling, take_pipeline
from diffusion.errors import NotFiniteError

L = 6  # weightings, as in the paper
STEPS = 50
STEP = 10  # a step in the first half, where SRSoup shares its queries


class Passes(NamedTuple):
    """The bare passes for one chunk of candidates, with their inputs on the device.

    Attributes:
        model: the model of the product that they are taken from.
        look_ahead: function that runs the denoiser once on the chunk, with and without the prompt.
        decode: function that runs the decoder once on the chunk.
    """

    model: Any
    look_ahead: Callable[[], Tensor]
    decode: Callable[[], Tensor]


WAYS = ("bare", "channels_last", "cudnn.benchmark", "compile")


def measure(
    architecture: Architecture, device: torch.device, dtype: str, chunks: Sequence[int], ways: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each size of chunk, and one for each way to make the bare passes of the last one."""
    loading = Loading(dtype=dtype)
    sampling = Sampling(steps=STEPS, guidance_scale=5.0)
    pipe = architecture.make(device, getattr(torch, dtype))
    model: Any = take_pipeline(pipe, loading, sampling)
    worker = DiffusionWorker(model)
    conditioning = worker.encode("a photo of a snail", sampling).conditioning
    weights = sum(p.numel() * p.element_size() for part in _networks(pipe) for p in part.parameters())
    common = {"model": architecture.name, "dtype": dtype, "weights_gb": weights / 1e9}
    for chunk in chunks:
        reset_peak(device)
        try:
            yield common | _product(worker, conditioning, chunk, device)
        except (ChunkTooLarge, torch.OutOfMemoryError, NotFiniteError) as error:
            yield common | {"chunk": chunk, "way": "product", "error": str(error)}
    chunk = chunks[-1]
    for way in ways:
        reset_peak(device)
        with _made(way, pipe):
            row = common | {"chunk": chunk, "way": way}
            try:
                passes = bare_passes(model, conditioning, chunk)
                yield row | _bare(passes, chunk, device, counted=way == "bare")
            except torch.OutOfMemoryError as error:
                yield row | {"error": str(error)}


def bare_passes(model: Any, conditioning: Conditioning, chunk: int) -> Passes:
    """Return the passes of the denoiser and of the decoder that a chunk of candidates needs."""
    device, dtype = model.device, model._dtype
    x = torch.randn(chunk, *model.latent_shape, device=device)
    on_device = conditioning._replace(
        embeds=conditioning.embeds.to(device, dtype),
        pooled=None if conditioning.pooled is None else conditioning.pooled.to(device, dtype),
    )
    timestep = model._kernel(conditioning.sampling).look_ahead_timestep(STEP)
    latents = x.to(model._pipe.vae.dtype)

    @torch.inference_mode()
    def look_ahead() -> Tensor:
        output: Tensor = model._predict(x, timestep, on_device)
        return output

    @torch.inference_mode()
    def decode() -> Tensor:
        images: Tensor = model._decoded(latents)
        return images

    return Passes(model, look_ahead, decode)


def _product(worker: DiffusionWorker, conditioning: Conditioning, chunk: int, device: torch.device) -> dict[str, Any]:
    """The product's own calls, NumPy in and NumPy out: seconds of a reverse step, and of a chunk of candidates."""
    shape, random = worker.model.latent_shape, np.random.default_rng(0)
    x_LCHW, x_NCHW = (random.standard_normal((n, *shape), dtype=np.float32) for n in (L, chunk))
    reverse = median_seconds(lambda: worker.reverse_step(x_LCHW, STEP, conditioning), device)
    looks, decodes = list[float](), list[float]()

    def candidates() -> None:
        _, report = worker.decode_candidates(x_NCHW, STEP, conditioning, chunk)
        looks.append(report.seconds_lookahead)
        decodes.append(report.seconds_decode)

    seconds = median_seconds(candidates, device)
    return {
        "chunk": chunk, "way": "product", "reverse_step_ms": reverse * 1e3, "candidate_ms": seconds / chunk * 1e3,
        "candidates_per_s": chunk / seconds, "look_ahead_ms": statistics.median(looks) / chunk * 1e3,
        "decode_ms": statistics.median(decodes) / chunk * 1e3, "peak_gb": peak(device),
    }  # fmt: skip


def _bare(passes: Passes, chunk: int, device: torch.device, counted: bool) -> dict[str, Any]:
    look_ahead, decode = (median_seconds(work, device) for work in (passes.look_ahead, passes.decode))
    found = {
        "look_ahead_ms": look_ahead / chunk * 1e3, "decode_ms": decode / chunk * 1e3,
        "candidate_ms": (look_ahead + decode) / chunk * 1e3, "candidates_per_s": chunk / (look_ahead + decode),
        "peak_gb": peak(device),
    }  # fmt: skip
    if counted:
        for name, work in (("look_ahead", passes.look_ahead), ("decode", passes.decode)):
            with FlopCounterMode(display=False) as counter:
                work()
            found[f"{name}_tflop"] = counter.get_total_flops() / chunk / 1e12
    return found


@contextmanager
def _made(way: str, pipe: Any) -> Iterator[None]:
    """Change the networks, or how they are computed, for as long as the block runs."""
    denoiser = "unet" if hasattr(pipe, "unet") else "transformer"
    networks = [getattr(pipe, denoiser), pipe.vae]
    for network in networks:
        # The counter of operations cannot follow a parameter that is the input of a module, as some of Sana's are.
        network.requires_grad_(False)
    if way == "channels_last":
        # The VAE of a video model has convolutions over frames too, which have no such layout.
        networks = [one for one in networks if all(weight.dim() <= 4 for weight in one.parameters())]
        for network in networks:
            network.to(memory_format=torch.channels_last)
        yield
        for network in networks:
            network.to(memory_format=torch.contiguous_format)
    elif way == "cudnn.benchmark":
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=torch.backends.cudnn.allow_tf32):
            yield
    elif way == "compile":
        decoder = pipe.vae.decoder
        networks[0].compile()
        decoder.compile()
        yield
        networks[0]._compiled_call_impl = decoder._compiled_call_impl = None
    else:
        yield


def median_seconds(work: Callable[[], Any], device: torch.device, repetitions: int = 5, warm: int = 2) -> float:
    """Return the median time of some work on a device, after it ran `warm` times."""
    times = []
    for repetition in range(warm + repetitions):
        _wait_for(device)
        start = time.perf_counter()
        work()
        _wait_for(device)
        if repetition >= warm:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def reset_peak(device: torch.device) -> None:
    """Free what nothing holds, and count the highest memory anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: torch.device) -> float | None:
    """Return the highest memory that tensors took on a GPU, in GB; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _networks(pipe: Any) -> list[torch.nn.Module]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
