"""Hypervolume against costs, cost ratios, over-optimisation, diversity and conflict, from runs with given numbers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from benchmarks.intervals import DISTRIBUTIONS, FUNCTIONS, covered_function
from evaluation.figures.overlap import draw_conflict
from evaluation.measures.conflict import conflict_table
from evaluation.measures.diversity import diversity, mean_distance, rgb16
from evaluation.measures.efficiency import KINDS, cost_ratios, cost_to_reach, hypervolume_by_cost
from evaluation.measures.hypervolume import (
    derived_point,
    hypervolume,
    hypervolume_table,
    reference_point,
    reference_warnings,
)
from evaluation.measures.methods import compare_methods, indicators
from evaluation.measures.over_optimisation import over_optimisation
from evaluation.reading.comparison import Comparison, load_runs
from evaluation.report import write_report
from evaluation.statistics.bootstrap import interval_of, mean_interval
from evaluation.tables.kinds import tables
from tests.support.evaluation.number_run import Numbers, flat_png, write_numbers

PROMPTS = ("owl", "fox", "cat", "hen")
W2 = [[0.0, 1.0], [1.0, 0.0]]
ZERO = {"report": {"reference_point": {"a": 0.0, "b": 0.0}}}


def ids(n: int) -> np.ndarray:
    return np.array([f"p{i:03d}" for i in range(n)])


def square(area: float) -> np.ndarray:
    """Two equal images with this hypervolume from (0, 0)."""
    return np.full((2, 2), math.sqrt(area))


def sweep(folder: Path, noise: float = 0.0, budgets: Sequence[int] = (1000, 2000, 4000)) -> Comparison:
    """Volumes grow by 1 for each doubling; weighted_sum needs 2^1.5 times the queries of srsoup."""
    runs, rng = [], np.random.default_rng(0)
    for budget in budgets:
        fronts = [
            Numbers(
                prompt,
                method,
                square(10 + math.log2(budget / 1000 * factor) + noise * rng.normal()),
                costs={"queries": budget, "decodes": budget // 2 + 2, "seconds_total": budget / 100},
            )
            for prompt in PROMPTS
            for method, factor in (("srsoup", 2**1.5), ("weighted_sum", 1))
        ]
        runs.append(write_numbers(folder, f"n{budget}", ["a", "b"], [], W2, fronts, ZERO))
    return load_runs(runs)


@pytest.fixture(scope="module")
def even_sweep(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return sweep(tmp_path_factory.mktemp("sweep"))


def by(table: pd.DataFrame, *names: str) -> dict[Any, dict[Any, Any]]:
    """The rows of a frame, by the values of these columns."""
    rows = table.to_dict("records")
    return {row[names[0]] if len(names) == 1 else tuple(row[name] for name in names): row for row in rows}


def volumes_of(comparison: Comparison) -> dict:
    return {"stated": hypervolume_table(comparison, reference_point(comparison))}


def test_hypervolume_stands_beside_each_cost(even_sweep: Comparison) -> None:
    table = hypervolume_by_cost(even_sweep, volumes_of(even_sweep))
    assert len(table) == 6 and set(table["reference"]) == {"stated"}
    for row in table.to_dict("records"):
        budget = int(row["run"][1:])
        assert (row["queries"], row["decodes"], row["seconds"]) == (budget, budget // 2 + 2, budget / 100)
        expected = 10 + math.log2(budget / 1000) + 1.5 * (row["method"] == "srsoup")
        assert row["hypervolume"] == pytest.approx(expected) and row["of_mean_front"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cost", ["queries", "seconds"])
def test_a_method_that_needs_less_has_the_ratio_of_the_costs(even_sweep: Comparison, cost: str, kind: str) -> None:
    table = cost_ratios(even_sweep, volumes_of(even_sweep))
    found = {
        key[2:]: row
        for key, row in by(table, "kind", "cost", "method", "compared_with").items()
        if key[:2] == (kind, cost)
    }
    soup = [found["srsoup", f"n{n} · weighted_sum"] for n in (1000, 2000, 4000)]
    assert [row["status"] for row in soup] == ["at most", "at most", "interpolated"]
    assert [row["ratio"] for row in soup] == pytest.approx([1.0, 2.0, 2**1.5])
    other = [found["weighted_sum", f"n{n} · srsoup"] for n in (1000, 2000, 4000)]
    assert [row["status"] for row in other] == ["interpolated", "not reached", "not reached"]
    assert other[0]["ratio"] == pytest.approx(2**-1.5) and math.isnan(other[1]["ratio"] + 0 * other[1]["low"])


def test_a_method_without_queries_is_left_out_of_their_ratios_alone(tmp_path: Path) -> None:
    fronts = [
        Numbers("owl", method, square(area), costs={"queries": queries, "decodes": 10})
        for method, area, queries in (("srsoup", 4, 100), ("weighted_sum", 3, 200), ("fine-tuned", 2, 0))
    ]
    comparison = load_runs([write_numbers(tmp_path, "one", ["a", "b"], [], W2, fronts, ZERO)])
    table = cost_ratios(comparison, volumes_of(comparison))
    rows = table[table["kind"] == KINDS[0]].to_dict("records")
    methods = {cost: {row["method"] for row in rows if row["cost"] == cost} for cost in ("queries", "decodes")}
    assert methods == {"queries": {"srsoup", "weighted_sum"}, "decodes": {"srsoup", "weighted_sum", "fine-tuned"}}
    (printed,) = tables("cost_ratios", [comparison])
    assert "–" in {row[4].text for row in printed.rows}


def test_a_ratio_has_an_interval_around_it_if_prompts_differ(tmp_path: Path) -> None:
    comparison = sweep(tmp_path, noise=0.05)
    table = cost_ratios(comparison, volumes_of(comparison))
    found = table[(table["status"] == "interpolated") & table["low"].notna()].to_dict("records")
    assert found and all(row["low"] < row["ratio"] < row["high"] for row in found)


def test_the_cost_to_reach_is_linear_in_the_logarithm_and_never_extrapolated() -> None:
    costs, volumes = np.array([4000.0, 1000.0, 2000.0]), np.array([3.0, 1.0, 2.0])
    assert cost_to_reach(costs, volumes, 2.5).cost == pytest.approx(math.sqrt(2000 * 4000))
    assert cost_to_reach(costs, volumes, 2.0).cost == pytest.approx(2000)
    assert cost_to_reach(costs, volumes, 0.5).status == "at most"
    assert cost_to_reach(costs, volumes, 3.01).status == "not reached"
    # A later dip does not matter: the smallest cost counts. Two runs of the same cost are one point.
    assert cost_to_reach(costs, np.array([0.5, 1.0, 2.0]), 1.5).cost == pytest.approx(math.sqrt(1000 * 2000))
    assert cost_to_reach(np.array([1.0, 4.0, 4.0]), np.array([0.0, 1.0, 3.0]), 1.0).cost == pytest.approx(2.0)


def test_the_interval_of_a_plain_mean_is_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(0).lognormal(size=7)
    found = interval_of(lambda mean: float(mean[0]), values[:, None], ids(7))
    assert found == pytest.approx(mean_interval(values, ids(7)))
    assert np.isnan(interval_of(lambda mean: float(mean[0]), values[:1, None], ids(1))).all()
    assert np.isnan(interval_of(lambda mean: math.nan, values[:, None], ids(7))).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_interval_of_a_function_covers_as_often_as_the_documentation_says(name: str, distribution: str) -> None:
    """At reduced size what `python -m benchmarks.intervals` measures, within three standard errors of the share."""
    page = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
    rows = page.partition("| prompts | mean front, normal |")[2].splitlines()[2:13]
    assert [int(row.split("|")[1]) for row in rows] == [2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50]
    shares = {int(row.split("|")[1]): [float(cell) / 100 for cell in row.split("|")[2:-1]] for row in rows}
    column = list(FUNCTIONS).index(name) * 3 + list(DISTRIBUTIONS).index(distribution)
    assert all(min(row) > 0.87 for row in shares.values())
    claimed, draws = shares[6][column], 150
    found = covered_function(name, DISTRIBUTIONS[distribution], 6, draws, seed=1)
    assert found == pytest.approx(claimed, abs=3 * math.sqrt(claimed * (1 - claimed) * (1 / draws + 1 / 500)))


def test_both_hypervolumes_have_an_interval_and_are_different_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    scores = rng.uniform(1, 3, (8, 2, 2))
    fronts = [Numbers(f"p{i}", "srsoup", s) for i, s in enumerate(scores)]
    comparison = load_runs([write_numbers(tmp_path, "one", ["a", "b"], [], W2, fronts, ZERO)])
    row = by(volumes_of(comparison)["stated"].by_label, "label")["srsoup"]
    each = [hypervolume(s, np.zeros(2)).value for s in scores]
    assert row["hypervolume"] == pytest.approx(np.mean(each))
    assert row["of_mean_front"] == pytest.approx(hypervolume(scores.mean(axis=0), np.zeros(2)).value)
    assert row["hypervolume"] != pytest.approx(row["of_mean_front"], rel=1e-3)
    assert row["mean_front_low"] < row["of_mean_front"] < row["mean_front_high"]
    jackknife = [
        8 * row["of_mean_front"] - 7 * hypervolume(np.delete(scores, i, 0).mean(0), np.zeros(2)).value for i in range(8)
    ]
    assert (row["mean_front_low"], row["mean_front_high"]) == pytest.approx(mean_interval(np.array(jackknife), ids(8)))


def test_what_makes_a_hypervolume_misleading_is_told(tmp_path: Path) -> None:
    point = {"report": {"reference_point": {"a": 4.0, "b": 180.0}}}
    fronts = [Numbers(p, m, np.array([[5.0, -90.0], [6.0, -100.0]])) for p in PROMPTS[:2] for m in ("srsoup", "other")]
    runs = [write_numbers(tmp_path, "one", ["a", "b"], [], W2, fronts[:3], point)]
    comparison = load_runs(runs)
    told = reference_warnings(comparison, reference_point(comparison))
    assert "b = 180 is not below any image (the best has -90)" in told[0] and "sign" in told[0]
    assert told[1].startswith("4 of 4 images do not exceed the reference point")
    assert told[2].startswith("1 of 2 fronts of srsoup are left out")
    assert len(reference_warnings(comparison, derived_point(comparison))) == 1


def test_every_two_methods_are_compared_on_the_same_prompts(tmp_path: Path) -> None:
    areas = {"srsoup": [4.0, 9.0, 16.0, 25.0], "weighted_sum": [3.0, 7.0, 13.0, 26.0], "unguided": [1.0, 1.0, 1.0, 1.0]}
    fronts = [Numbers(p, m, square(a[i])) for m, a in areas.items() for i, p in enumerate(PROMPTS)]
    comparison = load_runs([write_numbers(tmp_path, "one", ["a", "b"], [], W2, fronts, ZERO)])
    table = by(compare_methods(comparison, volumes_of(comparison)), "first", "second")
    row = table["srsoup", "weighted_sum"]
    assert row["difference"] == pytest.approx((1 + 2 + 3 - 1) / 4)
    assert (row["wins"], row["losses"], row["win_rate"]) == (3, 1, 0.75)
    # |1 + 2 + 3 - 1| = 5 or more: 7 + 2 (5) and their opposites, of 16 assignments of signs.
    sums = [abs(a + 2 * b + 3 * c + d) for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)]
    assert row["p"] == sum(s >= 5 for s in sums) / 16
    best = table["srsoup", "unguided"]
    assert best["p"] == 2 / 16 and best["p_holm"] == 6 / 16 and bool(best["exact"])
    scaled = by(indicators(comparison), "label")
    assert scaled["unguided"]["igd_plus"] > scaled["srsoup"]["igd_plus"] >= 0
    assert min(scaled, key=lambda label: scaled[label]["r2"]) == "srsoup"
    assert min(scaled, key=lambda label: scaled[label]["epsilon"]) == "srsoup"


def over_optimised(folder: Path) -> Comparison:
    """The unguided images have rewards 0 and 2; srsoup gains 3 standard deviations and loses 2 held-out ones."""
    base = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    shift = {"srsoup": (3.0, -2.0), "best_of": (4.0, -1.0), "weighted_sum": (2.0, 0.5)}
    fronts = [Numbers(p, "unguided", base) for p in PROMPTS]
    for i, p in enumerate(PROMPTS):
        wobble = 0.01 * (i - 1.5)
        fronts += [Numbers(p, m, 1 + np.array([[g, g, c]] * 2) + wobble) for m, (g, c) in shift.items()]
    return load_runs([write_numbers(folder, "one", ["a", "b"], ["h"], W2, fronts)])


def test_over_optimisation_is_a_gain_beside_a_held_out_loss_and_beside_best_of_n(tmp_path: Path) -> None:
    table = by(over_optimisation(over_optimised(tmp_path)), "label", "weight_index")
    row = table["srsoup", 0]
    assert (row["gain"], row["change"]) == pytest.approx((3.0, -2.0)) and row["over_optimised"]
    # Best of n loses 1 for a gain of 4, so 0.75 at a gain of 3.
    assert row["best_of_change"] == pytest.approx(-0.75)
    assert not table["weighted_sum", 1]["over_optimised"]
    assert table["best_of", 0]["best_of_change"] == pytest.approx(-1.0)
    assert {label for label, _ in table} == {"srsoup", "best_of", "weighted_sum"}


def test_diversity_is_the_mean_distance_of_colours(tmp_path: Path) -> None:
    black, white, grey = flat_png((0, 0, 0)), flat_png((255, 255, 255)), flat_png((51, 51, 51))
    assert mean_distance(np.stack([rgb16(black), rgb16(white)])) == pytest.approx(1.0)
    assert mean_distance(np.stack([rgb16(black), rgb16(grey)])) == pytest.approx(0.2)
    fronts = [
        Numbers("owl", "srsoup", square(1), seed=0, images=(black, black)),
        Numbers("owl", "srsoup", square(1), seed=1, images=(white, grey)),
        Numbers("fox", "srsoup", square(1), seed=0, images=(white, black)),
        Numbers("fox", "srsoup", square(1), seed=1, images=(white, black)),
        *(Numbers(p, "unguided", square(1), seed=s, images=(black, white)) for p in ("owl", "fox") for s in (0, 1)),
    ]
    comparison = load_runs([write_numbers(tmp_path, "one", ["a", "b"], [], W2, fronts)])
    table = by(diversity(comparison), "label")
    assert {(row["distance"], row["prompts_used"]) for row in table.values()} == {("rgb16", 2)}
    # owl: 1 for the first weighting, 0.2 for the second; fox: 0 for both.
    assert table["srsoup"]["within_prompt"] == pytest.approx((1 + 0.2 + 0 + 0) / 4)
    # First seeds: black against white (1) and black against black (0); second seeds: 0, and grey against black (0.2).
    assert table["srsoup"]["between_prompts"] == pytest.approx((1 + 0 + 0 + 0.2) / 4)
    # Four images of each prompt, two black and two white: four of their six pairs differ.
    assert table["unguided"]["within_prompt"] == pytest.approx(4 / 6)
    assert table["unguided"]["images_of_a_prompt"] == 4 and table["unguided"]["between_prompts"] == 0


def test_conflict_is_the_mean_cosine_over_fronts(tmp_path: Path) -> None:
    def rows(cosine: float | None) -> list[dict]:
        usual = {"step": 0, "timestep": 9, "phase": "soup", "sigma": 0.1, "weight_index": 0}
        return [
            usual | {"reward": "a", "gradient_cosines": [1.0, cosine]},
            usual | {"reward": "b", "gradient_cosines": [cosine, 1.0]},
            usual | {"reward": "a", "weight_index": 1, "gradient_cosines": [1.0, None]},
        ]

    cosines = {"owl": 0.5, "fox": -0.1, "cat": -0.7, "hen": -0.1}
    fronts = [Numbers(p, "srsoup", square(1), steps=rows(c)) for p, c in cosines.items()]
    comparison = load_runs([write_numbers(tmp_path, "one", ["a", "b"], [], W2, fronts)])
    (row,) = conflict_table(comparison).to_dict("records")
    assert (row["reward"], row["other"], row["weight_index"], row["fronts"]) == ("a", "b", 0, 4)
    assert row["cosine"] == pytest.approx(-0.1) and row["opposed"] == 0.75
    figure = draw_conflict(conflict_table(comparison), {0: (0.5, 0.5), 1: (1.0, 0.0)}, ("a", "b"))
    lines = figure.axes[0].get_lines()
    assert [np.asarray(line.get_ydata()).tolist() for line in lines if line.get_label() == "0.5"] == [
        [pytest.approx(-0.1)]
    ]
    plt.close(figure)
    write_report([tmp_path / "one"], tmp_path / "report")
    assert (tmp_path / "report" / "conflict_1.svg").is_file()
    without = write_numbers(tmp_path, "old", ["a", "b"], [], W2, [Numbers("owl", "srsoup", square(1))])
    assert conflict_table(load_runs([without])).empty
