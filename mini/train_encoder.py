"""Training of the small image-text encoder, with one artwork set held out.

The loss has two parts. For a picture with feature u and the features v_1 .. v_K of texts for all K taught names, the
first is a cross-entropy over the K + 1 logits (s <u, v_1>, ..., s <u, v_K>, b) with learned s and b. The last logit
means "none of them". It is the target of pictures whose drawing is destroyed (`augment.blobs`), so that the encoder
cannot name a picture by its colours alone. The second part classifies all emoji of the training sets with a linear
layer that is discarded after training; it teaches the image tower shapes in general.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from mini import augment
from mini.captions import TEMPLATES
from mini.data import Artwork
from mini.encoder import MiniEncoder
from mini.names import NAMES, SYNONYMS
from mini.training import (
    Budget,
    Stateful,
    load_checkpoint,
    prepare,
    repeat_steps,
    take_step,
)

PEAK_RATE = 2e-3
BLOB_SHARE = 0.2
HELD_OUT = "twemoji"
"""The set that the encoder never sees. No other set has the same drawings, whereas fluent-emoji and fluent-emoji-flat
share theirs, and noto and noto-v1 share some."""


class Head(nn.Module):
    """The weights that only the training needs: the scale s, the logit b of "none", and the classifier of all emoji."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.none = nn.Parameter(torch.tensor(0.0))
        self.classify = nn.Linear(width, classes)


def changed(images: Tensor, generator: Generator) -> Tensor:
    """Returns the pictures moved, recoloured, greyed and partly covered.

    Args:
        images: uint8 (n, 3, 128, 128).

    Returns:
        float (n, 3, 64, 64) in [0, 1].
    """
    x = augment.affine(images, generator, scale=(0.65, 1.1), degrees=20, shift=0.08)
    x = augment.shuffle_channels(x, 0.25, generator)
    x = augment.greyscale(x, 0.3, generator)
    x = augment.invert(augment.tint(x, 0.25, generator), 0.08, generator)
    x = augment.cutout(x, 0.3, generator)
    noise = torch.randn(x.shape, generator=generator) * augment.uniform((len(x), 1, 1, 1), 0, 0.06, generator)
    return (x + noise).clamp(0, 1)


def name_texts(chance: random.Random) -> list[str]:
    """Returns one text for each taught name: the name, sometimes a synonym, in half of the cases within a template."""
    texts = []
    for name in NAMES:
        word = chance.choice((name, *SYNONYMS.get(name, ()))) if chance.random() < 0.3 else name
        texts.append(word if chance.random() < 0.5 else chance.choice(TEMPLATES).format(word))
    return texts


def encoder_loss(
    encoder: MiniEncoder, head: Head, animals: Tensor, names: Tensor, others: Tensor, kinds: Tensor,
    texts: list[str], generator: Generator,
) -> Tensor:  # fmt: skip
    """Returns the loss that the module's docstring defines.

    Args:
        animals, names: uint8 pictures (n, 3, 128, 128) of taught names, and the indices of the names.
        others, kinds: uint8 pictures (k, 3, 128, 128) of any emoji, and their classes.
        texts: one text for each of the K names.
    """
    x = changed(torch.cat([animals, others]), generator)
    n = len(animals)
    gone = torch.rand(n, generator=generator) < BLOB_SHARE
    x[:n] = torch.where(gone[:, None, None, None], augment.blobs(x[:n], generator), x[:n])
    with torch.autocast("cpu", torch.bfloat16):
        trunk = encoder.trunk(x)
    trunk = trunk.float()
    cosines = F.normalize(encoder.project(trunk[:n]), dim=1) @ encoder.text_features(texts).T
    logits = torch.cat([head.scale * cosines, head.none.expand(n, 1)], 1)
    target = names.masked_fill(gone, len(texts))
    return F.cross_entropy(logits, target, label_smoothing=0.05) + 0.5 * F.cross_entropy(
        head.classify(trunk[n:]), kinds, label_smoothing=0.1
    )


