"""What a call through the pool costs on real Ray, beside a bare Ray call: `python -m benchmarks.ray_calls`

Sixteen actors on this machine that do nothing, called through `actors.pool.pool.Pool` on `RayTransport`, and bare, by
`await actor.method.remote()`; one call at a time, and as many as the pool lets: two at each actor. A call carries
nothing, or a chunk: 30 latents in (float32, 2 MB), their pixels at 512 px out (uint8, 24 MB), which stay in the object
store, as between our workers. Prints JSON; a call's milliseconds are a median, CPU time is that of this process, the
caller. Many logical actors on a few cores: messages are measured, and no throughput of GPUs.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import ray

from actors.cluster.ray_workers import RayTransport, answered
from actors.pool.dispatch import SLOTS
from actors.pool.pool import Pool
from actors.pool.transport import Limits

ACTORS = 16
ALL_SLOTS = SLOTS * ACTORS
LATENTS, PIXELS = (30, 4, 64, 64), (30, 3, 512, 512)

Call = Callable[[], Awaitable[Any]]


class _Idle:
    def __init__(self) -> None:
        self.pixels = np.zeros(PIXELS, np.uint8)

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()

    @ray.method(concurrency_group="probe")
    def probe(self) -> None:
        pass

    def nothing(self) -> None:
        pass

    @ray.method(num_returns=2)
    def chunk(self, x: Any) -> tuple[Any, int]:
        return self.pixels, len(x)


# A probe has a thread of its own, as in our actors, so that it passes by the calls.
Idle: Any = ray.remote(num_cpus=0, concurrency_groups={"probe": 1})(_Idle)


# What is called, and how often for one figure.
CALLS: dict[str, tuple[Callable[[Any], Awaitable[Any]], int]] = {
    "nothing": (lambda actor: actor.nothing.remote(), 2000),
    "chunk": (lambda actor: actor.chunk.remote(np.zeros(LATENTS, np.float32))[1], 200),
}


async def pooled(pool: Pool[Any], what: str, call: Callable[[Any], Awaitable[Any]]) -> None:
    await pool.call(what, 1, lambda actor, *_: answered(call(actor)))


async def measure(callers: Sequence[Call], calls: int) -> dict[str, float]:
    """Have so many calls made by callers, each of which makes one after the other."""
    left, seconds = iter(range(calls)), list[float]()

    async def make(call: Call) -> None:
        for _ in left:
            began = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - began)

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(make, callers))
    cpu = time.process_time() - cpu
    return {
        "calls_a_second": round(calls / (time.perf_counter() - start)),
        "ms_a_call": round(1000 * float(np.median(seconds)), 2),
        "caller_cpu_ms_a_call": round(1000 * cpu / calls, 2),
    }


async def figures() -> list[dict[str, Any]]:
    actors: list[Any] = []

    def make() -> Any:
        actors.append(Idle.remote())
        return actors[-1]

    pool, rows = Pool(RayTransport(make), ACTORS, Limits(600.0)), []
    await pool.open()
    for what, (call, calls) in CALLS.items():
        ways: dict[str, list[Call]] = {
            "bare": [partial(call, actor) for actor in actors * SLOTS],
            "pool": [partial(pooled, pool, what, call)] * ALL_SLOTS,
        }
        for callers in ways.values():
            await measure(callers, calls // 4)  # the first calls of an actor are slower
        for at_once in (1, ALL_SLOTS):
            for way, callers in ways.items():
                case = {"carries": what, "at_once": at_once, "way": way}
                rows.append(case | await measure(callers[:at_once], calls))
    pool.close()
    return rows


def main() -> None:
    # Or Ray warns, between the lines of JSON, that there are many for so few cores.
    many = {"worker_maximum_startup_concurrency": ACTORS}
    options = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False, "_system_config": many}
    ray.init(address="local", num_cpus=os.cpu_count(), **options)
    load = os.getloadavg()[0]
    print(json.dumps({"cores": os.cpu_count(), "load_before": load, "figures": asyncio.run(figures())}, indent=2))
    ray.shutdown()


if __name__ == "__main__":
    main()
