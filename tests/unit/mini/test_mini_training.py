"""The trainings of the embedded model: their data, and that they continue from their checkpoints."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mini import augment
from mini.captions import all_captions, build_tokenizer, caption
from mini.data import Artwork
from mini.names import DROPPED, NAMES, STYLES
from mini.train_encoder import HELD_OUT, train_encoder
from mini.train_unet import VARIED, UNetTrainer, draw_weights, encode_augmented, train_unet
from mini.train_vae import build_vae, train_vae

# The tests take one or two steps, which show whether a training continued; the budget never runs out.
LONG = 1000.0


def pictures(n: int, px: int = 128) -> Tensor:
    return torch.randint(0, 256, (n, 3, px, px), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def artwork() -> Artwork:
    return Artwork(pictures(4), ("snail", "lobster", "owl", "owl"), ("noto", "noto", "noto", HELD_OUT))


def weights_of(path: Path, part: str) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)[part]
    return weights


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_vae_continues_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "vae.pt"
    train_vae(pictures(4), path, LONG, threads=1, batch=2, max_steps=2)
    before = weights_of(path, "vae")
    vae, budget = train_vae(pictures(4), path, LONG, threads=1, batch=2, max_steps=2)
    assert (budget.step, budget.samples) == (2, 4) and same(vae.state_dict(), before)
    vae, budget = train_vae(pictures(4), path, LONG, threads=1, batch=2, max_steps=3)
    assert (budget.step, budget.samples) == (3, 6) and not same(vae.state_dict(), before)


def test_encoder_continues_from_its_checkpoint_and_never_sees_the_held_out_set(tmp_path: Path) -> None:
    path, tokenizer, art = tmp_path / "encoder.pt", build_tokenizer(), artwork()
    train_encoder(art, art, tokenizer, path, LONG, batch=2, max_steps=1)
    before = weights_of(path, "encoder")
    other = Artwork(art.images.clone(), art.names, art.styles)
    other.images[3] = 0  # the held-out picture, which must not change the training
    encoder, budget = train_encoder(other, other, tokenizer, tmp_path / "again.pt", LONG, batch=2, max_steps=1)
    assert same(encoder.state_dict(), before)
    encoder, budget = train_encoder(art, art, tokenizer, path, LONG, batch=2, max_steps=2)
    assert budget.step == 2 and not same(encoder.state_dict(), before)


def test_unet_continues_and_its_second_part_starts_from_the_averages_of_the_first(tmp_path: Path) -> None:
    tokenizer, art = build_tokenizer(), artwork()
    latents = encode_augmented(build_vae(), art, 2, seed=0)
    assert latents.z.shape == (4, 2, 4, 16, 16)
    first = train_unet(latents, tokenizer, tmp_path / "plain.pt", LONG, batch=2, max_steps=1)
    again = train_unet(latents, tokenizer, tmp_path / "plain.pt", LONG, batch=2, max_steps=2)
    assert (again.budget.step, again.budget.samples) == (2, 4)
    assert not same(first.unet.state_dict(), again.unet.state_dict())
    second = UNetTrainer(tokenizer, tmp_path / "varied.pt", LONG, start=tmp_path / "plain.pt")
    assert second.budget.step == 0
    assert same(second.unet.state_dict(), again.ema.unet.state_dict())
    assert same(second.text.state_dict(), again.ema.text.state_dict())
    assert not same(second.unet.state_dict(), again.unet.state_dict())


def test_draw_weights_favour_the_six_names_and_halve_the_twin_sets() -> None:
    weights = draw_weights(("snail", "owl", "owl"), ("noto", "fluent-emoji", "noto"))
    assert weights.tolist() == pytest.approx([3 / 4, 1 / 12, 2 / 12])


def test_recoloured_pictures_keep_luma_white_and_black() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(64, 3, 8, 8, generator=generator)  # far from 0 and 1, so that clamping changes little
    x[:, :, 0, 0], x[:, :, 0, 1] = 1.0, 0.0
    y = augment.recolour(x, 1.0, generator)
    inside = ((y > 0) & (y < 1)).all(1, keepdim=True)
    torch.testing.assert_close(augment.luma(y)[inside], augment.luma(x)[inside], atol=1e-5, rtol=0)
    torch.testing.assert_close(y[:, :, 0, :2], x[:, :, 0, :2], atol=1e-5, rtol=0)
    assert (y - x).abs().mean() > 0.05
    torch.testing.assert_close(augment.recolour(x, 0.0, generator), x, atol=0, rtol=0)


def test_grey_pictures_get_a_colour() -> None:
    grey = torch.full((200, 3, 4, 4), 0.5)
    y = augment.recolour(grey, 1.0, torch.Generator().manual_seed(1))
    spread = (y.amax(1) - y.amin(1)).mean((1, 2))
    assert (spread > 0.05).float().mean() > 0.5


def test_affine_without_change_only_halves_the_picture() -> None:
    x = pictures(6)
    y = augment.affine(x, torch.Generator().manual_seed(0), scale=(1, 1 + 1e-9), degrees=0, shift=0)
    half = torch.nn.functional.avg_pool2d(x.float() / 255, 2)
    flipped = half.flip(3)
    for k in range(6):
        assert min((y[k] - half[k]).abs().max(), (y[k] - flipped[k]).abs().max()) < 1e-4


def test_stretched_pictures_keep_their_area() -> None:
    disc = torch.full((1, 3, 128, 128), 255, dtype=torch.uint8)
    axis = torch.arange(128) - 63.5
    disc[:, :, (axis[:, None] ** 2 + axis**2) < 40**2] = 0
    generator = torch.Generator().manual_seed(3)
    y = augment.affine(disc.expand(32, -1, -1, -1), generator, scale=(1, 1 + 1e-9), shift=0, stretch=VARIED.stretch)
    ink = 1 - y[:, 0]
    torch.testing.assert_close(ink.sum((1, 2)), torch.full((32,), torch.pi * 400), rtol=0.02, atol=0)
    width, height = (ink.amax(1) > 0.5).sum(1), (ink.amax(2) > 0.5).sum(1)
    assert (width.float() / height).log().abs().max() > 0.08


def test_captions_are_listed_and_fit_the_length_of_the_tokenizer() -> None:
    tokenizer, chance = build_tokenizer(), random.Random(0)
    known = {*all_captions(), ""}
    assert {caption(name, style, chance) for name in NAMES for style in STYLES for _ in range(3)} <= known
    assert max(len(tokenizer(text).input_ids) for text in known) <= tokenizer.model_max_length


def test_dropped_artwork_is_of_known_sets_and_names() -> None:
    assert all(style in STYLES and name in NAMES for style, name in DROPPED)
