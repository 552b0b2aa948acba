"""Latents as the tokens of a transformer that reads squares of 2 x 2 latents, with all their channels, as one."""

import torch
from torch import Tensor


def pack(x: Tensor) -> Tensor:
    """Return latents (n, C, H, W) as tokens (n, H/2 * W/2, 4 C): squares of 2 x 2 with all their channels."""
    n, channels, height, width = x.shape
    squares = x.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(n, (height // 2) * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Return tokens as latents (n, C, height, width), the inverse of `pack`."""
    n, _, size = tokens.shape
    squares = tokens.reshape(n, height // 2, width // 2, size // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(n, size // 4, height, width)


def image_ids(height: int, width: int) -> Tensor:
    """Return the places of the tokens of latents, (H/2 * W/2, 3): 0, row and column."""
    rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3)
