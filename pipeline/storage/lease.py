"""Who alone writes to a run on an object store: a lease, which is an object that its holder keeps renewing.

An object store frees no lock when its holder dies, and pyarrow offers no put on a condition. So the holder puts
the lease again every `RENEW_SECONDS` with a higher number, and who wants the folder watches: a lease that changes
is held, and one that does not change for `STALE_SECONDS` of the watcher's own clock is not. No two machines'
clocks are ever compared. A holder that ends well lets the lease go, and one that was a process of this machine is
known to be dead at once, so that only the death of another machine costs the wait.

Two that want a free lease in the same moment both put it, and the one whose put came last finds itself in it after
`SETTLE_SECONDS`. What remains: a driver that is held up for longer than that between its look and its put takes
the lease from its holder, who finds out at its next renewal, stops, and leaves the folder to the other. In those
seconds both may write. That costs prompts computed twice, and no more: a part is named by its key, and both write the
same rows.
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

LEASE = ".lease"
RENEW_SECONDS = 5.0
STALE_SECONDS = 30.0
SETTLE_SECONDS = 1.0
LOOK_SECONDS = 0.25


class FolderInUse(Exception):
    """Somebody else writes to the folder."""


class FolderLost(OSError):
    """Somebody else has taken the folder over."""


@dataclass(frozen=True)
class Holder:
    """What a lease says.

    Attributes:
        owner: of this holder alone, whoever else there is.
        machine: its boot and the namespace of its process numbers.
        started: when the process began, by the system's count; a process number is given again one day.
        renewed: how often.
        held: False once it has let go.
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
        """It is known to have ended: it was a process of this machine. Of another one nothing is known."""
        return self.machine == _machine() and _start_of(self.pid) != self.started


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _start_of(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the boot; None if it is no more."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # After the process's name, which may hold anything: the state, and 18 fields later its start.
    fields = told.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _seconds() -> float:
    """A clock that goes on in a machine's sleep, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A claim on the folder of a run."""

    def __init__(
        self,
        run: RemotePath,
        clock: Callable[[], float] = _seconds,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run, self._place, self._store = run, run / LEASE, store_of(run)
        self._clock, self._sleep = clock, sleep
        self._me, self._sure, self._lost = Holder.of_this_process(), float("-inf"), False
        self._over, self._one_at_a_time = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the folder.

        Raises:
            FolderInUse: somebody else has it.
            OSError: the store cannot be written.
        """
        if holder := self.holder():
            raise FolderInUse(f"another run is at work in it, on {holder.host}, process {holder.pid}")
        self._put()
        self._sleep(SETTLE_SECONDS)
        if not self._is_mine():
            raise FolderInUse("another run took it in the same moment")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it go. Where the store is gone, the lease is stale by itself soon."""
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError), self._one_at_a_time:
            if not self._lost and self._is_mine():
                self._me = replace(self._me, held=False)
                self._put()

    def holder(self) -> Holder | None:
        """Who writes to the folder now; looks on for as long as it takes to be sure."""
        first = self._read()
        if first is None or first.is_dead:
            return None
        deadline = self._clock() + STALE_SECONDS
        while self._clock() < deadline:
            self._sleep(LOOK_SECONDS)
            now = self._read()
            if now != first:
                return now
        return None

    def check(self) -> None:
        """Make sure, before something is written, that the folder is ours still.

        Raises:
            FolderLost: it is not.
            OSError: we have been out of the store's reach for too long to know.
        """
        if self._clock() - self._sure > STALE_SECONDS:
            self.renew()
        if self._lost:
            raise FolderLost("another driver has taken this folder over")

    def renew(self) -> None:
        """Say that we are alive, or find out that the folder is lost."""
        with self._one_at_a_time:
            self._lost = self._lost or not self._is_mine()
            if not self._lost:
                self._me = replace(self._me, renewed=self._me.renewed + 1)
                self._put()

    def _keep(self) -> None:
        while not self._over.wait(RENEW_SECONDS) and not self._lost:
            # A store that is out of reach for a moment is asked again; `check` counts the time.
            with contextlib.suppress(OSError):
                self.renew()

    def _put(self) -> None:
        began = self._clock()
        self._store.write(self._place, json.dumps(asdict(self._me)).encode())
        self._sure = began

    def _is_mine(self) -> bool:
        now = self._read()
        return now is not None and now.owner == self._me.owner

    def _read(self) -> Holder | None:
        """What the lease says; None if it is free."""
        try:
            told = Holder(**json.loads(self._store.read(self._place)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise OSError(
                f"{self._place} is not a lease of ours ({error}); remove it if no driver is at work"
            ) from error
        return told if told.held else None
