"""Split-half products and the measured law of the cosines, against closed forms and NumPy."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from pipeline.guidance.search_gradient import normalise
from pipeline.guidance.sharing.cosine_law import CosineLaw, cosine, distances
from pipeline.guidance.sharing.split_half import product_deviation, split_half_cosine, split_half_products


def centred(r: np.ndarray) -> np.ndarray:
    return r - r.mean(-1, keepdims=True)


@pytest.mark.parametrize("n", [2, 5])
def test_the_mean_over_all_splits_into_halves_is_what_is_returned(n: int) -> None:
    rng = np.random.default_rng(n)
    r, z = rng.normal(size=(3, 2, n)), rng.normal(size=(n, 7))
    want = np.zeros((2, 3, 3))
    pairs = list(itertools.permutations(range(n), 2))
    for m, a, b in itertools.product(range(2), range(3), range(3)):
        want[m, a, b] = np.mean([r[a, m, i] * r[b, m, k] * (z[i] @ z[k]) for i, k in pairs])
    want *= n**2 / ((n - 1) ** 2 + 1)
    got = split_half_products(torch.from_numpy(r), torch.from_numpy(z))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_products_are_unbiased_for_linear_and_quadratic_rewards_and_plain_ones_are_not() -> None:
    """E[(a z + z Q z + c) z] = a: the gradient of a quadratic reward is that of its linear part."""
    rng = np.random.default_rng(1)
    d, n, repeats = 6, 4, 2500
    a = rng.normal(size=(2, d))
    q = np.stack([np.zeros((d, d)), rng.normal(size=(d, d)) / 3])
    found, plain = [], []
    for _ in range(repeats):
        z = rng.normal(size=(n, d))
        r = centred(np.stack([z @ a[k] + np.einsum("ni,ij,nj->n", z, q[k], z) + 5 for k in range(2)]))
        found.append(split_half_products(torch.from_numpy(r[:, None]), torch.from_numpy(z))[0].numpy())
        g = r @ z / (n - 1)
        plain.append(g @ g.T)
    error = np.std(found, axis=0) / math.sqrt(repeats)
    assert (np.abs(np.mean(found, axis=0) - a @ a.T) < 4 * error).all()
    assert (np.diag(np.mean(plain, axis=0)) > np.diag(a @ a.T) + 4 * np.diag(error)).all()


def test_the_deviation_of_a_product() -> None:
    rng, d, n = np.random.default_rng(2), 400, 16
    r = normalise(torch.from_numpy(rng.normal(size=n)))[None, None]
    found = [split_half_products(r, torch.from_numpy(rng.normal(size=(n, d)))).item() for _ in range(600)]
    assert np.std(found) == pytest.approx(product_deviation(n, d), rel=0.15)


def test_cosines_of_exact_products_and_of_those_that_noise_made_negative() -> None:
    a = np.random.default_rng(3).normal(size=(3, 5))
    got = split_half_cosine(torch.from_numpy(a @ a.T))
    length = np.linalg.norm(a, axis=1)
    np.testing.assert_allclose(got, a @ a.T / np.outer(length, length), rtol=1e-12)
    assert split_half_cosine(torch.tensor([[-1.0, 0.5], [0.5, 2.0]]).double()).isnan().tolist() == [
        [True, True], [True, False]
    ]  # fmt: skip


def test_distances_are_the_mean_bhattacharyya_distance_and_exactly_0_for_equal_means() -> None:
    mu = torch.randn(4, 50, generator=torch.Generator().manual_seed(1)).double()
    mu[3] = mu[1]
    got, sigma = distances(mu, 0.3), 0.3
    for a, b in itertools.product(range(4), range(4)):
        coefficient_D = np.exp(-((mu[a] - mu[b]).numpy() ** 2) / (8 * sigma**2))
        assert got[a, b].item() == pytest.approx(-np.log(coefficient_D).mean(), abs=1e-14)
    assert got[1, 3] == 0 and torch.equal(got, got.T)


def linear_rows(angles: list[float], n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised linear rewards whose gradients have these angles, (A, 1, N), and the noises of the candidates."""
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(5)).double()
    rows = [normalise(math.cos(angle) * z[:, 0] + math.sin(angle) * z[:, 1]) for angle in angles]
    return torch.stack(rows)[:, None], z


