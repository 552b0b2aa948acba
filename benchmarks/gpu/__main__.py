"""Measures a GPU with full-size models of random weights, without a hub: `make gpu`, or `python -m benchmarks.gpu`.

It prints a row of JSON for each model, dtype and size of chunk: milliseconds a candidate, its parts, and the memory;
and rows for the towers of the learned rewards. `--size tiny --device cpu` runs all of it on any machine.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from benchmarks.gpu import candidates, towers
from benchmarks.gpu.architectures import FULL, TINY

# The number of images that a tower reads at once.
IMAGES = {"full": 30, "tiny": 3}


def main() -> None:
    """Print one line of JSON for each thing that was measured."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--size", choices=("full", "tiny"), default="full", help="tiny models are for CPUs")
    parser.add_argument("--device", default="cuda", help="cuda or cpu; the default is %(default)s")
    parser.add_argument("--dtypes", nargs="+", default=["float16"], choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--models", nargs="+", choices=tuple(FULL), default=["sd15", "sdxl", "sd35_medium"])
    parser.add_argument("--chunks", nargs="+", type=int, help="numbers of candidates that are computed at once")
    parser.add_argument(
        "--ways", nargs="*", default=candidates.WAYS[:3], choices=candidates.WAYS,
        help="how the bare passes are made; compile takes minutes",
    )  # fmt: skip
    parser.add_argument("--no-towers", action="store_true", help="leave out the rewards")
    parser.add_argument("--output", type=Path, help="a file for the same lines")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; `make gpu DEVICE=cpu SIZE=tiny` runs the same code on a CPU")
    unknown = [name for name in given.models if name not in (FULL if given.size == "full" else TINY)]
    if unknown:
        sys.exit(f"there is no tiny {', '.join(unknown)}; there are {', '.join(TINY)}")
    device = torch.device(given.device)
    machine = {"device": torch.cuda.get_device_name() if given.device == "cuda" else "cpu", "torch": torch.__version__}
    file = given.output.open("w") if given.output else None

    def show(row: dict[str, object]) -> None:
        line = json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        print(line, flush=True)
        if file:
            print(line, file=file, flush=True)

    for name in given.models:
        for dtype in given.dtypes:
            made = (FULL if given.size == "full" else TINY)[name]
            for row in candidates.measure(made, device, dtype, given.chunks or made.chunks, given.ways):
                show(machine | row)
            candidates.reset_peak(device)
    if not given.no_towers:
        for row in towers.measure(device, IMAGES[given.size], towers.SIDES[given.size]):
            show(machine | row)


if __name__ == "__main__":
    main()
