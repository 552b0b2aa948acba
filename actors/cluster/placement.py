"""Which actors a run has on the nodes of a cluster, and what Ray keeps for each. Plain rules; how many: `sizing` too.

Three kinds hold models: `diffusion` actors; `networks`, reward actors of the rewards that are networks, where there
are GPUs; and `plain`, reward actors on CPUs, of the other rewards, or of all where there are no GPUs.

- separate: diffusion actors and networks have a GPU each.
- colocated: a GPU holds one of each.
- on CPUs: a diffusion actor a core (or as many cores as it has threads); reward actors share the cores with them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from actors.cluster.workforce import Node, Reservation, Sizes, Workforce
from configs.compute import NodesConfig
from configs.errors import RequestError
from configs.schema import RunConfig
from rewards import registry

# Of the GPUs, for networks, until the work of both kinds has been measured.
FIRST_SHARE = 1 / 8


class _Split(NamedTuple):
    """GPUs an actor of each kind, and the number of actors."""

    diffusion_gpus: float
    network_gpus: float
    diffusion: int
    networks: int


def settle(config: RunConfig, nodes: Sequence[Node], *, begun: bool = False) -> Workforce:
    """The actors of a run on these nodes; those that are about to be taken away do not count.

    Args:
        begun: the run is at work, and the cluster has changed: where there is less room than was asked for, the
            run goes on with what there is.

    Raises:
        RequestError: more is asked for than there is room for.
    """
    compute = config.compute
    gpus = _room(nodes, "GPU", compute.diffusion_nodes)
    if compute.device == "gpu" and not gpus:
        raise _refusal(config, "device", "no node with a GPU is there that a diffusion actor may be on", "auto, cpu")
    on_gpus = compute.device != "cpu" and gpus > 0
    names = (*config.rewards.guided, *config.rewards.held_out)
    networks = tuple(name for name in names if on_gpus and registry.create(name).info.batch_sensitive)
    plain = tuple(name for name in names if name not in networks)
    split = _on_gpus(config, nodes, bool(networks), begun) if on_gpus else _on_cpus(config, nodes, begun)
    cores = _room(nodes, "CPU", compute.reward_nodes, compute.threads)
    by_work = compute.reward_actors == "auto"
    n_plain = (1 if by_work else int(compute.reward_actors)) if plain else 0
    return Workforce(
        Sizes(split.diffusion, split.networks, n_plain),
        Reservation(split.diffusion_gpus, 0 if on_gpus else compute.threads, compute.diffusion_nodes),
        Reservation(split.network_gpus, 0, compute.reward_nodes),
        # Without GPUs the diffusion actors have all cores.
        Reservation(0, compute.threads if on_gpus and cores >= n_plain else 0, compute.reward_nodes),
        shared=split.network_gpus == 1 and by_work and _same_nodes(config) and compute.diffusion_actors == "auto",
        plain_room=max(cores, 1) if plain and by_work else None,
        on_networks=networks,
        on_plain=plain,
    )


def pinned(config: RunConfig, force: Workforce) -> RunConfig:
    """The configuration with device and placement as they were settled: they stay when nodes come and go."""
    device = "gpu" if force.diffusion.gpus else "cpu"
    settled = {"device": device, "placement": "colocated" if force.colocated else "separate"}
    return config.model_copy(update={"compute": config.compute.model_copy(update=settled)})


def _on_gpus(config: RunConfig, nodes: Sequence[Node], networks: bool, begun: bool) -> _Split:
    compute, gpus = config.compute, _room(nodes, "GPU", config.compute.diffusion_nodes)
    wanted = compute.reward_actors
    if not networks:
        return _Split(1, 0, _diffusion(config, gpus, "GPUs", begun), 0)
    if compute.placement == "colocated" or (compute.placement == "auto" and _same_nodes(config) and gpus == 1):
        n = _diffusion(config, gpus, "GPUs", begun)
        return _Split(1 - compute.gpu_share, compute.gpu_share, n, n if wanted == "auto" else min(wanted, gpus))
    if not _same_nodes(config):
        theirs = _room(nodes, "GPU", compute.reward_nodes)
        if not theirs:
            raise _refusal(
                config, "reward_nodes", "no node with a GPU is there that a reward actor may be on", "others"
            )
        n = theirs if wanted == "auto" else min(wanted, theirs)
        return _Split(1, 1, _diffusion(config, gpus, "GPUs", begun), n)
    if gpus < 2:
        raise _refusal(config, "placement", f"{gpus} GPU cannot hold diffusion and reward models apart", "colocated")
    first = math.ceil(gpus * FIRST_SHARE) if wanted == "auto" else wanted
    if wanted == "auto" and compute.diffusion_actors != "auto":
        first = gpus - compute.diffusion_actors
    n = min(max(first, 1), gpus - 1)
    return _Split(1, 1, _diffusion(config, gpus - n, "GPUs beside those for rewards", begun), n)


def _on_cpus(config: RunConfig, nodes: Sequence[Node], begun: bool) -> _Split:
    cores = _room(nodes, "CPU", config.compute.diffusion_nodes, config.compute.threads)
    return _Split(0, 0, _diffusion(config, cores, "CPUs", begun), 0)


def _same_nodes(config: RunConfig) -> bool:
    return config.compute.diffusion_nodes == config.compute.reward_nodes


def _diffusion(config: RunConfig, room: int, kind: str, begun: bool) -> int:
    """How many diffusion actors there are where there is room for so many."""
    wanted = config.compute.diffusion_actors
    if room < 1 or (wanted != "auto" and wanted > room and not begun):
        problem = f"the cluster has {room} {kind}, and each diffusion actor takes one"
        raise _refusal(config, "diffusion_actors", problem, f"1..{room}, or auto" if room else "a cluster with some")
    return room if wanted == "auto" else min(wanted, room)


def _room(nodes: Sequence[Node], resource: str, wanted: NodesConfig, each: float = 1) -> int:
    """How many actors that take `each` of a resource fit on the nodes that they may be on."""
    amounts = {resource: each, **wanted.resources}
    return sum(
        min(int(node.resources.get(name, 0) // amount) for name, amount in amounts.items())
        for node in nodes
        if not node.draining and all(matches(node.labels.get(key), rule) for key, rule in wanted.labels.items())
    )


def matches(label: str | None, rule: str) -> bool:
    """Whether a node's label fits a selector in Ray's words: `a`, `!a`, `in(a,b)`, `!in(a,b)`."""
    negated, rule = rule.startswith("!"), rule.removeprefix("!")
    allowed = [part.strip() for part in rule[3:-1].split(",")] if rule.startswith("in(") else [rule]
    return (label in allowed) != negated


def _refusal(config: RunConfig, key: str, problem: str, allowed: str) -> RequestError:
    return RequestError(
        file=config.name,
        key=f"compute.{key}",
        value=getattr(config.compute, key),
        problem=problem,
        allowed=allowed,
        fix="ask for less, or join a larger cluster",
    )
