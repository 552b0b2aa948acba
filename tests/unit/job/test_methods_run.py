"""A run of every method on the embedded model: costs as planned, readable files, and a complete report."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from configs.load import load_config
from evaluation.reading.comparison import load_run
from evaluation.reading.images import read_images
from evaluation.report import write_report
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import Plan, make_plan
from pipeline.records import read_table

METHODS = ["srsoup", "weighted_sum", "unguided_first", "best_of", "unguided"]
STEPS = 3


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("methods")
    data = {
        "name": "methods", "output": str(folder / "run"), "method": METHODS, "seeds": 2,
        "steps": STEPS, "queries": 4, "soup": {"steps": 1},
        "guidance": {
            "normalisation": "tanh", "elite_fraction": {"colorfulness": 0.5}, "elite_in": "everywhere",
            "satisfied_above": {"compressibility": -1.0},
        },
        "best_of": {"samples": 5}, "weights": {"grid": 3}, "prompts": {"list": ["snail"]},
        "rewards": {"guided": ["colorfulness", "compressibility"]},
    }  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(data))
    made = make_plan(load_config(folder / "run.yaml", []), lambda key: key)
    (outcome,) = execute([made], local=True, reporter=Reporter(1, 1, 1))
    assert outcome.exit_status == 0 and outcome.done == len(METHODS) * 2
    return made


def test_costs_are_those_of_the_plan(plan: Plan) -> None:
    costs = read_table(plan.folder, "costs").to_pandas().set_index("key")
    for task in plan.tasks:
        expected = expected_cost(task, STEPS)
        assert (costs["queries"][task.key], costs["decodes"][task.key]) == (expected.queries, expected.decodes)
    assert set(costs["method"]) == set(METHODS)


def test_each_seed_has_its_own_front(plan: Plan) -> None:
    points = load_run(plan.folder).points
    assert points.groupby(["method", "prompt_id"]).size().eq(3).all()
    assert set(points["prompt"]) == {"snail (seed 1)", "snail (seed 2)"}
    images = {front.key: front.images for front in read_images(plan.folder, set(points["key"]))}
    assert all(
        len({image for key in own for image in images[key]}) > 3 for _, own in points.groupby("prompt_id")["key"]
    )


def test_best_of_beats_the_unguided_model_at_its_ends(plan: Plan) -> None:
    """Its first samples are those of the unguided model, so it cannot be worse."""
    points = load_run(plan.folder).points
    for _, front in points.groupby("prompt_id"):
        best, base = (front[front["method"] == m].set_index("weight_index") for m in ("best_of", "unguided"))
        assert best["colorfulness"][2] >= base["colorfulness"].max()
        assert best["compressibility"][0] >= base["compressibility"].max()


def test_the_report_has_every_method(plan: Plan, tmp_path: Path) -> None:
    page = write_report([plan.folder], tmp_path / "report")
    assert all(method in page.read_text(encoding="utf-8") for method in METHODS)
    assert len(pd.read_csv(tmp_path / "report" / "front.csv")) == len(METHODS) * 2 * 3
