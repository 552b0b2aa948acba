"""Algorithm 2, Equation 11 and Equation 9: whole steps and whole runs against the float64 reference."""

import itertools
import math

import numpy as np
import pytest
import torch

from pipeline.guidance.noise import NoiseKind, step_noise
from pipeline.guidance.row_gradients import Correction, corrected_gradient
from pipeline.guidance.runner import Guidance
from pipeline.guidance.search_gradient import Move, StepKind
from pipeline.guidance.simplex import as_weights, with_exemplars
from pipeline.guidance.soup import soup_step, weighted_sum_step
from tests.support import reference
from tests.support.fakes import SHAPE, D, FakeDenoiser, FakeQuery, FakeReward, Run, fake_query, wait, weights_of

CORRECTIONS: tuple[Correction, ...] = ("none", "mean-shift", "renormalised")
KINDS: tuple[StepKind, ...] = ("sphere", "gradient")
SIZES = [(m, n) for m in (1, 2, 3) for n in (1, 4, 6, 13) if n >= m]
SIGMAS = (0.9, 0.7, 0.5, 0.4, 0.3)


def assert_same_move(x: torch.Tensor, mu: np.ndarray, expected: np.ndarray) -> None:
    """Assert that every row's move from its mean is the expected one, to 1e-5 of its length."""
    moved = x.flatten(1).double().numpy() - mu
    assert moved.shape == expected.shape
    lengths = np.linalg.norm(expected - mu, axis=1)
    assert np.all(lengths > 0)
    assert np.all(np.linalg.norm(moved - (expected - mu), axis=1) < 1e-5 * lengths)


def step_of(m: int, n_weights: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, float]:
    """Return different means (equal ones for M = 1), noises, weights that include all one-hots, and sigma."""
    rng = np.random.default_rng([m, n_weights, seed])
    means = 1 if m == 1 else n_weights
    mu = torch.as_tensor(rng.normal(size=(means, *SHAPE)), dtype=torch.float32).repeat(n_weights // means, 1, 1, 1)
    return mu, step_noise(seed, 0, 9, SHAPE), weights_of(rng, m, n_weights), float(rng.uniform(0.4, 1.5))


def flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize(("m", "n_weights"), SIZES)
def test_a_soup_step_equals_algorithm_2(m: int, n_weights: int, correction: Correction, kind: StepKind) -> None:
    mu, z, w, sigma = step_of(m, n_weights, 1)
    query = fake_query(m)
    guided = wait(soup_step(mu, sigma, z, with_exemplars(as_weights(w.tolist())), query, 0, correction, Move(kind)))
    rewards = [f.values for f in query.rewards]
    expected = reference.soup_step(flat(mu), sigma, flat(z), w, rewards, correction, kind)
    assert guided.x_RCHW.dtype == torch.float32
    assert_same_move(guided.x_RCHW, flat(mu), expected)
    assert [f.calls for f in query.rewards] == [9] * m
    assert query.images == 9 * m


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("m", "n_weights"), SIZES)
def test_a_weighted_sum_step_equals_equation_9(m: int, n_weights: int, kind: StepKind) -> None:
    mu, z, w, sigma = step_of(m, n_weights, 2)
    query = fake_query(m)
    guided = wait(weighted_sum_step(mu, sigma, z, as_weights(w.tolist()), query, 0, Move(kind)))
    rewards = [f.values for f in query.rewards]
    expected = reference.weighted_sum_step(flat(mu), sigma, flat(z), w, rewards, kind)
    assert guided.x_RCHW.dtype == torch.float32
    assert_same_move(guided.x_RCHW, flat(mu), expected)
    assert [f.calls for f in query.rewards] == [9 * int(np.sum(w[:, i] > 0)) for i in range(m)]
    assert query.images == 9 * n_weights


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_a_corrected_gradient_equals_equation_11_for_uncentred_rewards(correction: Correction, seed: int) -> None:
    rng = np.random.default_rng(seed)
    r, z = rng.normal(0.5, 1, 8), rng.normal(size=(8, D))
    c, mu, sigma = rng.normal(size=D), rng.normal(size=D), 0.37
    expected = reference.search_gradient(r, z) + reference.correction(r, z, c, mu, sigma, correction)
    g = corrected_gradient(torch.as_tensor(r), torch.as_tensor(z), torch.as_tensor(c - mu), sigma, correction)
    np.testing.assert_allclose(g, expected, rtol=1e-10, atol=1e-12)


