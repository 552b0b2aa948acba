"""The confidence interval of a mean over prompts."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.intervals import DISTRIBUTIONS, covered
from evaluation.report import write_report
from evaluation.statistics.bootstrap import COVERAGE, interval_note, mean_interval, standard_error

DRAWS = 200


def ids(n: int) -> np.ndarray:
    return np.array([f"p{i:03d}" for i in range(n)])


@pytest.mark.parametrize("prompts", [2, 3, 6, 20])
@pytest.mark.parametrize("number", range(3), ids=DISTRIBUTIONS)
def test_the_interval_holds_the_mean_as_often_as_the_page_says(number: int, prompts: int) -> None:
    """At reduced size what `python -m benchmarks.intervals` measures; within three standard errors of the share."""
    share = covered(mean_interval, list(DISTRIBUTIONS.values())[number], prompts, DRAWS)
    claimed = COVERAGE[prompts][number] / 100
    assert share == pytest.approx(claimed, abs=3 * math.sqrt(claimed * (1 - claimed) / DRAWS))


def test_what_the_page_says_is_near_95_per_cent_from_four_prompts_on() -> None:
    assert set(COVERAGE) == {2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50}
    for prompts, (normal, exponential, lognormal) in COVERAGE.items():
        assert normal > 94.5
        assert prompts < 4 or (exponential > 93.5 and lognormal > 91)


def test_equals_the_normal_interval_for_many_prompts() -> None:
    values = np.random.default_rng(1).normal(10, 3, 400)
    low, high = mean_interval(values, ids(400))
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03) and high == pytest.approx(
        values.mean() + half, abs=0.03
    )


def test_two_prompts_have_the_t_interval() -> None:
    """A draw of two values has a spread only if it is the two themselves, so the bootstrap says nothing."""
    expected = stats.t.interval(0.95, df=1, loc=0.5, scale=stats.sem([0.0, 1.0]))
    assert mean_interval(np.array([0.0, 1.0]), ids(2)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 5, 9, 40])
def test_the_interval_holds_the_t_interval_and_reaches_further_on_the_long_side(n: int) -> None:
    values = np.random.default_rng(n).lognormal(size=n)
    low, high = mean_interval(values, ids(n))
    t_low, t_high = stats.t.interval(0.95, df=n - 1, loc=values.mean(), scale=stats.sem(values))
    assert low <= t_low + 1e-9 and high >= t_high - 1e-9
    assert n < 5 or high - t_high > t_low - low


@pytest.mark.parametrize("values", [[1, 1.0001, 2], [1, 1.0001, 2, 3], [0, 0, 0, 1e-4, 5], [1, 1.0001, 2, 2.0001]])
def test_nearly_equal_prompts_do_not_blow_the_interval_up(values: list[float]) -> None:
    """A draw of such prompts alone has a standard error near 0."""
    low, high = mean_interval(np.array(values), ids(len(values)))
    error = standard_error(np.array(values), ids(len(values)))
    assert np.mean(values) - 20 * error < low < np.mean(values) < high < np.mean(values) + 20 * error


def test_seeds_of_one_prompt_are_drawn_together() -> None:
    values, prompts = np.repeat([0.0, 1.0, 2.0], 50), np.repeat(ids(3), 50)
    assert mean_interval(values, prompts) == pytest.approx(mean_interval(np.array([0.0, 1.0, 2.0]), ids(3)))
    assert standard_error(values, prompts) == pytest.approx(stats.sem([0.0, 1.0, 2.0]))


def test_prompts_with_different_numbers_of_seeds_give_an_interval_around_the_mean_over_fronts() -> None:
    values, prompts = np.array([0.0, 1.0, 4.0, 5.0, 6.0]), np.array(["a", "a", "b", "c", "c"])
    low, high = mean_interval(values, prompts)
    assert low < values.mean() < high


def test_many_prompts_are_fast_and_equal_the_t_interval() -> None:
    values = np.random.default_rng(0).exponential(size=100_000)
    expected = stats.t.interval(0.95, df=99_999, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(values, np.arange(100_000).astype(str)) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[3.0, 4.0], [2.0, 2.0, 2.0], [0.0] * 9])
def test_no_interval_is_given_if_nothing_tells_how_much_prompts_differ(values: list[float]) -> None:
    prompts = np.array(["a", "a"]) if values == [3.0, 4.0] else ids(len(values))
    assert all(math.isnan(x) for x in mean_interval(np.array(values), prompts))


def test_equal_values_give_equal_intervals() -> None:
    values = np.arange(7.0)
    assert mean_interval(values, ids(7)) == mean_interval(values, ids(7))


def test_the_page_says_how_far_the_interval_can_be_trusted(synthetic_run: Callable[..., Path]) -> None:
    assert "no interval" in interval_note(1)
    assert "with 6 prompts" in interval_note(7) and f"{COVERAGE[6][0]:g} %" in interval_note(7)
    assert "with 50 prompts" in interval_note(100_000)
    run = synthetic_run(prompts=["a", "b", "c"], weights=2)
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    assert interval_note(3) in page and "not known" not in page
    alone = synthetic_run(prompts=["a"], weights=2)
    page = write_report([alone], alone / "report").read_text(encoding="utf-8")
    assert interval_note(1) in page and page.count("<td>not known</td>") == 4  # two intervals of two methods


def test_the_coverages_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
    for prompts, shares in COVERAGE.items():
        assert f"| {prompts} | {' | '.join(f'{share:.1f}' for share in shares)} |" in page
