"""Latents as the tokens of a transformer that reads squares of 2 x 2 latents, and texts of several lengths in a tensor.

A token has all channels of its square.
"""

from collections.abc import Sequence

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


def padded(texts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the embeddings of texts, each (tokens, width), as one tensor (n, most tokens, width) and its mask.

    The mask (n, most tokens), of the same dtype, is 1 for a token and 0 for the zeros that fill a shorter text.
    """
    embeds = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
    lengths = torch.tensor([len(text) for text in texts], device=embeds.device)
    mask = torch.arange(embeds.shape[1], device=embeds.device) < lengths[:, None]
    return embeds, mask.to(embeds.dtype)
