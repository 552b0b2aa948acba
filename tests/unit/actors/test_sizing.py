"""How many actors each cell has, as nodes come and go and the work is measured."""

import random

from actors.cluster.sizing import MEASURED_SECONDS, BusySeconds, by_work, n_cells, shares
from actors.cluster.workforce import Reservation, Sizes, Workforce
from configs.compute import NodesConfig

POST = Reservation(1, 0, NodesConfig())
NONE = Sizes(0, 0, 0)


def force(sizes: Sizes, shared: bool = False, plain_room: int | None = None) -> Workforce:
    return Workforce(sizes, POST, POST, POST, shared, plain_room, (), ())


def test_gpus_are_shared_out_as_the_work_is() -> None:
    eight = Sizes(7, 1, 0)
    # A candidate's rewards take a third of what its look-ahead and decode take: 6 and 2 GPUs are all busy.
    assert by_work(force(eight, shared=True), BusySeconds(300, 100, 0), eight) == Sizes(6, 2, 0)
    assert by_work(force(eight, shared=True), BusySeconds(100, 300, 0), eight) == Sizes(2, 6, 0)
    assert by_work(force(eight, shared=True), BusySeconds(1e6, 1, 0), eight) == Sizes(7, 1, 0), "rewards keep one"
    assert by_work(force(eight, shared=True), BusySeconds(100, 1e9, 0), eight) == Sizes(1, 7, 0), "diffusion keeps one"


def test_sizes_stay_until_enough_is_measured_and_while_they_are_nearly_right() -> None:
    eight = Sizes(7, 1, 0)
    assert by_work(force(eight, shared=True), BusySeconds(MEASURED_SECONDS - 1, 1e3, 0), eight) == eight
    assert by_work(force(Sizes(28, 4, 0), shared=True), BusySeconds(270, 50, 0), Sizes(28, 4, 0)) == Sizes(28, 4, 0)
    assert by_work(force(eight), BusySeconds(100, 900, 100), eight) == eight, "numbers that were given by hand"


def test_reward_actors_on_cpus_follow_the_work_within_their_room() -> None:
    now = Sizes(16, 0, 1)
    assert by_work(force(now, plain_room=64), BusySeconds(160, 0, 45), now) == Sizes(16, 0, 5)
    assert by_work(force(now, plain_room=4), BusySeconds(160, 0, 450), now) == Sizes(16, 0, 4)
    assert by_work(force(now, plain_room=64), BusySeconds(160, 0, 45), Sizes(16, 0, 5)) == Sizes(16, 0, 5)


def test_sizes_by_work_settle_and_do_not_swing() -> None:
    """Whatever the work is, a second look at the same work changes nothing."""
    rng = random.Random(0)
    for _ in range(500):
        gpus = rng.randint(2, 64)
        whole, work = Sizes(gpus - 1, 1, 1), BusySeconds(rng.uniform(30, 1e4), rng.uniform(0, 1e4), rng.uniform(0, 1e4))
        planned = force(whole, shared=True, plain_room=rng.randint(1, 100))
        first = by_work(planned, work, whole)
        assert by_work(planned, work, first) == first and first.diffusion + first.networks == gpus
        assert min(first) >= 1


def test_nodes_that_join_or_leave_change_shared_gpus() -> None:
    settled = by_work(force(Sizes(7, 1, 0), shared=True), BusySeconds(300, 100, 0), Sizes(7, 1, 0))
    grown = by_work(force(Sizes(14, 2, 0), shared=True), BusySeconds(300, 100, 0), settled)
    assert grown == Sizes(12, 4, 0)
    assert by_work(force(Sizes(3, 1, 0), shared=True), BusySeconds(300, 100, 0), grown) == Sizes(3, 1, 0)


def test_a_cell_for_every_32_actors_that_hold_a_model() -> None:
    assert [n_cells("auto", Sizes(n, n // 8, 9)) for n in (1, 28, 29, 1024)] == [1, 1, 1, 36]
    assert n_cells(4, Sizes(2, 0, 1)) == 2, "a cell without a diffusion actor could do nothing"


def test_cells_share_out_what_there_is_and_change_as_little_as_can_be() -> None:
    assert shares(Sizes(10, 3, 1), [NONE] * 3) == [Sizes(4, 1, 1), Sizes(3, 1, 1), Sizes(3, 1, 1)]
    # A node of 8 GPUs goes: only the largest cells give.
    assert shares(Sizes(24, 0, 3), [Sizes(16, 0, 1), Sizes(8, 0, 1), Sizes(8, 0, 1)]) == [Sizes(8, 0, 1)] * 3
    assert shares(Sizes(6, 0, 1), [Sizes(2, 0, 1), Sizes(2, 0, 1)]) == [Sizes(3, 0, 1), Sizes(3, 0, 1)]
    assert shares(Sizes(1, 0, 1), [Sizes(2, 0, 1), Sizes(2, 0, 1)]) == [Sizes(1, 0, 1), Sizes(1, 0, 1)]
