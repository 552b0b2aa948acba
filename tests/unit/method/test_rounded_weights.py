"""A weight that differs from 0 or 1 by rounding only is 0 or 1: in the rows, in their cost, and in the report."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from configs.load import load_config
from configs.weights import WEIGHT_TOLERANCE
from evaluation.measures.fronts import one_hot_reward
from evaluation.measures.savings import queries_by_formula
from pipeline.guidance.row_gradients import Correction
from pipeline.guidance.runner import Guidance
from pipeline.guidance.simplex import TOLERANCE, as_weights, with_exemplars
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import make_plan
from tests.support.fakes import Run

SIGMAS = (0.9, 0.7, 0.5, 0.3)
EXACT = [[1.0, 0.0], [0.3, 0.7], [0.0, 1.0]]
# One-hot rows as people compute them: 1 - 1e-16, a quotient, a difference, a sum above 1, seven printed digits.
ROUNDED = [
    [[0.9999999999999999, 0.0], [0.3, 0.7], [0.0, 1.0]],
    [[1.0, 5e-17], [0.3, 0.7], [1 - 0.9 - 0.1 + 3e-17, 0.9999999999999998]],
    [[1.0000005, 0.0], [0.3, 0.7], [0.0, 0.9999995]],
    [[0.9999999, 1e-7], [0.3, 0.7], [0.0000004, 0.9999996]],
]
CASES = pytest.mark.parametrize("rows", ROUNDED)


def config_file(folder: Path, rows: list[list[float]]) -> Path:
    path = folder / "run.yaml"
    rewards = {"guided": ["colorfulness", "compressibility"]}
    data = {"name": "w", "weights": rows, "rewards": rewards, "prompts": {"list": ["snail"]}, "steps": 4, "queries": 6}
    path.write_text(yaml.safe_dump(data | {"soup": {"steps": 2}, "output": str(folder / "run")}))
    return path


def test_the_tolerance_is_that_of_the_schema() -> None:
    assert TOLERANCE == WEIGHT_TOLERANCE == 1e-6


@CASES
def test_a_rounded_one_hot_row_is_the_exemplar_and_none_is_hidden(rows: list[list[float]]) -> None:
    soup = with_exemplars(as_weights(rows))
    assert (soup.exemplars, len(soup.w_RM)) == ((0, 2), 3)
    assert soup.w_RM.tolist() == EXACT
    assert with_exemplars(torch.tensor(rows, dtype=torch.float64)).exemplars == (0, 2)


@CASES
@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
def test_a_run_of_rounded_rows_is_the_run_of_the_exact_rows_bit_for_bit(
    rows: list[list[float]], correction: Correction
) -> None:
    guidance = Guidance(6, 2, "gradient", correction)
    rounded = Run(as_weights(rows).numpy(), guidance, SIGMAS)
    exact = Run(np.array(EXACT), guidance, SIGMAS)
    assert torch.equal(rounded.x, exact.x)
    assert rounded.ledger.total_queries == exact.ledger.total_queries == 6 * (2 * 2 + 2 * 4)


@CASES
def test_the_configuration_the_plan_and_the_report_count_the_queries_that_are_made(
    tmp_path: Path, rows: list[list[float]]
) -> None:
    config = load_config(config_file(tmp_path, rows), [])
    assert config.weights == tuple(map(tuple, EXACT))
    plan = make_plan(config, lambda key: "run.yaml")
    assert expected_cost(plan.tasks[0], 4).queries == 72
    recorded = config.model_dump(mode="json")
    assert queries_by_formula(recorded | {"weights": rows}, 2) == queries_by_formula(recorded, 2) == 72


def test_a_weight_of_rounding_size_in_a_mixed_row_makes_no_query(tmp_path: Path) -> None:
    rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.4999999, 1e-7]]
    run = Run(np.array(rows), Guidance(6, 2), SIGMAS)
    assert run.ledger.total_queries == 6 * (2 * 3 + 2 * 5)
    path = config_file(tmp_path, rows)
    config = load_config(path, ["rewards.guided=[colorfulness, compressibility, brightness]"])
    assert config.weights[3] == (0.5, 0.4999999, 1e-7)
    assert expected_cost(make_plan(config, lambda key: "run.yaml").tasks[0], 4).queries == 6 * (2 * 3 + 2 * 5)


@pytest.mark.parametrize(
    ("weights", "number"),
    [([0.9999999999999999, 0.0], 0), ([1e-17, 1.0], 1), ([0.99, 0.01], None), ([1.0], 0), (None, None)],
)
def test_the_report_knows_a_one_hot_row_in_an_older_run(weights: list[float] | None, number: int | None) -> None:
    assert one_hot_reward(weights) == number


def test_rows_near_a_one_hot_but_not_by_rounding_stay_as_they_are() -> None:
    rows = [[0.9999, 0.0001], [0.0, 1.0], [0.999998, 0.000002]]
    assert as_weights(rows).tolist() == rows
    assert with_exemplars(as_weights(rows)).exemplars == (3, 1)
