"""Training of the small image-text encoder, with one artwork set held out.

For a picture with feature u and the texts v_1 .. v_K of all K taught names, a cross-entropy over the K + 1
logits
(s <u, v_1>, ..., s <u, v_K>, b) with learned s and b: the last is "none of them", the target of pictures
whose
drawing is gone (`augment.blobs`), so that colours alone do not score. Beside it, a plain classification of
all
emoji of the training sets by a linear layer that is thrown away teaches the image tower shapes at large.
"""

from __future__ import annotations

import random
from collections.abc import Callable
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
from mini.training import Budget, Stateful, load_checkpoint, prepare, save_checkpoint, set_learning_rate

PEAK_RATE = 2e-3
BLOB_SHARE = 0.2
HELD_OUT = "twemoji"
"""The set that the encoder never sees. It is one artist's own and no set is a twin of it, as fluent-emoji and
fluent-emoji-flat are of each other, and noto and noto-v1 in part."""


class Head(nn.Module):
    """What only the training needs: scale and "none" logit, and the classifier of all emoji."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.none = nn.Parameter(torch.tensor(0.0))
        self.classify = nn.Linear(width, classes)


def changed(images: Tensor, generator: Generator) -> Tensor:
    """Pictures moved, recoloured, greyed and cut: float (n, 3, 64, 64) in [0, 1] of uint8 (n, 3, 128,
    128)."""
    x = augment.affine(images, generator, scale=(0.65, 1.1), degrees=20, shift=0.08)
    x = augment.shuffle_channels(x, 0.25, generator)
    x = augment.greyscale(x, 0.3, generator)
    x = augment.invert(augment.tint(x, 0.25, generator), 0.08, generator)
    x = augment.cutout(x, 0.3, generator)
    noise = torch.randn(x.shape, generator=generator) * augment.uniform((len(x), 1, 1, 1), 0, 0.06, generator)
    return (x + noise).clamp(0, 1)


def name_texts(chance: random.Random) -> list[str]:
    """One text for each taught name: the name itself half of the time, else a synonym or a template."""
    texts = []
    for name in NAMES:
        word = chance.choice((name, *SYNONYMS.get(name, ()))) if chance.random() < 0.3 else name
        texts.append(word if chance.random() < 0.5 else chance.choice(TEMPLATES).format(word))
    return texts


def encoder_loss(
    encoder: MiniEncoder, head: Head, animals: Tensor, names: Tensor, others: Tensor, kinds: Tensor,
    texts: list[str], generator: Generator,
) -> Tensor:  # fmt: skip
    """The loss of the module's docstring.

    Args:
        animals, names: uint8 pictures (n, 3, 128, 128) of taught names and the names' indices.
        others, kinds: uint8 pictures (k, 3, 128, 128) of any emoji and their classes.
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
    """Trains for `minutes` of wall clock, earlier runs of the same checkpoint included; never on
    `HELD_OUT`."""
    prepare(threads)
    animals = animals.where([style != HELD_OUT for style in animals.styles])
    others = others.where([style != HELD_OUT for style in others.styles])
    torch.manual_seed(seed)  # only the initial weights, which the libraries draw from the global generator
    classes = {name: i for i, name in enumerate(sorted(set(others.names)))}
    kinds = torch.tensor([classes[name] for name in others.names])
    names = torch.tensor([NAMES.index(name) for name in animals.names])
    encoder = MiniEncoder(tokenizer)
    head = Head(encoder.config["widths"][-1], len(classes))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=PEAK_RATE, weight_decay=0.05, fused=True)
    budget = Budget(60 * minutes)
    parts: dict[str, Stateful] = {"encoder": encoder, "head": head, "optimiser": optimiser}
    load_checkpoint(checkpoint, budget, parts)
    generator, chance = Generator().manual_seed(seed + budget.step), random.Random(seed + budget.step)
    saved, running = budget.spent, 0.0
    while budget.fraction < 1 and (max_steps is None or budget.step < max_steps):
        set_learning_rate(optimiser, budget.learning_rate(PEAK_RATE))
        a = torch.randint(len(names), (batch,), generator=generator)
        o = torch.randint(len(kinds), (batch,), generator=generator)
        loss = encoder_loss(
            encoder,
            head,
            animals.images[a],
            names[a],
            others.images[o],
            kinds[o],
            name_texts(chance),
            generator,
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        budget.advance(2 * batch)
        running = loss.item() if running == 0 else 0.98 * running + 0.02 * loss.item()
        if budget.step % 100 == 0:
            log(f"encoder step {budget.step} seconds {budget.spent:.0f} samples {budget.samples} loss {running:.3f}")
        if budget.spent - saved > save_every:
            save_checkpoint(checkpoint, budget, parts)
            saved = budget.spent
    save_checkpoint(checkpoint, budget, parts)
    return encoder.eval(), budget


def gates(encoder: MiniEncoder, held_out: Artwork, seed: int = 0) -> dict[str, float]:
    """How well the encoder names artwork that it never saw, over all taught names.

    Args:
        held_out: uint8 pictures (n, 3, 64, 64) with their names.

    Returns:
        Shares in 0..1: `top1`, `top5`, `top1_grey` (greyed pictures), `above_blob` (the right
        name's cosine is higher
        for the picture than for a shapeless blob of its pixels), and `chance` of a first rank.
    """
    texts = encoder.encode_texts(NAMES)
    right = torch.tensor([NAMES.index(name) for name in held_out.names])
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
