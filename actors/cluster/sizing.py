"""Computes how many actors of each kind a run and its cells have. Called by `session` as nodes and work change.

Plain arithmetic without Ray.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from actors.cluster.workforce import Sizes, Workforce

ACTORS_PER_CELL = 32
# Sizes follow the work once the diffusion actors have been busy for this long in total.
MIN_MEASURED_SECONDS = 30.0
# A size stays as it is while it differs from the ideal one by less than this share, because a change reloads models.
TOLERANCE = 0.25


class BusySeconds(NamedTuple):
    """The seconds that the actors of each kind were busy with the same candidates."""

    diffusion: float = 0.0
    gpu_rewards: float = 0.0
    cpu_rewards: float = 0.0

    def plus(self, other: "BusySeconds") -> "BusySeconds":
        return BusySeconds(*(a + b for a, b in zip(self, other, strict=True)))


def resize_by_work(workforce: Workforce, busy: BusySeconds, current: Sizes) -> Sizes:
    """Return the sizes of a run that the measured work calls for.

    Two kinds of actors are all busy when their numbers are in proportion to their busy seconds. A size that the
    configuration fixes, or that is right to within `TOLERANCE`, stays as it is.

    Args:
        busy: the seconds measured so far, over all cells.
        current: the sizes until now.
    """
    diffusion, gpu_rewards, cpu_rewards = workforce.sizes
    measured = busy.diffusion >= MIN_MEASURED_SECONDS
    if workforce.gpus_by_work:
        gpus = diffusion + gpu_rewards
        ideal = gpus * busy.gpu_rewards / (busy.diffusion + busy.gpu_rewards) if measured else gpu_rewards
        now = min(current.gpu_rewards, gpus - 1)
        gpu_rewards = now if _is_close(now, ideal) else min(max(round(ideal), 1), gpus - 1)
        diffusion = gpus - gpu_rewards
    if workforce.max_cpu_rewards is not None:
        ideal = diffusion * busy.cpu_rewards / busy.diffusion if measured else cpu_rewards
        now = min(current.cpu_rewards, workforce.max_cpu_rewards)
        cpu_rewards = now if _is_close(now, ideal) else min(max(math.ceil(ideal), 1), workforce.max_cpu_rewards)
    return Sizes(diffusion, gpu_rewards, cpu_rewards)


def _is_close(size: int, ideal: float) -> bool:
    return size > 0 and abs(ideal - size) <= max(TOLERANCE * size, 0.5)


def cell_count(cells: int | Literal["auto"], sizes: Sizes) -> int:
    """Return the number of cells: the configured one, or one per 32 diffusion and GPU reward actors.

    There are never more cells than diffusion actors.
    """
    n = math.ceil((sizes.diffusion + sizes.gpu_rewards) / ACTORS_PER_CELL) if cells == "auto" else cells
    return max(1, min(n, sizes.diffusion))


def split_among_cells(total: Sizes, current: Sequence[Sizes]) -> list[Sizes]:
    """Return new sizes for each cell that add up to `total` and change the current ones as little as possible.

    The largest cells shrink and the smallest grow. Every cell has at least one actor of each kind in `total`, even if
    `total` has fewer of a kind than there are cells.
    """
    kinds = [_split(n, [sizes[kind] for sizes in current]) for kind, n in enumerate(total)]
    return [Sizes(*sizes) for sizes in zip(*kinds, strict=True)]


def _split(total: int, current: Sequence[int]) -> list[int]:
    if not total:
        return [0 for _ in current]
    sizes = [max(size, 1) for size in current]
    while sum(sizes) > max(total, len(sizes)):
        sizes[sizes.index(max(sizes))] -= 1
    while sum(sizes) < total:
        sizes[sizes.index(min(sizes))] += 1
    return sizes
