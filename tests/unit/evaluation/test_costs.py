"""The costs, savings and gains in the report, compared with counts by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from evaluation.measures.costs import cost_table
from evaluation.measures.extremes import extremes
from evaluation.measures.savings import Saving, queries_by_formula, saving
from evaluation.reading.comparison import load_runs

Write = Callable[..., Path]


def config(**changes: object) -> dict[str, object]:
    """The default of the paper: two rewards, six weightings, 50 steps, 30 candidates."""
    weights = [[i / 5, 1 - i / 5] for i in range(6)]
    return {"steps": 50, "queries": 30, "weights": weights, "rewards": {"guided": ["a", "b"]}} | changes


@pytest.mark.parametrize(
    ("soup_steps", "queries"), [(50, 3000), (40, 5400), (30, 7800), (20, 10200), (10, 12600), (0, 15000)]
)
def test_formula_gives_table_4(soup_steps: int, queries: int) -> None:
    assert queries_by_formula(config(), soup_steps) == queries


def test_formula_needs_every_one_hot_weight() -> None:
    assert queries_by_formula(config(weights=[[0.0, 1.0], [0.5, 0.5]]), 20) is None


def test_the_formula_gives_the_saving_only_if_it_agrees_with_the_count(synthetic_run: Write) -> None:
    run = synthetic_run()
    # T = 25, N = 16, K = 10, L = 6, M = 2 give 2,720 queries with the soup, and so do the costs of the run.
    assert saving(load_runs([run]), "srsoup") == Saving(2720, 4000, both_counted=False)
    assert saving(load_runs([run]), "unguided") is None
    document = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    document["config"]["soup"]["steps"] = 11
    (run / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert saving(load_runs([run]), "srsoup") is None


def test_saving_is_counted_if_weighted_sum_was_run_too(synthetic_run: Write) -> None:
    comparison = load_runs([synthetic_run(methods=["srsoup", "weighted_sum"], prompts=["a", "b"])])
    comparison.costs.loc[comparison.costs["label"] == "weighted_sum", "queries"] = 5440
    found = saving(comparison, "srsoup")
    assert found == Saving(2720, 5440, both_counted=True) and found.share == 0.5


def test_candidates_are_decodes_minus_the_final_images(synthetic_run: Write) -> None:
    speed = cost_table(load_runs([synthetic_run(prompts=["abc"])])).speed.set_index("label")["candidates_per_second"]
    assert speed["srsoup"] == pytest.approx((1766 - 6) / 23)
    assert speed["unguided"] != speed["unguided"]


def test_extremes_compare_the_one_hot_weights_with_the_unguided_mean(synthetic_run: Write) -> None:
    comparison = load_runs([synthetic_run(prompts=["a", "b"])])
    table = extremes(comparison)
    assert len(table) == 2 * 2 and set(table["label"]) == {"srsoup"}
    points = comparison.points[comparison.points["prompt"] == "b"]
    base = points[points["label"] == "unguided"]["compressibility"].mean()
    own = points[(points["label"] == "srsoup") & (points["weight_index"] == 0)]["compressibility"].item()
    row = table[(table["prompt"] == "b") & (table["reward"] == "compressibility")].iloc[0]
    assert (row["value"], row["unguided"], row["gain"]) == pytest.approx((own, base, own - base))


def test_no_extremes_without_the_unguided_model(synthetic_run: Write) -> None:
    assert extremes(load_runs([synthetic_run(methods=["srsoup"], prompts=["a"])])).empty