def test_with_many_candidates_the_law_gives_the_cosine_of_the_true_gradients() -> None:
    r, z = linear_rows([0.0, 1.0], 2000, 3)
    law = CosineLaw()
    law.measure(0, r, torch.ones(2, 1, dtype=torch.bool), z, torch.tensor([[0.0, 0.02], [0.02, 0.0]]))
    rate = law.rate(1)
    assert rate is not None and cosine(rate, 0.02) == pytest.approx(math.cos(1.0), abs=0.02)
    assert cosine(rate, 0.01) == pytest.approx(math.sqrt(math.cos(1.0)), abs=0.02) and cosine(rate, 0.0) == 1


def test_with_few_candidates_it_gives_the_correlation_of_the_rewards() -> None:
    r, z = linear_rows([0.0, 0.8], 6, 100_000)
    law = CosineLaw()
    law.measure(0, r, torch.ones(2, 1, dtype=torch.bool), z, torch.tensor([[0.0, 0.02], [0.02, 0.0]]))
    rate = law.rate(1)
    correlation = float((r[0, 0] * r[1, 0]).mean())
    assert rate is not None and cosine(rate, 0.02) == pytest.approx(correlation, abs=0.02)


def test_the_rate_solves_its_equation_over_several_steps() -> None:
    """The docstring of `CosineLaw.rate` once more, in NumPy."""
    rng, d, law = np.random.default_rng(7), 40, CosineLaw()
    sums = dict.fromkeys(("d", "d_error", "spread", "level", "level_error", "levels"), 0.0)
    terms: list[tuple[float, float]] = []
    for step, n in enumerate((8, 12)):
        weight, deviation = 0.8 ** (2 - step), math.sqrt(2 * d) / n
        z, direction = rng.normal(size=(n, d)), rng.normal(size=(3, 2, d))
        direction += 2 * rng.normal(size=(1, 2, d))
        r = np.einsum("nd,amd->amn", z, direction)
        r = centred(r) / r.std(-1, keepdims=True)
        reads = np.array([[1, 1], [1, 0], [1, 1]], dtype=bool)
        r[~reads] = 0
        delta = np.array([[0, 0.1, 0.3], [0.1, 0, 0.15], [0.3, 0.15, 0]]) * (step + 1)
        law.measure(step, *(torch.from_numpy(one) for one in (r, reads, z, delta)))
        product = split_half_products(torch.from_numpy(r), torch.from_numpy(z)).numpy()
        spread = 0.0
        for a, b in ((0, 1), (0, 2), (1, 2)):
            shared = [m for m in range(2) if reads[a, m] and reads[b, m]]
            terms.append((weight * len(shared), delta[a, b]))
            for m in shared:
                sums["d"] += weight * (product[m, a, a] + product[m, b, b] - 2 * product[m, a, b])
                spread += weight * np.var(r[a, m] - r[b, m])
        sums["spread"] += spread
        sums["d_error"] += (spread * deviation) ** 2
        sums["levels"] += weight * reads.sum()
        sums["level"] += weight * sum(product[m, a, a] for a in range(3) for m in range(2) if reads[a, m])
        sums["level_error"] += (weight * reads.sum() * deviation) ** 2
    level_error = sums["level_error"] / sums["levels"] ** 2
    level = (sums["level"] / sums["levels"] / level_error + 0.5 * 12) / (1 / level_error + 12)
    level = min(max(level, 0.25), 1)
    prior = sums["spread"] ** 2 / 12
    gap = (sums["d"] / sums["d_error"] + level * sums["spread"] / prior) / (1 / sums["d_error"] + 1 / prior)
    gap = min(max(gap, 0.25 * sums["spread"]), sums["spread"])
    want = brentq(lambda k: gap / 2 - level * sum(w * (1 - math.exp(-k * x)) for w, x in terms), 0, 1e3, xtol=1e-12)
    assert 0.1 < want < 500
    assert law.rate(2) == pytest.approx(want, rel=1e-6)


def test_rows_that_are_not_comparable_give_no_rate_equal_rewards_0_and_opposite_ones_infinity() -> None:
    r, z = linear_rows([0.0, 0.0], 2000, 3)
    all_read, apart = torch.ones(2, 1, dtype=torch.bool), torch.tensor([[0.0, 0.1], [0.1, 0.0]])
    law = CosineLaw()
    assert law.rate(0) is None
    law.measure(0, r, all_read, z, torch.zeros(2, 2))
    law.measure(1, r, torch.tensor([[True], [False]]), z, apart)
    assert law.rate(2) is None
    law.measure(2, r, all_read, z, apart)
    assert law.rate(3) == 0
    opposite = CosineLaw()
    opposite.measure(0, torch.stack([r[0], -r[1]]), all_read, z, apart)
    assert opposite.rate(1) == math.inf and cosine(math.inf, 0.1) == 0 and cosine(math.inf, 0.0) == 1
