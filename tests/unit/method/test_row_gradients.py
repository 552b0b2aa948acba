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

    g, gram = corrected_gradients(
        torch.as_tensor(r), torch.as_tensor(corrected), torch.as_tensor(z), torch.as_tensor(mu), exemplars, sigma,
        correction,
    )  # fmt: skip

    z = z.astype(np.float64)
    for row in range(rows):
        own = np.array([reference.search_gradient(r[row, m], z) for m in range(rewards)])
        if corrected[row]:
            shifts = [
                reference.correction(r[row, m], z, mu[c], mu[row], sigma, correction) for m, c in enumerate(exemplars)
            ]
            own += shifts
        expected = own.sum(0)
        np.testing.assert_allclose(gram[row], own @ own.T, rtol=1e-9, atol=1e-11)
        assert np.abs(g[row].numpy() - expected).max() < 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("size", SIZES)
def test_plain_gradients_equal_the_mean_of_reward_times_noise(size: int) -> None:
    rng = np.random.default_rng(size)
    z, r = rng.normal(size=(6, size)).astype(np.float32), rng.normal(size=(4, 2, 6))
    g, gram = plain_gradients(torch.as_tensor(r), torch.as_tensor(z))
    assert g.dtype == torch.float64
    own = np.array([[reference.search_gradient(r_N, z.astype(np.float64)) for r_N in r_MN] for r_MN in r])
    np.testing.assert_allclose(g, own.sum(1), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gram, own @ own.transpose(0, 2, 1), rtol=1e-12, atol=1e-13)
