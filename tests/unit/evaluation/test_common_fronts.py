"""Every comparison of a report is over the prompts and seeds that all methods have, and the page says what is not."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.errors import ReportError
from evaluation.measures.costs import cost_table
from evaluation.measures.extremes import extremes
from evaluation.measures.fronts import mean_over_prompts
from evaluation.measures.hypervolume import derived_point, hypervolume_table
from evaluation.measures.overlap import overlap_table
from evaluation.measures.savings import saving
from evaluation.reading.comparison import Comparison, load_runs
from evaluation.report import write_report
from tests.support.synthetic_run import simplex, write_driver, write_key

Write = Callable[..., Path]
GUIDED, HELD_OUT = ["colorfulness", "compressibility"], ["mini_clip"]


def lose(run: Path, key: str) -> None:
    """Makes a front unfinished, as it is in a run that is still going on."""
    (run / "costs" / f"{key}.parquet").unlink()


def numbers(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Returns every table with numbers that are compared."""
    volumes = hypervolume_table(comparison, derived_point(comparison))
    return {
        "means": mean_over_prompts(comparison.points, comparison.rewards),
        "by_label": volumes.by_label,
        "by_prompt": volumes.by_prompt,
        "costs": cost_table(comparison).rows,
        "extremes": extremes(comparison),
        "overlap": overlap_table(comparison),
        "spread": comparison.points.groupby(["label", "weight_index"])[list(comparison.rewards)].std(),
    }


def assert_same_numbers(one: Comparison, other: Comparison) -> None:
    for (name, left), right in zip(numbers(one).items(), numbers(other).values(), strict=True):
        pd.testing.assert_frame_equal(left, right, obj=name)


def page_of(runs: Sequence[Path], out: Path) -> str:
    page = write_report(runs, out).read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page.partition("</header>")[0].partition("<header>")[2]))


@pytest.mark.parametrize("missing", ["p002-unguided", "p002-srsoup"])
def test_a_front_that_another_method_lacks_changes_no_number(synthetic_run: Write, missing: str) -> None:
    partial = synthetic_run(prompts=["a", "b", "c"], failures=1)
    lose(partial, missing)
    found = load_runs([partial])
    assert_same_numbers(found, load_runs([synthetic_run("common", prompts=["a", "b"])]))
    assert len(found.left_out) == 6 and set(found.left_out["prompt"]) == {"c"}


def test_the_page_names_what_is_left_out_and_that_the_run_is_unfinished(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["a", "b", "c"], failures=1)
    lose(run, "p002-unguided")
    write_driver(run, fronts=8)
    text = page_of([run], tmp_path / "out")
    assert "2 prompts, guided by" in text
    assert "This run is unfinished: 5 of 8 fronts. 1 failed." in text
    assert "Compared are only 2 fronts of each method" in text and "Left out: 1 front of srsoup." in text
    front = pd.read_csv(tmp_path / "out" / "front.csv")
    assert len(front) == 5 * 6 and set(front[~front["compared"]]["prompt"]) == {"c"}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    texts = re.findall(r'<script type="text/plain" id="i\d+">(.*?)</script>', page)
    assert sum(len(re.split(r"[ |]", text.strip("|"))) for text in texts) == 5 * 6, "the images of all fronts are shown"
    assert "1 prompt that some method lacks is shown too" in page


def test_a_finished_run_has_no_such_words(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["a", "b"])
    write_driver(run, fronts=4)
    text = page_of([run], tmp_path / "out")
    assert "unfinished" not in text and "Left out" not in text and load_runs([run]).left_out.empty


def test_a_method_without_any_front_yet_counts_as_unfinished(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["a", "b"])
    for key in ("p000-unguided", "p001-unguided"):
        lose(run, key)
    write_driver(run, fronts=4)
    comparison = load_runs([run])
    assert comparison.labels == ("srsoup",) and len(comparison.prompts) == 2
    assert "unfinished: 2 of 4 fronts" in page_of([run], tmp_path / "out")


