"""Computes every number on the model card from the committed weights and the committed pictures."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mini.data import load_table
from mini.encoder import MiniEncoder
from mini.names import NAMES, PAPER_ANIMALS
from mini.sheet import SEEDS_OTHER, SEEDS_PAPER, draw_sheet, generate
from mini.text_to_image import WEIGHTS
from mini.train_encoder import HELD_OUT, naming_quality
from mini.train_vae import psnr, reconstruct

MEASURED = Path(__file__).parent / "measured.json"
Measures = dict[str, dict[str, float]]


@torch.inference_mode()
def measure(sheet: bool = False) -> Measures:
    """Measures the autoencoder, the encoder and generated pictures; `sheet` also draws the sheet of examples."""
    art = load_table()
    vae = AutoencoderKL.from_pretrained(WEIGHTS / "pipeline" / "vae")
    encoder = MiniEncoder.from_pretrained(WEIGHTS / "encoder")
    rest = tuple(name for name in NAMES if name not in PAPER_ANIMALS)
    paper, others = generate(PAPER_ANIMALS, SEEDS_PAPER), generate(rest, SEEDS_OTHER)
    if sheet:
        draw_sheet(paper, others)
    again = reconstruct(vae, art.images)
    error = (art.images.float() - again.float()).square().mean()
    held_out = art.where([style == HELD_OUT for style in art.styles])
    real = {
        group: art.where([name in names for name in art.names])
        for group, names in (("paper", PAPER_ANIMALS), ("others", rest))
    }
    return {
        "vae": {
            "psnr": psnr(art.images, again).mean().item(),
            "psnr_of_mean_error": (10 * torch.log10(255**2 / error)).item(),
        },
        "encoder_held_out": {"pictures": len(held_out.names), **naming_quality(encoder, held_out)},
        "generated_paper": ranks(encoder, paper, _repeated(PAPER_ANIMALS, SEEDS_PAPER)),
        "generated_others": ranks(encoder, others, _repeated(rest, SEEDS_OTHER)),
        "real_paper": ranks(encoder, real["paper"].images, real["paper"].names),
        "real_others": ranks(encoder, real["others"].images, real["others"].names),
        "real_held_out": ranks(encoder, held_out.images, held_out.names),
        "chance": {"first": 1 / len(NAMES), "first_five": 5 / len(NAMES)},
        "diversity": {
            "generated_paper": spread(encoder, paper, _repeated(PAPER_ANIMALS, SEEDS_PAPER)),
            "real_paper": spread(encoder, real["paper"].images, real["paper"].names),
            "generated_others": spread(encoder, others, _repeated(rest, SEEDS_OTHER)),
            "real_others": spread(encoder, real["others"].images, real["others"].names),
        },
    }


def _repeated(names: tuple[str, ...], times: int) -> tuple[str, ...]:
    return tuple(name for name in names for _ in range(times))


def ranks(encoder: MiniEncoder, images: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    """Returns the share of the pictures whose right name the encoder ranks first, and in the first five, of all."""
    cosines = encoder.encode_images(images) @ encoder.encode_texts(NAMES).T
    right = torch.tensor([NAMES.index(name) for name in names])
    hit = cosines.topk(5).indices == right[:, None]
    return {"first": hit[:, 0].float().mean().item(), "first_five": hit.any(1).float().mean().item()}


def spread(encoder: MiniEncoder, images: Tensor, names: tuple[str, ...]) -> float:
    """Returns how much pictures of one name differ.

    For each name, the distances 1 - cosine between the features of all pairs of its pictures are averaged; the result
    is the mean over the names.
    """
    features, distances = encoder.encode_images(images), []
    for name in dict.fromkeys(names):
        own = features[[i for i, other in enumerate(names) if other == name]]
        above = torch.triu_indices(len(own), len(own), 1)
        distances.append((1 - own @ own.T)[above[0], above[1]].mean())
    return torch.stack(distances).mean().item()


def write_measures(path: Path = MEASURED) -> None:
    """Writes the measured numbers, for the model card and its test, and draws the sheet of examples."""
    rounded = {part: {k: round(v, 4) for k, v in values.items()} for part, values in measure(sheet=True).items()}
    path.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
