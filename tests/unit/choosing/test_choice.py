"""The choice of a front among many samples: against every subset, and its guarantees."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.errors import RequestError
from configs.load import checked_config
from pipeline.guidance.choosing.choice import MARGIN, choose, spread
from tests.support import reference

Array = NDArray[np.float64]


def volume(points: Array, corner: Array) -> float:
    """The volume of the union of boxes, by inclusion and exclusion."""
    total = 0.0
    for n in range(1, len(points) + 1):
        for some in combinations(points, n):
            total -= (-1) ** n * np.prod(np.maximum(np.min(some, axis=0) - corner, 0))
    return total


def corner_of(r: Array) -> Array:
    return np.asarray(r.min(0) - MARGIN * np.ptp(r, axis=0))


def grid(n: int) -> Array:
    return np.stack([np.linspace(0, 1, n), 1 - np.linspace(0, 1, n)], 1)


@pytest.mark.parametrize("seed", range(8))
def test_spread_keeps_the_ends_and_at_least_1_minus_1_over_e_of_what_can_be_added(seed: int) -> None:
    w, r = grid(4), np.random.default_rng(seed).normal(size=(9, 2))
    found = spread(w, r)
    assert len(set(found)) == 4
    assert found[0] == r[:, 1].argmax() and found[3] == next(p for p in (-r[:, 0]).argsort() if p != found[0])
    corner, ends = corner_of(r), [found[0], found[3]]
    base = volume(r[ends], corner)
    best = max(volume(r[[*ends, *two]], corner) for two in combinations(set(range(9)) - set(ends), 2)) - base
    assert volume(r[found], corner) - base >= (1 - 1 / np.e) * best - 1e-12
    inner = found[1:3]
    assert sum((w[1:3] * r[inner]).sum(1)) == pytest.approx(
        max(sum((w[1:3] * r[list(order)]).sum(1)) for order in permutations(inner))
    )


def test_spread_finds_a_hollow_that_no_weighted_sum_chooses() -> None:
    """The middle sample lies below the line between the ends, so no weighting prefers it to both."""
    r = np.array([[0.0, 1.0], [0.4, 0.4], [1.0, 0.0], [0.3, 0.3]])
    scores, w = torch.from_numpy(r), torch.from_numpy(grid(3))
    assert choose(w, scores, "spread") == [0, 1, 2]
    assert 1 not in choose(w, scores, "weighted")


def test_spread_takes_dominated_samples_only_if_the_front_has_too_few() -> None:
    r = np.array([[1.0, 1.0], [0.5, 0.5], [0.0, 0.2]])
    assert sorted(spread(grid(3), r)) == [0, 1, 2]
    assert sorted(spread(grid(3), np.vstack([r, r]))) != [0, 3, 1], "a copy of the best sample is a sample too"


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_the_choice_does_not_depend_on_the_units_of_the_rewards(unit: float) -> None:
    scores, w = torch.randn(30, 3, generator=torch.Generator().manual_seed(1)).double(), torch.eye(3).double()
    w = torch.cat([w, torch.full((1, 3), 1 / 3).double()])
    other = scores * torch.tensor([1.0, unit, 1.0]) + torch.tensor([0.0, 7.0, 0.0])
    assert choose(w, scores, "spread") == choose(w, other, "spread")


def test_weighted_takes_the_best_sample_of_each_weighting() -> None:
    scores, w = torch.randn(30, 2, generator=torch.Generator().manual_seed(1)).double(), grid(6)
    r = np.stack([reference.normalise(column) for column in scores.T.numpy()])
    assert choose(torch.from_numpy(w), scores, "weighted") == (w @ r).argmax(1).tolist()


def test_equal_samples_and_more_rows_for_one_reward_are_no_trouble() -> None:
    w = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert sorted(spread(w, np.ones((3, 2)))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"surrogate": {"file": "colorfulness_compressibility", "queries": 0, "unbiased": False, "fronts": 2,
                        "keep": "spread"}, "weights": [[0, 1], [0.5, 0.5]]}, "surrogate.keep"),
        ({"surrogate": {"file": "colorfulness_compressibility", "keep": "spread"},
          "weights": {"grid": 3}}, "surrogate.keep"),
        ({"method": "best_of", "best_of": {"keep": "spread"}, "weights": [[0.4, 0.6]]}, "best_of.keep"),
    ],
)  # fmt: skip
def test_what_cannot_be_spread_is_refused(section: dict, key: str) -> None:
    base = {"name": "a", "prompts": {"list": ["snail"]}, "rewards": {"guided": ["colorfulness", "compressibility"]},
            "method": "weighted_sum"}  # fmt: skip
    with pytest.raises(RequestError) as caught:
        checked_config(base | section, "here")
    assert caught.value.key == key
