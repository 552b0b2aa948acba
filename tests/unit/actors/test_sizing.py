"""The numbers of actors of a run and its cells, as nodes come and go and the work is measured."""

import random

from actors.cluster.sizing import MIN_MEASURED_SECONDS, BusySeconds, cell_count, resize_by_work, split_among_cells
from actors.cluster.workforce import Reservation, Sizes, Workforce
from configs.sections.compute import NodesConfig

RESERVATION = Reservation(1, 0, NodesConfig())
NONE, EIGHT = Sizes(0, 0, 0), Sizes(7, 1, 0)


def plan(sizes: Sizes, gpus_by_work: bool = False, max_cpu_rewards: int | None = None) -> Workforce:
    return Workforce(sizes, RESERVATION, RESERVATION, RESERVATION, gpus_by_work, max_cpu_rewards, (), ())


def test_gpus_are_divided_in_proportion_to_the_work() -> None:
    gpus = plan(EIGHT, gpus_by_work=True)
    # The rewards of a candidate take a third of the time of its look-ahead and decode, so 6 and 2 GPUs are all busy.
    assert resize_by_work(gpus, BusySeconds(300, 100, 0), EIGHT) == Sizes(6, 2, 0)
    assert resize_by_work(gpus, BusySeconds(100, 300, 0), EIGHT) == Sizes(2, 6, 0)
    assert resize_by_work(gpus, BusySeconds(1e6, 1, 0), EIGHT) == Sizes(7, 1, 0), "rewards keep one GPU"
    assert resize_by_work(gpus, BusySeconds(100, 1e9, 0), EIGHT) == Sizes(1, 7, 0), "diffusion keeps one GPU"


def test_sizes_stay_until_enough_work_is_measured_and_while_they_are_nearly_right() -> None:
    too_early = BusySeconds(MIN_MEASURED_SECONDS - 1, 1e3, 0)
    assert resize_by_work(plan(EIGHT, gpus_by_work=True), too_early, EIGHT) == EIGHT
    many = Sizes(28, 4, 0)
    assert resize_by_work(plan(many, gpus_by_work=True), BusySeconds(270, 50, 0), many) == many
    assert resize_by_work(plan(EIGHT), BusySeconds(100, 900, 100), EIGHT) == EIGHT, "the configuration sets the sizes"


def test_reward_actors_on_cpus_follow_the_work_up_to_their_maximum() -> None:
    now, more = Sizes(16, 0, 1), Sizes(16, 0, 5)
    assert resize_by_work(plan(now, max_cpu_rewards=64), BusySeconds(160, 0, 45), now) == more
    assert resize_by_work(plan(now, max_cpu_rewards=4), BusySeconds(160, 0, 450), now) == Sizes(16, 0, 4)
    assert resize_by_work(plan(now, max_cpu_rewards=64), BusySeconds(160, 0, 45), more) == more


def test_sizes_do_not_oscillate() -> None:
    """Resizing a second time by the same work changes nothing, whatever the work is."""
    rng = random.Random(0)
    for _ in range(500):
        gpus = rng.randint(2, 64)
        initial = Sizes(gpus - 1, 1, 1)
        busy = BusySeconds(rng.uniform(30, 1e4), rng.uniform(0, 1e4), rng.uniform(0, 1e4))
        planned = plan(initial, gpus_by_work=True, max_cpu_rewards=rng.randint(1, 100))
        first = resize_by_work(planned, busy, initial)
        assert resize_by_work(planned, busy, first) == first and first.diffusion + first.gpu_rewards == gpus
        assert min(first) >= 1


def test_gpus_of_nodes_that_join_or_leave_are_divided_in_the_same_proportion() -> None:
    busy = BusySeconds(300, 100, 0)
    first = resize_by_work(plan(EIGHT, gpus_by_work=True), busy, EIGHT)
    grown = resize_by_work(plan(Sizes(14, 2, 0), gpus_by_work=True), busy, first)
    assert grown == Sizes(12, 4, 0)
    assert resize_by_work(plan(Sizes(3, 1, 0), gpus_by_work=True), busy, grown) == Sizes(3, 1, 0)


def test_there_is_one_cell_for_every_32_diffusion_and_gpu_reward_actors() -> None:
    assert [cell_count("auto", Sizes(n, n // 8, 9)) for n in (1, 28, 29, 1024)] == [1, 1, 1, 36]
    assert cell_count(4, Sizes(2, 0, 1)) == 2, "a cell without a diffusion actor could not run a prompt"


def test_actors_are_split_among_cells_with_as_little_change_as_possible() -> None:
    assert split_among_cells(Sizes(10, 3, 1), [NONE] * 3) == [Sizes(4, 1, 1), Sizes(3, 1, 1), Sizes(3, 1, 1)]
    # A node with 8 GPUs leaves, and only the largest cell shrinks.
    assert split_among_cells(Sizes(24, 0, 3), [Sizes(16, 0, 1), Sizes(8, 0, 1), Sizes(8, 0, 1)]) == [Sizes(8, 0, 1)] * 3
    assert split_among_cells(Sizes(6, 0, 1), [Sizes(2, 0, 1), Sizes(2, 0, 1)]) == [Sizes(3, 0, 1), Sizes(3, 0, 1)]
    assert split_among_cells(Sizes(1, 0, 1), [Sizes(2, 0, 1), Sizes(2, 0, 1)]) == [Sizes(1, 0, 1), Sizes(1, 0, 1)]
