"""Ten reference images with prompts, drawn from fixed seeds: the same bytes on every machine.

They are drawn to show mistakes of preprocessing: sizes that are no square, small and odd ones, fine grain that a resize
without antialiasing would alias, colours that are not grey, and prompts with capitals, quotes and more tokens than fit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Reference:
    """A reference image: its name, its pixels uint8 (3, h, w), and its prompt."""

    name: str
    pixels: Pixels
    prompt: str


def references() -> tuple[Reference, ...]:
    """Return the ten images."""
    return (
        Reference("gradient", _gradient(512, 512), "a smooth gradient from blue to orange"),
        Reference("grain", _grain(512, 768, 1), "fine coloured grain, close up"),
        Reference("checkerboard", _checkerboard(224, 224, 3), "a black and white checkerboard"),
        Reference("disc", _disc(640, 480), "a red disc on a green ground"),
        Reference("rings", _rings(300, 100), "Concentric rings, seen from above"),
        Reference("small", _grain(37, 41, 2), "a tiny picture"),
        Reference("stripes", _stripes(1024, 640), "“Striped” wallpaper & nothing else"),
        Reference("landscape", _landscape(384, 512), "a landscape with a lake and two hills at dusk, oil on canvas"),
        Reference("dark", _gradient(256, 256) // np.uint8(8), "a very dark room"),
        Reference("long prompt", _landscape(512, 512)[:, ::-1], "a hill, a lake and the sky, " * 20 + "at dawn"),
    )


def _axes(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.arange(height)[:, None], np.arange(width)[None, :]


def _stacked(*channels: NDArray[np.int64]) -> Pixels:
    shape = np.broadcast_shapes(*(channel.shape for channel in channels))
    return np.stack([np.broadcast_to(channel, shape) for channel in channels]).clip(0, 255).astype(np.uint8)


def _gradient(height: int, width: int) -> Pixels:
    y, x = _axes(height, width)
    return _stacked(255 * x // (width - 1), 255 * y // (height - 1) + 0 * x, 255 - 255 * x // (width - 1) + 0 * y)


def _grain(height: int, width: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def _checkerboard(height: int, width: int, side: int) -> Pixels:
    y, x = _axes(height, width)
    value = 255 * ((y // side + x // side) % 2)
    return _stacked(value, value, value)


def _disc(height: int, width: int) -> Pixels:
    y, x = _axes(height, width)
    inside = (y - height // 2) ** 2 + (x - width // 2) ** 2 < (min(height, width) // 3) ** 2
    return _stacked(np.where(inside, 220, 30), np.where(inside, 40, 150), np.where(inside, 40, 60))


def _rings(height: int, width: int) -> Pixels:
    y, x = _axes(height, width)
    squared = (y - height // 2) ** 2 + (x - width // 2) ** 2
    return _stacked(squared // 16 % 256, squared // 32 % 256, 255 - squared // 64 % 256)


def _stripes(height: int, width: int) -> Pixels:
    y, x = _axes(height, width)
    value = (x * 7 + y * 3) % 256
    return _stacked(value, 255 - value, (value * 2) % 256)


def _landscape(height: int, width: int) -> Pixels:
    y, x = _axes(height, width)
    ground = height // 2 + (np.abs(x - width // 3) - np.abs(x - 2 * width // 3)) // 4
    land, noise = y > ground, np.random.default_rng(3).integers(-12, 13, (height, width))
    sky = 255 * (height - y) // height
    return _stacked(
        np.where(land, 70, 200 - sky // 3) + noise, np.where(land, 110, 120 + sky // 4) + noise,
        np.where(land, 50, 140 + sky // 3) + noise,
    )  # fmt: skip
