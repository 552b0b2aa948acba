"""How many actors of each kind the cells of a run have, as nodes come and go and the work is measured. Plain rules."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from actors.cluster.workforce import Sizes, Workforce

ACTORS_A_CELL = 32
# Numbers follow the work once so many seconds of it have been measured in all.
MEASURED_SECONDS = 30.0
# A number is left as it is while it is off by less than this share: a change loads models anew.
SLACK = 0.25


class BusySeconds(NamedTuple):
    """Seconds that the actors of each kind were busy, for the same candidates."""

    diffusion: float = 0.0
    networks: float = 0.0
    plain: float = 0.0

    def plus(self, other: "BusySeconds") -> "BusySeconds":
        return BusySeconds(*(a + b for a, b in zip(self, other, strict=True)))


def by_work(force: Workforce, work: BusySeconds, present: Sizes) -> Sizes:
    """The sizes of a run by the work that was measured.

    Actors of two kinds are all busy when their numbers are as their work. Where a number is not free, or the present
    one is right to within `SLACK`, it stays.
    """
    diffusion, networks, plain = force.sizes
    measured = work.diffusion >= MEASURED_SECONDS
    if force.shared:
        gpus = diffusion + networks
        wanted = gpus * work.networks / (work.diffusion + work.networks) if measured else networks
        now = min(present.networks, gpus - 1)
        networks = now if _right(now, wanted) else min(max(round(wanted), 1), gpus - 1)
        diffusion = gpus - networks
    if force.plain_room is not None:
        wanted = diffusion * work.plain / work.diffusion if measured else plain
        now = min(present.plain, force.plain_room)
        plain = now if _right(now, wanted) else min(max(math.ceil(wanted), 1), force.plain_room)
    return Sizes(diffusion, networks, plain)


def _right(present: int, wanted: float) -> bool:
    return present > 0 and abs(wanted - present) <= max(SLACK * present, 0.5)


def n_cells(wanted: int | Literal["auto"], sizes: Sizes) -> int:
    """As many as are asked for, or one for every 32 actors that hold a model; no more than diffusion actors."""
    n = math.ceil((sizes.diffusion + sizes.networks) / ACTORS_A_CELL) if wanted == "auto" else wanted
    return max(1, min(n, sizes.diffusion))


def shares(total: Sizes, there: Sequence[Sizes]) -> list[Sizes]:
    """The sizes of each cell, as near as can be to those that it has: the largest give, the smallest get.

    Every cell has at least one of each kind that there is, also where there are fewer of a kind than cells.
    """
    kinds = [_split(n, [sizes[kind] for sizes in there]) for kind, n in enumerate(total)]
    return [Sizes(*sizes) for sizes in zip(*kinds, strict=True)]


def _split(total: int, there: Sequence[int]) -> list[int]:
    if not total:
        return [0 for _ in there]
    sizes = [max(size, 1) for size in there]
    while sum(sizes) > max(total, len(sizes)):
        sizes[sizes.index(max(sizes))] -= 1
    while sum(sizes) < total:
        sizes[sizes.index(min(sizes))] += 1
    return sizes
