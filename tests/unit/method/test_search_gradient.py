"""Theorem 1 and Algorithm 1: the direction of the search gradient, the length of a move, and the noise of both."""

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.guidance.noise import NoiseKind, initial_noise, step_noise
from pipeline.guidance.row_gradients import Correction
from pipeline.guidance.search_gradient import Move, StepKind, move, normalise, search_gradient
from pipeline.guidance.simplex import with_exemplars
from pipeline.guidance.soup import soup_step, weighted_sum_step
from tests.support import reference
from tests.support.fakes import FakeQuery, wait

KINDS: tuple[StepKind, ...] = ("sphere", "gradient")
CORRECTIONS: tuple[Correction, ...] = ("none", "mean-shift", "renormalised")
# Values for which the computed mean of N equal numbers may differ from them by rounding, and 0.
ROUNDING_MEANS = (0.1, 0.3, 1 / 3, -14.73, 1e8 + 0.1, 0.0)


class Linear:
    """The reward f(x) = slope (a.x) + shift."""

    def __init__(self, a: np.ndarray, slope: float = 1.0, shift: float = 0.0) -> None:
        self.a, self.slope, self.shift = a, slope, shift

    def __call__(self, x_D: np.ndarray) -> float:
        return float(self.slope * (x_D.astype(np.float64) @ self.a) + self.shift)


class Constant:
    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, x_D: np.ndarray) -> float:
        return self.value


def gradient(r: np.ndarray, z: torch.Tensor) -> np.ndarray:
    return search_gradient(normalise(torch.as_tensor(r)), z).numpy()


@pytest.mark.parametrize("n", [2, 3, 30])
def test_normalise_and_gradient_and_move_equal_the_equations(n: int) -> None:
    rng = np.random.default_rng(n)
    r, z = rng.normal(-50, 3, n), rng.normal(size=(n, 17))
    np.testing.assert_allclose(normalise(torch.as_tensor(r)), reference.normalise(r), rtol=1e-12)
    g = search_gradient(torch.as_tensor(r), torch.as_tensor(z))  # not centred, as in Algorithm 1, line 4
    np.testing.assert_allclose(g, reference.search_gradient(r, z), rtol=1e-10, atol=1e-12)
    for kind in KINDS:
        np.testing.assert_allclose(move(g, kind), reference.move(g.numpy(), kind), rtol=1e-12)


def test_normalised_rewards_have_mean_0_and_population_std_1() -> None:
    r = normalise(torch.tensor([3.0, 5.0, 11.0, 4.0], dtype=torch.float64)).numpy()
    assert abs(r.mean()) < 1e-12
    assert np.sqrt(np.mean(r**2)) == pytest.approx(1, rel=1e-7)


def test_the_floor_of_the_std_is_1e_8() -> None:
    r = torch.tensor([1e-8, -1e-8], dtype=torch.float64)  # the std is 1e-8, and with the floor of 1e-8 it doubles
    np.testing.assert_allclose(normalise(r), [0.5, -0.5], rtol=1e-12)


@pytest.mark.parametrize("kind", ["plain", "antithetic"])
@pytest.mark.parametrize(("n", "d"), [(2, 4), (8, 40), (30, 12), (16, 768)])
def test_cosine_with_a_linear_rewards_direction_follows_the_beta_law(n: int, d: int, kind: NoiseKind) -> None:
    """cos^2 ~ Beta((N-1)/2, (D-1)/2), so E cos^2 = (N-1)/(N+D-2), which is about N/(N+D).

    Along a, g equals the std s of y_n = a.z^n, with N s^2 ~ chi^2(N-1). Across a, g is N(0, I/N) for any y, because
    sum r~^2 = N. Hence N |g_across|^2 ~ chi^2(D-1), independent of s. With pairs (z, -z) there are N/2 independent y,
    and both terms double: cos^2 ~ Beta(N/4, (D-1)/2).
    """
    a, b = ((n - 1) / 2, (d - 1) / 2) if kind == "plain" else (n / 4, (d - 1) / 2)
    runs = 1500
    direction = np.random.default_rng(1).normal(size=d)
    direction /= np.linalg.norm(direction)
    cos = np.empty(runs)
    for run in range(runs):
        z = step_noise(run, n, n, (d,), kind)
        g = gradient(z.double().numpy() @ direction, z)
        cos[run] = g @ direction / np.linalg.norm(g)
    assert np.all(cos > 0)
    log_moment = [
        math.lgamma(a + k / 2) - math.lgamma(a) + math.lgamma(a + b) - math.lgamma(a + b + k / 2) for k in (1, 2, 4)
    ]
    mean, square, fourth = map(math.exp, log_moment)
    assert square == pytest.approx(a / (a + b), rel=1e-9)
    assert abs(cos.mean() - mean) < 4 * math.sqrt((square - mean**2) / runs)
    assert abs(np.mean(cos**2) - square) < 4 * math.sqrt((fourth - square**2) / runs)


