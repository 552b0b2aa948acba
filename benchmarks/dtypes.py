"""How much slower half precision is on this CPU: `python -m benchmarks.dtypes`.

CPU time of one thread for six latents of the embedded model, as a multiple of float32's. The environment variable
`ONEDNN_MAX_CPU_ISA` limits the instructions to those of an older CPU, for example to AVX2.
"""

import os
import time
from collections.abc import Callable

import torch

from diffusion.base import Loading, Sampling, load_model
from diffusion.source import Source
from pipeline.planning.cpu_support import FAST_WITH, cpu_flags

SAMPLING = Sampling(steps=50, guidance_scale=5.0)


def seconds_of(dtype: str, repeats: int) -> tuple[float, float]:
    """Return the CPU seconds of one reverse step and of one decode, the least of some repeats after a first one."""
    model = load_model(Source("mini"), Loading(dtype), "cpu")
    text = model.encode("an owl", SAMPLING)
    x = torch.randn(6, *model.latent_shape, generator=torch.Generator().manual_seed(0))

    def least(call: Callable[[], object]) -> float:
        times = []
        for _ in range(repeats + 1):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        return min(times[1:])

    return least(lambda: model.reverse_step(x, 0, text)), least(lambda: model.decode(x))


def main() -> None:
    """Print the flags of this CPU and the table."""
    torch.set_num_threads(1)
    wanted = sorted({"avx2", "avx512f"} | set().union(*FAST_WITH.values()))
    print("flags:", *(flag for flag in wanted if flag in cpu_flags()))
    print("ONEDNN_MAX_CPU_ISA:", os.environ.get("ONEDNN_MAX_CPU_ISA", "not set"))
    whole = seconds_of("float32", 5)
    print(f"float32: a step {whole[0]:.3f} s, a decode {whole[1]:.3f} s")
    for dtype in FAST_WITH:
        step, decode = (own / full for own, full in zip(seconds_of(dtype, 2), whole, strict=True))
        print(f"{dtype}: a step {step:.2f}, a decode {decode:.2f} times as long")


if __name__ == "__main__":
    main()
