"""The actors that a run gets on a cluster, computed from descriptions of its nodes."""

from typing import Any

import pytest

from actors.cluster.placement import label_matches, plan_workforce, with_settled_placement
from actors.cluster.workforce import Node, Sizes
from configs.errors import RequestError
from configs.schema import RunConfig

NETWORK, OTHER = "mini_clip", "compressibility"


def config(rewards: tuple[str, ...] = (NETWORK, OTHER), **compute: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "placed", "weights": [[1 / len(rewards)] * len(rewards)], "prompts": {"list": ["noise"]},
            "rewards": {"guided": list(rewards)}, "compute": compute,
        }
    )  # fmt: skip


def node(name: str = "a", gpus: float = 0, cpus: float = 8, draining: bool = False, **labels: str) -> Node:
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return Node(name, resources, labels, draining)


def refusal(settings: RunConfig, *nodes: Node, running: bool = False) -> str:
    with pytest.raises(RequestError) as caught:
        plan_workforce(settings, nodes, running=running)
    return str(caught.value)


def test_on_cpus_a_diffusion_actor_takes_a_core_and_cpu_reward_actors_hold_all_rewards() -> None:
    workforce = plan_workforce(config(), [node(), node("b", cpus=4)])
    assert workforce.sizes == Sizes(12, 0, 1)
    assert (workforce.gpu_reward_names, workforce.cpu_reward_names) == ((), (NETWORK, OTHER))
    assert workforce.diffusion.options == {"num_gpus": 0, "num_cpus": 1}
    assert workforce.cpu_rewards.options == {"num_gpus": 0, "num_cpus": 0}
    assert workforce.max_cpu_rewards == 12 and not workforce.gpus_by_work


def test_on_cpus_an_actor_with_several_threads_takes_as_many_cores() -> None:
    workforce = plan_workforce(config(threads=3), [node(), node("b", cpus=2)])
    assert workforce.sizes.diffusion == 2 and workforce.diffusion.cpus == 3


def test_separate_placement_gives_networks_their_own_gpus_and_other_rewards_a_cpu() -> None:
    workforce = plan_workforce(config(), [node(gpus=8), node("b", gpus=8)])
    assert workforce.sizes == Sizes(14, 2, 1) and workforce.gpus_by_work and not workforce.colocated
    assert workforce.gpu_reward_names == (NETWORK,) and workforce.cpu_reward_names == (OTHER,)
    assert (workforce.diffusion.gpus, workforce.gpu_rewards.gpus, workforce.cpu_rewards.gpus) == (1, 1, 0)
    assert workforce.cpu_rewards.cpus == 1


def test_without_rewards_that_are_networks_diffusion_actors_get_all_gpus() -> None:
    workforce = plan_workforce(config((OTHER,)), [node(gpus=8)])
    assert workforce.sizes == Sizes(8, 0, 1) and not workforce.gpus_by_work


def test_if_all_rewards_are_networks_there_is_no_reward_actor_on_a_cpu() -> None:
    assert plan_workforce(config((NETWORK,)), [node(gpus=2)]).sizes == Sizes(1, 1, 0)


def test_colocated_placement_puts_both_kinds_on_each_gpu() -> None:
    workforce = plan_workforce(config(placement="colocated", gpu_share=0.3), [node(gpus=4)])
    assert workforce.sizes == Sizes(4, 4, 1) and workforce.colocated and not workforce.gpus_by_work
    assert workforce.diffusion.gpus + workforce.gpu_rewards.gpus == 1 and workforce.gpu_rewards.gpus == 0.3


def test_a_single_gpu_is_colocated_and_separate_placement_is_refused_on_it() -> None:
    assert plan_workforce(config(), [node(gpus=1)]).colocated
    message = refusal(config(placement="separate"), node(gpus=1))
    assert "compute.placement" in message and "allowed: colocated" in message and "1 GPU cannot hold" in message


def test_the_device_can_be_set() -> None:
    assert plan_workforce(config(device="cpu"), [node(gpus=4)]).sizes == Sizes(8, 0, 1)
    assert "compute.device" in refusal(config(device="gpu"), node())


@pytest.mark.parametrize(
    ("nodes", "compute", "problem"),
    [
        ([node(cpus=2)], {"diffusion_actors": 3}, "2 CPUs"),
        ([node(gpus=4)], {"diffusion_actors": 4, "reward_actors": 1}, "3 GPUs besides those for rewards"),
        ([node(gpus=4)], {"diffusion_actors": 5, "placement": "colocated"}, "4 GPUs"),
        ([node(cpus=0)], {}, "0 CPUs"),
        ([node(draining=True)], {}, "0 CPUs"),
    ],
)
def test_more_actors_than_fit_are_refused_and_the_message_names_the_limit(
    nodes: list[Node], compute: dict[str, Any], problem: str
) -> None:
    message = refusal(config(**compute), *nodes)
    assert problem in message and "compute.diffusion_actors" in message


def test_a_running_run_goes_on_with_the_actors_that_still_fit() -> None:
    three = config(diffusion_actors=3)
    assert plan_workforce(three, [node(cpus=2)], running=True).sizes.diffusion == 2
    assert plan_workforce(three, [node(cpus=8)], running=True).sizes.diffusion == 3
    assert "0 CPUs" in refusal(three, node(cpus=0), running=True)


def test_a_running_run_keeps_its_device_and_placement() -> None:
    on_cpus = with_settled_placement(config(), plan_workforce(config(), [node()]))
    assert plan_workforce(on_cpus, [node(), node("b", gpus=8)], running=True).sizes == Sizes(16, 0, 1)
    colocated = with_settled_placement(config(), plan_workforce(config(), [node(gpus=1)]))
    assert plan_workforce(colocated, [node(gpus=1), node("b", gpus=2)], running=True).sizes == Sizes(3, 3, 1)
    separate = with_settled_placement(config(), plan_workforce(config(), [node(gpus=2)]))
    assert "cannot hold" in refusal(separate, node(gpus=1), running=True)


def test_labels_and_custom_resources_limit_the_nodes_of_each_kind() -> None:
    nodes = [node(gpus=8, zone="h100"), node("b", gpus=4, zone="l4"), node("c", gpus=2, zone="old")]
    settings: dict[str, Any] = {
        "diffusion_nodes": {"labels": {"zone": "h100"}},
        "reward_nodes": {"labels": {"zone": "in(l4, old)"}},
    }
    workforce = plan_workforce(config(**settings), nodes)
    assert workforce.sizes == Sizes(8, 6, 1) and not workforce.gpus_by_work
    assert workforce.diffusion.options["label_selector"] == {"zone": "h100"}
    slots = Node("d", {"CPU": 4, "GPU": 4, "slot": 3}, {})
    workforce = plan_workforce(config((OTHER,), diffusion_nodes={"resources": {"slot": 1.5}}), [slots, node(gpus=4)])
    assert workforce.sizes.diffusion == 2 and workforce.diffusion.options["resources"] == {"slot": 1.5}
    with pytest.raises(ValueError, match="not a custom resource"):
        config(reward_nodes={"resources": {"GPU": 1}})


@pytest.mark.parametrize(
    ("rule", "matching"),
    [("a", {"a"}), ("!a", {"b", "c", None}), ("in(a, b)", {"a", "b"}), ("!in(a,b)", {"c", None})],
)
def test_label_selectors_mean_what_they_mean_to_ray(rule: str, matching: set[str | None]) -> None:
    assert {label for label in ("a", "b", "c", None) if label_matches(label, rule)} == matching
