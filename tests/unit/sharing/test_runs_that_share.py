"""Runs with `soup.steps: auto`: the same bits after a kill, and what the tables say."""

import shutil
from pathlib import Path

import pytest

from pipeline.records import read_table
from tests.support.runs import FOUR_FRONTS, run_here, same_bits

AUTO = (*FOUR_FRONTS, "prompts.list=[snail, crab]", "steps=4", "soup.steps=auto", "queries={auto: 4}",
        "guidance.noise=distinct")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_here(tmp_path_factory.mktemp("auto") / "run", *AUTO)


def test_a_run_that_was_killed_gives_the_same_bits(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    lost = read_table(run, "costs")["key"][1].as_py()
    for table in ("samples", "scores", "steps", "costs"):
        (copy / table / f"{lost}.parquet").unlink()
    run_here(copy, *AUTO)
    assert same_bits(copy, run)


def test_the_tables_say_who_borrowed_from_whom_and_what_it_cost(run: Path) -> None:
    steps, costs = read_table(run, "steps").to_pandas(), read_table(run, "costs").to_pandas()
    assert (steps[steps.step == 0].phase == "soup").all() and set(steps[steps.step == 0].anchor) == {0, 2}
    assert (steps[steps.step == 1].anchor == steps[steps.step == 1].weight_index).all()
    # L = 3 weightings with 4 positive weights, N = 4, T = 4: never more than the weighted sum.
    assert (costs.queries <= 4 * 4 * 4).all() and (costs.decodes <= 4 * 3 * 4 + 3).all()
    first = steps[steps.step == 1].candidates
    assert (first == 4).all(), "with all rows evaluated it is the weighted sum"
    assert steps.anchor_cosine.between(0, 1).all()


def test_other_runs_have_nulls_there(tmp_path: Path) -> None:
    steps = read_table(run_here(tmp_path / "run", *FOUR_FRONTS, "prompts.list=[snail]"), "steps").to_pandas()
    assert steps[["anchor", "anchor_cosine", "candidates"]].isna().all(axis=None)
