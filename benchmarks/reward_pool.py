"""Measures how much faster a pool of CPU reward actors scores than one actor: `python -m benchmarks.reward_pool`

Real reward actors on real Ray compute the JPEG compressibility of random 512 px images, alternately with one actor and
with one actor per core.
"""

import asyncio
import os
import statistics
import time

import numpy as np
import ray

from actors.cluster.model_actors import RewardActor
from actors.cluster.ray_workers import RayTransport, result_of
from actors.pool.pool import Pool
from actors.pool.transport import Limits
from configs.schema import RunConfig

CHUNK, CHUNKS, TURNS = 16, 40, 3


def config() -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "reward-pool", "weights": [[1.0]], "prompts": {"list": ["noise"]}, "queries": CHUNK,
            "rewards": {"guided": ["compressibility"]},
        }
    )  # fmt: skip


async def seconds(actors: int) -> float:
    """Measure the seconds to score all chunks on a pool of `actors` actors that have loaded and scored some before."""
    limits = Limits(600.0)
    kind = RewardActor.options(num_cpus=0)
    pool = Pool(RayTransport(lambda: kind.remote(config(), ["compressibility"], 0)), actors, limits)
    await pool.open()
    images = np.random.default_rng(0).integers(0, 256, (CHUNK, 3, 512, 512), dtype=np.uint8)
    pixels = ray.put(images)

    async def score() -> None:
        await pool.call(
            "reward", CHUNK,
            lambda actor, *_: result_of(actor.score.remote("compressibility", pixels, 0, CHUNK, "noise", CHUNK)),
        )  # fmt: skip

    try:
        await asyncio.gather(*(score() for _ in range(2 * actors)))
        start = time.perf_counter()
        await asyncio.gather(*(score() for _ in range(CHUNKS)))
        return time.perf_counter() - start
    finally:
        pool.close()


def main() -> None:
    cores = os.cpu_count() or 1
    ray.init(address="local", num_cpus=cores, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ratios = []
    for _ in range(TURNS):
        one, all_cores = asyncio.run(seconds(1)), asyncio.run(seconds(cores))
        ratios.append(one / all_cores)
        rate = CHUNK * CHUNKS / one
        print(f"one actor {one:.2f} s ({rate:.0f} images a second), {cores} actors {all_cores:.2f} s: {ratios[-1]:.2f}")
    print(f"median of {TURNS}: {statistics.median(ratios):.2f} times as fast")
    ray.shutdown()


if __name__ == "__main__":
    main()
