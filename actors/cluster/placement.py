"""Plans the actors of a run on the nodes of a cluster. Called by `session` at the start and when nodes come or go.

Three kinds of actors hold models: diffusion actors; reward actors on GPUs, for the rewards that are networks; and
reward actors on CPUs, for the other rewards. Without GPUs the reward actors on CPUs hold all rewards.

- Separate placement: each diffusion actor and each GPU reward actor has its own GPU.
- Colocated placement: each GPU holds one diffusion actor and one GPU reward actor.
- No GPUs: each diffusion actor has a core, or as many cores as it has threads. Reward actors share the same cores.

Plain arithmetic without Ray.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from actors.cluster.workforce import Node, Reservation, Sizes, Workforce
from configs.errors import RequestError
from configs.schema import RunConfig
from configs.sections.compute import NodesConfig
from rewards import registry

# The share of the GPUs that reward actors get until the work of both kinds has been measured.
INITIAL_REWARD_SHARE = 1 / 8


class _GpuPlan(NamedTuple):
    """The GPUs reserved for one actor of each kind, and the number of actors."""

    gpus_per_diffusion: float
    gpus_per_reward: float
    diffusion: int
    gpu_rewards: int


def plan_workforce(config: RunConfig, nodes: Sequence[Node], *, running: bool = False) -> Workforce:
    """Plan the actors of a run on these nodes. Nodes that are draining do not count.

    Args:
        running: whether the run has started already. Such a run makes do with fewer actors than the configuration
            requests if the cluster has become too small for them.

    Raises:
        RequestError: the configuration requests more than the cluster has.
    """
    compute = config.compute
    gpus = _capacity(nodes, "GPU", compute.diffusion_nodes)
    if compute.device == "gpu" and not gpus:
        raise _error(config, "device", "the cluster has no node with a GPU that allows a diffusion actor", "auto, cpu")
    on_gpus = compute.device != "cpu" and gpus > 0
    names = (*config.rewards.guided, *config.rewards.held_out)
    gpu_names = tuple(name for name in names if on_gpus and registry.create(name).info.batch_sensitive)
    cpu_names = tuple(name for name in names if name not in gpu_names)
    plan = _plan_gpus(config, nodes, bool(gpu_names), running) if on_gpus else _plan_cpus(config, nodes, running)
    cores = _capacity(nodes, "CPU", compute.reward_nodes, compute.threads)
    by_work = compute.reward_actors == "auto"
    cpu_rewards = (1 if by_work else int(compute.reward_actors)) if cpu_names else 0
    return Workforce(
        Sizes(plan.diffusion, plan.gpu_rewards, cpu_rewards),
        Reservation(plan.gpus_per_diffusion, 0 if on_gpus else compute.threads, compute.diffusion_nodes),
        Reservation(plan.gpus_per_reward, 0, compute.reward_nodes),
        # Without GPUs all cores are reserved for the diffusion actors.
        Reservation(0, compute.threads if on_gpus and cores >= cpu_rewards else 0, compute.reward_nodes),
        gpus_by_work=plan.gpus_per_reward == 1
        and by_work
        and _same_nodes(config)
        and compute.diffusion_actors == "auto",
        max_cpu_rewards=max(cores, 1) if cpu_names and by_work else None,
        gpu_reward_names=gpu_names,
        cpu_reward_names=cpu_names,
    )


def with_settled_placement(config: RunConfig, workforce: Workforce) -> RunConfig:
    """Replace `auto` by the device and the placement of a workforce, which stay the same when nodes come and go."""
    device = "gpu" if workforce.diffusion.gpus else "cpu"
    settled = {"device": device, "placement": "colocated" if workforce.colocated else "separate"}
    return config.model_copy(update={"compute": config.compute.model_copy(update=settled)})


def _plan_gpus(config: RunConfig, nodes: Sequence[Node], gpu_rewards: bool, running: bool) -> _GpuPlan:
    compute, gpus = config.compute, _capacity(nodes, "GPU", config.compute.diffusion_nodes)
    requested = compute.reward_actors
    if not gpu_rewards:
        return _GpuPlan(1, 0, _diffusion_actors(config, gpus, "GPUs", running), 0)
    if compute.placement == "colocated" or (compute.placement == "auto" and _same_nodes(config) and gpus == 1):
        n = _diffusion_actors(config, gpus, "GPUs", running)
        return _GpuPlan(1 - compute.gpu_share, compute.gpu_share, n, n if requested == "auto" else min(requested, gpus))
    if not _same_nodes(config):
        reward_gpus = _capacity(nodes, "GPU", compute.reward_nodes)
        if not reward_gpus:
            problem = "the cluster has no node with a GPU that allows a reward actor"
            raise _error(config, "reward_nodes", problem, "labels and resources of nodes with GPUs")
        n = reward_gpus if requested == "auto" else min(requested, reward_gpus)
        return _GpuPlan(1, 1, _diffusion_actors(config, gpus, "GPUs", running), n)
    if gpus < 2:
        problem = f"{gpus} GPU cannot hold diffusion and reward models separately"
        raise _error(config, "placement", problem, "colocated")
    wanted = math.ceil(gpus * INITIAL_REWARD_SHARE) if requested == "auto" else requested
    if requested == "auto" and compute.diffusion_actors != "auto":
        wanted = gpus - compute.diffusion_actors
    n = min(max(wanted, 1), gpus - 1)
    return _GpuPlan(1, 1, _diffusion_actors(config, gpus - n, "GPUs besides those for rewards", running), n)


def _plan_cpus(config: RunConfig, nodes: Sequence[Node], running: bool) -> _GpuPlan:
    cores = _capacity(nodes, "CPU", config.compute.diffusion_nodes, config.compute.threads)
    return _GpuPlan(0, 0, _diffusion_actors(config, cores, "CPUs", running), 0)


def _same_nodes(config: RunConfig) -> bool:
    return config.compute.diffusion_nodes == config.compute.reward_nodes


def _diffusion_actors(config: RunConfig, capacity: int, kind: str, running: bool) -> int:
    """Return the number of diffusion actors on a cluster that has room for `capacity`."""
    requested = config.compute.diffusion_actors
    if capacity < 1 or (requested != "auto" and requested > capacity and not running):
        problem = f"the cluster has {capacity} {kind}, and each diffusion actor takes one"
        allowed = f"1..{capacity}, or auto" if capacity else "no value on this cluster"
        raise _error(config, "diffusion_actors", problem, allowed)
    return capacity if requested == "auto" else min(requested, capacity)


def _capacity(nodes: Sequence[Node], resource: str, allowed: NodesConfig, each: float = 1) -> int:
    """Count the actors that take `each` of a resource and fit on the nodes that allow them."""
    amounts = {resource: each, **allowed.resources}
    return sum(
        min(int(node.resources.get(name, 0) // amount) for name, amount in amounts.items())
        for node in nodes
        if not node.draining and all(label_matches(node.labels.get(key), rule) for key, rule in allowed.labels.items())
    )


def label_matches(label: str | None, rule: str) -> bool:
    """Whether a node's label matches one of Ray's label selectors: `a`, `!a`, `in(a,b)` or `!in(a,b)`."""
    negated, rule = rule.startswith("!"), rule.removeprefix("!")
    allowed = [value.strip() for value in rule[3:-1].split(",")] if rule.startswith("in(") else [rule]
    return (label in allowed) != negated


def _error(config: RunConfig, key: str, problem: str, allowed: str) -> RequestError:
    return RequestError(
        file=config.name,
        key=f"compute.{key}",
        value=getattr(config.compute, key),
        problem=problem,
        allowed=allowed,
        fix="request less, or join a larger cluster",
    )
