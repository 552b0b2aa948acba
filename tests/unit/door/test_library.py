"""`sample_front`: a front from a loaded pipeline has the bits of a run, and leaves pipeline and process alone."""

import asyncio
import io
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import DiffusionPipeline
from PIL import Image

from configs.load import load_config
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import make_plan
from pipeline.records import read_table
from rewards.errors import RewardError
from rewards.plugin import Plugin
from srsoup import Front, sample_front
from tests.support import tiny
from tests.support.own_rewards import SMALL, SOURCE, warmth

PAGE = Path(__file__).parents[3] / "docs" / "library.md"


@pytest.fixture(scope="module")
def front(pipe: Any) -> Front:
    return sample_front(pipe, "a snail", [warmth, "compressibility"], held_out=["mini_clip"], seed=5, **SMALL)


def run_of(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Images and scores of the same as a run of one process."""
    data: dict[str, Any] = {
        "name": "one", "output": str(tmp_path / "run"), "seed": 5, "steps": 3, "queries": 4, "soup": {"steps": 2},
        "weights": {"grid": 3}, "prompts": {"list": ["a snail"]},
        "rewards": {"guided": ["warmth", "compressibility"], "held_out": ["mini_clip"]},
    } | changes  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(data))
    plugins = [Plugin("own.py", SOURCE)] if "warmth" in data["rewards"]["guided"] else []
    plan = make_plan(load_config(tmp_path / "run.yaml"), str, plugins)
    (outcome,) = execute([plan], local=True, reporter=Reporter(1, 1, 1))
    assert outcome.exit_status == 0
    names = [*data["rewards"]["guided"], *data["rewards"].get("held_out", [])]
    scores = read_table(plan.folder, "scores").to_pandas().pivot(index="weight_index", columns="reward", values="value")
    samples = read_table(plan.folder, "samples").to_pandas().sort_values("weight_index")
    return {
        "scores": scores[names].to_numpy(),
        "images": [np.array(Image.open(io.BytesIO(image["bytes"]))) for image in samples["image"]],
        "costs": read_table(plan.folder, "costs").to_pandas().iloc[0],
    }


def assert_same(front: Front, run: dict[str, Any]) -> None:
    assert np.array_equal(front.scores, run["scores"])
    assert len(front.images) == len(run["images"])
    assert all(np.array_equal(np.array(a), b) for a, b in zip(front.images, run["images"], strict=True))
    assert (front.queries, front.decodes) == (run["costs"]["queries"], run["costs"]["decodes"])


def test_a_front_has_the_bits_of_a_run(front: Front, tmp_path: Path) -> None:
    assert front.rewards == ("warmth", "compressibility", "mini_clip") and front.prompt == "a snail"
    np.testing.assert_array_equal(front.weights, [[0, 1], [0.5, 0.5], [1, 0]])
    assert front.scores.shape == (3, 3) and front.images[0].size == (64, 64)
    assert_same(front, run_of(tmp_path))


def test_a_surrogate_guides_a_call_as_it_guides_a_run(pipe: Any, tmp_path: Path) -> None:
    section = {"file": "colorfulness_compressibility", "queries": 0, "unbiased": False, "fronts": 2, "keep": "spread"}
    rewards = ["colorfulness", "compressibility"]
    given = SMALL | {"method": "weighted_sum", "options": {"surrogate": section}}
    found = sample_front(pipe, "a snail", rewards, seed=5, **given)
    changes = {"method": "weighted_sum", "surrogate": section, "rewards": {"guided": rewards}}
    assert_same(found, run_of(tmp_path, **changes))
    assert found.queries == 2 * 2 * 3, "both rewards of the samples of two fronts, and nothing else"


def test_options_are_those_of_a_configuration(pipe: Any, tmp_path: Path) -> None:
    options: dict[str, dict[str, Any]] = {
        "guidance": {"noise": "antithetic", "elite_fraction": {"warmth": 0.5}}, "soup": {"correction": "none"},
        "model": {"guidance_scale": 2.0, "negative_prompt": "grey"}, "compute": {"chunk": 3},
    }  # fmt: skip
    weights = [[0.25, 0.75], [1, 0]]
    found = sample_front(
        pipe, "a snail", [warmth, "compressibility"], seed=5, options=options, **SMALL | {"weights": weights}
    )
    changes = options | {"soup": {"steps": 2, "correction": "none"}, "weights": weights}
    rewards = {"guided": ["warmth", "compressibility"]}
    assert_same(found, run_of(tmp_path, rewards=rewards, **changes))


def test_the_scores_are_those_of_the_images(front: Front) -> None:
    pixels = torch.from_numpy(np.stack([np.array(image) for image in front.images])).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(front.scores[:, 0], warmth(pixels, []).double().numpy())


def test_it_works_where_an_event_loop_is_running_and_leaves_the_process_alone(pipe: Any, front: Front) -> None:
    async def cell() -> Front:
        return sample_front(pipe, "a snail", [warmth, "compressibility"], held_out=["mini_clip"], seed=5, **SMALL)

    def flushes() -> bool:
        return (torch.tensor([1e-40]) * 0.5).item() == 0

    threads, scheduler, flushed = torch.get_num_threads(), dict(pipe.scheduler.config), flushes()
    torch.set_num_threads(2)
    torch.set_flush_denormal(False)
    try:
        again = asyncio.run(cell())
        assert torch.get_num_threads() == 2 and not flushes()
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
    assert np.array_equal(again.scores, front.scores)
    assert dict(pipe.scheduler.config) == scheduler


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_is_taken_as_it_is_loaded(family: str, tmp_path: Path) -> None:
    """Images of a loaded pipeline are those of the family's folder, and so is the model's VAE afterwards."""
    folder = tiny.save_model(family, tmp_path / family)
    pipe = tiny.pipeline(family, folder)
    found = sample_front(pipe, "a snail", ["colorfulness", "compressibility"], seed=5, **SMALL)
    rewards = {"guided": ["colorfulness", "compressibility"]}
    assert_same(found, run_of(tmp_path, rewards=rewards, model={"name": str(folder)}))
    assert pipe.vae.dtype == torch.float32


def test_the_error_of_an_own_reward_reaches_the_caller_with_its_name_and_the_next_call_works(pipe: Any) -> None:
    closed = []

    class Fails:
        def setup(self, device: str) -> None: ...
        def score(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
            raise RuntimeError("no colour today")

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(RewardError, match=r"reward Fails raised an error.*RuntimeError: no colour today") as caught:
        sample_front(pipe, "a snail", [Fails, "compressibility"], **SMALL)
    assert closed and isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(RewardError, match="returned"):
        sample_front(pipe, "a snail", [lambda images, prompts: [1.0], "compressibility"], **SMALL)


def test_an_interrupt_ends_the_work_and_not_the_call_alone(pipe: Any) -> None:
    calls = []

    def interrupts(images: torch.Tensor, prompts: list[str]) -> list[float]:
        calls.append(len(images))
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
        return [0.0] * len(images)

    # A shell's background jobs ignore the interrupt, and tests may be one.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            sample_front(pipe, "a snail", [interrupts, "compressibility"], **SMALL)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(calls) <= 2  # of the ten that the front takes


def test_the_example_of_the_library_page_runs(pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?sample_front\(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert sum(bool(line) for line in code.splitlines()) <= 10
    small = code.replace('"compressibility"])', '"compressibility"], steps=2, queries=2, soup_steps=1)')
    assert small != code
    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", lambda name, dtype: pipe)
    monkeypatch.setattr(type(pipe), "to", lambda self, device: self)
    monkeypatch.chdir(tmp_path)
    exec(small, {})
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"snail_{w / 10:.1f}.png" for w in range(0, 11, 2)]
