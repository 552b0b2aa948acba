"""Best of n: the right samples are chosen, at the documented cost, for any size of the batches."""

import asyncio

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.guidance.choosing.best_of import Chosen, run_best_of
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.runner import run_unguided, unguided_seeds
from pipeline.guidance.simplex import as_weights
from tests.support.fakes import SHAPE, FakeDenoiser, wait

SIGMAS = [0.7, 0.4, 0.2]
W = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]


class Denoiser(FakeDenoiser):
    """A fake denoiser that can be used for several runs."""

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        self.seen = [x_LCHW] * step
        return await super().reverse_step(x_LCHW, step)


def rewards_of(x: Tensor) -> Tensor:
    flat = x.flatten(1).double()
    return torch.stack([flat.sum(1), -100 * flat[:, 0].abs()], 1)


def choose(n: int, batch: int, w: list[list[float]] = W) -> tuple[Chosen, Ledger, list[int]]:
    ledger, scored = Ledger(), list[int]()

    async def score(x: Tensor) -> Tensor:
        scored.append(len(x))
        await asyncio.sleep(0)
        return rewards_of(x)

    done = wait(run_best_of(as_weights(w), n, batch, SHAPE, 11, Denoiser(SIGMAS), score, ledger))
    return done, ledger, scored


def all_samples(n: int) -> Tensor:
    return wait(run_unguided(unguided_seeds(11, n), SHAPE, Denoiser(SIGMAS), Ledger())).x_LCHW


@pytest.mark.parametrize("batch", [1, 4, 7, 50])
def test_the_best_of_all_samples_for_each_weight(batch: int) -> None:
    x = all_samples(23)
    r = rewards_of(x).numpy()
    normalised = (r - r.mean(0)) / (r.std(0) + 1e-8)
    best = [int(np.argmax(normalised @ np.array(w))) for w in W]
    done, _, scored = choose(23, batch)
    assert torch.equal(done.trajectory.x_LCHW, x[best])
    assert done.seeds == tuple(unguided_seeds(11, 23)[i] for i in best)
    assert sum(scored) == 23 and max(scored) <= batch


def test_one_hot_weights_get_the_best_of_their_reward_whatever_its_scale() -> None:
    x, r = choose(40, 8)[0].trajectory.x_LCHW, rewards_of(all_samples(40))
    assert rewards_of(x)[0, 1] == r[:, 1].max() and rewards_of(x)[2, 0] == r[:, 0].max()


def test_the_cost_is_n_samples_and_once_more_the_batches_of_the_chosen_samples() -> None:
    done, ledger, _ = choose(20, 5)
    redrawn = len({unguided_seeds(11, 20).index(seed) // 5 for seed in done.seeds})
    assert ledger.queries == {0: 20, 1: 20} and ledger.decodes == 20
    assert ledger.denoises == 3 * (20 + 5 * redrawn)


def test_the_first_samples_are_those_of_the_unguided_model() -> None:
    assert unguided_seeds(11, 40)[:6] == unguided_seeds(11, 6)
