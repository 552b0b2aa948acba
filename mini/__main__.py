"""`python -m mini [STAGE]` rebuilds the embedded model, or one stage of it, from the artwork in the npm registry.

Each training continues from its checkpoint. Budgets are minutes of wall clock, on one CPU thread (two for the VAE).
`export` writes the weights; `measure` writes the numbers of the model card, and the sheet of example images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffusers import AutoencoderKL

from mini import data
from mini.artwork import render_all, render_animals
from mini.captions import build_tokenizer
from mini.measure import write_measures
from mini.text_to_image import WEIGHTS, export_pipeline
from mini.train_encoder import train_encoder
from mini.train_unet import VARIED, encode_augmented, train_unet
from mini.train_vae import normalise_latents, train_vae

STAGES = ("data", "vae", "encoder", "unet", "export", "measure")
AUGMENTATIONS = 24
# The animals are few, so copies give them a fair share of the autoencoder's pictures.
ANIMAL_COPIES = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mini", description=__doc__)
    parser.add_argument("stage", nargs="?", choices=STAGES, help="the only stage to run; by default all stages run")
    work = Path(__file__).parent / ".work"
    parser.add_argument("--work", type=Path, default=work, help="folder of the checkpoints and caches")
    parser.add_argument("--vae-minutes", type=float, default=12)
    parser.add_argument("--encoder-minutes", type=float, default=12)
    parser.add_argument("--unet-minutes", type=float, default=87)
    parser.add_argument("--variety-minutes", type=float, default=60)
    options = parser.parse_args()
    for stage in (options.stage,) if options.stage else STAGES:
        _STAGES[stage](options)


def _data(options: argparse.Namespace) -> None:
    packages = options.work / "packages"
    animals = render_animals(packages)
    data.save_cache(animals, options.work / "animals.npz")
    data.save_table(animals)
    data.save_cache(render_all(packages), options.work / "everything.npz")


def _vae(options: argparse.Namespace) -> None:
    import torch

    animals, others = _artwork(options)
    images = torch.cat([others.images, animals.images.repeat(ANIMAL_COPIES, 1, 1, 1)])
    vae, _ = train_vae(images, options.work / "vae.pt", options.vae_minutes, batch=16)
    normalise_latents(vae, data.shrink(animals.images))
    vae.save_pretrained(options.work / "vae")


def _encoder(options: argparse.Namespace) -> None:
    animals, others = _artwork(options)
    checkpoint = options.work / "encoder.pt"
    encoder, _ = train_encoder(animals, others, build_tokenizer(), checkpoint, options.encoder_minutes)
    encoder.save_pretrained(WEIGHTS / "encoder")


def _unet(options: argparse.Namespace) -> None:
    vae = AutoencoderKL.from_pretrained(options.work / "vae")
    animals, tokenizer, plain = _artwork(options)[0], build_tokenizer(), options.work / "unet_plain.pt"
    latents = encode_augmented(vae, animals, AUGMENTATIONS, seed=1)
    train_unet(latents, tokenizer, plain, options.unet_minutes)
    latents = encode_augmented(vae, animals, 4 * AUGMENTATIONS, seed=2, variety=VARIED)
    train_unet(latents, tokenizer, options.work / "unet.pt", options.variety_minutes, start=plain)


def _export(options: argparse.Namespace) -> None:
    vae = AutoencoderKL.from_pretrained(options.work / "vae")
    export_pipeline(options.work / "unet.pt", vae, build_tokenizer(), WEIGHTS / "pipeline")


def _measure(options: argparse.Namespace) -> None:
    write_measures()


def _artwork(options: argparse.Namespace) -> tuple[data.Artwork, data.Artwork]:
    return data.load_cache(options.work / "animals.npz"), data.load_cache(options.work / "everything.npz")


_STAGES = {"data": _data, "vae": _vae, "encoder": _encoder, "unet": _unet, "export": _export, "measure": _measure}

if __name__ == "__main__":
    main()