def test_runs_of_different_prompts_are_compared_over_those_of_both(synthetic_run: Write, tmp_path: Path) -> None:
    runs = [synthetic_run("one", prompts=["a", "b"]), synthetic_run("two", prompts=["a", "b", "c", "d"])]
    both = [runs[0], synthetic_run("common", prompts=["a", "b"])]
    means = [mean_over_prompts(load_runs(pair).points, GUIDED)[GUIDED].to_numpy() for pair in (runs, both)]
    # The second run of each pair has another name, so its labels are in another order.
    np.testing.assert_array_equal(np.sort(means[0], axis=0), np.sort(means[1], axis=0))
    text = page_of(runs, tmp_path / "out")
    assert "Left out: 2 fronts of two · srsoup, 2 fronts of two · unguided." in text


def seeds_of(run: Path, prompt: int, seeds: Sequence[int], method: str = "srsoup") -> None:
    """Writes fronts of more seeds of a prompt."""
    for seed in seeds:
        key = f"p{prompt:03d}-{method}-seed{seed}"
        write_key(run, key, "abc"[prompt], method, simplex(6, 2), GUIDED, HELD_OUT, seed)


def test_seeds_are_compared_by_their_value_not_by_their_number(synthetic_run: Write) -> None:
    """The second run has not finished seed 0, so its first seed is the second seed of the first run."""
    one = synthetic_run("one", prompts=["a"], methods=["srsoup"])
    two = synthetic_run("two", prompts=["a"], methods=["srsoup"])
    seeds_of(one, 0, [3, 5])
    seeds_of(two, 0, [3])
    lose(two, "p000-srsoup")
    comparison = load_runs([one, two])
    assert set(comparison.points["front_seed"]) == {3} and not comparison.by_number
    assert set(comparison.left_out["front_seed"]) == {0, 5}
    assert set(comparison.points["prompt"]) == {"a (seed 2)"}
    assert comparison.points.groupby("label").size().to_dict() == {"one · srsoup": 6, "two · srsoup": 6}


def test_runs_with_different_seeds_are_compared_by_prompt(synthetic_run: Write, tmp_path: Path) -> None:
    one, two = (synthetic_run(name, prompts=["a", "b"], methods=["srsoup"]) for name in ("one", "two"))
    for key in ("p000-srsoup", "p001-srsoup"):
        lose(two, key)
    seeds_of(one, 0, [1])
    seeds_of(two, 0, [7, 8, 9])
    comparison = load_runs([one, two])
    assert comparison.by_number and set(comparison.points["text_id"]) == {"p000"}
    assert comparison.points.groupby("label")["front_seed"].agg(set).to_dict() == {
        "one · srsoup": {0, 1},
        "two · srsoup": {7, 8},
    }
    assert comparison.points.groupby("prompt_id")["label"].nunique().tolist() == [2, 2]
    text = page_of([one, two], tmp_path / "out")
    assert "The runs have different seeds" in text and "1 prompt (2 fronts of each method" in text


def test_a_saving_is_counted_over_common_prompts(synthetic_run: Write) -> None:
    """A front with other queries, such as one of an earlier version, does not decide it if it is left out."""
    run = synthetic_run(methods=["srsoup", "weighted_sum"], prompts=["a", "b"])
    lose(run, "p001-weighted_sum")
    found = saving(load_runs([run]), "srsoup")
    assert found and found.both_counted and set(load_runs([run]).costs["prompt"]) == {"a"}


def test_without_a_common_prompt_nothing_is_compared(synthetic_run: Write, tmp_path: Path) -> None:
    runs = [synthetic_run("one", prompts=["a"]), synthetic_run("two", prompts=["x", "b"])]
    lose(runs[1], "p000-srsoup")
    lose(runs[1], "p000-unguided")
    with pytest.raises(ReportError, match=r"one, .*two: no prompt was finished by every method .* a report for each"):
        write_report(runs, tmp_path / "out")
    run = synthetic_run("three", prompts=["a", "b"])
    lose(run, "p000-srsoup")
    lose(run, "p001-unguided")
    with pytest.raises(ReportError, match=r"three: no prompt was finished by every method .*Continue"):
        write_report([run], tmp_path / "out")
