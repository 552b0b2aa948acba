"""Times the image towers of the learned rewards at full size with random weights, in three precisions."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.architectures import drawn_on
from benchmarks.gpu.candidates import median_seconds, peak, reset_peak
from rewards.networks.clip_encoder import VIT_H_14, VIT_L_14, ClipShape, clip_config
from rewards.networks.pixels import CropToSquare

SHAPES = {"CLIP ViT-L/14 (clip, aesthetic)": VIT_L_14, "CLIP ViT-H/14 (hpsv2, pickscore)": VIT_H_14}
SIDES = {"full": 512, "tiny": 64}


def measure(device: torch.device, chunk: int, side: int) -> list[dict[str, Any]]:
    """Return a row for each tower and precision: ms an image, memory, and the largest change of a cosine."""
    return [row for name, shape in SHAPES.items() for row in _tower(name, shape, device, chunk, side)]


def _tower(name: str, shape: ClipShape, device: torch.device, chunk: int, side: int) -> list[dict[str, Any]]:
    from transformers import CLIPVisionModelWithProjection

    torch.manual_seed(0)
    with drawn_on(device, torch.float32):
        model = CLIPVisionModelWithProjection(clip_config(shape).vision_config).eval()
    images = torch.randint(0, 256, (chunk, 3, side, side), dtype=torch.uint8, device=device)
    prepare, direction = CropToSquare(shape.pixels), F.normalize(torch.randn(shape.features, device=device), dim=0)

    @torch.inference_mode()
    def cosines(dtype: torch.dtype) -> Tensor:
        return F.normalize(model(pixel_values=prepare(images).to(dtype)).image_embeds.float(), dim=1) @ direction

    rows, exact = [], None
    for precision, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        reset_peak(device)
        model.to(dtype)
        with _tf32(precision == "tf32"):
            found = cosines(dtype)
            exact = found if exact is None else exact
            seconds = median_seconds(lambda: cosines(dtype), device)  # noqa: B023
        rows.append(
            {"tower": name, "precision": precision, "chunk": chunk, "image_ms": seconds / chunk * 1e3,
             "change": float((found - exact).abs().max()), "peak_gb": peak(device)}
        )  # fmt: skip
    return rows


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
        yield
    torch.backends.cuda.matmul.allow_tf32 = before
