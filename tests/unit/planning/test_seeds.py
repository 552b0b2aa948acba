"""Several seeds for each prompt: each seed has its own front, distinct everywhere, and all methods share the seeds."""

from pathlib import Path

import pandas as pd
import yaml

from configs.load import load_config
from evaluation.reading.comparison import _each_seed_apart
from pipeline.planning.plan import Plan, make_plan


def plan(tmp_path: Path, seeds: int) -> Plan:
    data = {
        "name": "s", "output": str(tmp_path / "out"), "seeds": seeds, "method": ["srsoup", "unguided"],
        "weights": {"grid": 2}, "rewards": {"guided": ["colorfulness", "compressibility"]},
        "prompts": {"list": ["snail", "owl"]},
    }  # fmt: skip
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(data))
    return make_plan(load_config(path, []), lambda key: key)


def test_every_prompt_and_method_has_one_task_for_each_seed(tmp_path: Path) -> None:
    tasks = plan(tmp_path, 3).tasks
    assert len(tasks) == len({task.key for task in tasks}) == 2 * 3 * 2
    assert len({task.seed for task in tasks}) == 2 * 3  # the methods share them
    first = {task.key for task in plan(tmp_path, 1).tasks}
    assert first <= {task.key for task in tasks}  # the front of the first seed is that of a run with one seed


def frames(*fronts: tuple[str, str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    points = pd.DataFrame(
        [{"key": key, "prompt_id": prompt, "prompt": f"a {prompt}"} for key, prompt, _ in fronts for _ in range(2)]
    )
    return points, pd.DataFrame([{"key": key, "seed": seed} for key, _, seed in fronts])


def test_fronts_of_several_seeds_are_distinct_and_paired_across_methods() -> None:
    points, costs = frames(("a", "p", 90), ("b", "p", 7), ("c", "p", 90), ("d", "q", 4))
    apart = _each_seed_apart(points, costs).drop_duplicates("key").set_index("key")
    assert apart["prompt_id"].to_dict() == {"a": "p-2", "b": "p-1", "c": "p-2", "d": "q"}
    assert apart["prompt"].to_dict() == {"a": "a p (seed 2)", "b": "a p (seed 1)", "c": "a p (seed 2)", "d": "a q"}


def test_with_one_seed_nothing_changes() -> None:
    points, costs = frames(("a", "p", 90), ("b", "q", 7))
    pd.testing.assert_frame_equal(_each_seed_apart(points, costs).drop(columns="text_id"), points)
