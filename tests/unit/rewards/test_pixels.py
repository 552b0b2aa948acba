"""Preprocessing in torch against the processor of the reference model, on pictures of many shapes."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from rewards.networks.pixels import CLIP_MEAN, CLIP_STD, CropToSquare, PadToSquare

SIZES = [
    (1, 1), (1, 7), (7, 1), (2, 3), (3, 2), (40, 56), (64, 64), (97, 64), (223, 225), (224, 224), (224, 300),
    (225, 224), (255, 511), (512, 512), (513, 512), (300, 1000), (1000, 299), (1024, 768), (10, 640), (448, 448),
    (600, 300), (601, 300), (400, 150),
]  # fmt: skip


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Half noise, half edges of full contrast, at which a resize overshoots and must be clipped."""
    rng = np.random.default_rng([seed, height, width])
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    bars = np.where(rng.random((height, width, 1)) < 0.5, 0, 255).astype(np.uint8)
    return np.where(np.arange(width)[None, :, None] < width / 2, noise, bars)


def nchw(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())


def reference(one: np.ndarray, size: int = 224) -> Any:
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return processor(Image.fromarray(one), return_tensors="np")["pixel_values"][0]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_crop_equals_that_of_the_reference_processor(height: int, width: int) -> None:
    one = picture(height, width)
    ours = CropToSquare(224)(nchw(one))[0]
    np.testing.assert_allclose(ours.numpy(), reference(one), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_resized_bytes_equal_those_of_pillow(height: int, width: int) -> None:
    one = picture(height, width, seed=1)
    short = min(height, width)
    resized = Image.fromarray(one).resize((224 * width // short, 224 * height // short), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224))).transpose(2, 0, 1)
    ours = CropToSquare(224).resized(nchw(one)[0])
    assert np.array_equal(ours.numpy(), expected)


def test_a_very_wide_picture_is_not_resized_beyond_its_crop() -> None:
    wide = picture(1, 60_000)
    assert CropToSquare(224)(nchw(wide)).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(("height", "width"), [size for size in SIZES if max(size) / min(size) < 60])
def test_the_padding_equals_that_of_hpsv2(height: int, width: int) -> None:
    one = picture(height, width, seed=2)
    scale = 224 / max(height, width)
    new = (max(round(width * scale), 1), max(round(height * scale), 1))
    planes = [Image.fromarray(one[:, :, c].astype(np.float32) / 255) for c in range(3)]
    fitted = np.stack([np.asarray(plane.resize(new, Image.Resampling.BICUBIC)) for plane in planes])
    canvas = np.zeros((3, 224, 224), np.float32)
    top, left = (224 - new[1]) // 2, (224 - new[0]) // 2
    canvas[:, top : top + new[1], left : left + new[0]] = fitted
    mean, std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
    expected = (canvas - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(PadToSquare(224)(nchw(one))[0].numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("preprocess", [CropToSquare(42), PadToSquare(42)])
def test_an_image_is_preprocessed_alone_in_the_same_way_as_in_a_batch(preprocess: CropToSquare | PadToSquare) -> None:
    batch = nchw(*(picture(50, 61, seed) for seed in range(17)))
    alone = torch.cat([preprocess(image) for image in batch.split(1)])
    assert torch.equal(alone, preprocess(batch))
    assert alone.dtype == torch.float32 and alone.is_contiguous()
