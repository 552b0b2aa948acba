"""The method against float64 NumPy code written from the equations, and against theory."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.guidance.ledger import Ledger
from pipeline.guidance.noise import step_noise
from pipeline.guidance.overlap import overlap_quartiles
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.row_gradients import Correction
from pipeline.guidance.runner import Guidance, Trajectory, run_guided, run_unguided, unguided_seeds
from pipeline.guidance.search_gradient import Move, StepKind, move, normalise, search_gradient
from pipeline.guidance.simplex import as_weights, with_exemplars
from pipeline.guidance.soup import soup_step, weighted_sum_step

SHAPE = (2, 3, 4)
SIX = [[k / 5, 1 - k / 5] for k in range(6)]


class Shrink:
    """A denoiser with a mean that depends on the sample: mu = 0.9 x, and given sigmas."""

    def __init__(self, sigmas: Sequence[float]) -> None:
        self.sigmas, self.timesteps = sigmas, tuple(range(len(sigmas)))[::-1]

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        return ReverseStep(0.9 * x_LCHW, self.sigmas[step])


class Rewards:
    """Three different nonlinear rewards, which count their calls."""

    def __init__(self) -> None:
        self.calls = self.images = 0

    async def __call__(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        self.images += len(x_NCHW)
        self.calls += len(x_NCHW) * len(rewards)
        x = x_NCHW.double().flatten(1)
        columns = [torch.sin(x[:, 0]) + x[:, 1], (x**2).sum(1), x[:, 2] - x[:, 3]]
        return torch.stack([columns[m] for m in rewards], 1)


def guide(weights: list[list[float]], guidance: Guidance, sigmas: Sequence[float], seed: int = 3) -> Trajectory:
    return asyncio.run(run_guided(as_weights(weights), SHAPE, seed, guidance, Shrink(sigmas), Rewards(), Ledger()))


# ---- the reference, written from the equations alone ------------------------------------------------------


def np_normalise(r: np.ndarray) -> np.ndarray:
    return (r - r.mean()) / (np.sqrt(((r - r.mean()) ** 2).mean()) + 1e-8)


def np_move(g: np.ndarray, kind: str) -> np.ndarray:
    return g if kind == "gradient" else math.sqrt(g.size) * g / np.sqrt((g**2).sum())


def np_rewards(x: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(x[:, 0]) + x[:, 1], (x**2).sum(1)], 1)


def np_soup(mu: np.ndarray, sigma: float, z: np.ndarray, w: np.ndarray, correction: str, kind: str) -> np.ndarray:
    """Return the result of Algorithm 2. The exemplars are the last row (e_1) and the first row (e_2) of the weights."""
    n, d = z.shape
    exemplar = [len(w) - 1, 0]
    r = [np_normalise(np_rewards((mu[c] + sigma * z).astype(np.float32).astype(float))[:, m])
         for m, c in enumerate(exemplar)]  # fmt: skip
    out = []
    for row in range(len(w)):
        g = np.zeros(d)
        for m, c in enumerate(exemplar):
            plain = sum(r[m][i] * z[i] for i in range(n)) / n
            shift = mu[c] - mu[row]
            if correction == "mean-shift":
                plain = plain + r[m].mean() * shift / sigma
            if correction == "renormalised" and row != c:
                u = z + shift
                u = u * math.sqrt(d) / np.sqrt((u**2).sum(1))[:, None]
                plain = sum(r[m][i] * u[i] for i in range(n)) / n
            g += w[row, m] * plain
        out.append(mu[row] + sigma * np_move(g, kind))
    return np.stack(out)


@pytest.mark.parametrize("kind", ["sphere", "gradient"])
@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
def test_a_soup_step_equals_the_equations(correction: Correction, kind: StepKind) -> None:
    mu, z = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0)), step_noise(1, 0, 10, SHAPE)
    soup = with_exemplars(as_weights(SIX))
    got = asyncio.run(soup_step(mu, 0.3, z, soup, Rewards(), 0, correction, Move(kind))).x_RCHW
    want = np_soup(mu.flatten(1).double().numpy(), 0.3, z.flatten(1).double().numpy(), np.array(SIX), correction, kind)
    np.testing.assert_allclose(got.flatten(1).numpy(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["sphere", "gradient"])
def test_a_weighted_sum_step_equals_equation_9(kind: StepKind) -> None:
    mu, z = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0)), step_noise(1, 0, 10, SHAPE)
    got = asyncio.run(weighted_sum_step(mu, 0.3, z, as_weights(SIX), Rewards(), 0, Move(kind))).x_RCHW
    mu_np, z_np = mu.flatten(1).double().numpy(), z.flatten(1).double().numpy()
    for row, w in enumerate(SIX):
        scores = np_rewards((mu_np[row] + 0.3 * z_np).astype(np.float32).astype(float))
        g = np.sum([w[m] * (np_normalise(scores[:, m]) @ z_np) / len(z_np) for m in range(2)], axis=0)
        np.testing.assert_allclose(
            got[row].flatten().numpy(), mu_np[row] + 0.3 * np_move(g, kind), rtol=1e-5, atol=1e-5
        )


def test_a_linear_reward_is_climbed_at_the_rate_that_N_and_D_predict() -> None:
    """r~ has variance 1 along a, and g has noise across a, so the cosine is about sqrt(N / (N + D - 1))."""
    n, d, generator = 64, 48, torch.Generator().manual_seed(0)
    a = torch.randn(d, generator=generator).double()
    cosines = []
    for _ in range(400):
        z = torch.randn(n, d, generator=generator).double()
        g = search_gradient(normalise(z @ a), z)
        cosines.append((g @ a / (g.norm() * a.norm())).item())
    assert np.mean(cosines) == pytest.approx(math.sqrt(n / (n + d - 1)), abs=0.02)


@pytest.mark.parametrize("value", [0.1, -2.3, 1e9])
@pytest.mark.parametrize("kind", ["sphere", "gradient"])
def test_equal_rewards_move_nothing(value: float, kind: StepKind) -> None:
    z = torch.randn(7, 20, generator=torch.Generator().manual_seed(0))
    assert not move(search_gradient(normalise(torch.full((7,), value, dtype=torch.float64)), z), kind).any()


def test_a_sphere_step_is_as_long_as_a_noise_draw() -> None:
    assert move(torch.arange(1.0, 11.0).double(), "sphere").norm().item() == pytest.approx(math.sqrt(10), rel=1e-12)


@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
def test_a_one_hot_row_of_a_soup_is_the_run_of_that_reward_alone(correction: Correction) -> None:
    sigmas = [0.5, 0.4, 0.3, 0.2]
    soup = guide(SIX, Guidance(8, 3, correction=correction), sigmas).x_LCHW
    for row, alone in ((0, [[0.0, 1.0]]), (5, [[1.0, 0.0]])):
        assert torch.equal(soup[row], guide(alone, Guidance(8, 0), sigmas).x_LCHW[0])


def test_K_0_is_the_weighted_sum_bit_for_bit() -> None:
    sigmas = [0.5, 0.4, 0.3]
    soup = guide(SIX, Guidance(8, 0), sigmas).x_LCHW
    for row, weights in enumerate(SIX):
        assert torch.equal(soup[row], guide([weights], Guidance(8, 0), sigmas).x_LCHW[0])


def test_hidden_exemplars_give_the_rows_that_listed_ones_give() -> None:
    sigmas = [0.5, 0.4, 0.3]
    listed = guide(SIX, Guidance(8, 2), sigmas).x_LCHW[1:5]
    assert torch.equal(guide(SIX[1:5], Guidance(8, 2), sigmas).x_LCHW, listed)


@pytest.mark.parametrize(("k", "queries"), [(50, 3000), (40, 5400), (30, 7800), (20, 10200), (10, 12600), (0, 15000)])
def test_the_ledger_equals_table_4_and_the_real_calls_of_the_rewards(k: int, queries: int) -> None:
    ledger, rewards = Ledger(), Rewards()
    asyncio.run(run_guided(as_weights(SIX), SHAPE, 0, Guidance(30, k), Shrink([0.1] * 50), rewards, ledger))
    assert ledger.total_queries == rewards.calls == queries
    assert ledger.decodes == rewards.images == 30 * (2 * k + 6 * (50 - k))


def test_with_sigma_0_nothing_is_queried_and_the_mean_is_taken() -> None:
    rewards, ledger = Rewards(), Ledger()
    got = asyncio.run(run_guided(as_weights(SIX), SHAPE, 3, Guidance(8, 1), Shrink([0.0, 0.0]), rewards, ledger))
    assert rewards.calls == ledger.total_queries == 0
    assert torch.equal(got.x_LCHW[0], 0.9 * (0.9 * guide(SIX, Guidance(8, 0), []).x_LCHW[0]))
    assert [record.phase for record in got.steps] == ["mean", "mean"]


def test_K_above_T_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.3"):
        guide(SIX, Guidance(8, 4), [0.1] * 3)


def test_each_unguided_sample_depends_on_its_own_seed_alone() -> None:
    seeds = unguided_seeds(5, 4)
    together = asyncio.run(run_unguided(seeds, SHAPE, Shrink([0.3, 0.2]), Ledger())).x_LCHW
    for row, seed in enumerate(seeds):
        alone = asyncio.run(run_unguided([seed], SHAPE, Shrink([0.3, 0.2]), Ledger())).x_LCHW
        assert torch.equal(together[row], alone[0])


def test_antithetic_noise_comes_in_pairs() -> None:
    z = step_noise(0, 0, 6, SHAPE, "antithetic")
    assert torch.equal(z[:3], -z[3:])
    assert not torch.equal(step_noise(0, 1, 6, SHAPE), step_noise(0, 0, 6, SHAPE))


@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.1, 1.1], [float("nan"), 1.0], [0.5, 0.5 + 3e-6]])
def test_weights_off_the_simplex_are_refused_by_row(row: list[float]) -> None:
    with pytest.raises(ValueError, match="row 1"):
        as_weights([[1.0, 0.0], row])


def test_overlap_equals_the_closed_form() -> None:
    mu = torch.tensor([[[[0.0, 0.0]]], [[[2.0, 2.0]]]])
    got = overlap_quartiles(mu, (0,), 0.5)
    assert got[0].tolist() == [[1.0, 1.0, 1.0]]
    np.testing.assert_allclose(got[1, 0].numpy(), math.exp(-4 / (8 * 0.25)))