def test_a_whole_step_climbs_a_linear_reward_at_the_rate_that_N_and_D_predict() -> None:
    """A sphere step, with its query and its latents, raises the reward by sigma sqrt(D) cos."""
    n, shape, sigma, runs = 16, (4, 3, 3), 0.7, 200
    d = math.prod(shape)
    a = np.random.default_rng(0).normal(size=d)
    a /= np.linalg.norm(a)
    query = FakeQuery([Linear(a)])
    mu, one = torch.zeros(1, *shape), torch.ones(1, 1, dtype=torch.float64)
    cos2 = []
    for seed in range(runs):
        z = step_noise(seed, 0, n, shape)
        x = wait(weighted_sum_step(mu, sigma, z, one, query, 0, Move("sphere"))).x_RCHW
        gain = x.flatten().double().numpy() @ a
        assert gain > 0
        cos2.append((gain / (sigma * math.sqrt(d))) ** 2)
    expected = (n - 1) / (n + d - 2)
    spread = math.sqrt(expected * (1 - expected) / ((n + d - 2) / 2 + 1) / runs)
    assert abs(np.mean(cos2) - expected) < 4 * spread


def test_the_gradient_of_a_linear_reward_converges_to_its_direction() -> None:
    """E g = a / |a| for normalised rewards (Theorem 1), with an error of sqrt(D/N)."""
    n, d = 100_000, 10
    z = step_noise(5, 0, n, (d,))
    a = np.random.default_rng(2).normal(size=d)
    g = gradient(z.double().numpy() @ a, z)
    assert np.linalg.norm(g - a / np.linalg.norm(a)) < 4 * math.sqrt(d / n)


@pytest.mark.parametrize("slope", [0.03, 1.0, 250.0])
@pytest.mark.parametrize("shift", [-180.0, 0.0, 5.0])
def test_the_gradient_does_not_depend_on_the_rewards_scale_and_origin(slope: float, shift: float) -> None:
    rng = np.random.default_rng(3)
    r, z = rng.normal(size=30), torch.as_tensor(rng.normal(size=(30, 20)))
    np.testing.assert_allclose(gradient(slope * r + shift, z), gradient(r, z), rtol=1e-6, atol=1e-9)


def test_a_reward_and_its_opposite_move_in_opposite_directions() -> None:
    rng = np.random.default_rng(4)
    r, z = rng.normal(size=30), torch.as_tensor(rng.normal(size=(30, 20)))
    np.testing.assert_allclose(gradient(-r, z), -gradient(r, z), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 10, 30])
@pytest.mark.parametrize("value", ROUNDING_MEANS)
def test_equal_rewards_move_nothing_at_all(value: float, n: int, kind: StepKind) -> None:
    """This holds even if the computed mean of N equal numbers differs from them: 3 x 0.1 is 0.30000000000000004."""
    z = step_noise(0, 0, n, (2, 2, 2))
    mu = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    w = torch.tensor([[1.0, 0.0], [0.4, 0.6], [0.0, 1.0]], dtype=torch.float64)
    query = FakeQuery([Constant(value), Constant(-value)])
    guided = [wait(weighted_sum_step(mu, 0.5, z, w, query, 0, Move(kind)))]
    guided += [
        wait(soup_step(mu, 0.5, z, with_exemplars(w), query, 0, correction, Move(kind))) for correction in CORRECTIONS
    ]
    for g in guided:
        assert torch.equal(g.x_RCHW, mu)
        assert torch.equal(g.norm_R.double(), torch.zeros(3, dtype=torch.float64))


