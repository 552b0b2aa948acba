"""A sweep as one job: a folder for each point, shared workers, the bits of single runs, and continuing after a stop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.load import load_config
from configs.schema import RunConfig
from configs.sweep import load_sweep
from diffusion.base import DiffusionModel, load_model
from pipeline.job.driver import execute
from pipeline.job.local_workers import LocalWorkers
from pipeline.job.progress import Reporter
from pipeline.planning.plan import Plan, make_plan
from pipeline.records import read_table
from rewards.plugin import Plugin


def write(folder: Path) -> Path:
    data = {
        "name": "swept", "output": str(folder / "runs"), "steps": 2, "queries": 2, "soup": {"steps": 1},
        "weights": {"grid": 2}, "prompts": {"list": ["snail"]},
        "rewards": {"guided": ["colorfulness", "compressibility"]},
    }  # fmt: skip
    path = folder / "swept.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def plans(path: Path, *over: str) -> list[Plan]:
    return [make_plan(config, lambda key: key) for config in load_sweep(path, [], over)]


def test_points_share_workers_and_give_the_bits_of_single_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, loaded = write(tmp_path), list[str]()
    real = LocalWorkers.from_config

    def counted(config: RunConfig, plugins: Sequence[Plugin]) -> LocalWorkers:
        loaded.append(config.name)
        return real(config, plugins)

    monkeypatch.setattr(LocalWorkers, "from_config", counted)
    points = plans(path, "method=srsoup,weighted_sum", "seed=0,1")
    assert [outcome.done for outcome in execute(points, local=True, reporter=Reporter(4, 8, 12))] == [1] * 4
    assert len(loaded) == 1, "the models were loaded more than once"

    alone = make_plan(load_config(path, ["method=weighted_sum", "seed=1", f"output={tmp_path / 'one'}"]), str)
    execute([alone], local=True, reporter=Reporter(1, 2, 4))
    swept = next(plan for plan in points if (plan.config.method, plan.config.seed) == ("weighted_sum", 1))
    assert read_table(alone.folder, "samples").equals(read_table(swept.folder, "samples"))

    again = execute(plans(path, "method=srsoup,weighted_sum", "seed=0,1,2"), local=True, reporter=Reporter(6, 0, 0))
    assert [(outcome.found, outcome.done) for outcome in again] == [(1, 0), (1, 0), (0, 1)] * 2


def test_a_task_of_two_points_runs_once_and_is_written_to_both(tmp_path: Path) -> None:
    points = plans(write(tmp_path), "compute.reward_actors=1,2")
    assert points[0].tasks[0].key == points[1].tasks[0].key
    assert [outcome.done for outcome in execute(points, local=True, reporter=Reporter(2, 4, 4))] == [1, 1]
    first, second = (read_table(plan.folder, "samples") for plan in points)
    assert first.num_rows == 2 and first.equals(second)


def test_the_models_are_loaded_once_if_points_differ_only_in_arguments_of_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each point also has the bits of its own single run, although the workers computed other points before it."""
    path, loaded = write(tmp_path), list[object]()
    swept = [
        "queries=3", "steps=3", "soup.steps=0", "method=best_of", "seed=4", "model.guidance_scale=1.0", "model.eta=0.5",
        "model.negative_prompt=a snail", "guidance.noise=antithetic",
    ]  # fmt: skip
    blocks = [{key: [yaml.safe_load(value)]} for key, _, value in (text.partition("=") for text in swept)]
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"sweep": blocks}))

    def counted(*arguments: Any) -> DiffusionModel:
        loaded.append(arguments)
        return load_model(*arguments)

    monkeypatch.setattr("actors.workers.load_model", counted)
    points = plans(path)
    assert [outcome.done for outcome in execute(points, local=True, reporter=Reporter(9, 0, 0))] == [1] * len(swept)
    assert len(loaded) == 1
    images = set()
    for text, point in zip(swept, points, strict=True):
        alone = make_plan(load_config(path, [text, f"output={tmp_path / point.folder.name}"], swept=True), str)
        execute([alone], local=True, reporter=Reporter(1, 0, 0))
        for table in ("samples", "scores", "steps"):
            assert read_table(alone.folder, table).equals(read_table(point.folder, table)), (text, table)
        images.add(read_table(point.folder, "samples").to_pandas().image[0]["bytes"])
    assert len(images) == len(swept), "two points have the same image, so one has the values of the other"
