"""The common part of the families: loading, classifier-free guidance, the reverse step, the decoder."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffusion.base import Conditioning, Loading, ReverseMoments, Sampling
from diffusion.checks.image_size import pixels_of_a_latent
from diffusion.checks.whole import check_whole
from diffusion.errors import NotFiniteError
from diffusion.families import FAMILIES
from diffusion.folder import absent_parts
from diffusion.kernels import DDIM, FlowSDE, Kernel
from diffusion.loading import download, load_vae, only_model_errors, silence_libraries
from diffusion.lora.load import load_adapters
from diffusion.lora.soup import MixedAdapters
from diffusion.source import Source, metadata_folder
from diffusion.surrogate.gradient import Value, differentiable, gradients_of_rows

log = logging.getLogger(__name__)


class LatentDiffusion(ABC):
    """A diffusers pipeline with the methods of `DiffusionModel`. A family adds its encoders and its denoiser."""

    PIPELINE: ClassVar[str]
    ENCODERS: ClassVar[tuple[str, ...]]
    # Arguments that the pipeline is loaded with, besides its files.
    LOADED_WITH: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, source: Source | Any, loading: Loading, device: str = "cpu") -> None:
        """Load a model, or use a loaded diffusers pipeline of the family (`base.take_pipeline`)."""
        self._loading, self._device = loading, torch.device(device)
        self._dtype = getattr(torch, loading.dtype)
        self._mixed: MixedAdapters | None = None
        self._pipe = self._load(source) if isinstance(source, Source) else source
        if self._vae_overflows(self._pipe.vae.config):
            self._pipe.vae.to(torch.float32)
        parts = (getattr(self._pipe, name) for name in self.ENCODERS)
        self._encoders = [part for part in parts if part is not None]
        for part in _modules(self._pipe):
            if not (loading.offload_text_encoders and part in self._encoders):
                part.to(self._device)
        self._kernels = dict[Sampling, Kernel]()
        self._cut_prompts = set[str]()

    def _load(self, source: Source) -> Any:
        silence_libraries()
        import diffusers  # imported here, because the import of its pipelines logs a warning about torchvision

        owner = getattr(diffusers, self.PIPELINE)
        folder = metadata_folder(source) if source.revision is None else download(source, owner, **self.LOADED_WITH)
        variant = check_whole(folder)
        options = {**self.LOADED_WITH, **dict.fromkeys(absent_parts(folder))}
        if source.vae:
            options["vae"] = load_vae(source.vae, self._dtype)
        with only_model_errors(folder):
            pipe = owner.from_pretrained(
                folder, variant=variant, dtype=self._dtype, use_safetensors=True, local_files_only=True, **options
            )
        fixed = load_adapters(pipe, source.adapters, folder, FAMILIES[self.PIPELINE])
        if source.by_reward:
            family = FAMILIES[self.PIPELINE]
            self._mixed = MixedAdapters(pipe, getattr(pipe, family.denoiser), source.by_reward, fixed, folder, family)
        if self._loading.attention_slicing:
            pipe.enable_attention_slicing()
        if self._loading.vae_slicing:
            pipe.vae.enable_slicing()
        return pipe

    def _kernel(self, sampling: Sampling) -> Kernel:
        if sampling not in self._kernels:
            self._kernels[sampling] = self._make_kernel(sampling)
        return self._kernels[sampling]

    def _make_kernel(self, sampling: Sampling) -> Kernel:
        own, family = self._pipe.scheduler, FAMILIES[self.PIPELINE]
        scheduler = {**own.config, "_class_name": type(own).__name__}
        if not family.is_flow:
            return DDIM.from_scheduler(scheduler, sampling.steps, sampling.eta)
        _, height, width = self.latent_shape_of(sampling)
        patch = family.patch_of(self._denoiser.config)
        tokens = (height // patch) * (width // patch)
        return FlowSDE.from_scheduler(scheduler, sampling.steps, sampling.noise_level, tokens, family.even)

    def _vae_overflows(self, config: Any) -> bool:
        """Whether the decoder needs float32 although the networks have fewer bits."""
        return False

    @property
    @abstractmethod
    def _denoiser(self) -> Any: ...

    @abstractmethod
    def _encode(self, prompt: str, negative_prompt: str | None) -> tuple[Tensor, Tensor | None]:
        """Return `embeds` and `pooled` of `Conditioning`, by the pipeline's own encoding, on the device."""

    @abstractmethod
    def _denoise(self, x: Tensor, timestep: float, embeds: Tensor, pooled: Tensor | None, scale: float) -> Tensor:
        """Return the output of the denoiser for tensors of the same length, in its dtype.

        `scale` is the guidance scale, for denoisers that take it as an input.
        """

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        config, family = self._denoiser.config, FAMILIES[self.PIPELINE]
        size = family.own_side(config)
        height, width = (size, size) if isinstance(size, int) else size
        return (config.in_channels // family.packed**2, height, width)

    def latent_shape_of(self, sampling: Sampling) -> tuple[int, int, int]:
        channels, *own = self.latent_shape
        pixels = pixels_of_a_latent(self._pipe.vae.config)
        height, width = (
            side if given is None else given // pixels
            for side, given in zip(own, (sampling.height, sampling.width), strict=True)
        )
        return (channels, height, width)

    def timesteps(self, sampling: Sampling) -> Sequence[int]:
        return tuple(round(timestep) for timestep in self._kernel(sampling).timesteps)

    def has_noise(self, sampling: Sampling) -> bool:
        return any(self._kernel(sampling).sigma(step) > 0 for step in range(sampling.steps))

    @torch.inference_mode()
    def encode(self, prompt: str, sampling: Sampling) -> Conditioning:
        """Return the embeddings of the negative prompt and of the prompt. Warn once if the prompt is cut."""
        self._warn_if_cut(prompt)
        with self._encoders_on_device():
            embeds, pooled = self._encode(prompt, sampling.negative_prompt)
        for part in (embeds, pooled):
            if part is not None:
                _finite(part, "text encoder", self._dtype)
        return Conditioning(sampling, embeds.cpu(), None if pooled is None else pooled.cpu())

    @torch.inference_mode()
    def reverse_step(self, x: Tensor, step: int, conditioning: Conditioning) -> ReverseMoments:
        x, kernel = x.to(self._device), self._kernel(conditioning.sampling)
        prediction = self._predict_soup(x, kernel.timesteps[step], conditioning)
        mean = _finite(kernel.mean(x, prediction, step), "reverse step", self._dtype, step)
        return ReverseMoments(mean.cpu(), kernel.sigma(step))

    @torch.inference_mode()
    def look_ahead(self, x: Tensor, step: int, conditioning: Conditioning) -> Tensor:
        x, kernel = x.to(self._device), self._kernel(conditioning.sampling)
        timestep = kernel.look_ahead_timestep(step)
        if timestep is None:
            return _finite(x, "look-ahead", torch.float32, step)
        x0 = kernel.x0(x, self._predict_ahead(x, timestep, conditioning), timestep)
        return _finite(x0, "look-ahead", self._dtype, step)

    def look_ahead_gradient(
        self, x: Tensor, step: int, conditioning: Conditioning, value: Value, at_once: int = 1
    ) -> Tensor:
        kernel = self._kernel(conditioning.sampling)
        timestep = kernel.look_ahead_timestep(step)
        with differentiable(self._denoiser, self._loading.gradient_checkpointing):
            inputs = conditioning.copied()

            def look_ahead(rows: Tensor) -> Tensor:
                if timestep is None:
                    return rows
                return kernel.x0(rows, self._predict_ahead(rows, timestep, inputs), timestep)

            gradient = gradients_of_rows(look_ahead, x.to(self._device), value, at_once)
        return _finite(gradient, "gradient of the surrogate", self._dtype, step).cpu()

    @torch.inference_mode()
    def decode(self, x0: Tensor) -> Tensor:
        vae = self._pipe.vae
        images = self._decoded(self._unscaled(x0.to(self._device, vae.dtype))).float()
        # Before the conversion to bytes, which turns NaN into black.
        _finite(images, "decoder", vae.dtype)
        return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()

    def _decoded(self, latents: Tensor) -> Tensor:
        """The images (n, 3, height, width) of latents as the VAE takes them, from about -1 to 1."""
        frames = FAMILIES[self.PIPELINE].frames
        images: Tensor = self._pipe.vae.decode(latents[:, :, None] if frames else latents, return_dict=False)[0]
        return images[:, :, 0] if frames else images

    def _unscaled(self, latents: Tensor) -> Tensor:
        config = self._pipe.vae.config
        unscaled: Tensor = latents / config.scaling_factor + (config.get("shift_factor") or 0)
        return unscaled

    def _predict_ahead(self, x: Tensor, timestep: float, conditioning: Conditioning) -> Tensor:
        """The prediction for candidates: guided, unless the sampling says that they are not."""
        sampling = conditioning.sampling
        return self._predict(x, timestep, conditioning, sampling.guidance_scale if sampling.lookahead_guided else 1.0)

    def _predict_soup(self, x: Tensor, timestep: float, conditioning: Conditioning) -> Tensor:
        """The guided prediction of the mix of fine-tuned models that the sampling names, row by row; else the model's.

        A row is predicted by itself, so its bits do not depend on the other rows.
        """
        soup = conditioning.sampling.soup
        if soup is None:
            return self._predict(x, timestep, conditioning)
        if self._mixed is None:
            raise ValueError("the sampling mixes adapters by reward, and the model was loaded without any")
        weights = soup.weights if len(soup.weights) == len(x) else soup.weights * len(x)
        rows = [partial(self._predict, row, timestep, conditioning) for row in x.split(1)]
        return torch.cat(
            [self._mixed.predicted(soup, w_M, predict) for predict, w_M in zip(rows, weights, strict=True)]
        )

    def _predict(self, x: Tensor, timestep: float, conditioning: Conditioning, scale: float | None = None) -> Tensor:
        """The guided prediction at one timestep, float32. Without a second pass, the negative prompt is left out.

        There is none with a scale of 1, and in families that make each prediction in one pass.
        """
        scale = conditioning.sampling.guidance_scale if scale is None else scale
        guided = scale != 1 and FAMILIES[self.PIPELINE].has_two_passes

        def rows(part: Tensor) -> Tensor:
            part = part if guided else part[1:]
            return part.to(self._device, self._dtype).repeat_interleave(len(x), dim=0)

        batch = torch.cat([x, x]) if guided else x
        pooled = None if conditioning.pooled is None else rows(conditioning.pooled)
        output = self._denoise(batch.to(self._dtype), timestep, rows(conditioning.embeds), pooled, scale).float()
        if not guided:
            return output
        negative, prompt = output.chunk(2)
        return self._guided(negative, prompt, scale)

    def _guided(self, negative: Tensor, prompt: Tensor, scale: float) -> Tensor:
        """The guided prediction that follows from the predictions for the negative prompt and for the prompt."""
        return negative + scale * (prompt - negative)

    @contextmanager
    def _encoders_on_device(self) -> Iterator[None]:
        if not self._loading.offload_text_encoders:
            yield
            return
        try:
            for encoder in self._encoders:
                encoder.to(self._device)
            yield
        finally:
            for encoder in self._encoders:
                encoder.to("cpu")
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _token_limits(self) -> dict[str, int]:
        """The number of tokens, with the special ones, that each tokenizer of the pipeline may return."""
        names = [name.replace("text_encoder", "tokenizer") for name in self.ENCODERS]
        tokenizers = {name: getattr(self._pipe, name) for name in names}
        limits = {name: tokenizer.model_max_length for name, tokenizer in tokenizers.items() if tokenizer is not None}
        own = FAMILIES[self.PIPELINE].token_limits(self._denoiser.config)
        return {name: own.get(name, limit) for name, limit in limits.items()}

    def _warn_if_cut(self, prompt: str) -> None:
        if prompt in self._cut_prompts:
            return
        cuts = dict[str, str]()
        for name, limit in self._token_limits().items():
            tokenizer = getattr(self._pipe, name)
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            if cut := ids[limit - tokenizer.num_special_tokens_to_add() :]:
                cuts[name] = tokenizer.decode(cut)
        if cuts:
            self._cut_prompts.add(prompt)
            longest = max(cuts.values(), key=len)
            log.warning("%s cut off the end of a long prompt: %.200r", ", ".join(cuts), longest)


def by_channel(latents: Tensor, config: Any) -> Tensor:
    """Return latents with mean 0 and deviation 1 in each channel as a VAE takes them, by its configuration."""
    mean, std = (latents.new_tensor(part).view(-1, 1, 1) for part in (config.latents_mean, config.latents_std))
    unscaled: Tensor = latents * std / config.get("scaling_factor", 1) + mean
    return unscaled


def _finite(tensor: Tensor, part: str, dtype: torch.dtype, step: int | None = None) -> Tensor:
    """Return a tensor that a part computed.

    Raises:
        NotFiniteError: it contains NaN or infinity.
    """
    if not bool(tensor.isfinite().all()):
        raise NotFiniteError(part, str(dtype).removeprefix("torch."), step)
    return tensor


def _modules(pipe: Any) -> list[torch.nn.Module]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
