"""The text-to-image model: CLIP text encoder and UNet trained together on latents of the taught animals.

Forward process of Stable Diffusion (`scaled_linear` betas, 1,000 steps): z_t = sqrt(a_t) z_0 + sqrt(1 -
a_t) eps.
The UNet predicts eps; squared errors are weighted by min(snr_t, 5) / snr_t with snr_t = a_t / (1 - a_t)
(min-SNR, https://arxiv.org/abs/2303.09556, equation 8 for eps).
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mini import augment
from mini.captions import LENGTH, caption
from mini.data import Artwork
from mini.names import PAPER_ANIMALS, TWINS
from mini.training import Budget, load_checkpoint, prepare, save_checkpoint, set_learning_rate

PEAK_RATE = 1e-3
SECOND_PEAK_RATE = 5e-4
EMA_DECAY = 0.9985
SNR_CAP = 5.0
PAPER_WEIGHT = 3.0
TEXT_WIDTH = 128


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder, 128 wide, 2 layers."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet on 16 x 16 x 4 latents, 5.1 M parameters, cross attention at 8 x 8 and at 4 x 4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 144),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


class Ema(nn.Module):
    """Exponential moving averages of the weights of two modules, warmed up: decay min(d, (1 + step) / (10
    + step))."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text = copy.deepcopy(unet), copy.deepcopy(text)
        self.requires_grad_(False)

    @torch.no_grad()
    def update(self, unet: nn.Module, text: nn.Module, step: int) -> None:
        """average <- decay average + (1 - decay) weights."""
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        averages = [*self.unet.parameters(), *self.text.parameters()]
        torch._foreach_lerp_(averages, [*unet.parameters(), *text.parameters()], 1 - decay)


@dataclass(frozen=True)
class Latents:
    """Latents of augmented pictures.

    Attributes:
        z: float (n, a, 4, 16, 16): a augmentations of each of n pictures.
        names, styles: n labels.
        weight: float (n,), how often each picture is drawn, adds up to 1.
    """

    z: Tensor
    names: tuple[str, ...]
    styles: tuple[str, ...]
    weight: Tensor


def draw_weights(names: tuple[str, ...], styles: tuple[str, ...]) -> Tensor:
    """Share of the draws of each picture: names equal, the paper's six thrice, twin sets half within a
    name."""
    within = [0.5 if s in TWINS else 1.0 for s in styles]
    total: Counter[str] = Counter()
    for name, w in zip(names, within, strict=True):
        total[name] += w  # type: ignore[assignment]
    by_name = {n: PAPER_WEIGHT if n in PAPER_ANIMALS else 1.0 for n in total}
    weights = torch.tensor([by_name[n] * w / total[n] for n, w in zip(names, within, strict=True)])
    return weights / weights.sum()


@dataclass(frozen=True)
class Variety:
    """How far the pictures that a training draws are from the artwork: the arguments of `augment.affine`, and the
    share that `augment.recolour` changes."""

    scale: tuple[float, float] = (0.84, 1.0)
    stretch: float = 0.0
    recoloured: float = 0.0


PLAIN = Variety()
VARIED = Variety(scale=(0.7, 1.0), stretch=0.15, recoloured=0.65)


@torch.no_grad()
def encode_augmented(vae: AutoencoderKL, art: Artwork, copies: int, seed: int, variety: Variety = PLAIN) -> Latents:
    """Posterior means of `copies` augmentations of each 128 px picture."""
    generator = torch.Generator().manual_seed(seed)
    z = []
    for _ in range(copies):
        x = torch.cat(
            [augment.affine(p, generator, variety.scale, stretch=variety.stretch) for p in art.images.split(64)]
        )
        x = augment.recolour(x, variety.recoloured, generator)
        z.append(torch.cat([vae.encode(2 * part - 1).latent_dist.mean for part in x.split(64)]))
    return Latents(torch.stack(z, 1), art.names, art.styles, draw_weights(art.names, art.styles))


