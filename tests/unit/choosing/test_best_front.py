"""Several guided fronts: each weighting gets the best of all samples, and their costs are counted."""

import numpy as np
import torch
from torch import Tensor

from pipeline.guidance.choosing.best_front import run_best_front
from pipeline.guidance.choosing.choice import choose
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.runner import Guidance, run_guided
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.simplex import as_weights
from tests.support import reference
from tests.support.fakes import SHAPE, FakeDenoiser, fake_query, wait

W = [[0.0, 1.0], [0.4, 0.6], [1.0, 0.0]]
SIGMAS = (0.5, 0.3)


class Fresh(FakeDenoiser):
    """A denoiser that may be run again from the first step."""

    async def reverse_step(self, x_LCHW: Tensor, step: int) -> ReverseStep:
        if step == 0:
            self.seen.clear()
        return await super().reverse_step(x_LCHW, step)


def test_each_weighting_chooses_the_best_sample_of_all_fronts() -> None:
    query, ledger, guidance, w = fake_query(2), Ledger(), Guidance(3, 0), as_weights(W)

    async def score(x_BCHW: Tensor) -> Tensor:
        return torch.tensor([[r._value(x) for r in query.rewards] for x in x_BCHW.flatten(1).numpy()]).double()

    chosen = wait(run_best_front(w, 3, SHAPE, 5, guidance, Fresh(SIGMAS), query, score, ledger))
    seeds = [5, derive_seed(5, "front", 1), derive_seed(5, "front", 2)]
    pool = torch.cat(
        [wait(run_guided(w, SHAPE, s, guidance, FakeDenoiser(SIGMAS), query, Ledger())).x_LCHW for s in seeds]
    )
    r = np.array([[reward._value(x) for reward in query.rewards] for x in pool.flatten(1).numpy()])
    best = (np.array(W) @ np.stack([reference.normalise(column) for column in r.T])).argmax(1)
    assert torch.equal(chosen.trajectory.x_LCHW, pool[best])
    assert chosen.seeds == tuple(seeds[index // 3] for index in best)
    n, steps = 3, len(SIGMAS)
    assert ledger.total_queries == 3 * (n * steps * 4 + 3 * 2), (
        "four positive weights; then both rewards of each sample"
    )
    assert ledger.decodes == 3 * (n * steps * 3 + 3)


def test_spread_chooses_different_samples_of_all_fronts() -> None:
    query, guidance, w = fake_query(2), Guidance(3, 0), as_weights(W)
    scored: list[Tensor] = []

    async def score(x_BCHW: Tensor) -> Tensor:
        scored.append(torch.tensor([[r._value(x) for r in query.rewards] for x in x_BCHW.flatten(1).numpy()]).double())
        return scored[-1]

    found = wait(
        run_best_front(w, 3, SHAPE, 5, guidance, Fresh(SIGMAS), query, score, Ledger(), keep="spread")
    ).trajectory.x_LCHW
    pool = [wait(run_guided(w, SHAPE, s, guidance, FakeDenoiser(SIGMAS), query, Ledger())).x_LCHW
            for s in (5, derive_seed(5, "front", 1), derive_seed(5, "front", 2))]  # fmt: skip
    wanted = choose(w, torch.cat(scored), "spread")
    assert len(set(wanted)) == 3 and torch.equal(found, torch.cat(pool)[wanted])


def test_one_front_keeps_its_samples_or_exchanges_them_for_better_ones() -> None:
    query, w = fake_query(2), as_weights(W)

    async def score(x_BCHW: Tensor) -> Tensor:
        return torch.arange(len(x_BCHW) * 2).view(-1, 2).double()

    chosen = wait(run_best_front(w, 1, SHAPE, 5, Guidance(3, 0), FakeDenoiser(SIGMAS), query, score, Ledger()))
    plain = wait(run_guided(w, SHAPE, 5, Guidance(3, 0), FakeDenoiser(SIGMAS), query, Ledger())).x_LCHW
    assert torch.equal(chosen.trajectory.x_LCHW, plain[[2, 2, 2]]), "the last sample has the highest scores of both"
