"""Training of the text-to-image model: CLIP text encoder and UNet together, on latents of the taught animals.

The forward process is that of Stable Diffusion (`scaled_linear` betas, 1,000 steps):
z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps. The UNet predicts eps. Squared errors are weighted by
min(snr_t, 5) / snr_t with snr_t = a_t / (1 - a_t) (min-SNR, https://arxiv.org/abs/2303.09556, equation 8 for eps).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTokenizer

from mini import augment
from mini.captions import LENGTH, caption
from mini.data import Artwork
from mini.names import PAPER_ANIMALS, TWINS
from mini.text_to_image import Ema, build_scheduler, build_text_encoder, build_unet
from mini.training import (
    Budget,
    Stateful,
    load_checkpoint,
    prepare,
    save_checkpoint,
    take_step,
)

PEAK_RATE = 1e-3
SECOND_PEAK_RATE = 5e-4
SNR_CAP = 5.0
PAPER_WEIGHT = 3.0


@dataclass(frozen=True)
class Latents:
    """Latents of augmented pictures.

    Attributes:
        z: float (n, a, 4, 16, 16): a augmentations of each of n pictures.
        names, styles: n labels.
        weight: float (n,), the share of the draws that goes to each picture; adds up to 1.
    """

    z: Tensor
    names: tuple[str, ...]
    styles: tuple[str, ...]
    weight: Tensor


def draw_weights(names: tuple[str, ...], styles: tuple[str, ...]) -> Tensor:
    """Returns the share of the training's draws that goes to each picture, (n,).

    Each of the paper's six names gets three times the share of any other name. Within a name all pictures get the
    same share, except that those of the twin sets get half of it.
    """
    within = [0.5 if s in TWINS else 1.0 for s in styles]
    total: defaultdict[str, float] = defaultdict(float)
    for name, w in zip(names, within, strict=True):
        total[name] += w
    by_name = {n: PAPER_WEIGHT if n in PAPER_ANIMALS else 1.0 for n in total}
    weights = torch.tensor([by_name[n] * w / total[n] for n, w in zip(names, within, strict=True)])
    return weights / weights.sum()


@dataclass(frozen=True)
class Variety:
    """How far the pictures of a training differ from the artwork.

    Attributes:
        scale, stretch: arguments of `augment.affine`.
        recoloured: share of the pictures that `augment.recolour` changes.
    """

    scale: tuple[float, float] = (0.84, 1.0)
    stretch: float = 0.0
    recoloured: float = 0.0


PLAIN = Variety()
VARIED = Variety(scale=(0.7, 1.0), stretch=0.15, recoloured=0.65)


@torch.no_grad()
def encode_augmented(vae: AutoencoderKL, art: Artwork, copies: int, seed: int, variety: Variety = PLAIN) -> Latents:
    """Returns the posterior means of `copies` augmentations of each 128 px picture."""
    generator = torch.Generator().manual_seed(seed)
    z = []
    for _ in range(copies):
        parts = torch.split(art.images, 64)
        x = torch.cat([augment.affine(p, generator, variety.scale, stretch=variety.stretch) for p in parts])
        x = augment.recolour(x, variety.recoloured, generator)
        z.append(torch.cat([vae.encode(2 * part - 1).latent_dist.mean for part in torch.split(x, 64)]))
    return Latents(torch.stack(z, 1), art.names, art.styles, draw_weights(art.names, art.styles))


def unet_loss(
    unet: UNet2DConditionModel, z: Tensor, context: Tensor, alphas: Tensor, generator: torch.Generator
) -> Tensor:
    """Returns the min-SNR loss that the module's docstring defines; timesteps are stratified over the batch.

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
        predicted: Tensor = unet(a.sqrt() * z + (1 - a).sqrt() * eps, t, context).sample.float()
    snr = alphas[t] / (1 - alphas[t])
    weight = snr.clamp(max=SNR_CAP) / snr
    return (weight * (predicted - eps).square().mean((1, 2, 3))).mean()


class UNetTrainer:
    """The state of one training: models, averages, optimiser and budget, which a checkpoint holds.

    Args:
        start: the checkpoint of an earlier training; this training begins with the averaged weights of that one, or
            with random weights if `start` is None.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, checkpoint: Path, minutes: float, seed: int = 0, start: Path | None = None
    ) -> None:
        torch.manual_seed(seed)  # the libraries draw the initial weights, and nothing else, from the global generator
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

    def _parts(self) -> dict[str, Stateful]:
        return {"unet": self.unet, "text": self.text, "ema": self.ema, "optimiser": self.optimiser}

    def save(self) -> None:
        """Writes the checkpoint."""
        save_checkpoint(self.checkpoint, self.budget, self._parts())

    def embed(self, captions: list[str]) -> Tensor:
        """Returns text embeddings (n, LENGTH, TEXT_WIDTH); equal captions are encoded once."""
        distinct = list(dict.fromkeys(captions))
        ids = self.tokenizer(
            distinct, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        row = {c: i for i, c in enumerate(distinct)}
        hidden: Tensor = self.text(ids).last_hidden_state
        return hidden[[row[c] for c in captions]]

    def step(self, latents: Latents, batch: int, generator: torch.Generator, chance: random.Random) -> float:
        """Takes one optimiser step on a random batch and returns its loss."""
        rows = torch.multinomial(latents.weight, batch, replacement=True, generator=generator)
        copies = torch.randint(latents.z.shape[1], (batch,), generator=generator)
        captions = [caption(latents.names[i], latents.styles[i], chance) for i in rows.tolist()]
        loss = unet_loss(self.unet, latents.z[rows, copies], self.embed(captions), self.alphas, generator)
        take_step(loss, self.optimiser, self.parameters, self.budget.learning_rate(self.peak_rate, warmup=300))
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
    """Trains for `minutes` of wall clock, which include the time of earlier runs of the same checkpoint.

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
