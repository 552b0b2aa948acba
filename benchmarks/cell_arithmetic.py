"""Times what a cell computes itself in one step of one prompt, beside two bare matrix products of the same size.

    python -m benchmarks.cell_arithmetic

The floor is one product of the gradients, (L, N) x (N, D), and one of the lengths, (L, D) x (D, N), both float64: no
way to compute the gradients of all rows reads the noises less often. Each figure is CPU time of one thread, the lowest
of several repetitions, with the answers of the rewards given at once.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.guidance.noise import step_noise
from pipeline.guidance.overlap import overlap_quartiles
from pipeline.guidance.search_gradient import Move
from pipeline.guidance.simplex import as_weights, with_exemplars
from pipeline.guidance.soup import soup_step, weighted_sum_step

L, N = 6, 30  # weightings and candidates, as in the paper
LATENTS = {"SD1.5": (4, 64, 64), "SDXL": (4, 128, 128), "SD3.5": (16, 128, 128)}
SIGMA = 0.1


def lowest(work: Callable[[], Any], repetitions: int) -> float:
    """Return the lowest CPU time of the work, in milliseconds."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def measure(shape: tuple[int, int, int], repetitions: int = 10) -> dict[str, float]:
    """Return the milliseconds of each part of a step with latents of this shape."""
    loop = asyncio.new_event_loop()
    weights = as_weights([[index / (L - 1), 1 - index / (L - 1)] for index in range(L)])
    soup, random = with_exemplars(weights), torch.Generator().manual_seed(0)
    common = torch.randn(1, *shape, generator=random)
    mu = common + SIGMA * torch.randn(L, *shape, generator=random)
    z, scores = step_noise(1, 0, N, shape), torch.rand(N, 2, generator=random, dtype=torch.float64)
    z_ND, r_LN = z.flatten(1).double(), torch.randn(L, N, generator=random, dtype=torch.float64)
    mu_LD = mu.flatten(1).double()

    async def query(x_NCHW: Tensor, step: int, rewards: Sequence[int]) -> Tensor:
        return scores[:, list(rewards)]

    def step(guided: Callable[[], Coroutine[Any, Any, Any]]) -> float:
        return lowest(lambda: loop.run_until_complete(guided()), repetitions)

    found = {
        "two products": lowest(lambda: (r_LN @ z_ND, mu_LD @ z_ND.T), repetitions),
        "noise": lowest(lambda: step_noise(1, 0, N, shape), repetitions),
        "overlap": lowest(lambda: overlap_quartiles(mu, soup.exemplars, SIGMA), repetitions),
        "soup step": step(lambda: soup_step(mu, SIGMA, z, soup, query, 0, "renormalised", Move("sphere"))),
        "weighted-sum step": step(lambda: weighted_sum_step(mu, SIGMA, z, weights, query, 0, Move("sphere"))),
    }
    loop.close()
    return found


def main() -> None:
    torch.set_num_threads(1)
    for name, shape in LATENTS.items():
        found = measure(shape)
        floor = found["two products"]
        soup, weighted = (found[kind] + found["overlap"] for kind in ("soup step", "weighted-sum step"))
        print(name, "".join(f"  {part} {ms:.1f} ms" for part, ms in found.items()))
        print(
            f"  with overlap, over the two products: soup step {soup / floor:.1f}, weighted-sum {weighted / floor:.1f}"
        )


if __name__ == "__main__":
    main()
