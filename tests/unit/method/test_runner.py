"""One prompt from x_T to the end: its queries (Table 4), its draws from the seed, and its records."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.guidance.ledger import Ledger
from pipeline.guidance.noise import initial_noise
from pipeline.guidance.runner import Guidance, Trajectory, run_unguided, unguided_seeds
from tests.support import reference
from tests.support.fakes import SHAPE, FakeDenoiser, Run, fake_query, wait, weights_of

SMALL = (1, 2, 2)
TABLE_4 = {50: 3_000, 40: 5_400, 30: 7_800, 20: 10_200, 10: 12_600, 0: 15_000}


def run_small(w: np.ndarray, n: int, k: int, steps: int) -> Run:
    return Run(w, Guidance(n, k), [0.5] * steps, fake_query(w.shape[1], 4), shape=SMALL)


def assert_counted(run: Run, queries: int, decodes: int) -> None:
    """Assert that the ledger equals the real calls of the fake rewards and the fake decoder."""
    calls = [f.calls for f in run.query.rewards]
    assert run.ledger.total_queries == sum(calls) == queries
    assert [run.ledger.queries[m] for m in range(len(calls))] == calls
    assert run.ledger.decodes == run.query.images == decodes
    assert run.ledger.denoises == sum(len(x) for x in run.denoiser.seen)


@pytest.mark.parametrize(("k", "queries"), TABLE_4.items())
def test_queries_are_table_4(k: int, queries: int) -> None:
    """T=50, N=30, M=2, L=6. The final decode of each weighting is counted outside the runner."""
    w = np.array([[i / 5, 1 - i / 5] for i in range(6)])
    run = run_small(w, 30, k, 50)
    assert_counted(run, queries, 30 * (2 * k + 6 * (50 - k)))
    assert run.ledger.denoises == 6 * 50
    halves = [f.calls for f in run.query.rewards]
    assert halves == [queries // 2] * 2


@pytest.mark.parametrize("seed", range(12))
def test_the_ledger_is_the_formula_for_any_sizes(seed: int) -> None:
    """If all one-hots are listed, queries = N M (T (L-M+1) - K (L-M)) and decodes = N (M K + L (T-K))."""
    rng = np.random.default_rng(seed)
    n, steps, m = (int(rng.integers(1, high)) for high in (9, 8, 5))
    k = int(rng.integers(0, steps + 1))
    n_weights = m + (0 if m == 1 else int(rng.integers(0, 6)))
    w = weights_of(rng, m, n_weights)
    queries = n * m * (steps * (n_weights - m + 1) - k * (n_weights - m))
    assert_counted(run_small(w, n, k, steps), queries, n * (m * k + n_weights * (steps - k)))


def test_a_weighting_queries_only_the_rewards_whose_weight_is_above_0() -> None:
    w = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    run = run_small(w, 4, 0, 3)
    assert [f.calls for f in run.query.rewards] == [4 * 3 * 2] * 3
    assert_counted(run, 4 * 3 * 6, 4 * 3 * 3)


@pytest.mark.parametrize("k", [0, 2, 6])
@pytest.mark.parametrize("still", [(5,), (0, 3), (0, 1, 2, 3, 4, 5)])
def test_with_sigma_0_nothing_is_queried_and_the_mean_is_taken(still: tuple[int, ...], k: int) -> None:
    sigmas = [0.0 if i in still else 0.5 for i in range(6)]
    w = weights_of(np.random.default_rng(0), 2, 4)
    run = Run(w, Guidance(5, k), sigmas)
    after = [*run.denoiser.seen[1:], run.x]
    for step, record in enumerate(run.trajectory.steps):
        is_mean = torch.equal(after[step], run.denoiser.mean(run.denoiser.seen[step]))
        assert is_mean == (step in still)
        assert (record.guided is None) == (step in still)
        assert (record.phase == "mean") == (step in still)
        assert record.sigma == sigmas[step]
    assert {step for step, _, _ in run.query.asked} == set(range(6)) - set(still)
    soup, later = (len([i for i in steps if i not in still]) for steps in (range(k), range(k, 6)))
    assert_counted(run, 5 * (2 * soup + (2 * 2 + 2) * later), 5 * (2 * soup + 4 * later))


@pytest.mark.parametrize("k", [7, 50])
def test_more_soup_steps_than_steps_are_refused_before_any_query(k: int) -> None:
    query = fake_query(2)
    with pytest.raises(ValueError, match=str(k)):
        Run(np.eye(2), Guidance(5, k), [0.5] * 6, query)
    assert query.asked == []


def test_a_negative_number_of_soup_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        Run(np.eye(2), Guidance(5, -1), [0.5] * 6)


def test_all_weightings_start_from_one_x_T_that_is_standard_normal_and_differs_between_seeds() -> None:
    w = weights_of(np.random.default_rng(1), 2, 3)
    shape, d = (2, 48, 48), 2 * 48 * 48
    starts = [Run(w, Guidance(1, 0), [0.5], fake_query(2, d), seed, shape).denoiser.seen[0] for seed in (0, 1, 2**62)]
    for x in starts:
        assert torch.equal(x, x[:1].expand_as(x))
        assert abs(float(x[0].mean())) < 4 / np.sqrt(x[0].numel())
        assert abs(float(x[0].square().mean()) - 1) < 4 * np.sqrt(2 / x[0].numel())
    for a, b in itertools.combinations(starts, 2):
        correlation = np.corrcoef(a[0].flatten(), b[0].flatten())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(a[0].numel())


@pytest.mark.parametrize("k", [0, 2, 4])
def test_the_same_seed_gives_the_same_bits_and_another_seed_gives_other_bits(k: int) -> None:
    w = weights_of(np.random.default_rng(2), 2, 3)
    sigmas = [0.8, 0.6, 0.5, 0.4]
    first = Run(w, Guidance(5, k), sigmas, seed=1).x
    torch.manual_seed(99)
    torch.randn(7)
    assert torch.equal(Run(w, Guidance(5, k), sigmas, seed=1).x, first)
    other = Run(w, Guidance(5, k), sigmas, seed=2).x
    assert all((a - b).abs().max() > 1e-2 for a, b in zip(first, other, strict=True))


def test_each_step_is_announced_once_in_order_and_recorded_in_its_phase() -> None:
    w = weights_of(np.random.default_rng(3), 2, 4)
    sigmas = [0.8, 0.7, 0.0, 0.5, 0.4]
    run = Run(w, Guidance(5, 2), sigmas)
    assert run.steps_done == list(range(5))
    steps = run.trajectory.steps
    assert [r.phase for r in steps] == ["soup", "soup", "mean", "weighted_sum", "weighted_sum"]
    assert [r.step for r in steps] == list(range(5))
    assert [r.timestep for r in steps] == list(run.denoiser.timesteps) == [4, 3, 2, 1, 0]
    assert [r.sigma for r in steps] == sigmas
    assert run.x.dtype == torch.float32


@pytest.mark.parametrize("k", [0, 2, 3])
def test_the_overlap_of_each_step_is_that_of_its_means(k: int) -> None:
    """This holds for every exemplar, weighting and step. Figure 8 is measured on weighted sums, that is, K = 0."""
    w = weights_of(np.random.default_rng(4), 2, 4)
    sigmas = [0.8, 0.7, 0.5]
    run = Run(w, Guidance(5, k), sigmas)
    exemplars = [int(np.flatnonzero(w[:, m] == 1)[0]) for m in range(2)]
    for step, record in enumerate(run.trajectory.steps):
        mu_LD = run.denoiser.mean(run.denoiser.seen[step]).flatten(1).double().numpy()
        assert record.overlap_LM3 is not None
        for row, m in itertools.product(range(4), range(2)):
            bc_D = reference.overlap(mu_LD[row], mu_LD[exemplars[m]], sigmas[step])
            np.testing.assert_allclose(record.overlap_LM3[row, m], np.quantile(bc_D, [0.25, 0.5, 0.75]), rtol=1e-5)
    first = run.trajectory.steps[0].overlap_LM3
    assert first is not None
    assert (first == 1).all()


def unguided(seeds: list[int], denoiser: FakeDenoiser, shape: tuple[int, ...] = SHAPE) -> tuple[Trajectory, Ledger]:
    ledger = Ledger()
    return wait(run_unguided(seeds, shape, denoiser, ledger)), ledger


def test_each_unguided_row_is_the_run_of_its_own_seed_alone() -> None:
    sigmas, seeds = [0.8, 0.6, 0.5, 0.4], [11, 5, 5, 2**60]
    together, ledger = unguided(seeds, FakeDenoiser(sigmas))
    for row, seed in enumerate(seeds):
        alone, _ = unguided([seed], FakeDenoiser(sigmas))
        assert torch.equal(together.x_LCHW[row], alone.x_LCHW[0])
    assert torch.equal(together.x_LCHW[1], together.x_LCHW[2])
    assert (together.x_LCHW[0] - together.x_LCHW[1]).abs().max() > 1e-2
    assert (ledger.total_queries, ledger.decodes, ledger.denoises) == (0, 0, 16)
    assert [r.phase for r in together.steps] == ["unguided"] * 4
    assert all(r.guided is None and r.overlap_LM3 is None for r in together.steps)


def test_unguided_steps_are_the_mean_and_a_fresh_standard_normal_of_length_sigma() -> None:
    """With a denoiser of mean 0 the latents are sigma z. The z of all steps and rows and x_T are independent draws."""
    sigmas = [0.9, 0.5, 0.3]
    denoiser = FakeDenoiser([*sigmas, 0.0], mu_is_zero=True)
    unguided([1, 2, 3], denoiser, (4, 24, 24))
    draws = [x / s for x, s in zip(denoiser.seen, [1.0, *sigmas], strict=True)]
    rows = torch.cat(draws).flatten(1).double().numpy()
    d = rows.shape[1]
    assert np.abs(rows.mean(axis=1)).max() < 4 / np.sqrt(d)
    assert np.abs((rows**2).mean(axis=1) - 1).max() < 4 * np.sqrt(2 / d)
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(d)


def test_unguided_takes_the_mean_if_sigma_is_0() -> None:
    denoiser = FakeDenoiser([0.5, 0.0])
    final, _ = unguided([3, 4], denoiser)
    assert torch.equal(final.x_LCHW, denoiser.mean(denoiser.seen[1]))


def test_unguided_announces_each_step_once_in_order() -> None:
    done: list[int] = []
    wait(run_unguided([1, 2], SHAPE, FakeDenoiser([0.5, 0.4, 0.3]), Ledger(), done.append))
    assert done == [0, 1, 2]


def test_unguided_seeds_differ_from_one_another_and_between_prompts() -> None:
    seeds = [s for prompt in range(20) for s in unguided_seeds(prompt, 13)]
    assert len(set(seeds)) == 20 * 13
    assert unguided_seeds(5, 13) == unguided_seeds(5, 13)


def test_the_first_latent_of_an_unguided_sample_is_that_of_its_seed() -> None:
    denoiser = FakeDenoiser([0.5])
    unguided([8, 9], denoiser)
    assert torch.equal(denoiser.seen[0], torch.stack([initial_noise(s, SHAPE) for s in (8, 9)]))
