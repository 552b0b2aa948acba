"""`make bench`: the plain loop gives the product's scores, and the floor counts what the product counts."""

from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks.speed import __main__ as speed
from benchmarks.speed.floor import Rates, Work, floor_seconds
from diffusion.source import local_folder
from srsoup import sample_front


@pytest.fixture(scope="module")
def pipe() -> Any:
    return DiffusionPipeline.from_pretrained(local_folder("mini"), dtype=torch.float32)


def test_the_plain_loop_makes_the_images_of_the_product(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rewards are smooth, so that rounding stays small: compressibility counts the bytes of a file."""
    monkeypatch.setattr(speed, "MOST_APART", 1e-3)
    monkeypatch.setattr(speed, "BATCHES", (1, 2))
    found = speed.compare(pipe, "a snail", 2, 11, 2, 1, 1, ("colorfulness", "brightness"))
    assert all(len(ratios) == 1 and ratios[0] > 0 for ratios in found.values())


def test_scores_that_differ_end_the_comparison(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SCALE", 5.5)
    monkeypatch.setattr(speed, "MOST_APART", 1e-3)
    with pytest.raises(SystemExit, match="cannot be compared"):
        speed.compare(pipe, "a snail", 2, 4, 2, 1, 1, ("colorfulness", "brightness"))


def test_the_floor_counts_the_decodes_of_the_product(pipe: Any) -> None:
    front = sample_front(
        pipe, "a snail", ["colorfulness", "brightness"], method="weighted_sum", weights={"grid": 3}, steps=3, queries=4,
        progress=False,
    )  # fmt: skip
    work = Work.of(3, 4, 3)
    assert work.decodes == front.decodes == 3 * 4 * 3 + 3
    assert work.forwards == 3 * 3 * (1 + 4)
    assert floor_seconds(work, Rates(0.5, 0.25, (1, 1))) == 45 * 0.5 + 39 * 0.25
