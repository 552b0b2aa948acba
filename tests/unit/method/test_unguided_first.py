"""The ablation of Figure 7 (right): K steps of one unguided sample, then the weighted sum for every weighting."""

import numpy as np
import pytest
import torch

from pipeline.guidance.noise import initial_noise, step_noise
from pipeline.guidance.runner import Guidance
from tests.support import reference
from tests.support.fakes import SHAPE, FakeDenoiser, FakeReward, Run, fake_query

SIGMAS = [0.8, 0.6, 0.4, 0.2, 0.1]
W = np.array([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]])
N, SEED = 6, 3


def run(k: int, w: np.ndarray = W, sigmas: list[float] = SIGMAS) -> Run:
    return Run(w, Guidance(N, k, first="unguided"), sigmas, fake_query(len(w[0])), seed=SEED)


def flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


@pytest.mark.parametrize("k", [0, 2, 5])
def test_a_run_equals_the_equations(k: int) -> None:
    """The equations are x_{t-1} = mu + sigma z^1 for K steps, then Equation 9, here in float64."""
    denoiser, rewards = FakeDenoiser(SIGMAS), [FakeReward(m).values for m in range(2)]
    x = initial_noise(SEED, SHAPE).expand(3, *SHAPE)
    for i, sigma in enumerate(SIGMAS):
        z = step_noise(SEED, i, N, SHAPE)
        mu = denoiser.mean(x)
        if i < k:
            x = (mu.double() + sigma * z[:1].double()).float()
        else:
            moved = reference.weighted_sum_step(flat(mu), sigma, flat(z), W, rewards, "sphere")
            x = torch.from_numpy(moved).view(3, *SHAPE).float()
    np.testing.assert_allclose(flat(run(k).x), flat(x), rtol=2e-4, atol=2e-4)


def test_the_first_steps_cost_one_denoise_and_no_query() -> None:
    ledger = run(3).ledger
    assert ledger.denoises == 3 + 2 * len(W)
    assert ledger.total_queries == 2 * N * 4  # the two one-hot weightings query one reward each, the mixed one both
    assert ledger.decodes == 2 * N * len(W)


def test_k_0_is_the_weighted_sum_bit_for_bit() -> None:
    plain = Run(W, Guidance(N, 0), SIGMAS, fake_query(2), seed=SEED)
    assert torch.equal(run(0).x, plain.x)


def test_with_k_equal_to_t_all_weightings_get_one_sample() -> None:
    done = run(5)
    assert done.x.shape[0] == 3 and torch.equal(done.x[0], done.x[2])
    assert done.ledger.total_queries == 0
    assert [step.phase for step in done.trajectory.steps] == ["unguided"] * 5


def test_no_hidden_exemplar_is_added() -> None:
    done = run(2, w=np.array([[0.5, 0.5]]))
    assert done.ledger.denoises == 5 and done.trajectory.steps[0].overlap_LM3 is None


def test_a_step_without_noise_takes_the_mean() -> None:
    done = run(1, sigmas=[0.5, 0.0])
    assert [step.phase for step in done.trajectory.steps] == ["unguided", "mean"]
    assert torch.equal(done.x[0], done.x[2])
