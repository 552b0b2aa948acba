"""The sheet of example images: pictures that the committed weights generate for each taught name."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging
from PIL import Image, ImageDraw
from torch import Tensor

from mini.names import NAMES, PAPER_ANIMALS
from mini.text_to_image import WEIGHTS

SHEET = Path(__file__).parent / "sheet.png"
SEEDS_PAPER, SEEDS_OTHER = 8, 2
STEPS, GUIDANCE = 50, 5.0


def generate(names: tuple[str, ...], seeds: int, folder: Path = WEIGHTS / "pipeline") -> Tensor:
    """Generates pictures with diffusers' own pipeline: DDIM with eta 1, 50 steps, guidance 5.

    Args:
        seeds: the number of pictures of each name, from the seeds 0, 1, ...

    Returns:
        uint8 (len(names) * seeds, 3, 64, 64); the pictures of one name are consecutive.
    """
    logging.disable_progress_bar()
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    rows = []
    for first in range(0, len(names), 8):
        prompts = [name for name in names[first : first + 8] for _ in range(seeds)]
        generators = [torch.Generator().manual_seed(i % seeds) for i in range(len(prompts))]
        images = pipeline(
            prompts,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            eta=1.0,
            generator=generators,
            output_type="pt",
        ).images
        rows.append((images * 255).round().to(torch.uint8))
    return torch.cat(rows)


def draw_sheet(paper: Tensor, others: Tensor, path: Path = SHEET) -> None:
    """Draws the sheet: eight seeds of each of the paper's six names, enlarged, then two seeds of every other name."""
    big, small, across = 128, 80, 6
    rest = [name for name in NAMES if name not in PAPER_ANIMALS]
    lines = -(-len(rest) // across)
    sheet = Image.new("RGB", (SEEDS_PAPER * big, 6 * big + lines * (small + 14)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, picture in enumerate(paper):
        sheet.paste(_image(picture, big), (i % SEEDS_PAPER * big, i // SEEDS_PAPER * big))
    width = sheet.width // across
    for i, name in enumerate(rest):
        left, top = i % across * width, 6 * big + i // across * (small + 14)
        for k in range(SEEDS_OTHER):
            sheet.paste(_image(others[SEEDS_OTHER * i + k], small), (left + k * (small + 2), top))
        pen.text((left + 4, top + small), name, fill="black")
    sheet.save(path, optimize=True)


def _image(picture: Tensor, px: int) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).resize((px, px), Image.Resampling.LANCZOS)
