"""Steps that share by measured cosines: who is evaluated, what is asked, and where the rows go."""

import itertools
import math

import numpy as np
import pytest
import torch

from pipeline.guidance.noise import row_noise, step_noise
from pipeline.guidance.row_gradients import Correction, corrected_gradients, pooled_gradients
from pipeline.guidance.runner import Guidance
from pipeline.guidance.sharing.allotment import budget_of, candidates_each
from pipeline.guidance.sharing.anchors import choose_anchors, pooled
from pipeline.guidance.sharing.auto_step import Sharing, common_candidates
from tests.support import reference
from tests.support.fakes import SHAPE, D, Run, fake_query, weights_of

SIGMAS = [0.5, 0.6, 0.4, 0.5, 0.3, 0.0]
GRID = np.array([[0.0, 1.0], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])
LINE = torch.tensor([[float((a - b) ** 2) for b in range(6)] for a in range(6)]).double()


def guidance(n: int, sharing: Sharing, **options: object) -> Guidance:
    return Guidance(n, len(SIGMAS), sharing=sharing, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "cosines"), [(0.01, 0.7), (0.05, 0.7), (0.2, 0.7), (2.0, 0.7), (math.inf, 0.7)])
@pytest.mark.parametrize("every_reward", [True, False])
def test_every_row_has_an_anchor_within_the_threshold_and_no_row_more_than_that(
    rate: float, cosines: float, every_reward: bool
) -> None:
    used = torch.from_numpy(GRID > 0)
    reads = torch.ones_like(used) if every_reward else used
    got = choose_anchors(LINE, rate, cosines, (5, 0), reads, used)
    assert got.rows[:2] == (5, 0)
    for row, m in used.nonzero().tolist():
        reading = [a for a in got.rows if reads[a, m]]
        nearest = min(0.0 if a == row else LINE[row, a].item() for a in reading)
        expected = math.exp(-rate * nearest) if nearest else 1.0
        assert got.cosine_RM[row, m].item() == pytest.approx(expected) and expected >= cosines
        anchor = got.rows[got.nearest_RM[row, m]]
        assert reads[anchor, m] and (anchor == row if row in got.rows else LINE[row, anchor] == nearest)
    # Each further anchor was needed when it was chosen; without a shared reward one row is needed to measure at all.
    for count in range(2 if every_reward else 3, len(got.rows)):
        fewer = choose_anchors(LINE, rate, cosines, (5, 0), reads, used, most=count)
        assert fewer.rows == got.rows[:count] and fewer.cosine_RM.where(used, 1.0).min() < cosines
    if not every_reward:
        assert len(got.rows) > 2, "exemplars that read one reward each cannot be compared"


def test_as_long_as_nothing_is_known_rows_borrow_only_from_equal_means() -> None:
    used = torch.from_numpy(GRID > 0)
    everyone = choose_anchors(LINE, None, 0.7, (5, 0), torch.ones_like(used), used)
    assert set(everyone.rows) == set(range(6))
    assert choose_anchors(torch.zeros(6, 6).double(), None, 0.7, (5, 0), torch.ones_like(used), used).rows == (5, 0)


def test_shares_without_and_with_pooling() -> None:
    used = torch.from_numpy(GRID > 0)
    reads = torch.ones_like(used)
    anchors = choose_anchors(LINE, 0.05, 0.7, (5, 0), reads, used)
    alone, together = (pooled(anchors, LINE, 0.05, 0.7, reads, pool) for pool in (False, True))
    assert ((alone == 1).sum(1) == 1).all() and (alone.sum(1) == 1).all()
    for row in range(6):
        cosines = np.array([math.exp(-0.05 * LINE[row, a]) for a in anchors.rows])
        cosines[cosines < 0.7] = 0
        np.testing.assert_allclose(together[row, :, 0], cosines / cosines.sum(), rtol=1e-12)