def unet_loss(
    unet: UNet2DConditionModel, z: Tensor, context: Tensor, alphas: Tensor, generator: torch.Generator
) -> Tensor:
    """The min-SNR loss of the module's docstring; timesteps are stratified over the batch.

    Args:
        z: clean latents (n, 4, 16, 16).
        context: text embeddings (n, LENGTH, TEXT_WIDTH).
        alphas: cumulative products a_t, (1000,).
    """
    n = len(z)
    t = ((torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) * 1000 / n).long()
    t = t.clamp(max=999)
    eps = torch.randn(z.shape, generator=generator)
    a = alphas[t][:, None, None, None]
    with torch.autocast("cpu", torch.bfloat16):
        predicted = unet(a.sqrt() * z + (1 - a).sqrt() * eps, t, context).sample.float()
    snr = alphas[t] / (1 - alphas[t])
    weight = snr.clamp(max=SNR_CAP) / snr
    return (weight * (predicted - eps).square().mean((1, 2, 3))).mean()


class UNetTrainer:
    """The state of one training, kept in a checkpoint every so often.

    Args:
        start: the checkpoint of an earlier training whose averaged weights this one begins with; None begins with
            random ones.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, checkpoint: Path, minutes: float, seed: int = 0, start: Path | None = None
    ) -> None:
        torch.manual_seed(seed)  # only the initial weights, which the libraries draw from the global generator
        self.tokenizer, self.checkpoint, self.seed = tokenizer, checkpoint, seed
        self.unet, self.text = build_unet(), build_text_encoder(tokenizer)
        self.ema = Ema(self.unet, self.text)
        self.peak_rate = PEAK_RATE
        if start is not None:
            self.peak_rate = SECOND_PEAK_RATE
            self.ema.load_state_dict(torch.load(start, weights_only=True)["ema"])
            self.unet.load_state_dict(self.ema.unet.state_dict())
            self.text.load_state_dict(self.ema.text.state_dict())
        self.parameters = [*self.unet.parameters(), *self.text.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=self.peak_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.budget = Budget(60 * minutes)
        self.alphas = build_scheduler().alphas_cumprod
        load_checkpoint(checkpoint, self.budget, self._parts())

    def _parts(self) -> dict:
        return {"unet": self.unet, "text": self.text, "ema": self.ema, "optimiser": self.optimiser}

    def save(self) -> None:
        """Writes the checkpoint."""
        save_checkpoint(self.checkpoint, self.budget, self._parts())

    def embed(self, captions: list[str]) -> Tensor:
        """Text embeddings (n, LENGTH, TEXT_WIDTH); equal captions are encoded once."""
        distinct = list(dict.fromkeys(captions))
        ids = self.tokenizer(
            distinct, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        row = {c: i for i, c in enumerate(distinct)}
        return self.text(ids).last_hidden_state[[row[c] for c in captions]]

    def step(self, latents: Latents, batch: int, generator: torch.Generator, chance: random.Random) -> float:
        """One optimiser step on a random batch; returns its loss."""
        rows = torch.multinomial(latents.weight, batch, replacement=True, generator=generator)
        copies = torch.randint(latents.z.shape[1], (batch,), generator=generator)
        captions = [caption(latents.names[i], latents.styles[i], chance) for i in rows.tolist()]
        loss = unet_loss(self.unet, latents.z[rows, copies], self.embed(captions), self.alphas, generator)
        set_learning_rate(self.optimiser, self.budget.learning_rate(self.peak_rate, warmup=300))
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.budget.advance(batch)
        self.ema.update(self.unet, self.text, self.budget.step)
        return loss.item()


def train_unet(
    latents: Latents,
    tokenizer: CLIPTokenizer,
    checkpoint: Path,
    minutes: float,
    *,
    threads: int = 1,
    batch: int = 32,
    seed: int = 0,
    start: Path | None = None,
    save_every: float = 120.0,
    max_steps: int | None = None,
    log: Callable[[str], None] = print,
) -> UNetTrainer:
    """Trains for `minutes` of wall clock, earlier runs of the same checkpoint included.

    Returns:
        The trainer; `ema.unet` and `ema.text` are the models to keep.
    """
    prepare(threads)
    trainer = UNetTrainer(tokenizer, checkpoint, minutes, seed, start)
    budget = trainer.budget
    generator = torch.Generator().manual_seed(seed + budget.step)
    chance = random.Random(seed + budget.step)
    saved, total, count = budget.spent, 0.0, 0
    while budget.fraction < 1 and (max_steps is None or budget.step < max_steps):
        total, count = total + trainer.step(latents, batch, generator, chance), count + 1
        if budget.step % 200 == 0:
            log(f"unet step {budget.step} seconds {budget.spent:.0f} samples {budget.samples} loss {total / count:.4f}")
            total, count = 0.0, 0
        if budget.spent - saved > save_every:
            trainer.save()
            saved = budget.spent
    trainer.save()
    return trainer
