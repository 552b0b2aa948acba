"""The cosines of the rewards' search gradients, against float64 NumPy and against theory."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.guidance.conflict import gradient_cosines
from pipeline.guidance.noise import step_noise
from pipeline.guidance.simplex import as_weights, with_exemplars
from pipeline.guidance.soup import Correction, Guided, soup_step, weighted_sum_step
from pipeline.records import read_table
from tests.support import computed_run, reference
from tests.support.fakes import SHAPE, fake_query, wait, weights_of

N, SIGMA = 9, 0.6


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a * (b @ b)))


def both_steps(m: int, correction: Correction) -> tuple[np.ndarray, np.ndarray, np.ndarray, list, Guided, Guided]:
    """Return the means, noises, weights and rewards of a step, and its two outcomes: in a soup, and by weighted sum."""
    rng = np.random.default_rng(m)
    mu = torch.as_tensor(rng.normal(size=(m + 3, *SHAPE)), dtype=torch.float32)
    z, w, query = step_noise(m, 0, N, SHAPE), weights_of(rng, m, m + 3), fake_query(m)
    soup = with_exemplars(as_weights(w.tolist()))
    shared = wait(soup_step(mu, SIGMA, z, soup, query, 0, correction, "sphere"))
    alone = wait(weighted_sum_step(mu, SIGMA, z, soup.w_RM, query, 0, "sphere"))
    flat = mu.flatten(1).double().numpy(), z.flatten(1).double().numpy()
    return *flat, w, [f.values for f in query.rewards], shared, alone


@pytest.mark.parametrize("correction", ["none", "mean-shift", "renormalised"])
@pytest.mark.parametrize("m", [2, 3])
def test_the_cosines_are_those_of_the_gradients_that_are_added(m: int, correction: Correction) -> None:
    mu, z, w, rewards, shared, alone = both_steps(m, correction)
    exemplars = [int(np.flatnonzero(w[:, i] == 1)[0]) for i in range(m)]
    for row in range(len(w)):
        used = [int(i) for i in np.flatnonzero(w[row])]
        gradients: dict[str, dict[int, np.ndarray]] = {"shared": {}, "alone": {}}
        for i in used:
            own = reference.normalise(rewards[i](mu[row] + SIGMA * z))
            theirs = reference.normalise(rewards[i](mu[exemplars[i]] + SIGMA * z))
            gradients["alone"][i] = reference.search_gradient(own, z)
            shift = reference.correction(theirs, z, mu[exemplars[i]], mu[row], SIGMA, correction)
            gradients["shared"][i] = reference.search_gradient(theirs, z) + (0 if len(used) == 1 else shift)
        for name, guided in (("shared", shared), ("alone", alone)):
            for i, j in itertools.product(range(m), repeat=2):
                got = float(guided.cosine_RMM[row, i, j])
                if i in used and j in used:
                    assert got == pytest.approx(cosine(gradients[name][i], gradients[name][j]), abs=1e-5)
                else:
                    assert np.isnan(got)
    assert len(shared.first(2).cosine_RMM) == 2


@pytest.mark.parametrize("angle", [0.0, 60.0, 90.0, 135.0, 180.0])
def test_linear_rewards_have_the_cosine_of_their_directions(angle: float) -> None:
    """For many candidates a search gradient points along its linear reward (Theorem 1); the error is O(sqrt(D/N))."""
    rng, n, d = np.random.default_rng(0), 40_000, 8
    z, c = rng.normal(size=(n, d)), np.cos(np.radians(angle))
    a = np.eye(d)[0]
    b = c * a + np.sqrt(1 - c**2) * np.eye(d)[1]
    g = torch.stack(
        [torch.as_tensor(reference.search_gradient(reference.normalise(z @ direction), z)) for direction in (a, b)]
    )
    got = gradient_cosines(g, (0, 1), 2)
    assert float(got[0, 1]) == pytest.approx(c, abs=0.03)
    assert float(got[0, 0]) == pytest.approx(1.0) and torch.equal(got, got.T)


def test_the_cosine_of_unrelated_rewards_varies_as_much_as_documented() -> None:
    """With D >> N the cosine is the correlation of N values, whose variance under independence is 1/(N - 1)."""
    rng, n, d = np.random.default_rng(1), 16, 4_000
    z = rng.normal(size=(n, d))
    r = rng.normal(size=(400, 2, n))
    g = (r - r.mean(2, keepdims=True)) @ z
    found = [float(gradient_cosines(torch.as_tensor(pair), (0, 1), 2)[0, 1]) for pair in g]
    assert np.std(found) == pytest.approx(1 / np.sqrt(n - 1), rel=0.15)


def test_a_gradient_without_length_has_no_cosine() -> None:
    got = gradient_cosines(torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64), (0, 2), 3)
    assert torch.isnan(got[0]).all() and torch.isnan(got[1]).all() and float(got[2, 2]) == pytest.approx(1.0)


def test_a_run_has_the_cosines_in_steps_and_an_older_run_is_still_read(tmp_path: Path) -> None:
    computed_run.run(tmp_path)
    steps = read_table(tmp_path, "steps").to_pandas()
    assert all(len(row) == 2 for row in steps["gradient_cosines"])
    pairs = steps.pivot(index=["key", "step", "weight_index"], columns="reward", values="gradient_cosines")
    mixed = [row for row in zip(*(pairs[name] for name in pairs), strict=True) if not np.isnan(row[0][1])]
    # Six weightings, four of them mixed, over two prompts and three steps.
    assert len(mixed) == 2 * 3 * 4 and all(first[1] == second[0] for first, second in mixed)
    assert np.abs([first[1] for first, _ in mixed]).max() <= 1
    for part in (tmp_path / "steps").glob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["gradient_cosines"]), part)
    older = read_table(tmp_path, "steps").to_pandas()
    assert older["gradient_cosines"].isna().all()
    assert older.drop(columns="gradient_cosines").equals(steps.drop(columns="gradient_cosines"))