@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
def test_the_gradients_of_one_set_of_anchors_are_those_of_a_soup(correction: Correction) -> None:
    generator = torch.Generator().manual_seed(3)
    mu, z = torch.randn(4, D, generator=generator).double(), torch.randn(5, D, generator=generator)
    # Factors that do not have mean 0, so that every correction counts.
    r = torch.rand(4, 2, 5, generator=generator).double()
    shared = torch.zeros(4, 2, 2, 5).double()
    for m in range(2):
        shared[:, m, m] = r[:, m]
    # Row 0 is the exemplar of the first reward, row 2 that of the second.
    r[0, 1], r[2, 0], shared[0, 1], shared[2, 0] = 0, 0, 0, 0
    want = corrected_gradients(r, torch.tensor([False, True, False, True]), z, mu, (0, 2), 0.4, correction)
    got = pooled_gradients(shared, z.expand(2, 5, D), mu, (0, 2), 0.4, correction)
    torch.testing.assert_close(got.g_RD, want.g_RD, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.gram_RMM, want.gram_RMM, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("noise", ["plain", "distinct"])
@pytest.mark.parametrize("correction", ["none", "renormalised"])
@pytest.mark.parametrize("every_reward", [True, False])
def test_each_step_is_that_of_the_equations(noise: str, correction: Correction, every_reward: bool) -> None:
    """Given the anchors and cosines of the record, NumPy moves the rows: g^l = sum_m w_m sum_a c_a (g_am + corr)."""
    n, threshold, seed = 6, 0.5, 7
    run = Run(GRID, guidance(n, Sharing(threshold, every_reward), noise=noise, correction=correction), SIGMAS)
    borrowing = 0
    for step, sigma in enumerate(SIGMAS[:-1]):
        record, x = run.trajectory.steps[step], run.denoiser.seen[step]
        mu = run.denoiser.mean(x).flatten(1).double().numpy()
        assert record.borrowed is not None
        anchor, expected = record.borrowed.anchor_RM.numpy(), record.borrowed.cosine_RM.numpy()
        anchors = sorted(set(anchor[GRID > 0].tolist()) | {0, 5})
        rate = _rate(mu, sigma, anchor, expected)
        for row in range(6):
            g = np.zeros(D)
            for m in np.flatnonzero(GRID[row]):
                cosines = {anchor[row, m]: 1.0}
                if noise == "distinct":
                    readers = [a for a in anchors if every_reward or GRID[a, m]]
                    cosines = {a: 1.0 if a == row else _law(mu, sigma, row, a, rate) for a in readers}
                    near = {a: c for a, c in cosines.items() if c >= threshold}
                    cosines = near or {anchor[row, m]: 1.0}
                for a, c in cosines.items():
                    z = _noises(seed, step, a, n, noise)
                    r = reference.normalise(run.query.rewards[m].values(_candidates(mu[a], sigma, z)))
                    own = reference.search_gradient(r, z)
                    if a != row:
                        own = own + reference.correction(r, z, mu[a], mu[row], sigma, correction)
                    g += GRID[row, m] * c / sum(cosines.values()) * own
                    borrowing += a != row
            want = mu[row] + sigma * reference.move(g, "sphere")
            got = run.denoiser.seen[step + 1][row].flatten().numpy()
            np.testing.assert_allclose(got, want, atol=2e-5, err_msg=f"step {step}, row {row}")
    assert borrowing, "a run in which nobody borrows shows nothing"


def _noises(seed: int, step: int, row: int, n: int, noise: str) -> np.ndarray:
    if noise == "plain":
        return step_noise(seed, step, n, SHAPE).flatten(1).numpy()
    same = common_candidates(n)
    own = row_noise(seed, step, row, n - same, SHAPE)
    return torch.cat([step_noise(seed, step, same, SHAPE), own]).flatten(1).numpy()


def _candidates(mu: np.ndarray, sigma: float, z: np.ndarray) -> np.ndarray:
    return (np.float32(sigma) * z + mu.astype(np.float32)).astype(np.float32)


def _delta(mu: np.ndarray, sigma: float, row: int, other: int) -> float:
    return float(np.sum((mu[row] - mu[other]) ** 2) / (8 * sigma**2 * D))


def _rate(mu: np.ndarray, sigma: float, anchor: np.ndarray, expected: np.ndarray) -> float | None:
    """The measured kappa of a step, from any cosine below 1 in its record; 0 if all are 1; None if nobody borrows."""
    for row, m in itertools.product(range(6), range(2)):
        if anchor[row, m] != row and 0 < expected[row, m] < 1:
            return -math.log(expected[row, m]) / _delta(mu, sigma, row, anchor[row, m])
    return None


def _law(mu: np.ndarray, sigma: float, row: int, other: int, rate: float | None) -> float:
    distance = _delta(mu, sigma, row, other)
    if distance == 0:
        return 1.0
    return 0.0 if rate is None else math.exp(-rate * distance)


def test_if_all_rows_are_evaluated_it_is_the_weighted_sum() -> None:
    """With a threshold of 1 a row borrows only from equal means, as in the first step."""
    run = Run(GRID, guidance(5, Sharing(threshold=1.0), correction="none"), SIGMAS)
    plain = Run(GRID, Guidance(5, 0), SIGMAS)
    torch.testing.assert_close(run.x, plain.x, rtol=1e-4, atol=1e-4)
    assert [record.phase for record in run.trajectory.steps] == ["soup", *["weighted_sum"] * 4, "mean"]
    later = {step: {m for s, m, _ in run.query.asked if s == step} for step in range(1, 5)}
    assert later == {step: {(0,), (1,), (0, 1)} for step in later}, "nobody reads what nobody takes"
    assert run.ledger.total_queries == 5 * (4 * 10) + sum(len(x) * len(m) for s, m, x in run.query.asked if s == 0)


@pytest.mark.parametrize("one_hots", [True, False])
@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("sharing", [Sharing(0.5), Sharing(0.5, every_reward=False), Sharing(0.5, allot=True)])
def test_the_ledger_counts_what_was_asked_and_it_stays_within_the_bound(
    sharing: Sharing, m: int, one_hots: bool
) -> None:
    weights = weights_of(np.random.default_rng(m), m, 6, one_hots)
    n = 6
    run = Run(weights, guidance(n, sharing), SIGMAS)
    assert run.ledger.total_queries == sum(len(x) * len(rewards) for _, rewards, x in run.query.asked)
    assert run.ledger.decodes == sum(len(x) for _, _, x in run.query.asked) == run.query.images
    assert run.ledger.queries == {k: reward.calls for k, reward in enumerate(run.query.rewards)}
    positive = int((weights > 0).sum())
    for step in range(5):
        asked = [(len(x), len(rewards)) for s, rewards, x in run.query.asked if s == step]
        record = run.trajectory.steps[step].borrowed
        assert record is not None and {count for count, _ in asked} == {record.candidates}
        if sharing.allot:
            assert sum(count * rewards for count, rewards in asked) <= n * positive
            assert sum(count for count, _ in asked) <= n * 6
            more = record.candidates + 1
            assert more * sum(r for _, r in asked) > n * positive or more * len(asked) > n * 6, "all is spent"
        else:
            assert record.candidates == n


def test_few_anchors_have_more_candidates() -> None:
    budget = budget_of(8, 10, 6)
    assert budget == (80, 48)
    assert [candidates_each(budget, *of) for of in ((2, 2), (2, 4), (3, 5), (6, 10))] == [24, 20, 16, 8]


def test_rows_that_never_part_are_a_soup_throughout() -> None:
    query = fake_query(2)
    query.rewards[1] = query.rewards[0]
    run = Run(GRID, guidance(4, Sharing()), SIGMAS, query)
    assert all(record.phase == "soup" for record in run.trajectory.steps[:-1])
    evaluated = [len([1 for s, _, _ in run.query.asked if s == step]) for step in range(5)]
    # In the second step nothing is known yet, and rounding has parted some rows.
    assert evaluated[0] == 2 and evaluated[2:] == [2, 2, 2]