def test_one_candidate_has_no_other_to_compare_with_and_moves_nothing() -> None:
    z = step_noise(0, 0, 1, (5,))
    assert np.array_equal(gradient(np.array([3.7]), z), np.zeros(5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_reward_leaves_the_direction_to_the_other(kind: StepKind) -> None:
    shape, n = (1, 2, 3), 7
    z = step_noise(1, 0, n, shape)
    mu = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    a = np.arange(1.0, 7.0)
    half = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    both = wait(weighted_sum_step(mu, 1.0, z, half, FakeQuery([Linear(a), Constant(0.1)]), 0, Move(kind))).x_RCHW
    alone = wait(weighted_sum_step(mu, 1.0, z, half[:, :1] * 2, FakeQuery([Linear(a)]), 0, Move(kind))).x_RCHW
    share = 1.0 if kind == "sphere" else 0.5
    np.testing.assert_allclose(both - mu, share * (alone - mu), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("d", [1, 3, 64, 16384])
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8])
def test_a_sphere_step_is_as_long_as_a_noise_draw(d: int, scale: float) -> None:
    g = torch.as_tensor(np.random.default_rng(d).normal(size=d)) * scale
    s = move(g, "sphere").double().numpy()
    assert np.linalg.norm(s) == pytest.approx(math.sqrt(d), rel=1e-12)
    np.testing.assert_allclose(s / math.sqrt(d), g.numpy() / np.linalg.norm(g.numpy()), rtol=1e-10)


def test_a_gradient_step_is_the_gradient_and_a_sphere_step_is_sqrt_N_times_longer() -> None:
    n, d, runs = 25, 400, 200
    lengths = []
    for seed in range(runs):
        z = step_noise(seed, 0, n, (d,))
        g = search_gradient(normalise(z[:, 0].double()), z)
        assert torch.equal(move(g, "gradient"), g)
        lengths.append(float(move(g, "sphere").norm() / move(g, "gradient").norm()))
    # For the linear reward above, E |g|^2 = ((N-1) + (D-1)) / N.
    assert np.mean(np.square(1 / np.array(lengths))) == pytest.approx((n + d - 2) / n / d, rel=0.02)


@pytest.mark.parametrize("n", [2, 6, 30])
def test_antithetic_noise_gives_even_rewards_a_zero_gradient(n: int) -> None:
    z = step_noise(3, 4, n, (3, 4, 4), "antithetic").flatten(1)
    even = (z.double().numpy() ** 2) @ np.arange(48.0)
    assert np.ptp(even) > 1 or n == 2
    assert np.abs(gradient(even, z)).max() < 1e-12
    plain = step_noise(3, 4, max(n, 6), (3, 4, 4)).flatten(1)
    assert np.abs(gradient((plain.double().numpy() ** 2) @ np.arange(48.0), plain)).max() > 0.1


@pytest.mark.parametrize("n", [2, 6, 30])
def test_antithetic_noise_has_mean_zero_exactly_and_comes_in_pairs(n: int) -> None:
    z = step_noise(3, 4, n, (3, 4, 4), "antithetic")
    assert z.shape == (n, 3, 4, 4)
    rows = {row.numpy().tobytes() for row in z.flatten(1)}
    assert len(rows) == n
    assert rows == {(-row).numpy().tobytes() for row in z.flatten(1)}
    ordered = z.double().flatten(1).sort(dim=0).values
    assert torch.equal(ordered + ordered.flip(0), torch.zeros(n, 48, dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 5])
def test_antithetic_noise_of_odd_N_leaves_one_row_without_its_opposite(n: int) -> None:
    z = step_noise(3, 4, n, (50,), "antithetic")
    rows = {row.numpy().tobytes() for row in z}
    assert z.shape == (n, 50)
    assert len(rows & {(-row).numpy().tobytes() for row in z}) == n - 1


@pytest.mark.parametrize("kind", ["plain", "antithetic"])
def test_step_noise_is_standard_normal(kind: NoiseKind) -> None:
    z = step_noise(11, 0, 50, (4, 32, 32), kind).double().flatten()
    assert step_noise(11, 0, 50, (4, 32, 32), kind).dtype == torch.float32
    n = z.numel() / (2 if kind == "antithetic" else 1)
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)


def test_noise_of_different_seeds_steps_and_rows_and_the_first_latent_are_independent() -> None:
    shape = (4, 16, 16)
    streams = [step_noise(seed, step, 3, shape) for seed in range(4) for step in range(4)]
    streams += [initial_noise(seed, shape)[None] for seed in range(4)]
    rows = torch.cat(streams).flatten(1).double().numpy()
    correlation = np.corrcoef(rows)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5.5 / math.sqrt(rows.shape[1])


def test_noise_depends_neither_on_the_order_of_drawing_nor_on_the_global_generator() -> None:
    shape = (2, 3, 3)
    forwards = [step_noise(9, step, 4, shape) for step in range(5)]
    torch.manual_seed(123)
    state = torch.get_rng_state()
    initial_noise(9, shape)
    backwards = [step_noise(9, step, 4, shape) for step in reversed(range(5))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_has_the_same_bits_in_another_process() -> None:
    draw = (
        "import hashlib; from pipeline.guidance.noise import initial_noise, step_noise;"
        "h = hashlib.sha256();"
        "[h.update(step_noise(2**40 + 1, i, 5, (2, 4, 4), k).numpy().tobytes())"
        " for i in (0, 7) for k in ('plain', 'antithetic')];"
        "h.update(initial_noise(17, (4, 8, 8)).numpy().tobytes()); print(h.hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONHASHSEED": "77"}
    other = subprocess.run(
        [sys.executable, "-c", draw], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    here = hashlib.sha256()
    kinds: tuple[NoiseKind, ...] = ("plain", "antithetic")
    for i in (0, 7):
        for kind in kinds:
            here.update(step_noise(2**40 + 1, i, 5, (2, 4, 4), kind).numpy().tobytes())
    here.update(initial_noise(17, (4, 8, 8)).numpy().tobytes())
    assert other.stdout.strip() == here.hexdigest()
