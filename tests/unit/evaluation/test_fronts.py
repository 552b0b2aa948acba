"""Pareto fronts, compared with brute force."""

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.fronts import mark_fronts, mean_over_prompts, non_dominated, weight_name


def brute_force(points: np.ndarray) -> list[bool]:
    """A point is dominated if another is at least as good in every reward and better in one."""
    return [not any(all(q >= p) and any(q > p) for j, q in enumerate(points) if j != i) for i, p in enumerate(points)]


@pytest.mark.parametrize("rewards", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_non_dominated_equals_brute_force(seed: int, rewards: int) -> None:
    # Few distinct values, so that there are ties and equal points.
    points = np.random.default_rng(seed).integers(0, 5, (30, rewards)).astype(float)
    assert non_dominated(points).tolist() == brute_force(points)


def test_equal_points_do_not_dominate_each_other() -> None:
    assert non_dominated(np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])).tolist() == [True, True, False]


def frame() -> pd.DataFrame:
    """Two prompts, two weightings, one label; the first point of the second prompt is dominated."""
    return pd.DataFrame(
        {
            "label": "srsoup",
            "prompt_id": ["p", "p", "q", "q"],
            "weight_index": [0, 1, 0, 1],
            "weights": [[0.0, 1.0], [1.0, 0.0]] * 2,
            "a": [0.0, 4.0, 1.0, 2.0],
            "b": [3.0, 1.0, 1.0, 3.0],
        }
    )


def test_each_prompt_has_its_own_front() -> None:
    assert mark_fronts(frame(), ["a", "b"])["on_front"].tolist() == [True, True, False, True]


def test_the_mean_of_each_weighting_is_over_prompts() -> None:
    means = mean_over_prompts(frame(), ["a", "b"])
    assert means[["a", "b"]].to_numpy().tolist() == [[0.5, 2.0], [3.0, 2.0]]
    assert means["prompts"].tolist() == [2, 2]


def test_names_of_weightings() -> None:
    assert weight_name([0.2, 0.8], 1) == "0.2"
    assert weight_name([0.2, 0.3, 0.5], 1) == "(0.2, 0.3, 0.5)"
    assert weight_name(None, 1) == "#2"