def train_encoder(
    animals: Artwork,
    others: Artwork,
    tokenizer: CLIPTokenizer,
    checkpoint: Path,
    minutes: float,
    *,
    threads: int = 1,
    batch: int = 64,
    seed: int = 0,
    save_every: float = 120.0,
    max_steps: int | None = None,
    log: Callable[[str], None] = print,
) -> tuple[MiniEncoder, Budget]:
    """Trains for `minutes`, which include the time of earlier runs, on all artwork sets except `HELD_OUT`."""
    prepare(threads)
    animals, others = _without_held_out(animals), _without_held_out(others)
    torch.manual_seed(seed)  # the libraries draw the initial weights, and nothing else, from the global generator
    classes = sorted(set(others.names))
    names, kinds = _indices(animals.names, NAMES), _indices(others.names, classes)
    encoder = MiniEncoder(tokenizer)
    head = Head(encoder.config["widths"][-1], len(classes))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=PEAK_RATE, weight_decay=0.05, fused=True)
    budget = Budget(60 * minutes)
    parts: dict[str, Stateful] = {"encoder": encoder, "head": head, "optimiser": optimiser}
    load_checkpoint(checkpoint, budget, parts)
    generator, chance = Generator().manual_seed(seed + budget.step), random.Random(seed + budget.step)

    def step() -> float:
        a = torch.randint(len(names), (batch,), generator=generator)
        o = torch.randint(len(kinds), (batch,), generator=generator)
        texts, pictures, emoji = name_texts(chance), animals.images[a], others.images[o]
        loss = encoder_loss(encoder, head, pictures, names[a], emoji, kinds[o], texts, generator)
        take_step(loss, optimiser, parameters, budget.learning_rate(PEAK_RATE))
        budget.advance(2 * batch)
        return loss.item()

    repeat_steps("encoder", step, budget, checkpoint, parts, save_every=save_every, max_steps=max_steps, log=log)
    return encoder.eval(), budget


def _indices(names: Sequence[str], known: Sequence[str]) -> Tensor:
    """Returns the index of each name in `known`, (n,)."""
    number = {name: i for i, name in enumerate(known)}
    return torch.tensor([number[name] for name in names])


def _without_held_out(art: Artwork) -> Artwork:
    return art.where([style != HELD_OUT for style in art.styles])


def naming_quality(encoder: MiniEncoder, held_out: Artwork, seed: int = 0) -> dict[str, float]:
    """Measures how well the encoder finds the name of artwork that it never saw, among all taught names.

    Args:
        held_out: uint8 pictures (n, 3, 64, 64) with their names.

    Returns:
        Shares of the pictures, in 0..1. `top1` and `top5`: the right name ranks first, or in the first five.
        `top1_grey`: it ranks first for the picture in grey. `above_blob`: its cosine is higher for the picture than
        for a shapeless blob of the same pixels. `chance`: the share expected of a first rank at random.
    """
    texts = encoder.encode_texts(NAMES)
    right = _indices(held_out.names, NAMES)
    x = held_out.images.float() / 255
    grey = augment.greyscale(x, 1.0, Generator().manual_seed(seed))
    blob = augment.blobs(x, Generator().manual_seed(seed))
    colour, plain, gone = (encoder.encode_images((255 * p).round().byte()) @ texts.T for p in (x, grey, blob))
    own, own_gone = (c.gather(1, right[:, None]) for c in (colour, gone))
    return {
        "top1": _within(colour, right, 1),
        "top5": _within(colour, right, 5),
        "top1_grey": _within(plain, right, 1),
        "above_blob": (own > own_gone).float().mean().item(),
        "chance": 1 / len(NAMES),
    }


def _within(cosines: Tensor, right: Tensor, first: int) -> float:
    return (cosines.topk(first).indices == right[:, None]).any(1).float().mean().item()
