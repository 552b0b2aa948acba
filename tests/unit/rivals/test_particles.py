"""FK steering: the tilted Gaussian in closed form, its resampling, its costs, and its runs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from configs.errors import RequestError
from configs.load import load_config
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.rivals.particles import run_particles, steered, systematic
from pipeline.records import read_table
from tests.support.fakes import SHAPE, FakeDenoiser, fake_query
from tests.support.runs import DEMO, FOUR_FRONTS, run_here

ONE = torch.ones(1, 1, dtype=torch.float64)
GRID = torch.tensor([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]], dtype=torch.float64)


class Stationary:
    """x_{t-1} = rho x + sqrt(1 - rho^2) z, whose samples are N(0, I) in every step; the last step has no noise."""

    def __init__(self, rho: float, steps: int) -> None:
        self.rho, self.timesteps = rho, range(steps)[::-1]

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        if step == len(self.timesteps) - 1:
            return ReverseStep(x_LCHW, 0.0)
        return ReverseStep(self.rho * x_LCHW, float(np.sqrt(1 - self.rho**2)))


@pytest.mark.parametrize("temperature", [2.0, 1.0, 0.5])
def test_particles_sample_the_tilted_gaussian(temperature: float) -> None:
    """With a linear reward s = a.x / d the target N(0, I) exp(s / tau) is N(a / (d tau), I)."""
    steps, rho, n = 7, 0.95, 20_000
    direction = torch.zeros(6, dtype=torch.float64)
    direction[:2] = torch.tensor([3.0, 4.0])
    expected = 5.0 * rho ** (steps - 2)  # the deviation of the first look-ahead, the mean of the last latents

    async def query(x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        later = rho ** (steps - 2 - step)
        return (later * x_NCHW.flatten(1).double() @ direction)[:, None]

    (row,), _ = asyncio.run(
        steered(ONE, n, 7_000, temperature, (1, 2, 3), 5, Stationary(rho, steps), query, lambda step: None)
    )
    share = row.log_weight_N.expand(n).softmax(0)
    x = row.x_NCHW.flatten(1).double()
    mean = (share[:, None] * x).sum(0)
    deviation = ((share[:, None] * (x - mean) ** 2).sum(0)).sqrt()
    wanted = direction / (expected * temperature)
    # Particles with a common ancestor are alike, so this is the error of fewer independent draws than n.
    assert torch.allclose(mean, wanted, atol=0.05), (mean, wanted)
    assert torch.allclose(deviation, torch.ones(6, dtype=torch.float64), atol=0.05), deviation
    assert float(wanted.norm()) > 0.5, "without steering the mean is 0"


def test_systematic_resampling_takes_each_index_about_as_often_as_its_share_says() -> None:
    share = torch.tensor([0.05, 0.5, 0.0, 0.3, 0.15], dtype=torch.float64)
    counts = np.zeros(5)
    for seed in range(2000):
        drawn = np.bincount(systematic(share, seed).numpy(), minlength=5)
        assert (np.floor(5 * share.numpy() - 1e-9) <= drawn).all() and (
            drawn <= np.ceil(5 * share.numpy() + 1e-9)
        ).all()
        counts += drawn
    np.testing.assert_allclose(counts / 2000, 5 * share.numpy(), atol=0.05)
    assert systematic(torch.ones(4, dtype=torch.float64) / 4, 1).tolist() == [0, 1, 2, 3]


def test_equal_rewards_leave_the_particles_as_the_model_draws_them() -> None:
    async def equal(x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        return torch.full((len(x_NCHW), len(rewards)), 7.0, dtype=torch.float64)

    (row,), _ = asyncio.run(steered(ONE, 5, 5, 1.0, SHAPE, 3, Stationary(0.5, 4), equal, lambda step: None))
    assert len({tuple(x.flatten().tolist()) for x in row.x_NCHW}) == 5 and len(row.log_weight_N.unique()) == 1
    assert torch.equal(row.best_CHW, row.x_NCHW[0])


def steer(seed: int = 1, n: int = 6, batch: int = 6) -> tuple[Tensor, Ledger]:
    ledger, query = Ledger(), fake_query(2)

    class Denoiser(FakeDenoiser):
        async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
            return ReverseStep(self.mean(x_LCHW), self.sigmas[step])

    run = run_particles(GRID, n, batch, 0.5, SHAPE, seed, Denoiser([0.5, 0.6, 0.0]), query, ledger)
    trajectory = asyncio.run(run)
    assert query.images == n * 3 * 2, "one look-ahead of each particle in each step with noise"
    assert [record.phase for record in trajectory.steps] == ["weighted_sum", "weighted_sum", "mean"]
    guided = trajectory.steps[0].guided
    assert guided is not None and guided.reward_mean_RM.isnan().tolist() == [[True, False], [False] * 2, [False, True]]
    return trajectory.x_LCHW, ledger


def test_the_same_seed_gives_the_same_bits_and_the_ledger_counts_all_passes() -> None:
    (x, ledger), (again, _), (other, _) = steer(), steer(), steer(seed=2)
    assert torch.equal(x, steer(batch=4)[0]), "the batch changes nothing"
    assert torch.equal(x, again) and not torch.equal(x, other) and x.shape == (3, *SHAPE)
    assert ledger.decodes == 6 * 3 * 2 and sum(ledger.queries.values()) == 6 * 4 * 2
    assert ledger.denoises == 6 * 3 * 3 and ledger.forwards == 6 * 3 * 3 + 6 * 3 * 2


@pytest.mark.slow
def test_a_run_costs_what_its_plan_says_and_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    options = (*FOUR_FRONTS, "method=[fk_steering, unguided]", "prompts.list=[owl]", "guidance.temperature=0.3")
    for folder in ("one", "two"):
        run_here(tmp_path / folder, *options)
    one, two = (read_table(tmp_path / folder, "samples").to_pandas() for folder in ("one", "two"))
    assert [image["bytes"] for image in one.image] == [image["bytes"] for image in two.image]
    costs = read_table(tmp_path / "one", "costs").to_pandas().set_index("method").loc["fk_steering"]
    assert (costs.queries, costs.decodes) == (3 * 3 * 4, 3 * 3 * 3 + 3)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method=fk_steering", "guidance.strength=0.5"], "fk_steering has no search gradient"),
        (["method=fk_steering", "guidance.demon=boltzmann"], "is for demon"),
        (["method=fk_steering", "guidance.noise=antithetic"], "resamples by the rewards themselves"),
        (["method=fk_steering", "guidance.elite_fraction={compressibility: 0.5}"], "resamples by the rewards"),
        (["method=weighted_sum", "guidance.temperature=2"], "demon and fk_steering"),
    ],
)
def test_options_without_effect_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        load_config(DEMO, overrides)
