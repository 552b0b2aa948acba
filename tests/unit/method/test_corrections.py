"""Propositions 3 and 4: the order of the error with which a soup's corrections recover the gradient of a shifted row.

The expectations are quadratures, so the slopes have no sampling noise. The mathematics is in `notebooks.corrections`.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from notebooks.corrections import (
    CORRECTIONS,
    Quadratic,
    Waves,
    cases,
    distance,
    errors,
    expected_gradient,
    gauss_hermite,
    sampled_errors,
    sine,
    slope,
)
from pipeline.guidance.row_gradients import Correction, corrected_gradient

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "corrections.ipynb"
RHO = tuple(np.geomspace(1e-3, 3e-2, 7))
NODES = gauss_hermite(3, 16)
CASES = cases()
EXACT, LEVEL = "exact", "level"
# Reward -> order of the error in rho for none, mean-shift, renormalised, and Proposition 3 with its second derivative.
ORDERS = {
    "linear": (EXACT, EXACT, 2, EXACT),
    "quadratic": (1, 1, 1, EXACT),
    "waves": (1, 1, LEVEL, 2),
    "odd": (2, 2, 2, 2),
}


def of_case(name: str) -> dict[str, np.ndarray]:
    case = CASES[name]
    return errors(case.f, case.c_D, case.direction_D, case.sigma, RHO, NODES)


@pytest.mark.parametrize("name", CASES)
def test_the_closed_forms_are_the_derivatives_and_the_quadrature_of_the_reward(name: str) -> None:
    """The closed forms, from which all errors are measured, agree with autograd and with the quadrature rule."""
    case = CASES[name]
    c = case.c_D.clone().requires_grad_()
    mean = (NODES.weight_N * case.f(c + case.sigma * NODES.z_ND)).sum()
    (gradient,) = torch.autograd.grad(mean, c, create_graph=True)
    hessian = torch.stack([torch.autograd.grad(g, c, retain_graph=True, allow_unused=True)[0] for g in gradient])
    np.testing.assert_allclose(case.f.mean(case.c_D, case.sigma), mean.detach(), atol=1e-12)
    np.testing.assert_allclose(case.f.gradient(case.c_D, case.sigma), gradient.detach(), atol=1e-12)
    np.testing.assert_allclose(case.f.hessian(case.c_D, case.sigma), hessian.detach(), atol=1e-12)
    none = expected_gradient(case.f, case.c_D, 0 * case.c_D, case.sigma, "none", NODES)
    np.testing.assert_allclose(none, case.sigma * case.f.gradient(case.c_D, case.sigma), atol=1e-12)  # Equation 6


@pytest.mark.parametrize("name", CASES)
def test_the_orders_of_every_option(name: str) -> None:
    found = of_case(name)
    for (option, error), order in zip(found.items(), ORDERS[name], strict=True):
        if order == EXACT:
            assert error.max() < 1e-12, option
        elif order == LEVEL:
            assert error.min() > 5e-3, option
        else:
            assert slope(RHO, error) == pytest.approx(order, abs=0.03), option


def test_the_angle_that_renormalising_leaves_comes_from_the_reward_and_not_from_the_quadrature() -> None:
    """Two waves at rho = 0, by the quadrature rule and by a million draws."""
    case = CASES["waves"]
    truth = case.f.gradient(case.c_D, case.sigma)
    by_rule = sine(
        expected_gradient(case.f, case.c_D, 0 * truth, case.sigma, "renormalised", gauss_hermite(3, 40)), truth
    )
    z = torch.randn(1_000_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r = case.f(case.c_D + case.sigma * z)
    by_chance = sine(corrected_gradient(r - r.mean(), z, 0 * truth, case.sigma, "renormalised"), truth)
    assert by_rule == pytest.approx(by_chance, abs=0.003) and by_rule > 0.005


def test_the_first_order_terms_are_those_of_stein() -> None:
    """none: sigma H delta; mean-shift: sigma (H + F(c)/sigma^2 I) delta, so it depends on the reward's origin."""
    case, rho = CASES["waves"], 1e-5
    assert isinstance(case.f, Waves)
    unit = case.direction_D / case.direction_D.norm()
    delta = rho * case.sigma * unit
    for origin in (-2.0, 0.0, 3.0):
        f = replace(case.f, origin=origin)
        truth = case.sigma * f.gradient(case.c_D + delta, case.sigma)
        H, F = f.hessian(case.c_D, case.sigma), f.mean(case.c_D, case.sigma)
        terms: dict[Correction, torch.Tensor] = {
            "none": H @ delta,
            "mean-shift": H @ delta + F / case.sigma**2 * delta,
        }
        for option, term in terms.items():
            left_out = truth - expected_gradient(f, case.c_D, delta, case.sigma, option, NODES)
            np.testing.assert_allclose(left_out / rho, case.sigma * term / rho, atol=1e-4, err_msg=option)