def test_the_mean_shift_is_0_for_centred_rewards_and_else_the_distance_in_sigmas_times_their_mean() -> None:
    rng = np.random.default_rng(0)
    z, delta = torch.as_tensor(rng.normal(size=(8, D))), torch.as_tensor(rng.normal(size=D))
    r = torch.as_tensor(reference.normalise(rng.normal(size=8)))
    plain, shifted = (corrected_gradient(r, z, delta, 0.01, c) for c in ("none", "mean-shift"))
    np.testing.assert_allclose(shifted, plain, atol=1e-12)
    plain, shifted = (corrected_gradient(r + 2, z, delta, 0.01, c) for c in ("none", "mean-shift"))
    np.testing.assert_allclose(shifted - plain, 2 * delta / 0.01, rtol=1e-9)


def test_renormalised_rows_are_as_long_as_a_noise_draw() -> None:
    """One candidate of reward 1 gives the row itself. Its length is sqrt(D) for any distance."""
    rng = np.random.default_rng(0)
    z, one = torch.as_tensor(rng.normal(size=(1, D))), torch.ones(1, dtype=torch.float64)
    for distance in (0.0, 0.1, 1.0, 100.0):
        delta = torch.as_tensor(rng.normal(size=D)) * distance
        row = corrected_gradient(one, z, delta, 0.5, "renormalised").numpy()
        assert np.linalg.norm(row) == pytest.approx(math.sqrt(D), rel=1e-12) or distance == 0
        toward = z.numpy()[0] + delta.numpy()
        if distance:
            assert row @ toward / np.linalg.norm(row) / np.linalg.norm(toward) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_if_all_means_agree_a_soup_step_is_the_weighted_sum_step(correction: Correction, kind: StepKind) -> None:
    """In the first step mu^l = c_m for all l and m, so the exemplars' gradients are those of every weighting."""
    _, z, w, sigma = step_of(2, 6, 3)
    mu = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0)).repeat(6, 1, 1, 1)
    weights = as_weights(w.tolist())
    if correction == "renormalised":  # noises that already have length sqrt(D)
        z = z * (math.sqrt(D) / z.flatten(1).norm(dim=1))[:, None, None, None]
    soup = wait(soup_step(mu, sigma, z, with_exemplars(weights), fake_query(2), 0, correction, Move(kind))).x_RCHW
    weighted_sum = wait(weighted_sum_step(mu, sigma, z, weights, fake_query(2), 0, Move(kind))).x_RCHW
    assert_same_move(soup, flat(mu), flat(weighted_sum))


def test_the_first_soup_step_renormalises_the_noises_of_all_rows_except_the_exemplars() -> None:
    """In the first step all means agree, so c_m - mu^l = 0, but each z^n + 0 is still scaled to length sqrt(D)."""
    _, z, w, sigma = step_of(2, 6, 3)
    mu = torch.zeros(6, *SHAPE)
    query = fake_query(2)
    guided = wait(
        soup_step(mu, sigma, z, with_exemplars(as_weights(w.tolist())), query, 0, "renormalised", Move("sphere"))
    )
    rewards = [f.values for f in query.rewards]
    expected = reference.soup_step(flat(mu), sigma, flat(z), w, rewards, "renormalised", "sphere")
    plain = reference.soup_step(flat(mu), sigma, flat(z), w, rewards, "none", "sphere")
    mixed = w.max(axis=1) < 1
    assert np.abs(expected - plain)[mixed].max() > 1e-2
    assert np.array_equal(expected[~mixed], plain[~mixed])
    assert_same_move(guided.x_RCHW, flat(mu), expected)


def reference_run(w: np.ndarray, guidance: Guidance, x_T: torch.Tensor, seed: int) -> np.ndarray:
    rewards = [FakeReward(m).values for m in range(w.shape[1])]
    x = np.repeat(x_T.flatten()[None].double().numpy(), len(w), axis=0)
    for step, sigma in enumerate(SIGMAS):
        mu = 0.9 * x + 0.05 * np.sin(x)
        z = flat(step_noise(seed, step, guidance.candidates, SHAPE, guidance.noise))
        if step < guidance.soup_steps:
            x = reference.soup_step(mu, sigma, z, w, rewards, guidance.correction, guidance.step)
        else:
            x = reference.weighted_sum_step(mu, sigma, z, w, rewards, guidance.step)
    return x


