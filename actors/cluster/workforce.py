"""Describes all actors of a run: how many of each kind, what Ray reserves for one, and the nodes it may run on.

`placement` plans a `Workforce`, `sizing` adapts its sizes to the measured work, and `cell.Cell` starts its actors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from configs.sections.compute import NodesConfig


class Sizes(NamedTuple):
    """The number of actors of each kind, in one cell or in the whole run.

    Attributes:
        diffusion: diffusion actors.
        gpu_rewards: reward actors on GPUs.
        cpu_rewards: reward actors on CPUs.
    """

    diffusion: int
    gpu_rewards: int
    cpu_rewards: int


@dataclass(frozen=True)
class Node:
    """A live node of a cluster, as placement needs it.

    Attributes:
        name: Ray's name of the node.
        resources: the amount of each resource.
        labels: the node's labels.
        draining: the node will soon be taken away.
    """

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    draining: bool = False


@dataclass(frozen=True)
class Reservation:
    """What Ray reserves for each actor of a kind, and the nodes that the actor may run on."""

    gpus: float
    cpus: float
    nodes: NodesConfig

    @property
    def options(self) -> dict[str, Any]:
        """The reservation as keyword arguments of `actor.options`."""
        options: dict[str, Any] = {"num_gpus": self.gpus, "num_cpus": self.cpus}
        if self.nodes.labels:
            options["label_selector"] = dict(self.nodes.labels)
        if self.nodes.resources:
            options["resources"] = dict(self.nodes.resources)
        return options


@dataclass(frozen=True)
class Workforce:
    """All actors of a run.

    Attributes:
        sizes: the number of actors of each kind before any work has been measured.
        diffusion: what Ray reserves for a diffusion actor.
        gpu_rewards: what Ray reserves for a reward actor on a GPU.
        cpu_rewards: what Ray reserves for a reward actor on CPUs.
        gpus_by_work: whether the GPUs are divided between diffusion and reward actors by the measured work.
        max_cpu_rewards: the most reward actors on CPUs, if their number follows the measured work; otherwise None.
        gpu_reward_names: the rewards that each reward actor on a GPU holds.
        cpu_reward_names: the rewards that each reward actor on CPUs holds.
    """

    sizes: Sizes
    diffusion: Reservation
    gpu_rewards: Reservation
    cpu_rewards: Reservation
    gpus_by_work: bool
    max_cpu_rewards: int | None
    gpu_reward_names: tuple[str, ...]
    cpu_reward_names: tuple[str, ...]

    @property
    def colocated(self) -> bool:
        """Whether a diffusion actor and a reward actor share each GPU."""
        return 0 < self.gpu_rewards.gpus < 1
