"""Weights by rule: closed forms, pymoo's own points, the paper's list."""

from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pytest
import yaml

from configs.errors import InvalidValueError, RequestError
from configs.load import load_config
from configs.weights import weights_by_rule


def test_a_grid_of_six_is_the_papers_weights_exactly() -> None:
    assert weights_by_rule({"grid": 6}, 2) == [[0.0, 1.0], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [0.8, 0.2], [1.0, 0.0]]


@pytest.mark.parametrize(("rewards", "partitions"), list(product((1, 2, 3, 4), (1, 2, 5, 7))))
def test_das_dennis_are_all_rows_of_multiples(rewards: int, partitions: int) -> None:
    rows = np.array(weights_by_rule({"das_dennis": partitions}, rewards))
    assert rows.shape == (comb(partitions + rewards - 1, rewards - 1), rewards)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-12)
    counts = rows * partitions
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert len({tuple(row) for row in counts.round().astype(int)}) == len(rows)
    assert all(np.eye(rewards)[m].tolist() in rows.tolist() for m in range(rewards))


def test_das_dennis_equal_pymoos() -> None:
    from pymoo.util.ref_dirs import get_reference_directions

    ours = np.array(sorted(weights_by_rule({"das_dennis": 6}, 3)))
    theirs = np.array(sorted(get_reference_directions("das-dennis", 3, n_partitions=6).tolist()))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(("rewards", "n"), [(2, 5), (3, 8)])
def test_riesz_points_are_on_the_simplex_with_its_corners_and_are_the_same_in_each_call(rewards: int, n: int) -> None:
    rows = weights_by_rule({"riesz": n}, rewards)
    assert len(rows) == n and rows == weights_by_rule({"riesz": n}, rewards)
    np.testing.assert_allclose(np.sum(rows, axis=1), 1, atol=1e-6)
    assert all(np.eye(rewards)[m].tolist() in rows for m in range(rewards))
    apart = [np.linalg.norm(np.subtract(a, b)) for i, a in enumerate(rows) for b in rows[:i]]
    assert min(apart) > 0.1


def test_the_papers_thirteen() -> None:
    rows = weights_by_rule({"paper": 13}, 3)
    assert len(rows) == 13 and rows[:3] == np.eye(3).tolist() and rows[4] == [0.1, 0.1, 0.8]
    assert rows[3] == [1 / 3] * 3 and rows[-1] == [0.2, 0.4, 0.4]
    assert all(abs(sum(row) - 1) < 1e-12 for row in rows)


@pytest.mark.parametrize(
    ("rule", "rewards", "key", "problem"),
    [
        ({"grid": 1}, 2, "weights.grid", "is 1, not within 2..10000"),
        ({"grid": 2.5}, 2, "weights.grid", "not a whole number"),
        ({"grid": True}, 2, "weights.grid", "not a whole number"),
        ({"grid": 500}, 5, "weights", "more than 10,000 rows"),
        ({"riesz": 1}, 2, "weights.riesz", "is 1, not within 2..200"),
        ({"riesz": 3}, 1, "weights.riesz", "one weight only"),
        ({"paper": 13}, 2, "weights.paper", "13 weights for 3 rewards, not 13 for 2"),
        ({"spiral": 3}, 2, "weights.spiral", "no such rule"),
        ({"grid": 3, "riesz": 4}, 2, "weights", "one key"),
        ({}, 2, "weights", "one key"),
    ],
)
def test_wrong_rules_are_refused(rule: dict[str, float], rewards: int, key: str, problem: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        weights_by_rule(rule, rewards)
    assert caught.value.key == key and problem in caught.value.problem and caught.value.fix


def config(tmp_path: Path, weights: object, **more: object) -> Path:
    path = tmp_path / "run.yaml"
    rewards = {"guided": ["colorfulness", "compressibility"]}
    data = {"name": "w", "weights": weights, "rewards": rewards, "prompts": {"list": ["snail"]}, **more}
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_rule_becomes_rows_in_the_configuration(tmp_path: Path) -> None:
    loaded = load_config(config(tmp_path, {"grid": 3}), [])
    assert loaded.weights == ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0))
    assert loaded.model_dump(mode="json")["weights"] == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    other = load_config(config(tmp_path, {"grid": 3}), ["weights={das_dennis: 1}"])
    assert other.weights == ((0.0, 1.0), (1.0, 0.0))


def test_the_error_of_a_wrong_rule_names_its_key_and_value(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        load_config(config(tmp_path, {"gird": 6}), [])
    error = caught.value
    assert (error.key, error.value, error.problem) == ("weights.gird", 6, "there is no such rule")
    assert "{grid: points on an axis}" in error.fix and ";" not in error.fix


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("guidance.elite_fraction=0", "guidance.elite_fraction"),
        ("guidance.satisfied_above={mini_clip: 0.5}", "guidance.satisfied_above"),
        ("guidance.normalisation=rank", "guidance.normalisation"),
        ("seeds=0", "seeds"),
    ],
)
def test_wrong_options_of_the_method(tmp_path: Path, override: str, key: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_config(config(tmp_path, {"grid": 3}), [override])
    assert caught.value.key == key
