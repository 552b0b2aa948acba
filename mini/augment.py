"""Random changes of pictures for training.

All random numbers come from the generator that is passed. Pictures are float NCHW in [0, 1] unless a function says
otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Returns uniform numbers in [low, high)."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def affine(
    images: Tensor,
    generator: Generator,
    scale: tuple[float, float] = (0.84, 1.0),
    degrees: float = 10.0,
    shift: float = 0.05,
    stretch: float = 0.0,
) -> Tensor:
    """Shrinks, turns, shifts and mirrors each picture at random, then halves its size.

    Args:
        images: uint8 (n, 3, 2p, 2p), on white.
        scale: range of the size on the canvas; 1 is the size of the artwork.
        degrees: largest turn in either direction.
        shift: largest shift along either axis, as a fraction of the width.
        stretch: largest absolute logarithm of the ratio of width to height.

    Returns:
        float (n, 3, p, p) in [0, 1]; areas from outside the canvas are white.
    """
    n = len(images)
    angle = uniform((n,), -degrees, degrees, generator) * math.pi / 180
    size = uniform((n,), *scale, generator)
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    move = uniform((n, 2), -2 * shift, 2 * shift, generator)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    wide = uniform((n,), -stretch, stretch, generator).exp().sqrt()
    theta = torch.stack(
        [
            torch.stack([cos * flip / wide, -sin * flip / wide, move[:, 0]], -1),
            torch.stack([sin * wide, cos * wide, move[:, 1]], -1),
        ],
        1,
    )
    ink = 1 - images.float() / 255  # grid_sample pads with 0, so white must be 0
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return 1 - F.avg_pool2d(F.grid_sample(ink, grid, align_corners=False), 2)


def shuffle_channels(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Permutes the RGB channels of a random `share` of the pictures, each in an order of its own."""
    order = torch.rand(len(images), 3, generator=generator).argsort(1)
    keep = torch.rand(len(images), generator=generator) >= share
    order[keep] = torch.arange(3)
    return images.gather(1, order[:, :, None, None].expand_as(images))


def tint(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Multiplies a random `share` of the pictures by a random colour, which white areas take on."""
    colour = torch.rand(len(images), 3, 1, 1, generator=generator)
    keep = torch.rand(len(images), 1, 1, 1, generator=generator) >= share
    return images * torch.where(keep, torch.ones_like(colour), colour)


def invert(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Turns a random `share` of the pictures into their negatives."""
    flip = torch.rand(len(images), 1, 1, 1, generator=generator) < share
    return torch.where(flip, 1 - images, images)


def recolour(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Changes hue and saturation of a random `share` of the pictures; luma, white and black stay the same.

    With luma Y and chroma C = (B - Y, R - Y), the new chroma is s R(angle) C + a 4 Y (1 - Y) u. Here log s is uniform
    between log 0.3 and log 2.4, the angle is normal with a deviation of 20 degrees, a is the absolute value of a
    normal number with a deviation of 0.2, and u is a random direction. The second term gives grey pictures a colour.
    """
    n = len(images)
    y = luma(images)
    chroma = images[:, [2, 0]] - y
    angle = torch.randn(n, generator=generator) * math.pi / 9
    strength = uniform((n, 1, 1, 1), math.log(0.3), math.log(2.4), generator).exp()
    wash = 0.2 * torch.randn(n, 1, 1, 1, generator=generator).abs()
    towards = uniform((n,), -math.pi, math.pi, generator)
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    direction = torch.stack([torch.cos(towards), torch.sin(towards)], -1)[:, :, None, None]
    chroma = strength * torch.einsum("nij,njhw->nihw", turn, chroma) + wash * 4 * y * (1 - y) * direction
    blue, red = torch.split(y + chroma, 1, 1)
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    keep = torch.rand(n, 1, 1, 1, generator=generator) >= share
    return torch.where(keep, images, torch.cat([red, green, blue], 1).clamp(0, 1))


def greyscale(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Turns a random `share` of the pictures grey: all three channels become the luma."""
    keep = torch.rand(len(images), 1, 1, 1, generator=generator) >= share
    return torch.where(keep, images, luma(images).expand_as(images))


def luma(images: Tensor) -> Tensor:
    """Returns the luma 0.299 R + 0.587 G + 0.114 B, shape (n, 1, p, p)."""
    weights = torch.tensor([0.299, 0.587, 0.114])
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def cutout(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Paints a white square over a random `share` of the pictures; its side is 1/4 to 1/2 of the picture's."""
    n, _, height, width = images.shape
    side = uniform((n, 1, 1), 0.25, 0.5, generator)
    left, top = torch.rand(n, 1, 1, generator=generator), torch.rand(n, 1, 1, generator=generator)
    x, y = torch.arange(width) / width, torch.arange(height)[:, None] / height
    box = ((x - left).abs() < side / 2) & ((y - top).abs() < side / 2)
    box &= torch.rand(n, 1, 1, generator=generator) < share
    return images.masked_fill(box[:, None], 1.0)


def smooth_field(n: int, px: int, cells: int, generator: Generator) -> Tensor:
    """Returns smooth random fields (n, px, px): noise at cells x cells points, with bicubic interpolation between."""
    noise = torch.randn(n, 1, cells, cells, generator=generator)
    return F.interpolate(noise, (px, px), mode="bicubic")[:, 0]


def blobs(images: Tensor, generator: Generator) -> Tensor:
    """Rearranges the pixels of each picture into a shapeless blob, darkest in the middle.

    The pixels are sorted by luma and placed in the order of the values of a smooth random field that grows towards
    the rim. Each colour keeps its area, but the drawing is destroyed.
    """
    n, _, px, _ = images.shape
    axis = torch.linspace(-1, 1, px)
    rim = axis[:, None] ** 2 + axis**2
    place = (3 * rim + smooth_field(n, px, 5, generator)).flatten(1).argsort(1)
    order = luma(images).flatten(1).argsort(1)
    pixels = images.flatten(2).gather(2, order[:, None].expand(-1, 3, -1))
    return torch.zeros_like(pixels).scatter(2, place[:, None].expand(-1, 3, -1), pixels).view_as(images)
