"""The bootstrap confidence interval of a mean over prompts."""

import math

import numpy as np
import pytest

from evaluation.bootstrap import mean_interval


def ids(n: int) -> np.ndarray:
    return np.array([f"p{i:03d}" for i in range(n)])


def test_equals_the_normal_interval_for_many_prompts() -> None:
    values = np.random.default_rng(1).normal(10, 3, 400)
    low, high = mean_interval(values, ids(400))
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03) and high == pytest.approx(
        values.mean() + half, abs=0.03
    )


def test_the_interval_of_two_prompts_is_exact() -> None:
    """The mean of two draws from {0, 1} is 0, 1/2 or 1, with probabilities 1/4, 1/2 and 1/4."""
    assert mean_interval(np.array([0.0, 1.0]), ids(2)) == (0.0, 1.0)


def test_seeds_of_one_prompt_are_drawn_together() -> None:
    values, prompts = np.repeat([0.0, 1.0, 2.0], 50), np.repeat(ids(3), 50)
    assert mean_interval(values, prompts) == mean_interval(np.array([0.0, 1.0, 2.0]), ids(3))


def test_one_prompt_has_no_interval_and_equal_values_give_equal_intervals() -> None:
    assert all(math.isnan(x) for x in mean_interval(np.array([3.0, 4.0]), np.array(["a", "a"])))
    values = np.arange(7.0)
    assert mean_interval(values, ids(7)) == mean_interval(values, ids(7))
