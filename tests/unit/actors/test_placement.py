"""Which actors a run has on a cluster, by rules on its nodes alone."""

from typing import Any

import pytest

from actors.cluster.placement import matches, pinned, settle
from actors.cluster.workforce import Node, Sizes
from configs.errors import RequestError
from configs.schema import RunConfig

NETWORK, PLAIN = "mini_clip", "compressibility"


def config(rewards: tuple[str, ...] = (NETWORK, PLAIN), **compute: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "placed", "weights": [[1 / len(rewards)] * len(rewards)], "prompts": {"list": ["noise"]},
            "rewards": {"guided": list(rewards)}, "compute": compute,
        }
    )  # fmt: skip


def node(name: str = "a", gpus: float = 0, cpus: float = 8, draining: bool = False, **labels: str) -> Node:
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return Node(name, resources, labels, draining)


def refused(settings: RunConfig, *nodes: Node, begun: bool = False) -> str:
    with pytest.raises(RequestError) as caught:
        settle(settings, nodes, begun=begun)
    return str(caught.value)


def test_on_cpus_a_diffusion_actor_takes_a_core_and_one_kind_of_reward_actor_holds_all_rewards() -> None:
    force = settle(config(), [node(), node("b", cpus=4)])
    assert force.sizes == Sizes(12, 0, 1) and force.on_plain == (NETWORK, PLAIN) and force.on_networks == ()
    assert force.diffusion.options == {"num_gpus": 0, "num_cpus": 1}
    assert force.plain.options == {"num_gpus": 0, "num_cpus": 0} and force.plain_room == 12 and not force.shared


def test_on_cpus_actors_of_several_threads_take_as_many_cores() -> None:
    force = settle(config(threads=3), [node(), node("b", cpus=2)])
    assert force.sizes.diffusion == 2 and force.diffusion.cpus == 3


def test_separate_gives_networks_gpus_of_their_own_and_jpeg_a_cpu() -> None:
    force = settle(config(), [node(gpus=8), node("b", gpus=8)])
    assert force.sizes == Sizes(14, 2, 1) and force.shared and not force.colocated
    assert force.on_networks == (NETWORK,) and force.on_plain == (PLAIN,)
    assert (force.diffusion.gpus, force.networks.gpus, force.plain.gpus) == (1, 1, 0)
    assert force.plain.cpus == 1


def test_without_rewards_that_are_networks_diffusion_has_all_gpus() -> None:
    force = settle(config((PLAIN,)), [node(gpus=8)])
    assert force.sizes == Sizes(8, 0, 1) and not force.shared


def test_only_networks_leave_no_reward_actor_on_a_cpu() -> None:
    assert settle(config((NETWORK,)), [node(gpus=2)]).sizes == Sizes(1, 1, 0)


def test_colocated_puts_both_on_each_gpu() -> None:
    force = settle(config(placement="colocated", gpu_share=0.3), [node(gpus=4)])
    assert force.sizes == Sizes(4, 4, 1) and force.colocated and not force.shared
    assert force.diffusion.gpus + force.networks.gpus == 1 and force.networks.gpus == 0.3


def test_one_gpu_is_colocated_unless_that_is_ruled_out() -> None:
    assert settle(config(), [node(gpus=1)]).colocated
    told = refused(config(placement="separate"), node(gpus=1))
    assert "compute.placement" in told and "allowed: colocated" in told and "1 GPU cannot hold" in told


def test_the_device_can_be_asked_for() -> None:
    assert settle(config(device="cpu"), [node(gpus=4)]).sizes == Sizes(8, 0, 1)
    assert "compute.device" in refused(config(device="gpu"), node())


@pytest.mark.parametrize(
    ("nodes", "compute", "told"),
    [
        ([node(cpus=2)], {"diffusion_actors": 3}, "2 CPUs"),
        ([node(gpus=4)], {"diffusion_actors": 4, "reward_actors": 1}, "3 GPUs beside those for rewards"),
        ([node(gpus=4)], {"diffusion_actors": 5, "placement": "colocated"}, "4 GPUs"),
        ([node(cpus=0)], {}, "0 CPUs"),
        ([node(draining=True)], {}, "0 CPUs"),
    ],
)
def test_more_than_there_is_room_for_is_refused_with_the_number(
    nodes: list[Node], compute: dict[str, Any], told: str
) -> None:
    assert told in refused(config(**compute), *nodes) and "compute.diffusion_actors" in refused(
        config(**compute), *nodes
    )


def test_a_run_at_work_goes_on_with_the_room_that_is_left() -> None:
    asked = config(diffusion_actors=3)
    assert settle(asked, [node(cpus=2)], begun=True).sizes.diffusion == 2
    assert settle(asked, [node(cpus=8)], begun=True).sizes.diffusion == 3
    assert "0 CPUs" in refused(asked, node(cpus=0), begun=True)


def test_a_run_at_work_keeps_its_device_and_placement() -> None:
    on_cpus = pinned(config(), settle(config(), [node()]))
    assert settle(on_cpus, [node(), node("b", gpus=8)], begun=True).sizes == Sizes(16, 0, 1)
    colocated = pinned(config(), settle(config(), [node(gpus=1)]))
    assert settle(colocated, [node(gpus=1), node("b", gpus=2)], begun=True).sizes == Sizes(3, 3, 1)
    separate = pinned(config(), settle(config(), [node(gpus=2)]))
    assert "cannot hold" in refused(separate, node(gpus=1), begun=True)


def test_labels_and_custom_resources_say_where_each_kind_may_be() -> None:
    nodes = [node(gpus=8, zone="h100"), node("b", gpus=4, zone="l4"), node("c", gpus=2, zone="old")]
    kinds = {"diffusion_nodes": {"labels": {"zone": "h100"}}, "reward_nodes": {"labels": {"zone": "in(l4, old)"}}}
    force = settle(config(**kinds), nodes)
    assert force.sizes == Sizes(8, 6, 1) and not force.shared
    assert force.diffusion.options["label_selector"] == {"zone": "h100"}
    slots = Node("d", {"CPU": 4, "GPU": 4, "slot": 3}, {})
    force = settle(config((PLAIN,), diffusion_nodes={"resources": {"slot": 1.5}}), [slots, node(gpus=4)])
    assert force.sizes.diffusion == 2 and force.diffusion.options["resources"] == {"slot": 1.5}
    with pytest.raises(ValueError, match="not a custom resource"):
        config(reward_nodes={"resources": {"GPU": 1}})


@pytest.mark.parametrize(
    ("rule", "fitting"),
    [("a", {"a"}), ("!a", {"b", "c", None}), ("in(a, b)", {"a", "b"}), ("!in(a,b)", {"c", None})],
)
def test_label_rules_are_rays(rule: str, fitting: set[str | None]) -> None:
    assert {label for label in ("a", "b", "c", None) if matches(label, rule)} == fitting
