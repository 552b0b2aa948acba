"""Runs of the methods model_soup and output_soup: costs, fronts, report, resume, and what is refused beforehand."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from configs.errors import RequestError
from configs.load import load_config
from diffusion.base import Loading, load_model
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from evaluation.reading.images import read_images
from evaluation.report import write_report
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import Plan, make_plan
from pipeline.records import read_table

REWARDS = ("colorfulness", "compressibility")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of both soups, with a random adapter for each reward."""
    place = tmp_path_factory.mktemp("soups")
    model = load_model(Source("mini"), Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    shapes = {name: one.weight.shape for name, one in model._pipe.unet.named_modules() if name.endswith("attn2.to_v")}
    for seed, reward in enumerate(REWARDS):
        generator, tensors = torch.Generator().manual_seed(seed), {}
        for name, (rows, columns) in shapes.items():
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(2, columns, generator=generator) / 4
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) / 4
        save_file(tensors, place / f"{reward}.safetensors")
    return {
        "name": "soups", "output": str(place / "run"), "method": ["model_soup", "output_soup", "unguided"], "steps": 3,
        "weights": {"grid": 3}, "prompts": {"list": ["snail"]}, "rewards": {"guided": list(REWARDS)},
        "model": {"adapters_by_reward": {name: {"name": str(place / f"{name}.safetensors")} for name in REWARDS}},
    }  # fmt: skip


def planned(data: dict[str, Any], folder: Path, *overrides: str) -> Plan:
    (folder / "run.yaml").write_text(yaml.safe_dump(data))
    return make_plan(load_config(folder / "run.yaml", overrides), lambda key: key)


def test_a_run_of_both_soups(data: dict[str, Any], tmp_path: Path) -> None:
    plan = planned(data, tmp_path)
    (outcome,) = execute([plan], local=True, reporter=Reporter(1, 1, 1))
    assert (outcome.exit_status, outcome.done) == (0, 3)
    costs = read_table(plan.folder, "costs").to_pandas().set_index("method")
    for task in plan.tasks:
        expected, row = expected_cost(task, 3), costs.loc[task.method]
        assert (row["queries"], row["decodes"]) == (expected.queries, expected.decodes) == (0, 3)
    # The mixed weighting of an output soup takes both models in each of three steps.
    assert costs["denoises"].to_dict() == {"model_soup": 9, "output_soup": 12, "unguided": 9}
    images = {front.key: front.images for front in read_images(plan.folder, {task.key for task in plan.tasks})}
    model, output = (images[task.key] for task in plan.tasks[:2])
    # One-hot weightings are the same models in both; the mixed one is not.
    assert model[0] == output[0] and model[2] == output[2] and model[1] != output[1] and len(set(model)) == 3
    page = write_report([plan.folder], tmp_path / "report").read_text(encoding="utf-8")
    assert "model_soup" in page and "output_soup" in page
    assert not planned(data, tmp_path).open_tasks


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["method=weighted_sum"], "model.adapters_by_reward"),
        (["model.adapters_by_reward={}"], "model.adapters_by_reward"),
        (["model.adapters_by_reward.brightness={name: x.safetensors}"], "model.adapters_by_reward"),
        (["model.adapters_by_reward.colorfulness={name: missing.safetensors}"], "model.adapters_by_reward"),
        (["model.adapters_by_reward.colorfulness.weight=0.5"], "model.adapters_by_reward.colorfulness.weight"),
        (["model.adapters_by_reward.colorfulness.wait=0.5"], "model.adapters_by_reward.colorfulness.wait"),
        (["method=output_soup", "model.mix=factors"], "model.mix"),
    ],
)
def test_what_cannot_be_mixed_is_refused(data: dict[str, Any], tmp_path: Path, overrides: list[str], key: str) -> None:
    with pytest.raises(RequestError) as error:
        planned(data, tmp_path, *overrides, f"output={tmp_path / 'other'}")
    assert error.value.key == key and not (tmp_path / "other").exists()
