"""The lease on a run on an object store: an object that its holder keeps renewing, so that one driver writes at a time.

An object store does not free a lock when its holder dies, and pyarrow offers no conditional put. Therefore the holder
puts the lease again every `RENEW_SECONDS` with a higher number. A process that wants the folder watches the lease: if
it changes, it is held; if it does not change for `STALE_SECONDS` of the watcher's own clock, it is free. The clocks of
two machines are never compared. A holder that ends normally releases the lease. The death of a holder on the same
machine is noticed at once, so only the death of another machine costs the wait.

If two processes find the lease free at the same moment, both put it. After `SETTLE_SECONDS` each reads it again, and
the one whose put came last holds it.

One case remains. If a driver is delayed for longer than `SETTLE_SECONDS` between its read and its put, it takes the
lease from the holder. The old holder notices this at its next renewal and stops. Until then both may write. This costs
only prompts that are computed twice, because a part is named by its key and both drivers write the same rows.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from configs.location import RemotePath
from pipeline.storage.disk import store_of

LEASE_FILE = ".lease"
RENEW_SECONDS = 5.0
STALE_SECONDS = 30.0
SETTLE_SECONDS = 1.0
POLL_SECONDS = 0.25


class FolderInUse(Exception):
    """Another process writes to the folder."""


class FolderLost(OSError):
    """Another process has taken the folder over."""


@dataclass(frozen=True)
class Holder:
    """The content of a lease.

    Attributes:
        owner: a random name that no other holder has.
        machine: the boot of the machine and the namespace of its process numbers.
        started: the start of the process by the system's count, because process numbers are reused.
        renewed: the number of renewals.
        held: False once the holder has released the lease.
    """

    owner: str
    host: str
    machine: str
    pid: int
    started: str
    renewed: int = 0
    held: bool = True

    @classmethod
    def of_this_process(cls) -> Self:
        pid = os.getpid()
        return cls(secrets.token_hex(16), socket.gethostname(), _machine(), pid, _start_of(pid) or "")

    @property
    def is_dead(self) -> bool:
        """Whether the holder is known to have ended. This can be known only of a process of this machine."""
        return self.machine == _machine() and _start_of(self.pid) != self.started


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _start_of(pid: int) -> str | None:
    """Return when a process of this machine started, in ticks since the boot, or None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the process, in parentheses, may hold any character. After it come the state and, 19 fields after
    # the state, the start.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _seconds() -> float:
    """Read a clock that continues while the machine sleeps and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A context manager that holds the lease on the folder of a run."""

    def __init__(
        self,
        run: RemotePath,
        clock: Callable[[], float] = _seconds,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file, self._store = run / LEASE_FILE, store_of(run)
        self._clock, self._sleep = clock, sleep
        self._holder, self._confirmed, self._lost = Holder.of_this_process(), float("-inf"), False
        self._released, self._renewal = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._renew_until_released, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            FolderInUse: another process holds it.
            OSError: the store cannot be written.
        """
        if holder := self.holder():
            raise FolderInUse(f"another run is using this folder, on {holder.host}, process {holder.pid}")
        self._put()
        self._sleep(SETTLE_SECONDS)
        if not self._is_mine():
            raise FolderInUse("another run took this folder at the same moment")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lease. If the store cannot be reached, the lease becomes stale by itself."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(OSError), self._renewal:
            if not self._lost and self._is_mine():
                self._holder = replace(self._holder, held=False)
                self._put()

    def holder(self) -> Holder | None:
        """Return the process that holds the lease now, or None. Watches the lease until the answer is certain."""
        first = self._read()
        if first is None or first.is_dead:
            return None
        deadline = self._clock() + STALE_SECONDS
        while self._clock() < deadline:
            self._sleep(POLL_SECONDS)
            now = self._read()
            if now != first:
                return now
        return None

    def check(self) -> None:
        """Make sure, before a write, that this process still holds the lease.

        Raises:
            FolderLost: another process holds it.
            OSError: the store has been out of reach for too long to know.
        """
        if self._clock() - self._confirmed > STALE_SECONDS:
            self.renew()
        if self._lost:
            raise FolderLost("another driver has taken this folder over")

    def renew(self) -> None:
        """Put the lease with a higher number, or find out that another process has taken it."""
        with self._renewal:
            self._lost = self._lost or not self._is_mine()
            if not self._lost:
                self._holder = replace(self._holder, renewed=self._holder.renewed + 1)
                self._put()

    def _renew_until_released(self) -> None:
        while not self._released.wait(RENEW_SECONDS) and not self._lost:
            # If the store is out of reach, the next round tries again; `check` notices if this takes too long.
            with contextlib.suppress(OSError):
                self.renew()

    def _put(self) -> None:
        began = self._clock()
        self._store.write(self._file, json.dumps(asdict(self._holder)).encode())
        self._confirmed = began

    def _is_mine(self) -> bool:
        now = self._read()
        return now is not None and now.owner == self._holder.owner

    def _read(self) -> Holder | None:
        """Return the content of the lease, or None if it is free."""
        try:
            holder = Holder(**json.loads(self._store.read(self._file)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise OSError(
                f"{self._file} is not a lease of SRSoup ({error}); remove it if no driver is running"
            ) from error
        return holder if holder.held else None
