"""Best candidate and the Demons: their factors and steps against NumPy, a closed form, their costs, and their runs."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from configs.errors import RequestError
from configs.load import load_config
from pipeline.guidance.noise import step_noise
from pipeline.guidance.rivals.selection import Kind, Selection, selection_step
from pipeline.guidance.runner import Guidance
from pipeline.guidance.shaping import PLAIN
from pipeline.records import read_table
from tests.support.fakes import SHAPE, Run, fake_query
from tests.support.runs import DEMO, FOUR_FRONTS, run_here

GRID = torch.tensor([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]], dtype=torch.float64)


def standardised(r: np.ndarray) -> np.ndarray:
    return np.asarray((r - r.mean()) / (r.std() + 1e-8))


def in_numpy(kind: Kind, tau: float, mu: np.ndarray, sigma: float, z: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The next latents of all rows, from the equations: r is (R, M, N), the raw rewards."""
    rows = []
    for w, mean, scores in zip(GRID.numpy(), mu, r, strict=True):
        s = sum(w[m] * standardised(scores[m]) for m in range(2) if w[m] > 0)
        if kind == "best":
            rows.append(mean + sigma * z[np.argmax(s)])
            continue
        b = np.tanh(standardised(s) / tau) if kind == "tanh" else np.exp(standardised(s) / tau)
        noise = np.tensordot(b, z, 1)
        rows.append(mean + sigma * noise * math.sqrt(noise.size) / np.linalg.norm(noise))
    return np.stack(rows)


@pytest.mark.parametrize(("kind", "tau"), [("best", 1.0), ("tanh", 1.0), ("tanh", 0.2), ("boltzmann", 0.5)])
def test_a_step_is_that_of_the_equations(kind: Kind, tau: float) -> None:
    z, mu, sigma = step_noise(3, 0, 7, SHAPE), torch.randn(3, *SHAPE, generator=torch.manual_seed(1)), 0.4
    query = fake_query(2)
    found = asyncio.run(selection_step(mu, sigma, z, GRID, query, 0, Selection(kind, tau), PLAIN))
    x = (mu[:, None] + sigma * z).flatten(2).numpy()
    r = np.stack([[reward.values(x_ND) for reward in query.rewards] for x_ND in x])
    want = in_numpy(kind, tau, mu.double().numpy(), sigma, z.double().numpy(), r)
    np.testing.assert_allclose(found.x_RCHW.numpy(), want, rtol=0, atol=2e-6)
    assert found.cosine_RMM.isnan().all() and found.reward_mean_RM.isnan().tolist() == [[True, False], [False] * 2,
                                                                                        [False, True]]  # fmt: skip


@pytest.mark.parametrize("kind", ["best", "tanh", "boltzmann"])
def test_equal_rewards_and_ties(kind: Kind) -> None:
    equal = Selection(kind).factors(torch.ones(4, dtype=torch.float64))
    assert equal.tolist() == {"best": [1, 0, 0, 0], "tanh": [0] * 4, "boltzmann": [1] * 4}[kind]
    huge = Selection(kind, 1e-3).factors(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
    assert huge.isfinite().all() and int(huge.argmax()) == 2


def gains(kind: Kind, n: int, draws: int = 400) -> list[float]:
    """The gains sum_d a_d s_d of a linear reward a.x with |a| = 1 in a step with sigma 1 from mean 0."""
    a = torch.zeros(16 * 16 * 4, dtype=torch.float64)
    a[0] = 1.0

    async def linear(x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        return (x_NCHW.flatten(1).double() @ a)[:, None]

    found = []
    for seed in range(draws):
        z = step_noise(seed, 0, n, (4, 16, 16))
        mu, one = torch.zeros(1, 4, 16, 16), torch.ones(1, 1, dtype=torch.float64)
        moved = asyncio.run(selection_step(mu, 1.0, z, one, linear, 0, Selection(kind), PLAIN))
        found.append(float(moved.x_RCHW.flatten().double() @ a))
    return found


def test_the_gain_on_a_linear_reward_is_that_of_theory() -> None:
    """Best of N gains E[max of N normal draws]; a Demon gains more, as it adds up noise from all candidates.

    With factors b of unit variance that are correlated by rho with the reward, sum b_n z_n has the gain
    rho sqrt(N) along the reward's gradient, beside D - 1 directions without gain, after it is scaled to sqrt(D).
    """
    n = 16
    rng = np.random.default_rng(0)
    r = rng.normal(size=(100_000, n))
    best = gains("best", n)
    assert np.mean(best) == pytest.approx(r.max(1).mean(), abs=float(4 * np.std(best) / math.sqrt(len(best))))
    s = (r - r.mean(1, keepdims=True)) / r.std(1, keepdims=True)
    demons: tuple[Kind, ...] = ("tanh", "boltzmann")
    for kind in demons:
        b = np.tanh(s) if kind == "tanh" else np.exp(s)
        theory = np.mean((b * r).sum(1) / np.sqrt((b**2).sum(1)))
        found = gains(kind, n)
        assert np.mean(found) == pytest.approx(theory, abs=float(4 * np.std(found) / math.sqrt(len(found)) + 0.02))
        if kind == "tanh":
            assert np.mean(found) > np.mean(best)


@pytest.mark.parametrize("kind", ["best", "tanh"])
def test_queries_decodes_and_forwards_are_those_of_the_weighted_sum(kind: Kind) -> None:
    rival, sums = (
        Run(GRID.numpy(), guidance, [0.5, 0.6, 0.0])
        for guidance in (Guidance(6, 0, selection=Selection(kind)), Guidance(6, 0))
    )
    assert rival.ledger == sums.ledger and rival.query.images == sums.query.images == 6 * 2 * 3
    assert sum(rival.ledger.queries.values()) == 6 * 2 * 4


@pytest.mark.slow
def test_a_run_of_both_costs_what_its_plan_says_and_differs_from_the_weighted_sum(tmp_path: Path) -> None:
    run_here(tmp_path, *FOUR_FRONTS, "method=[best_candidate, demon, weighted_sum]", "prompts.list=[owl]")
    costs = read_table(tmp_path, "costs").to_pandas()
    assert set(costs.queries) == {3 * 3 * 4} and set(costs.decodes) == {3 * 3 * 3 + 3}
    samples = read_table(tmp_path, "samples").to_pandas()
    images = {method: tuple(image["bytes"] for image in front.sort_values("weight_index").image)
              for method, front in samples.groupby("method")}  # fmt: skip
    assert len(set(images.values())) == 3


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method=best_candidate", "guidance.strength=0.5"], "best_candidate has no search gradient"),
        (["method=demon", "guidance.step=gradient"], "demon has no search gradient"),
        (["method=[demon, weighted_sum]", "guidance.conflict=pcgrad"], "demon has no search gradient"),
        (["method=weighted_sum", "guidance.temperature=2"], "is for demon"),
        (["method=weighted_sum", "guidance.demon=boltzmann"], "is for demon"),
        (["method=demon", "guidance.temperature=0"], "guidance.temperature"),
        (["method=demon", "queries=1"], "a single candidate"),
    ],
)
def test_options_without_effect_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        load_config(DEMO, overrides)


def test_options_at_their_defaults_are_not_recorded() -> None:
    """Runs of versions without these keys can be continued."""
    config = load_config(DEMO, ["method=demon"]).model_dump(mode="json")
    assert not {"demon", "temperature"} & set(config["guidance"])
    config = load_config(DEMO, ["method=demon", "guidance.temperature=2"]).model_dump(mode="json")
    assert config["guidance"]["temperature"] == 2 and config["guidance"]["demon"] == "tanh"
