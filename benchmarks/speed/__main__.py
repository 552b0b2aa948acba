"""Compares one process of the product with a plain loop and with the bare passes: `make bench`.

A front of the embedded model by the weighted sum is made by `srsoup.sample_front` and by the plain loop
(`reference_loop`), in turn, with the same noises, rewards and threads. Then the bare passes of that front are counted
and timed at their best batch (`floor`). Printed are seconds of each pair, the ratios with their median and range, and
the largest difference of the scores. Loading is left out, and so is Ray.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from benchmarks.speed.floor import Work, floor_seconds, rates
from benchmarks.speed.reference_loop import ReferenceLoop
from configs.schema import PromptsConfig
from diffusion.base import Loading, Sampling, take_pipeline
from diffusion.source import local_folder
from pipeline.guidance.seeds import derive_seed
from pipeline.library.front import sample_front
from pipeline.planning.cpu_support import cpu_flags
from pipeline.planning.prompts import read_prompts
from rewards.registry import create

REWARDS = ("colorfulness", "compressibility")
SCALE = 5.0
MOST_APART = 0.01
"""The largest relative difference of the scores of rows that no size of a file guides.

The bits of the two ways differ in the last place. Where that changes a pixel, the bytes of a JPEG file change, and with
them the direction of a step.
"""
BATCHES = (4, 8, 16, 32, 64)


def main() -> None:
    """Print a line for each pair, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", default="a snail")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if flag in cpu_flags()]
    print(f"{given.threads} threads of torch {torch.__version__} on a CPU with {' '.join(flags)}", flush=True)
    pipe = DiffusionPipeline.from_pretrained(local_folder("mini"), dtype=torch.float32)
    found = compare(pipe, given.prompt, given.steps, given.queries, given.rows, given.threads, given.pairs)
    for title, ratios in found.items():
        print(f"{title}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def compare(
    pipe: Any, prompt: str, steps: int, n: int, rows: int, threads: int, pairs: int, names: Sequence[str] = REWARDS
) -> dict[str, Sequence[float]]:
    """Make pairs of fronts, and return the ratios of each comparison.

    Raises:
        SystemExit: the two ways do not give the same scores, so their times cannot be compared.
    """
    weights = [[row / (rows - 1), 1 - row / (rows - 1)] for row in range(rows)]
    smooth = [row for row, w in enumerate(weights) if not any(w[i] for i in range(2) if names[i] == "compressibility")]
    rewards = {name: create(name) for name in names}
    for reward in rewards.values():
        reward.setup("cpu")
    loop = ReferenceLoop(pipe, rewards, steps, n, SCALE)
    sampling, model = Sampling(steps, SCALE), take_pipeline(pipe, Loading("float32"), Sampling(steps, SCALE))
    (read,) = read_prompts(PromptsConfig(list=(prompt,)))
    over_loop, over_floor = list[float](), list[float]()
    for pair in range(pairs):
        started = time.perf_counter()
        ours = sample_front(
            pipe, prompt, names, weights=weights, method="weighted_sum", steps=steps, queries=n, seed=pair,
            progress=False, options={"compute": {"threads": threads}},
        ).scores  # fmt: skip
        between = time.perf_counter()
        theirs = loop.front(prompt, weights, derive_seed(pair, read.prompt_id))
        seconds, loop_seconds = between - started, time.perf_counter() - between
        apart = float(np.abs(ours[smooth] / theirs[smooth] - 1).max())
        if apart > MOST_APART:
            raise SystemExit(f"the scores differ by {apart:.2%}, so the times cannot be compared:\n{ours}\n{theirs}")
        floor = floor_seconds(Work.of(steps, n, rows), rates(model, prompt, sampling, BATCHES))
        over_loop.append(loop_seconds / seconds)
        over_floor.append(seconds / floor)
        print(f"product {seconds:.2f} s, loop {loop_seconds:.2f} s, floor {floor:.2f} s, scores {apart:.2%} apart",
              flush=True)  # fmt: skip
    return {"the loop's seconds over the product's": over_loop, "the product's seconds over the floor's": over_floor}


if __name__ == "__main__":
    main()
