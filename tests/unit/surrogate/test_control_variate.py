"""The learned control variate: unbiased for every surrogate, with the variance that theory says, and today's bits."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.guidance.control_variate import PRIOR_CANDIDATES, residual, stein_factor, surrogate_step, unit_of
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.noise import extra_noise, initial_noise, step_noise
from pipeline.guidance.ports import Answers
from pipeline.guidance.runner import Guidance, run_guided
from pipeline.guidance.search_gradient import STD_FLOOR, Move, normalise, search_gradient
from pipeline.guidance.simplex import as_weights, with_exemplars
from tests.support.fakes import SHAPE, D, FakeDenoiser, FakeQuery, fake_query, wait, weights_of

SIGMA = 0.3


class FakeSurrogate:
    """r^_m(x) = linear_m . x + x' quadratic_m x / 2 of the candidate itself, with its exact gradient."""

    def __init__(self, query: FakeQuery, linear_MD: np.ndarray, quadratic_MDD: np.ndarray, deviation: float = 0.0):
        self._query, self._deviation = query, deviation
        self._linear, self._quadratic = torch.as_tensor(linear_MD), torch.as_tensor(quadratic_MDD)
        self.gradients = 0

    def deviation(self, step: int) -> Tensor:
        return torch.full((len(self._linear),), self._deviation, dtype=torch.float64)

    def values(self, x_ND: Tensor) -> Tensor:
        return x_ND @ self._linear.T + torch.einsum("nd,mde,ne->nm", x_ND, self._quadratic, x_ND) / 2

    async def query(self, x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Answers:
        scores = await self._query(x_NCHW, step, rewards) if len(x_NCHW) else torch.zeros(0, len(rewards)).double()
        return Answers(scores, self.values(x_NCHW.flatten(1).double())[:, list(rewards)])

    async def gradient(self, x_RCHW: Tensor, step: int, factor_RM: Tensor) -> Tensor:
        self.gradients += len(x_RCHW)
        x_RD = x_RCHW.flatten(1).double()
        gradient_RMD = self._linear + torch.einsum("mde,re->rmd", self._quadratic, x_RD)
        return (factor_RM[:, :, None] * gradient_RMD).sum(1).view(x_RCHW.shape)


def zero_surrogate(query: FakeQuery, rewards: int = 2) -> FakeSurrogate:
    return FakeSurrogate(query, np.zeros((rewards, D)), np.zeros((rewards, D, D)))


def symmetric(rng: np.random.Generator, d: int, scale: float) -> np.ndarray:
    matrix = rng.normal(size=(d, d)) * scale
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("quadratic", [False, True], ids=["linear", "quadratic"])
def test_the_mean_equals_the_plain_ones_and_the_variance_is_1_minus_rho_squared(quadratic: bool) -> None:
    """With a wrong r^: half of the reward's slope, and a term that the reward does not have."""
    rng, d, n, draws = np.random.default_rng(3), 40, 4, 20_000
    a, b = rng.normal(size=(2, d))
    b -= b @ a / (a @ a) * a
    curvature = symmetric(rng, d, 0.1) if quadratic else np.zeros((d, d))
    mu, z = rng.normal(size=d), rng.normal(size=(draws, n, d))
    e = rng.normal(size=(draws, d))

    def reward(x: np.ndarray) -> np.ndarray:
        return np.asarray(x @ a + 0.5 * np.einsum("...i,ij,...j", x, curvature, x))

    def wrong(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * (x @ a) + 0.2 * (x @ b) + 0.1 * np.einsum("...i,ij,...j", x, curvature, x))

    def slope(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * a + 0.2 * b + 0.2 * (x @ curvature))

    r, p, unit = reward(mu + SIGMA * z), wrong(mu + SIGMA * z), 1.0
    centred = r - r.mean(1, keepdims=True)
    plain = np.einsum("kn,knd->kd", centred, z) / n
    differences = (r - p) - (r - p).mean(1, keepdims=True)
    first = np.einsum("kn,knd->kd", differences, z) / n
    second = SIGMA * stein_factor(1.0, unit, n) * slope(mu + SIGMA * e)
    ours = first + second

    error = np.sqrt((plain.var(0) + ours.var(0)) / draws)
    assert np.abs((plain.mean(0) - ours.mean(0)) / error).max() < 4.5, "the largest of 40 normal numbers"
    truth = (n - 1) / n * SIGMA * (a + mu @ curvature)
    assert np.abs((ours.mean(0) - truth) / (ours.std(0) / np.sqrt(draws))).max() < 4.5
    # Neither estimate is far off by having no spread at all.
    assert plain.std(0).min() > 0 and ours.std(0).min() > 0


def test_the_variance_ratio_of_the_first_term_is_1_minus_rho_squared() -> None:
    """A linear reward in many dimensions, and r^ = the part of it along some of them, its best predictor there."""
    rng, d, n, draws = np.random.default_rng(5), 400, 8, 4_000
    a = rng.normal(size=d)
    seen = np.arange(d) < 300
    rho_squared = (a[seen] ** 2).sum() / (a**2).sum()
    z = rng.normal(size=(draws, n, d))
    r, p = z @ a, z[:, :, seen] @ a[seen]
    measured = []
    for values in (r, r - p):
        g = torch.stack(
            [
                search_gradient(torch.as_tensor(v - v.mean()), torch.as_tensor(z_ND))
                for v, z_ND in zip(values, z, strict=True)
            ]
        ).numpy()
        measured.append(g.var(0).sum())
    assert measured[1] / measured[0] == pytest.approx(1 - rho_squared, rel=0.05)


def test_a_surrogate_of_zero_gives_todays_bits() -> None:
    rng = np.random.default_rng(0)
    w, sigmas = weights_of(rng, 2, 5), (0.5, 0.3, 0.2, 0.0)
    for guidance in (Guidance(4, 0), Guidance(3, 2), Guidance(4, 2, "gradient", "mean-shift", "antithetic")):
        runs = []
        for use in (False, True):
            query = fake_query(2)
            run = run_guided(
                torch.as_tensor(w), SHAPE, 7, guidance, FakeDenoiser(sigmas), query, Ledger(),
                surrogate=zero_surrogate(query) if use else None,
            )  # fmt: skip
            runs.append(wait(run))
        assert torch.equal(runs[0].x_LCHW, runs[1].x_LCHW)
        for plain, ours in zip(runs[0].steps, runs[1].steps, strict=True):
            assert (plain.guided is None) == (ours.guided is None) and plain.phase == ours.phase
            if plain.guided and ours.guided:
                assert torch.equal(plain.guided.norm_R, ours.guided.norm_R)
                torch.testing.assert_close(plain.guided.reward_std_RM, ours.guided.reward_std_RM, equal_nan=True)


def test_residuals_of_zero_predictions_are_the_normalised_rewards_to_the_bit() -> None:
    r = torch.tensor([3.0, -1.0, 0.1, 8.0], dtype=torch.float64)
    assert torch.equal(residual(r, torch.zeros(4), 0.0).r_N, normalise(r))
    same = torch.full((3,), 0.1, dtype=torch.float64)
    assert residual(same, torch.zeros(3), 0.0).r_N.tolist() == [0, 0, 0]


def test_the_unit_is_the_weighted_mean_of_the_recorded_and_the_measured_variance() -> None:
    r = torch.tensor([1.0, 3.0], dtype=torch.float64)
    expected = np.sqrt((PRIOR_CANDIDATES * 4.0 + 2 * 1.0) / (PRIOR_CANDIDATES + 2)) + STD_FLOOR
    assert unit_of(r, 2.0) == pytest.approx(expected, rel=1e-12)
    assert unit_of(torch.zeros(0), 2.0) == pytest.approx(2.0)
    # Two candidates with equal rewards: today's unit would be 1e-8, and the surrogate's term would be all there is.
    assert unit_of(torch.tensor([5.0, 5.0]), 2.0) > 1.7


@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_a_step_equals_the_equation(n: int, shared: bool) -> None:
    rng = np.random.default_rng(n)
    w = np.array([[1.0, 0.0], [0.3, 0.7], [0.0, 1.0]])
    query = fake_query(2)
    surrogate = FakeSurrogate(query, rng.normal(size=(2, D)), np.stack([symmetric(rng, D, 0.1) for _ in "ab"]), 1.5)
    mu, z, e = rng.normal(size=(3, D)), rng.normal(size=(n, D)), rng.normal(size=D)
    mu_R, z_N, e_C = (torch.as_tensor(a, dtype=torch.float32).reshape(-1, *SHAPE) for a in (mu, z, e[None]))
    guided = wait(
        surrogate_step(mu_R, SIGMA, z_N, e_C[0], with_exemplars(as_weights(w.tolist())), surrogate, 0, shared, "none",
                       Move("gradient"))
    )  # fmt: skip
    assert surrogate.gradients == 3
    assert query.images == (2 * n if shared else 3 * n)

    mu, z = (tensor.flatten(1).double().numpy() for tensor in (mu_R, z_N))
    e = e_C.flatten().double().numpy()
    exemplars = (0, 2)
    for row in range(3):
        g = np.zeros(D)
        for m in (0, 1):
            if not w[row, m]:
                continue
            x = (mu[exemplars[m] if shared else row] + SIGMA * z).astype(np.float32).astype(np.float64)
            r = np.array([query.rewards[m](one) for one in x])
            d = r - surrogate.values(torch.as_tensor(x)).numpy()[:, m] if n else np.zeros(0)
            spread = r.var() if n else 0.0
            unit = np.sqrt((PRIOR_CANDIDATES * 1.5**2 + n * spread) / (PRIOR_CANDIDATES + n))
            slope = surrogate._linear[m].numpy() + surrogate._quadratic[m].numpy() @ (mu[row] + SIGMA * e)
            g += w[row, m] * SIGMA * slope / unit * ((n - 1) / n if n else 1)
            if n:
                g += w[row, m] / n * ((d - d.mean()) / unit) @ z
        moved = (guided.x_RCHW[row].flatten().double().numpy() - mu[row]) / SIGMA
        np.testing.assert_allclose(moved, g, rtol=1e-4, atol=1e-5)


def test_without_the_first_term_the_candidates_give_the_units_only() -> None:
    rng = np.random.default_rng(1)
    query = fake_query(1)
    surrogate = FakeSurrogate(query, rng.normal(size=(1, D)), np.zeros((1, D, D)), 1.0)
    mu, z = torch.zeros(1, *SHAPE), torch.as_tensor(rng.normal(size=(4, *SHAPE)), dtype=torch.float32)
    soup = with_exemplars(as_weights([[1.0]]))
    step = surrogate_step(mu, SIGMA, z, z[0], soup, surrogate, 0, False, "none", Move("sphere"), unbiased=False)
    x = wait(step).x_RCHW.flatten().double()
    along = surrogate._linear[0] / surrogate._linear[0].norm()
    np.testing.assert_allclose(x / SIGMA, along * D**0.5, rtol=1e-5, atol=1e-6)
    assert query.images == 4


def test_the_ledger_counts_forwards_and_backwards() -> None:
    query, ledger = fake_query(2), Ledger()
    w = as_weights([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    sigmas = (0.5, 0.3, 0.2)
    wait(run_guided(w, SHAPE, 1, Guidance(2, 1), FakeDenoiser(sigmas), query, ledger, surrogate=zero_surrogate(query)))
    assert ledger.backwards == 3 * 3
    assert ledger.decodes == query.images == 2 * 2 + 2 * 3 * 2
    assert ledger.forwards == ledger.denoises + ledger.decodes + ledger.backwards


@pytest.mark.parametrize("strength", [0.1, 0.6, 0.999])
def test_strength_is_the_share_of_the_move_along_the_gradient(strength: float) -> None:
    rng = np.random.default_rng(2)
    d = 4_000
    g, fresh = (torch.as_tensor(rng.normal(size=d)) for _ in "gf")
    fresh -= fresh @ g / (g @ g) * g
    move = Move("sphere", strength, fresh)(g)
    assert move.norm().item() == pytest.approx(d**0.5)
    assert (move @ g / (move.norm() * g.norm())).item() == pytest.approx(strength)
    assert Move("sphere", strength, fresh)(torch.zeros(d).double()).norm().item() == pytest.approx(d**0.5)


def test_strength_1_gives_todays_bits_and_less_draws_noise_from_a_stream_of_its_own() -> None:
    w, sigmas = as_weights([[0.0, 1.0], [1.0, 0.0]]), (0.5, 0.3)

    def x(**options: float) -> Tensor:
        run = run_guided(w, SHAPE, 3, Guidance(4, 0, **options), FakeDenoiser(sigmas), fake_query(2), Ledger())  # type: ignore[arg-type]
        return wait(run).x_LCHW

    assert torch.equal(x(), x(strength=1.0))
    assert not torch.equal(x(), x(strength=0.5))
    streams = [
        initial_noise(3, SHAPE),
        step_noise(3, 0, 1, SHAPE)[0],
        *(extra_noise(3, p, 0, SHAPE) for p in ("fresh", "surrogate")),
    ]
    assert len({tuple(stream.flatten().tolist()) for stream in streams}) == 4
