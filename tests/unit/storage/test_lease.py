"""The lease of a run on an object store, on a simulated clock: how it is taken, kept, lost, and refused to others."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import pytest

from configs.location import RemotePath
from pipeline.records import read_file, write_atomically
from pipeline.storage.lease import (
    LEASE_FILE,
    SETTLE_SECONDS,
    STALE_SECONDS,
    FolderInUse,
    FolderLost,
    Holder,
    Lease,
    _start_of,
)
from pipeline.storage.lock import is_locked, lock_folder

ELSEWHERE = Holder("another", "host-b", "another boot", 7, "1")


@dataclass
class Time:
    """A clock that only sleeping moves. `meanwhile` is called in each sleep, to act as other processes do."""

    now: float = 0.0
    meanwhile: Callable[[], object] = field(default=lambda: None)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def run() -> RemotePath:
    return RemotePath(f"fsspec+memory:///{secrets.token_hex(8)}")


def put(run: RemotePath, holder: Holder) -> None:
    write_atomically(run / LEASE_FILE, json.dumps(asdict(holder)).encode())


def stored(run: RemotePath) -> Holder:
    return Holder(**json.loads(read_file(run, LEASE_FILE)))


def lease(run: RemotePath, time: Time) -> Lease:
    return Lease(run, time.clock, time.sleep)


def test_a_free_folder_is_taken_kept_and_released(run: RemotePath) -> None:
    time = Time()
    assert lease(run, time).holder() is None
    with lease(run, time) as held:
        held.check()
        held.renew()
        assert stored(run).held and stored(run).renewed == 1
    assert time.now == SETTLE_SECONDS and not stored(run).held
    with lease(run, time):
        assert time.now == 2 * SETTLE_SECONDS, "a lease that was released is free at once"


def test_a_lease_that_changes_is_held_and_the_second_driver_is_refused(run: RemotePath) -> None:
    put(run, ELSEWHERE)
    time = Time()

    def renew_after_5_seconds() -> None:
        if time.now > 5:
            put(run, replace(ELSEWHERE, renewed=1))

    time.meanwhile = renew_after_5_seconds
    with pytest.raises(FolderInUse, match="on host-b, process 7"), lease(run, time):
        pass
    assert time.now < 6 and stored(run).owner == "another"


def test_a_lease_that_does_not_change_is_taken_over_by_the_watchers_own_clock(run: RemotePath) -> None:
    """No date of any machine is read, so a wrong date has no effect."""
    put(run, ELSEWHERE)
    time = Time(now=-1e9)
    with lease(run, time):
        assert time.now == pytest.approx(-1e9 + STALE_SECONDS + SETTLE_SECONDS, abs=1)
        assert stored(run).owner != "another"


def test_if_two_take_a_free_folder_at_once_the_later_put_wins(run: RemotePath) -> None:
    time = Time()
    time.meanwhile = lambda: put(run, ELSEWHERE)
    with pytest.raises(FolderInUse, match="at the same moment"), lease(run, time):
        pass
    assert stored(run) == ELSEWHERE


def test_a_driver_that_lost_the_lease_stops_and_leaves_it_to_the_other(run: RemotePath) -> None:
    with lease(run, Time()) as held:
        put(run, ELSEWHERE)
        held.check()
        held.renew()
        with pytest.raises(FolderLost, match="another driver"):
            held.check()
    assert stored(run) == ELSEWHERE


def test_a_driver_that_could_not_reach_the_store_for_long_reads_the_lease_before_it_writes(
    run: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(place: RemotePath) -> bytes:
        raise OSError("no route")

    time = Time()
    with lease(run, time) as held:
        with monkeypatch.context() as patch:
            patch.setattr(held._store, "read", gone)
            time.sleep(STALE_SECONDS - SETTLE_SECONDS)
            held.check()
            time.sleep(1)
            with pytest.raises(OSError, match="no route"):
                held.check()
        held.check()
        time.sleep(STALE_SECONDS + 1)
        put(run, ELSEWHERE)
        with pytest.raises(FolderLost):
            held.check()


def test_a_process_of_this_machine_that_died_is_known_to_be_dead_at_once(run: RemotePath) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Holder.of_this_process()
    try:
        theirs = replace(here, owner="child", pid=child.pid, started=str(_start_of(child.pid)))
        put(run, theirs)
        assert not theirs.is_dead and not here.is_dead
        assert replace(here, started="another process of the same number").is_dead
        child.kill()
        child.wait()
        assert theirs.is_dead
        assert not replace(theirs, machine="another boot").is_dead, "nothing is known of a process of another machine"
    finally:
        child.kill()
        child.communicate()
    time = Time()
    assert lease(run, time).holder() is None and time.now == 0
    assert not is_locked(run)


def test_a_file_that_is_not_a_lease_does_not_count_as_a_free_folder(run: RemotePath) -> None:
    write_atomically(run / LEASE_FILE, b"half a le")
    with pytest.raises(OSError, match="not a lease of SRSoup"), lock_folder(run):
        pass
