"""The autoencoder and its training: 64 px RGB <-> 16 x 16 x 4 latents, on all emoji of all sets.

For a picture x in [-1, 1], its posterior N(m, s^2), a draw z from that, and the reconstruction y, the loss is

    |y - x| + 0.5 |grad y - grad x| + |A y - A x| + 0.5 |C z - A x| + 3e-4 KL(N(m, s^2) || N(0, 1)),

each term a mean over all elements. A takes averages over 4 x 4 pixels, and C is a 1 x 1 convolution that is discarded
after training. The terms with A and C keep the colour of large areas, which the first two terms alone do not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from mini import augment
from mini.training import (
    Budget,
    load_checkpoint,
    prepare,
    repeat_steps,
    take_step,
)

PEAK_RATE = 2e-3
KL_WEIGHT = 3e-4
FACTOR = 4


def build_vae() -> AutoencoderKL:
    """Returns an untrained autoencoder: factor 4, 4 latent channels, no attention, 0.65 M parameters."""
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
    """Returns the loss that the module's docstring defines, for pictures x in [-1, 1], (n, 3, p, p).

    Args:
        colour: the 1 x 1 convolution C.
    """
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
        y: Tensor = vae.decode(z).sample.float()
    averages = F.avg_pool2d(x, FACTOR)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    loss: Tensor = (
        (y - x).abs().mean()
        + 0.5 * _gradient_loss(y, x)
        + (F.avg_pool2d(y, FACTOR) - averages).abs().mean()
        + 0.5 * (colour(z) - averages).abs().mean()
        + KL_WEIGHT * kl
    )
    return loss


def vae_batch(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Returns a random batch in [-1, 1] with moved shapes and shuffled, tinted or inverted colours."""
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
    """Trains for `minutes` of wall clock, which include the time of earlier runs of the same checkpoint.

    Args:
        images: uint8 (n, 3, 128, 128).
        checkpoint: the file to continue from, written every `save_every` seconds.
        max_steps: stops the training earlier, at this number of steps over all runs (for tests).

    Returns:
        The autoencoder, whose latents are not normalised yet, and the budget.
    """
    prepare(threads)
    torch.manual_seed(seed)  # diffusers draws the initial weights, and nothing else, from the global generator
    vae, colour = build_vae(), nn.Conv2d(4, 3, 1)
    parameters = [*vae.parameters(), *colour.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    budget, parts = Budget(60 * minutes), {"vae": vae, "colour": colour, "optimiser": optimiser}
    load_checkpoint(checkpoint, budget, parts)
    generator = torch.Generator().manual_seed(seed + budget.step)

    def step() -> float:
        loss = vae_loss(vae, colour, vae_batch(images, batch, generator), generator)
        take_step(loss, optimiser, parameters, budget.learning_rate(PEAK_RATE))
        budget.advance(batch)
        return loss.item()

    repeat_steps("vae", step, budget, checkpoint, parts, save_every=save_every, max_steps=max_steps, log=log)
    return vae.eval(), budget


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, images: Tensor) -> None:
    """Changes the autoencoder in place, so that each latent channel has mean 0 and variance 1 over `images`.

    With the mean mu and the deviation s of each channel, the 1 x 1 convolution `quant_conv` gives z' = (z - mu) / s
    and `post_quant_conv` takes z = s z' + mu. Decoded pictures stay the same, and the scaling factor of
    Stable Diffusion becomes 1.
    """
    z = torch.cat([vae.encode(2 * x.float() / 255 - 1).latent_dist.mean for x in torch.split(images, 64)])
    mu, s = z.mean((0, 2, 3)), z.std((0, 2, 3))
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.weight[:4] /= s[:, None, None, None]
    encode.bias[:4] = (encode.bias[:4] - mu) / s
    encode.bias[4:] -= 2 * s.log()
    decode.bias += decode.weight[:, :, 0, 0] @ mu
    decode.weight *= s[None, :, None, None]


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Encodes uint8 pictures (n, 3, 64, 64) to the means of their latents, and decodes those to uint8 pictures."""
    out = []
    for x in torch.split(images, 64):
        y = vae.decode(vae.encode(2 * x.float() / 255 - 1).latent_dist.mean).sample
        out.append(((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(out)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio of each pair of uint8 pictures: 10 log10(255^2 / squared error), in dB.

    The squared error is the mean over the pixels of a picture.
    """
    error = (a.float() - b.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(255**2 / error)
