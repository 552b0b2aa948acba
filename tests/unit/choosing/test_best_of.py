"""Best of n: the right samples are chosen, at the documented cost, for any size of the batches."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from configs.errors import RequestError
from configs.load import load_config
from pipeline.guidance.choosing.best_of import Chosen, Evolution, Origin, run_best_of
from pipeline.guidance.ledger import Ledger
from pipeline.guidance.noise import initial_noise
from pipeline.guidance.ports import ReverseStep
from pipeline.guidance.runner import run_unguided, unguided_seeds
from pipeline.guidance.seeds import derive_seed
from pipeline.guidance.simplex import as_weights
from pipeline.records import read_table
from tests.support.fakes import SHAPE, FakeDenoiser, wait
from tests.support.runs import DEMO, FOUR_FRONTS, run_here

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


def evolved(n: int, batch: int, generations: int, mutation: float = 0.3) -> tuple[Chosen, Ledger, list[Tensor]]:
    ledger, seen = Ledger(), list[Tensor]()

    async def score(x: Tensor) -> Tensor:
        seen.extend(x)
        return rewards_of(x)

    run = run_best_of(
        as_weights(W), n, batch, SHAPE, 11, Denoiser(SIGMAS), score, ledger, evolution=Evolution(generations, mutation)
    )
    return wait(run), ledger, seen


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_children_start_from_mutated_noises_of_the_best_so_far(batch: int) -> None:
    """Each generation from the definition, with noises made here."""
    n, mutation = 14, 0.3
    done, ledger, seen = evolved(n, batch, 3, mutation)
    x = torch.stack(seen)
    noises = [initial_noise(seed, SHAPE) for seed in unguided_seeds(11, 5)]
    ancestors = list(unguided_seeds(11, 5))
    for number, size in ((1, 5), (2, 4)):
        r = rewards_of(x[: len(noises)]).numpy()
        best = [int(np.argmax(((r - r.mean(0)) / (r.std(0) + 1e-8)) @ np.array(w))) for w in W]
        for index in range(size):
            parent = best[index % 3]
            own = initial_noise(derive_seed(11, "mutation", number, index), SHAPE)
            noises.append(np.sqrt(1 - mutation**2) * noises[parent] + mutation * own)
            ancestors.append(ancestors[parent])
    expected = wait(
        run_unguided(ancestors, SHAPE, Denoiser(SIGMAS), Ledger(), x_LCHW=torch.stack(noises).float())
    ).x_LCHW
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)
    r = rewards_of(x).numpy()
    normalised = (r - r.mean(0)) / (r.std(0) + 1e-8)
    assert torch.equal(done.trajectory.x_LCHW, x[[int(np.argmax(normalised @ np.array(w))) for w in W]])
    assert ledger.decodes == n and sum(ledger.queries.values()) == 2 * n


def test_a_mutated_noise_is_again_standard_normal_and_near_its_parent() -> None:
    parent = Origin(1)
    child = Origin(2, Origin(3, parent))
    noise = child.noise((4, 64, 64), 0.5)
    assert float(noise.mean()) == pytest.approx(0, abs=0.03) and float(noise.std()) == pytest.approx(1, abs=0.03)
    correlation = float((noise * parent.noise((4, 64, 64), 0.5)).mean())
    assert correlation == pytest.approx(1 - 0.5**2, abs=0.03) and child.ancestor == 1


def test_evolution_raises_a_reward_more_than_independent_samples() -> None:
    def best(generations: int) -> float:
        return float(np.mean([rewards_of(evolved_with(seed, generations))[:, 0].max() for seed in range(20)]))

    def evolved_with(seed: int, generations: int) -> Tensor:
        async def score(x: Tensor) -> Tensor:
            return rewards_of(x)

        run = run_best_of(
            as_weights(W), 60, 60, SHAPE, seed, Denoiser(SIGMAS), score, Ledger(), evolution=Evolution(generations, 0.5)
        )
        return wait(run).trajectory.x_LCHW

    assert best(6) > best(1) * 1.2


@pytest.mark.parametrize(
    ("n", "generations", "sizes"), [(10, 3, (4, 3, 3)), (2, 5, (1, 1)), (7, 1, (7,)), (6, 6, (1,) * 6)]
)
def test_generations_are_as_equal_as_can_be(n: int, generations: int, sizes: tuple[int, ...]) -> None:
    assert Evolution(generations).sizes(n) == sizes
    done, _, seen = evolved(n, 4, generations)
    assert len(seen) == n and len(done.seeds) == 3


@pytest.mark.slow
def test_a_run_in_generations_costs_what_its_plan_says(tmp_path: Path) -> None:
    run_here(
        tmp_path, *FOUR_FRONTS, "method=best_of", "prompts.list=[owl]", "best_of.samples=7", "best_of.generations=3",
        "compute.chunk=2",
    )  # fmt: skip
    costs = read_table(tmp_path, "costs").to_pandas()
    assert (int(costs.queries.iloc[0]), int(costs.decodes.iloc[0])) == (14, 7 + 3)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["best_of.samples=3", "best_of.generations=4"], "only 3 samples"),
        (["best_of.mutation=0.2"], "no noise is mutated"),
        (["best_of.generations=2", "best_of.mutation=0"], "mutation"),
    ],
)
def test_generations_that_make_no_sense_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        load_config(DEMO, ["method=best_of", *overrides])
    assert "generations" not in load_config(DEMO, []).model_dump(mode="json")["best_of"]
