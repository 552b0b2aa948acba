"""Appendix B: the Bhattacharyya coefficient, dimension by dimension, and its quartiles."""

import math

import numpy as np
import pytest
import torch

from pipeline.guidance.overlap import overlap_quartiles
from tests.support import reference


@pytest.mark.parametrize(("distance", "sigma"), [(0.0, 0.3), (0.3, 0.3), (1.0, 0.5), (-2.0, 0.25), (30.0, 0.1)])
def test_overlap_of_two_gaussians_is_equation_14(distance: float, sigma: float) -> None:
    """There is one dimension, so all quartiles are its coefficient."""
    mu = torch.tensor([0.5, 0.5 + distance], dtype=torch.float64).reshape(2, 1, 1, 1)
    expected = math.exp(-(distance**2) / (8 * sigma**2))
    np.testing.assert_allclose(overlap_quartiles(mu, [0], sigma)[:, 0], [[1.0] * 3, [expected] * 3], rtol=1e-9)


def test_equation_14_is_the_integral_of_equation_13() -> None:
    """BC is the integral of sqrt(p q). This checks the reference itself, by quadrature."""
    x = np.linspace(-12, 12, 20001)
    a, b, sigma = -0.4, 0.9, 0.8
    p, q = (np.exp(-((x - m) ** 2) / (2 * sigma**2)) / math.sqrt(2 * math.pi * sigma**2) for m in (a, b))
    integral = np.sum(np.sqrt(p * q)) * (x[1] - x[0])
    assert reference.overlap(np.array([a]), np.array([b]), sigma)[0] == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (1, 2, 3), (4, 8, 8)])
def test_quartiles_over_dimensions_equal_those_of_numpy(shape: tuple[int, int, int]) -> None:
    mu = torch.as_tensor(np.random.default_rng(0).normal(size=(5, *shape)), dtype=torch.float32)
    exemplars, sigma = (3, 1), 0.6
    quartiles = overlap_quartiles(mu, exemplars, sigma)
    assert quartiles.shape == (5, 2, 3)
    assert quartiles.dtype == torch.float64
    mu_RD = mu.flatten(1).double().numpy()
    for row in range(5):
        for m, exemplar in enumerate(exemplars):
            bc_D = reference.overlap(mu_RD[row], mu_RD[exemplar], sigma)
            np.testing.assert_allclose(quartiles[row, m], np.quantile(bc_D, [0.25, 0.5, 0.75]), rtol=1e-6)


def test_overlap_of_a_row_with_itself_is_1_and_overlap_is_symmetric_and_at_most_1() -> None:
    mu = torch.as_tensor(np.random.default_rng(1).normal(size=(3, 2, 4, 4)))
    quartiles = overlap_quartiles(mu, (0, 1, 2), 0.5)
    for row in range(3):
        assert torch.equal(quartiles[row, row], torch.ones(3, dtype=torch.float64))
    np.testing.assert_allclose(quartiles, quartiles.transpose(0, 1), rtol=1e-12)
    assert ((quartiles > 0) & (quartiles <= 1)).all()


def test_overlap_does_not_depend_on_the_unit_of_length_and_falls_as_sigma_falls() -> None:
    mu = torch.as_tensor(np.random.default_rng(2).normal(size=(3, 2, 4, 4)))
    wide = overlap_quartiles(mu, (0,), 0.5)
    np.testing.assert_allclose(overlap_quartiles(mu * 8, (0,), 4.0), wide, rtol=1e-9)
    assert (overlap_quartiles(mu, (0,), 0.25)[1:] < wide[1:]).all()
