"""The gradients of all rows as matrix products: equal to the formula for each row, reward and noise, to 1e-12."""

import numpy as np
import pytest
import torch

from pipeline.guidance.row_gradients import BLOCK, Correction, corrected_gradients, plain_gradients
from tests.support import reference

# Latents smaller than a block, of one block, of several, and with a last block that is not whole.
SIZES = (7, BLOCK, 3 * BLOCK + 5)


@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rewards", [1, 2, 3])
def test_the_rows_of_a_soup_equal_the_formula(size: int, rewards: int, correction: Correction) -> None:
    rng = np.random.default_rng([size, rewards])
    rows, n, sigma = 5, 9, 0.21
    # Means as in a run: long, and close to each other. The last row is equal to the exemplar of the last reward.
    mu = 30 * rng.normal(size=size) + rng.uniform(0, 0.5, size=(rows, 1)) * rng.normal(size=(rows, size))
    exemplars = tuple(range(1, rewards + 1))
    mu[-1] = mu[exemplars[-1]]
    z, r = rng.normal(size=(n, size)).astype(np.float32), rng.normal(0.3, 1, size=(rows, rewards, n))
    corrected = np.array([row not in exemplars for row in range(rows)])

    g = corrected_gradients(
        torch.as_tensor(r), torch.as_tensor(corrected), torch.as_tensor(z), torch.as_tensor(mu), exemplars, sigma,
        correction,
    )  # fmt: skip

    z = z.astype(np.float64)
    for row in range(rows):
        expected = np.zeros(size)
        for m, exemplar in enumerate(exemplars):
            expected += reference.search_gradient(r[row, m], z)
            if corrected[row]:
                expected += reference.correction(r[row, m], z, mu[exemplar], mu[row], sigma, correction)
        assert np.abs(g[row].numpy() - expected).max() < 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("size", SIZES)
def test_plain_gradients_equal_the_mean_of_reward_times_noise(size: int) -> None:
    rng = np.random.default_rng(size)
    z, r = rng.normal(size=(6, size)).astype(np.float32), rng.normal(size=(4, 6))
    g = plain_gradients(torch.as_tensor(r), torch.as_tensor(z))
    assert g.dtype == torch.float64
    expected = [reference.search_gradient(r_N, z.astype(np.float64)) for r_N in r]
    np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-14)
