"""The actors of a run: how many of each kind, what Ray keeps for each, and the nodes that they may be on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from configs.compute import NodesConfig


class Sizes(NamedTuple):
    """Actors of each kind: of a cell, or of the whole run."""

    diffusion: int
    networks: int
    plain: int


@dataclass(frozen=True)
class Node:
    """What a cluster says of one of its live nodes. `draining`: it is about to be taken away."""

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    draining: bool = False


@dataclass(frozen=True)
class Reservation:
    """What Ray keeps for each actor of a kind, and where it may be."""

    gpus: float
    cpus: float
    nodes: NodesConfig

    @property
    def options(self) -> dict[str, Any]:
        """For `actor.options`."""
        wanted: dict[str, Any] = {"num_gpus": self.gpus, "num_cpus": self.cpus}
        if self.nodes.labels:
            wanted["label_selector"] = dict(self.nodes.labels)
        if self.nodes.resources:
            wanted["resources"] = dict(self.nodes.resources)
        return wanted


@dataclass(frozen=True)
class Workforce:
    """All actors of a run.

    Attributes:
        sizes: how many of each kind, before any work is measured.
        shared: diffusion actors and networks share out the same GPUs, by the work that is measured.
        plain_room: at most so many plain actors, where their number follows the work; else None.
        on_networks, on_plain: the rewards that each kind of reward actor holds.
    """

    sizes: Sizes
    diffusion: Reservation
    networks: Reservation
    plain: Reservation
    shared: bool
    plain_room: int | None
    on_networks: tuple[str, ...]
    on_plain: tuple[str, ...]

    @property
    def colocated(self) -> bool:
        return 0 < self.networks.gpus < 1
