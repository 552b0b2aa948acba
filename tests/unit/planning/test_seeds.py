"""Several seeds for each prompt: each seed has its own front, distinct everywhere, and all methods share the seeds."""

from pathlib import Path

import pandas as pd
import yaml

from configs.load import load_config
from evaluation.reading.common_fronts import mark_compared
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


def frame(*fronts: tuple[str, str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"key": key, "label": label, "run": "r", "prompt_id": prompt, "prompt": f"a {prompt}", "front_seed": seed}
            for key, label, prompt, seed in fronts
            for _ in range(2)
        ]
    )


def test_fronts_of_several_seeds_are_distinct_and_paired_across_methods() -> None:
    points = frame(("a", "x", "p", 90), ("b", "x", "p", 7), ("c", "y", "p", 90), ("d", "x", "q", 4))
    apart = mark_compared(points)[0].drop_duplicates("key").set_index("key")
    assert apart["compared"].to_dict() == {"a": True, "b": False, "c": True, "d": False}
    assert apart["prompt_id"].to_dict() == {"a": "p-2", "b": "p-1", "c": "p-2", "d": "q"}
    assert apart["prompt"].to_dict() == {"a": "a p (seed 2)", "b": "a p (seed 1)", "c": "a p (seed 2)", "d": "a q"}


def test_with_one_seed_nothing_changes() -> None:
    points = frame(("a", "x", "p", 90), ("b", "x", "q", 7))
    marked, by_number = mark_compared(points)
    assert marked["compared"].all() and not by_number
    pd.testing.assert_frame_equal(marked[points.columns], points)