def test_the_mean_shift_is_of_order_2_for_one_origin_of_the_reward_and_of_order_1_for_others() -> None:
    """The order is 2 if delta is an eigenvector of H and F(c) is -sigma^2 times its eigenvalue."""
    sigma, c = 0.8, torch.zeros(3, dtype=torch.float64)
    a = torch.tensor([[0.8, 0.3, -0.6]], dtype=torch.float64)
    f = Waves(a, torch.tensor([0.7], dtype=torch.float64))
    eigenvalue = float(a[0] @ f.hessian(c, sigma) @ a[0] / (a[0] @ a[0]))
    lucky = -(sigma**2) * eigenvalue - float(f.mean(c, sigma))
    for origin, order in ((lucky, 2), (lucky + 1, 1), (0.0, 1)):
        found = errors(replace(f, origin=origin), c, a[0], sigma, RHO, NODES)
        assert slope(RHO, found["mean-shift"]) == pytest.approx(order, abs=0.03)
        assert slope(RHO, found["none"]) == pytest.approx(1, abs=0.03)


def test_a_mean_shift_of_centred_rewards_is_no_correction() -> None:
    found = of_case("quadratic")  # F(c) = 0
    np.testing.assert_allclose(found["mean-shift"], found["none"], rtol=1e-9)


@pytest.mark.parametrize("rho", [1e-3, 0.1, 1.0, 3.0])
def test_proposition_4_bounds_the_effect_of_another_mean(rho: float) -> None:
    """The total variation of N samples is erf(sqrt(N) rho / sqrt(8)) <= N rho / 2, and bounds the change of a reward.

    A reward in [-1, 1] changes by at most twice the total variation. For the mean-shift, h = f z' with z' the noise
    relative to mu is not bounded. Cauchy-Schwarz gives |E_P h - E_Q h| <= sqrt(E_P |h|^2 chi^2) with
    chi^2 = exp(rho^2) - 1, which is of order 1 in rho too.
    """
    for n in (1, 2, 30):
        assert math.erf(math.sqrt(n) * rho / math.sqrt(8)) <= n * rho / 2
    case = CASES["odd"]
    delta = rho * case.sigma * case.direction_D / case.direction_D.norm()
    moved = case.f.mean(case.c_D + delta, case.sigma) - case.f.mean(case.c_D, case.sigma)
    assert abs(moved) <= 2 * math.erf(rho / math.sqrt(8))
    seen = NODES.z_ND - delta / case.sigma
    h = case.f(case.c_D + case.sigma * NODES.z_ND)[:, None] * seen
    bound = math.sqrt(float((NODES.weight_N * (h**2).sum(1)).sum()) * math.expm1(rho**2))
    g = expected_gradient(case.f, case.c_D, delta, case.sigma, "mean-shift", NODES)
    assert (g - case.sigma * case.f.gradient(case.c_D + delta, case.sigma)).norm() <= bound


def test_renormalising_shortens_the_gradient_of_an_unshifted_row_and_keeps_its_direction() -> None:
    """The factor is E||z||/sqrt(D), about 1 - 1/(4D), for rewards of second degree, whose even part cancels."""
    for d, points in ((2, 64), (3, 24)):
        b = torch.linspace(0.5, 1.5, d, dtype=torch.float64)
        f = Quadratic(b, torch.eye(d, dtype=torch.float64))
        zero = torch.zeros(d, dtype=torch.float64)
        g = expected_gradient(f, zero, zero, 0.8, "renormalised", gauss_hermite(d, points)) / 0.8
        kept = math.sqrt(2 / d) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
        # The quadrature rule is not exact for ||z||, which is not smooth at 0.
        assert distance(g, kept * b) < 2e-3
        assert kept == pytest.approx(1 - 1 / (4 * d), abs=0.02)


@pytest.mark.parametrize("n", [8, 30])
def test_the_estimates_of_a_run_differ_at_order_1(n: int) -> None:
    """N normalised candidates and one set of noises for exemplar and row: true for each seed, not just on average."""
    d = 48
    rng = np.random.default_rng(n)
    A = rng.normal(size=(d, d)) / d
    f = Quadratic(torch.as_tensor(rng.normal(size=d) / math.sqrt(d)), torch.as_tensor(A + A.T))
    c, direction = (torch.as_tensor(rng.normal(size=d)) for _ in range(2))
    for seed in range(5):
        found = sampled_errors(f, c, direction, 0.5, RHO, n, seed)
        assert slope(RHO, found["none"]) == pytest.approx(1, abs=0.05)
        np.testing.assert_allclose(found["mean-shift"], found["none"], rtol=1e-6)


def test_the_notebook_runs_and_keeps_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells and all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    assert set(CORRECTIONS) <= set(names["found"]["waves"])
