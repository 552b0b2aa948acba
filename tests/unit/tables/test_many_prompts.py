"""Tables of many prompts: the numbers of a plain computation, in seconds."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.hypervolume import hypervolume
from evaluation.reading.comparison import Comparison
from evaluation.reading.one_run import RunData
from evaluation.tables.kinds import KINDS, tables

PROMPTS = 3_000
W = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
METHODS = {"srsoup": 1.0, "weighted_sum": 0.9, "unguided": 0.0}
CONFIG = {
    "name": "big", "queries": 30, "steps": 50, "weights": W, "soup": {"steps": 20}, "prompts": {"file": "x.txt"},
    "report": {"reference_point": {"a": -9.0, "b": -9.0}},
}  # fmt: skip


def frames(method: str, lift: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(int(10 * lift))
    ids = np.array([f"p{i:05d}" for i in range(PROMPTS)])
    index = np.tile(np.arange(3), PROMPTS)
    w = np.array(W)[index]
    names = {"label": method, "run": "big", "method": method}
    prompts = {name: np.repeat(ids, 3) for name in ("key", "prompt_id", "text_id", "prompt")}
    noise = rng.normal(size=(3 * PROMPTS, 3))
    points = pd.DataFrame(
        prompts | {
            "weight_index": index, "weights": [None if method == "unguided" else W[i] for i in index],
            "front_seed": 0, "a": lift * w[:, 0] + noise[:, 0], "b": lift * w[:, 1] + noise[:, 1], "h": noise[:, 2],
        }
    ).assign(**names)  # fmt: skip
    costs = pd.DataFrame({
        "key": ids, "prompt_id": ids, "queries": 0 if method == "unguided" else 3000, "decodes": 3003,
        "seconds_total": rng.uniform(50, 70, PROMPTS), "seconds_lookahead": 20.0, "seconds_decode": 20.0,
        "seconds_reward": 5.0, "peak_memory_bytes": 10**9,
    }).assign(**names)  # fmt: skip
    return points, costs


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """A comparison in memory, because the files of thousands of fronts take longer than their tables."""
    points, costs = (
        pd.concat(parts, ignore_index=True)
        for parts in zip(*(frames(method, lift) for method, lift in METHODS.items()), strict=True)
    )
    wanted = dict.fromkeys(METHODS, PROMPTS)
    empty = pd.DataFrame(columns=["run", "reward"])
    run = RunData(Path("big"), "big", {"config": CONFIG}, ("a", "b"), ("h",), wanted, points, costs, empty, empty)
    fronts = pd.DataFrame({"label": list(METHODS), "run": "big"})
    fronts = fronts.assign(wanted=PROMPTS, finished=PROMPTS, compared=PROMPTS, left_out=0)
    none = points.iloc[:0]
    return Comparison((run,), ("a", "b"), ("h",), tuple(METHODS), points, none, costs, empty, empty, fronts, False)


def test_the_hypervolumes_of_many_prompts_are_the_mean_of_each_and_that_of_the_means(comparison: Comparison) -> None:
    (table,) = tables("hypervolume", [comparison])
    for row in table.rows:
        own = comparison.points[comparison.points["label"] == row[0].value][["a", "b"]]
        fronts = own.to_numpy(dtype=np.float64).reshape(PROMPTS, 3, 2)
        corner = np.array([-9.0, -9.0])
        each = [hypervolume(front, corner).value for front in fronts]
        assert row[1].value == pytest.approx(np.mean(each))
        assert row[3].value == pytest.approx(hypervolume(fronts.mean(axis=0), corner).value)
        # With so many prompts the interval is that of the normal limit.
        half = 1.96 * np.std(each) / np.sqrt(PROMPTS)
        assert row[1].ends == pytest.approx((np.mean(each) - half, np.mean(each) + half), rel=1e-3)
        assert row[3].ends and row[3].ends[0] < float(str(row[3].value)) < row[3].ends[1]


def test_every_table_of_many_prompts_takes_seconds(comparison: Comparison) -> None:
    """About 4 s of CPU; a loop over pandas groups, or one over pairs of prompts, takes minutes."""
    start = time.process_time()
    for kind in set(KINDS) - {"quality"}:
        assert tables(kind, [comparison])[0].rows
    assert time.process_time() - start < 40
