"""Soup steps that come after weighted-sum steps: the order of the phases, their values, and their cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.errors import RequestError
from configs.load import load_config
from pipeline.guidance.noise import step_noise
from pipeline.guidance.runner import Guidance
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import make_plan
from tests.support import reference
from tests.support.fakes import SHAPE, FakeReward, Run, weights_of

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
SIGMAS = (0.9, 0.7, 0.5, 0.4, 0.3)
T, N = len(SIGMAS), 6


def flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


@pytest.mark.parametrize(("first", "k"), [(0, 2), (2, 3), (1, 2), (4, 1), (3, 0), (0, 5)])
def test_a_run_equals_the_equations_step_after_step(first: int, k: int) -> None:
    w = weights_of(np.random.default_rng(1), 2, 5)
    run = Run(w, Guidance(N, k, soup_first=first), SIGMAS, seed=21)
    rewards = [FakeReward(m).values for m in range(2)]
    x = np.repeat(flat(run.denoiser.seen[0][:1]), len(w), axis=0)
    phases = []
    for step, sigma in enumerate(SIGMAS):
        mu, z = 0.9 * x + 0.05 * np.sin(x), flat(step_noise(21, step, N, SHAPE))
        phases.append("soup" if first <= step < first + k else "weighted_sum")
        if phases[-1] == "soup":
            x = reference.soup_step(mu, sigma, z, w, rewards, "renormalised", "sphere")
        else:
            x = reference.weighted_sum_step(mu, sigma, z, w, rewards, "sphere")
    np.testing.assert_allclose(flat(run.x), x, rtol=1e-4, atol=1e-4)
    assert [record.phase for record in run.trajectory.steps] == phases


@pytest.mark.parametrize("kept", [(), (0,), (1, 2)])
@pytest.mark.parametrize(("first", "k"), [(2, 3), (1, 2), (3, 0)])
def test_hidden_exemplars_are_guided_until_the_soup_steps_end_and_counted(
    first: int, k: int, kept: tuple[int, ...], tmp_path: Path
) -> None:
    mixed = weights_of(np.random.default_rng(10), 3, 4, one_hots=False)
    some, every = np.vstack([mixed, np.eye(3)[list(kept)]]), np.vstack([mixed, np.eye(3)])
    guidance = Guidance(N, k, soup_first=first if k else 0)
    hidden, listed = Run(some, guidance, SIGMAS), Run(every, guidance, SIGMAS)
    assert torch.equal(hidden.x[:4], listed.x[:4])
    assert hidden.x.shape[0] == len(some)
    task = make_plan(load_config(DEMO, [f"output={tmp_path}"]), str).tasks[0]
    for run, w in ((hidden, some), (listed, every)):
        rows = tuple(tuple(row) for row in w.tolist())
        names = ("a", "b", "c")
        expected = expected_cost(replace(task, weights=rows, guidance=guidance, guided=names), T)
        assert (run.ledger.total_queries, run.ledger.decodes) == (expected.queries, expected.decodes - len(w))


@pytest.mark.parametrize(("first", "k"), [(3, 3), (6, 0), (-1, 2), (0, 6)])
def test_soup_steps_outside_of_the_steps_are_refused(first: int, k: int) -> None:
    with pytest.raises(ValueError, match="soup steps K is"):
        Run(np.eye(2), Guidance(N, k, soup_first=first), SIGMAS)


def test_the_key_is_that_of_the_task(tmp_path: Path) -> None:
    overrides = ["steps=10", "soup.steps=4", "soup.first=5", f"output={tmp_path}"]
    config = load_config(DEMO, [*overrides, "method=[srsoup, weighted_sum, best_of, unguided]"])
    first = {task.method: task.guidance.soup_first for task in make_plan(config, str).tasks}
    assert first == {"srsoup": 5, "weighted_sum": 0, "best_of": 0, "unguided": 0}
    keys = [
        {task.key for task in make_plan(load_config(DEMO, [*overrides, f"soup.first={n}"]), str).tasks} for n in (0, 5)
    ]
    assert not keys[0] & keys[1]
    assert "first" not in load_config(DEMO, ["soup.first=0"]).model_dump(mode="json")["soup"]


@pytest.mark.parametrize(
    ("overrides", "problem", "fix"),
    [
        (["soup.first=7"], "soup.first is 7 and soup.steps (K) is 4, which is more than the 10 steps (T)",
         "set soup.first to 0..6"),
        (["soup.first=3", "method=unguided_first"],
         "the method unguided_first begins with the K unguided steps, so they cannot come later",
         "set soup.first=0, or leave the method unguided_first out"),
    ],
)  # fmt: skip
def test_soup_steps_that_cannot_be_placed_are_refused(overrides: list[str], problem: str, fix: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_config(DEMO, ["steps=10", "soup.steps=4", *overrides])
    assert (caught.value.key, caught.value.problem, caught.value.fix) == ("soup.first", problem, fix)
    load_config(DEMO, ["steps=10", "soup.steps=4", "soup.first=7", "method=weighted_sum"])
