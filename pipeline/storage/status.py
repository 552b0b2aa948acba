"""How far a run is, live or dead, from its folder alone: what its driver set out to do, and what is finished."""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import yaml

from configs.location import Location
from pipeline.records import failed_keys, finished_keys, holds, read_file, write_whole
from pipeline.storage.clock import clock
from pipeline.storage.costs_index import FrontCost, costs_of
from pipeline.storage.disk import store_of
from pipeline.storage.lock import is_held

DRIVER_FILE = "driver.yaml"


@dataclass(frozen=True)
class DriverRecord:
    """What the last driver of a run set out to do, as it says in the run's folder.

    Attributes:
        began: seconds since 1970.
        prompts, fronts, decodes: all of the run, with what drivers before it did. A front is a prompt's by one
            method; the decodes, of candidates and final images, are those foreseen.
        found_fronts, found_decodes: what was finished when it began.
    """

    began: float
    host: str
    pid: int
    prompts: int
    fronts: int
    decodes: int
    found_fronts: int
    found_decodes: int


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        alive: a driver is at work in the folder.
        prompts: with all their fronts done.
        done, failed: fronts. One that failed is tried again by the next driver.
        decodes: for the fronts that are done.
        seconds: from when the last driver began until now, or until it last finished something; never below 0, though
            a clock was set back.
    """

    record: DriverRecord
    alive: bool
    prompts: int
    done: int
    failed: int
    decodes: int
    seconds: float

    @property
    def left(self) -> int:
        """Fronts that have neither ended nor failed."""
        return self.record.fronts - self.done - self.failed

    @property
    def rate(self) -> float | None:
        """Decodes a second of the last driver; None while it has finished nothing."""
        new = self.decodes - self.record.found_decodes
        return new / self.seconds if new > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """For the fronts that are left, at the pace of the last driver."""
        new = self.done - self.record.found_fronts
        return self.left * self.seconds / new if new > 0 and self.seconds > 0 else None

    def lines(self) -> list[str]:
        """For people."""
        record = self.record
        began = (
            f"{datetime.fromtimestamp(record.began, UTC):%Y-%m-%d %H:%M:%S} UTC on {record.host}, process {record.pid}"
        )
        left = "not known yet" if self.seconds_left is None else clock(self.seconds_left)
        rate = "no rate yet" if self.rate is None else f"{self.rate:.1f}/s"
        return [
            f"driver      {'at work since' if self.alive else 'none at work; the last one began'} {began}",
            f"prompts     {self.prompts:,} of {record.prompts:,} done",
            f"fronts      {self.done:,} of {record.fronts:,} done, {self.failed:,} failed, {self.left:,} left",
            f"decodes     {self.decodes:,} of {record.decodes:,}, {rate}",
            f"time left   {left if self.alive else left + ', once a driver is at work'}",
        ]


def write_driver_record(run: Location, prompts: int, fronts: int, decodes: int) -> dict[str, FrontCost]:
    """Say in a run's folder what is to be done from now on; returns what is done."""
    done = costs_of(run, finished_keys(run))
    record = DriverRecord(
        time.time(), socket.gethostname(), os.getpid(), prompts, fronts, decodes, len(done), _decodes(done)
    )
    write_whole(run / DRIVER_FILE, yaml.safe_dump(asdict(record), sort_keys=False).encode())
    return done


def read_status(run: Location) -> Status:
    """Read how far a run is.

    Raises:
        FileNotFoundError: no driver has begun in this folder.
        OSError: it cannot be read.
    """
    if not holds(run, DRIVER_FILE):
        raise FileNotFoundError(f"no run in {run}: it holds no {DRIVER_FILE}, which every driver writes at its start")
    record, alive = DriverRecord(**yaml.safe_load(read_file(run, DRIVER_FILE))), is_held(run)
    done = costs_of(run, finished_keys(run))
    of_a_prompt = record.fronts // record.prompts
    return Status(
        record,
        alive,
        prompts=sum(n >= of_a_prompt for n in Counter(cost.prompt_id for cost in done.values()).values()),
        done=len(done),
        failed=len(failed_keys(run) - done.keys()),
        decodes=_decodes(done),
        seconds=_seconds(run, record, alive),
    )


def _decodes(costs: Mapping[str, FrontCost]) -> int:
    return sum(cost.decodes for cost in costs.values())


def _seconds(run: Location, record: DriverRecord, alive: bool) -> float:
    """The last driver's time, of which a clock that was set back hides no more than what came after the last part."""
    last = store_of(run / "costs").last_change(run / "costs") or record.began
    return max(last - record.began, time.time() - record.began if alive else 0.0, 0.0)