@pytest.mark.parametrize("noise", ["plain", "antithetic"])
@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("k", [0, 2, 5])
def test_a_whole_run_equals_the_equations_step_after_step(k: int, correction: Correction, noise: NoiseKind) -> None:
    w = np.array([[0.3, 0.7], [0.0, 1.0], [0.6, 0.4], [1.0, 0.0]])
    guidance = Guidance(8, k, "sphere", correction, noise)
    run = Run(w, guidance, SIGMAS, seed=21)
    expected = reference_run(w, guidance, run.denoiser.seen[0][0], seed=21)
    np.testing.assert_allclose(flat(run.x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("k", [0, 2, 5])
def test_a_one_hot_row_of_a_soup_is_the_run_of_that_reward_alone_bit_for_bit(
    k: int, correction: Correction, kind: StepKind
) -> None:
    w = weights_of(np.random.default_rng(5), 3, 7)
    soup = Run(w, Guidance(6, k, kind, correction), SIGMAS)
    for m in range(3):
        row = int(np.flatnonzero(w[:, m] == 1)[0])
        for k_alone in (0, 5):
            query = FakeQuery([FakeReward(m)])
            alone = Run(np.ones((1, 1)), Guidance(6, k_alone, kind, correction), SIGMAS, query)
            assert torch.equal(soup.x[row], alone.x[0])
            for seen, seen_alone in zip(soup.denoiser.seen, alone.denoiser.seen, strict=True):
                assert torch.equal(seen[row], seen_alone[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_K_0_is_the_weighted_sum_bit_for_bit(correction: Correction, kind: StepKind) -> None:
    w = weights_of(np.random.default_rng(6), 2, 5)
    run = Run(w, Guidance(6, 0, kind, correction), SIGMAS, seed=4)
    x = run.denoiser.seen[0]
    for step, sigma in enumerate(SIGMAS):
        assert torch.equal(run.denoiser.seen[step], x)
        z = step_noise(4, step, 6, SHAPE)
        mu = run.denoiser.mean(x)
        x = wait(weighted_sum_step(mu, sigma, z, as_weights(w.tolist()), fake_query(2), step, Move(kind))).x_RCHW
    assert torch.equal(run.x, x)


def test_every_option_changes_the_result() -> None:
    """Otherwise the equalities of this file could hold because an option has no effect."""
    w = weights_of(np.random.default_rng(6), 2, 5)
    mixed = int(np.flatnonzero(w.max(axis=1) < 1)[0])
    options = [
        Guidance(6, 0, "sphere", "none", "plain"),
        Guidance(6, 5, "sphere", "none", "plain"),
        Guidance(6, 5, "sphere", "renormalised", "plain"),
        Guidance(6, 5, "gradient", "none", "plain"),
        Guidance(6, 5, "sphere", "none", "antithetic"),
        Guidance(6, 3, "sphere", "none", "plain"),
    ]
    runs = [Run(w, guidance, SIGMAS).x[mixed] for guidance in options]
    for a, b in itertools.combinations(runs, 2):
        assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize("k", [0, 2, 5])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_the_order_of_the_weights_changes_only_the_order_of_the_results(correction: Correction, k: int) -> None:
    w = weights_of(np.random.default_rng(8), 2, 6)
    order = np.random.default_rng(9).permutation(6)
    guidance = Guidance(6, k, "sphere", correction)
    assert torch.equal(Run(w[order], guidance, SIGMAS).x, Run(w, guidance, SIGMAS).x[order.tolist()])


@pytest.mark.parametrize("k", [0, 2, 5])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_equal_weightings_give_equal_rows_even_if_they_are_one_hot(correction: Correction, k: int) -> None:
    w = np.array([[1.0, 0.0], [0.3, 0.7], [0.0, 1.0], [0.3, 0.7], [0.0, 1.0], [1.0, 0.0]])
    x = Run(w, Guidance(6, k, "sphere", correction), SIGMAS).x
    for a, b in itertools.combinations(range(6), 2):
        assert torch.equal(x[a], x[b]) == np.array_equal(w[a], w[b]), f"rows {a} and {b}"


@pytest.mark.parametrize("kept", [(), (0,), (1, 2)])
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_exemplars_that_are_not_listed_run_too_and_stay_hidden(
    correction: Correction, k: int, kept: tuple[int, ...]
) -> None:
    """The visible rows equal those of the run in which every one-hot is listed, and the soup phase costs the same."""
    mixed = weights_of(np.random.default_rng(10), 3, 4, one_hots=False)
    some, every = np.vstack([mixed, np.eye(3)[list(kept)]]), np.vstack([mixed, np.eye(3)])
    guidance = Guidance(6, k, "sphere", correction)
    hidden, listed = Run(some, guidance, SIGMAS), Run(every, guidance, SIGMAS)
    assert hidden.x.shape == (len(some), *SHAPE)
    assert torch.equal(hidden.x[:4], listed.x[:4])
    assert torch.equal(hidden.x[4:], listed.x[[4 + m for m in kept]])
    assert hidden.ledger.total_queries == sum(f.calls for f in hidden.query.rewards)
    later = 6 * (5 - k) * (4 * 3 + len(kept))
    assert hidden.ledger.total_queries == 6 * 3 * k + later
    for record in hidden.trajectory.steps:
        assert record.guided is not None
        assert record.guided.x_RCHW.shape[0] == record.guided.norm_R.shape[0] == len(some)
        if record.overlap_LM3 is not None:
            assert record.overlap_LM3.shape == (len(some), 3, 3)


def test_all_exemplars_and_weights_share_one_set_of_noises() -> None:
    """By Algorithm 2, line 7, the values (candidate - mean) / sigma are the same set around every mean."""
    w = weights_of(np.random.default_rng(12), 2, 4)
    run = Run(w, Guidance(5, 2), SIGMAS, seed=3)
    for step, rewards, x in run.query.asked:
        z = step_noise(3, step, 5, SHAPE)
        centre = x - SIGMAS[step] * z
        assert x.shape == (5, *SHAPE)
        assert (centre - centre[0]).abs().max() < 1e-5
        means = run.denoiser.mean(run.denoiser.seen[step])
        row = int((means - centre[0]).abs().flatten(1).amax(dim=1).argmin())
        assert (means[row] - centre[0]).abs().max() < 1e-5
        if step == 0:
            assert (means - means[0]).abs().max() == 0
        elif step == 1:
            assert np.array_equal(w[row], np.eye(2)[list(rewards)][0])
        else:
            assert rewards == tuple(np.flatnonzero(w[row]))


def test_a_step_records_gradient_lengths_and_the_rewards_behind_each_gradient() -> None:
    mu, z, w, sigma = step_of(2, 4, 4)
    query = fake_query(2)
    soup = with_exemplars(as_weights(w.tolist()))
    in_soup = wait(soup_step(mu, sigma, z, soup, query, 0, "none", Move("sphere")))
    alone = wait(weighted_sum_step(mu, sigma, z, soup.w_RM, query, 0, Move("sphere")))
    for row, m in itertools.product(range(4), range(2)):
        for guided, source in ((in_soup, soup.exemplars[m]), (alone, row)):
            r = query.rewards[m].values(flat(mu)[source] + sigma * flat(z))
            got = (float(guided.reward_mean_RM[row, m]), float(guided.reward_std_RM[row, m]))
            if w[row, m] > 0:
                assert got == pytest.approx((r.mean(), r.std()), rel=1e-4)
            else:
                assert np.isnan(got).all()
    gradient = wait(weighted_sum_step(mu, sigma, z, soup.w_RM, query, 0, Move("gradient")))
    lengths = np.linalg.norm(flat(gradient.x_RCHW) - flat(mu), axis=1) / sigma
    np.testing.assert_allclose(alone.norm_R, lengths, rtol=1e-5)
    assert torch.equal(alone.norm_R, gradient.norm_R)


def test_the_fake_denoiser_equals_the_formula_in_the_reference_run() -> None:
    x = torch.linspace(-3, 3, 24).reshape(1, *SHAPE)
    expected = 0.9 * flat(x) + 0.05 * np.sin(flat(x))
    np.testing.assert_allclose(flat(FakeDenoiser(SIGMAS).mean(x)), expected, rtol=1e-5)
