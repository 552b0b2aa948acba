"""The progress of a run, read from its folder alone: what its last driver set out to do, and what is finished."""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from configs.location import Location
from pipeline.records import failed_keys, finished_keys, read_file, write_atomically
from pipeline.storage.clock import clock
from pipeline.storage.costs_index import FrontCost, costs_of
from pipeline.storage.disk import store_of
from pipeline.storage.lock import is_locked

DRIVER_FILE = "driver.yaml"
# The end of the year 9999, which is as far as dates go.
_LATEST = 253402300799
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class DriverRecord:
    """What the last driver of a run set out to do. The driver writes it into the run's folder.

    Attributes:
        began: when the driver began, in seconds since 1970.
        prompts, fronts, decodes: the totals of the whole run, including the work of earlier drivers. There is one front
            for each prompt, seed and method. The decodes, of candidates and of final images, are the expected ones.
        found_fronts, found_decodes: the fronts that were finished when the driver began, and their decodes.
    """

    began: Annotated[float, Field(ge=0, le=_LATEST)]
    host: str
    pid: int
    prompts: Annotated[int, Field(ge=1)]
    fronts: Annotated[int, Field(ge=1)]
    decodes: Count
    found_fronts: Count
    found_decodes: Count


@dataclass(frozen=True)
class Status:
    """The progress of a run.

    Attributes:
        alive: whether a driver is running in the folder.
        prompts: the number of prompts with all fronts done.
        done, failed: the numbers of fronts. The next driver tries a failed front again.
        decodes: the decodes of the fronts that are done.
        seconds: the time from the start of the last driver until now or, if it has ended, until it last finished a
            front. Never below 0, even if a clock was set back.
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
        """The number of fronts that are neither done nor failed."""
        return self.record.fronts - self.done - self.failed

    @property
    def rate(self) -> float | None:
        """The decodes per second of the last driver, or None until it has finished a front."""
        new = self.decodes - self.record.found_decodes
        return new / self.seconds if new > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """The time for the fronts that are left, at the pace of the last driver, or None if it has no pace yet."""
        new = self.done - self.record.found_fronts
        return self.left * self.seconds / new if new > 0 and self.seconds > 0 else None

    def lines(self) -> list[str]:
        """Return the progress as lines of text."""
        record = self.record
        began = (
            f"{datetime.fromtimestamp(record.began, UTC):%Y-%m-%d %H:%M:%S} UTC on {record.host}, process {record.pid}"
        )
        left = "not known yet" if self.seconds_left is None else clock(self.seconds_left)
        rate = "no rate yet" if self.rate is None else f"{self.rate:.1f}/s"
        return [
            f"driver      {'running since' if self.alive else 'none is running; the last one began'} {began}",
            f"prompts     {self.prompts:,} of {record.prompts:,} done",
            f"fronts      {self.done:,} of {record.fronts:,} done, {self.failed:,} failed, {self.left:,} left",
            f"decodes     {self.decodes:,} of {record.decodes:,}, {rate}",
            f"time left   {left if self.alive else left + ', once a driver is running'}",
        ]


def write_driver_record(run: Location, prompts: int, fronts: int, decodes: int) -> dict[str, FrontCost]:
    """Write what this driver sets out to do into the run's folder, and return the costs of the finished fronts."""
    done = costs_of(run, finished_keys(run))
    record = DriverRecord(
        time.time(), socket.gethostname(), os.getpid(), prompts, fronts, decodes, len(done), _decodes(done)
    )
    write_atomically(run / DRIVER_FILE, yaml.safe_dump(asdict(record), sort_keys=False).encode())
    return done


def read_driver_record(run: Location) -> DriverRecord:
    """Return what the last driver of a run set out to do.

    Raises:
        FileNotFoundError: no driver has begun in this folder, or its record is lost.
        OSError: the record cannot be read, or is not what a driver wrote.
    """
    try:
        content = read_file(run, DRIVER_FILE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"there is no run in {run}: it has no {DRIVER_FILE}, which every driver writes when it starts. If the "
            "file is lost, the same `srsoup run` command writes it again"
        ) from error
    try:
        record = TypeAdapter(DriverRecord).validate_python(yaml.safe_load(content))
        if record.fronts % record.prompts:
            raise ValueError(f"{record.fronts} fronts are not the same number for each of {record.prompts} prompts")
        return record
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, ValidationError):
            reason = "; ".join(": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors())
        raise OSError(
            f"{run / DRIVER_FILE} is not what a driver wrote ({reason:.200}). Remove the file and give the same "
            "`srsoup run` command again, which writes it"
        ) from error


def read_status(run: Location) -> Status:
    """Read the progress of a run.

    Raises:
        FileNotFoundError: no driver has started in this folder.
        OSError: the folder cannot be read.
    """
    record, alive = read_driver_record(run), is_locked(run)
    done = costs_of(run, finished_keys(run))
    fronts_per_prompt = record.fronts // record.prompts
    return Status(
        record,
        alive,
        prompts=sum(n >= fronts_per_prompt for n in Counter(cost.prompt_id for cost in done.values()).values()),
        done=len(done),
        failed=len(failed_keys(run) - done.keys()),
        decodes=_decodes(done),
        seconds=_seconds(run, record, alive),
    )


def _decodes(costs: Mapping[str, FrontCost]) -> int:
    return sum(cost.decodes for cost in costs.values())


def _seconds(run: Location, record: DriverRecord, alive: bool) -> float:
    """Return the time of the last driver. A clock that was set back hides only the time after its last part."""
    last = store_of(run / "costs").last_change(run / "costs") or record.began
    return max(last - record.began, time.time() - record.began if alive else 0.0, 0.0)
