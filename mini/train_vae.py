"""The autoencoder: 64 px RGB <-> 16 x 16 x 4 latents, trained on all emoji of all sets.

Loss, for a picture x in [-1, 1], posterior N(m, s^2), z drawn from it, reconstruction y:

    |y - x| + 0.5 |grad y - grad x| + |A y - A x| + 0.5 |C z - A x| + 3e-4 KL(N(m, s^2) || N(0, 1)),

means over all elements. A takes averages over 4 x 4 pixels and C is a 1 x 1 convolution that is thrown away
after
training: both keep the colour of large areas, which the first two terms let go of.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from mini import augment
from mini.training import Budget, load_checkpoint, prepare, save_checkpoint, set_learning_rate

PEAK_RATE = 2e-3
KL_WEIGHT = 3e-4
FACTOR = 4


def build_vae() -> AutoencoderKL:
    """An untrained autoencoder: factor 4, 4 latent channels, no attention, 0.65 M parameters."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def _gradient_loss(y: Tensor, x: Tensor) -> Tensor:
    d = y - x
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()


def vae_loss(vae: AutoencoderKL, colour: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """The loss of the module's docstring for pictures x in [-1, 1], (n, 3, p, p)."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
        y = vae.decode(z).sample.float()
    averages = F.avg_pool2d(x, FACTOR)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return (
        (y - x).abs().mean()
        + 0.5 * _gradient_loss(y, x)
        + (F.avg_pool2d(y, FACTOR) - averages).abs().mean()
        + 0.5 * (colour(z) - averages).abs().mean()
        + KL_WEIGHT * kl
    )


def vae_batch(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A random batch in [-1, 1] with moved shapes and shuffled, tinted or inverted colours."""
    rows = torch.randint(len(images), (size,), generator=generator)
    x = augment.affine(images[rows], generator)
    x = augment.shuffle_channels(x, 0.5, generator)
    x = augment.invert(augment.tint(x, 0.1, generator), 0.08, generator)
    return 2 * x - 1


def train_vae(
    images: Tensor,
    checkpoint: Path,
    minutes: float,
    *,
    threads: int = 2,
    batch: int = 32,
    seed: int = 0,
    save_every: float = 120.0,
    max_steps: int | None = None,
    log: Callable[[str], None] = print,
) -> tuple[AutoencoderKL, Budget]:
    """Trains for `minutes` of wall clock, earlier runs of the same checkpoint included.

    Args:
        images: uint8 (n, 3, 128, 128).
        checkpoint: where to save every `save_every` seconds and to go on from.
        max_steps: stop early after so many steps in all (tests).

    Returns:
        The autoencoder, latents not yet normalised, and the budget spent.
    """
    prepare(threads)
    torch.manual_seed(seed)  # only the initial weights, which diffusers draws from the global generator
    vae, colour = build_vae(), nn.Conv2d(4, 3, 1)
    parameters = [*vae.parameters(), *colour.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    budget = Budget(60 * minutes)
    parts = {"vae": vae, "colour": colour, "optimiser": optimiser}
    load_checkpoint(checkpoint, budget, parts)
    generator = torch.Generator().manual_seed(seed + budget.step)
    saved, running = budget.spent, 0.0
    while budget.fraction < 1 and (max_steps is None or budget.step < max_steps):
        set_learning_rate(optimiser, budget.learning_rate(PEAK_RATE))
        loss = vae_loss(vae, colour, vae_batch(images, batch, generator), generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        budget.advance(batch)
        running = loss.item() if running == 0 else 0.98 * running + 0.02 * loss.item()
        if budget.step % 100 == 0:
            log(f"vae step {budget.step} seconds {budget.spent:.0f} samples {budget.samples} loss {running:.4f}")
        if budget.spent - saved > save_every:
            save_checkpoint(checkpoint, budget, parts)
            saved = budget.spent
    save_checkpoint(checkpoint, budget, parts)
    return vae.eval(), budget


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, images: Tensor) -> None:
    """Folds mean and deviation of each latent channel over `images` into the 1 x 1 convolutions, in place.

    With z' = (z - mu) / s out of `quant_conv` and z = s z' + mu into `post_quant_conv`, latents are
    centred with
    unit variance and decode to the same pictures: SD's scaling factor is 1.
    """
    z = torch.cat([vae.encode(2 * x.float() / 255 - 1).latent_dist.mean for x in images.split(64)])
    mu, s = z.mean((0, 2, 3)), z.std((0, 2, 3))
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.weight[:4] /= s[:, None, None, None]
    encode.bias[:4] = (encode.bias[:4] - mu) / s
    encode.bias[4:] -= 2 * s.log()
    decode.bias += decode.weight[:, :, 0, 0] @ mu
    decode.weight *= s[None, :, None, None]


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """uint8 -> latents' means -> uint8, (n, 3, 64, 64) both."""
    out = []
    for x in images.split(64):
        y = vae.decode(vae.encode(2 * x.float() / 255 - 1).latent_dist.mean).sample
        out.append(((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(out)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair of uint8 pictures in dB: 10 log10(255^2 / mean squared
    error)."""
    error = (a.float() - b.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(255**2 / error)
