"""The progress of a run, read from its folder alone: what its last driver set out to do, and what is finished."""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from dataclasses import dataclass as plain_dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from configs.location import Location
from configs.plain.data import dump_yaml, parse_yaml
from pipeline.records import failed_keys, finished_keys, has_file, read_file, write_atomically
from pipeline.storage.clock import Pace, clock
from pipeline.storage.costs_index import FrontCost, costs_of
from pipeline.storage.disk import store_of
from pipeline.storage.lock import is_locked

DRIVER_FILE = "driver.yaml"
# The end of the year 2999, in seconds since 1970.
LAST_TIME = 32_503_680_000


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class DriverRecord:
    """What the last driver of a run set out to do. The driver writes it into the run's folder.

    Attributes:
        began: when the driver began, in seconds since 1970.
        prompts, fronts, decodes: the totals of the whole run, including the work of earlier drivers. There is one front
            for each prompt, seed and method. The decodes, of candidates and of final images, are the expected ones.
        found_fronts, found_decodes: the fronts that were finished when the driver began, and their decodes.
        noted: when the driver last wrote its pace into this record, in seconds since 1970; None if it has not yet.
        rate: the driver's decodes a second at that time.
        seconds_left: the time that was left then for the open fronts of this run.
    """

    began: Annotated[float, Field(ge=0, le=LAST_TIME)]
    host: str
    pid: int
    prompts: Annotated[int, Field(ge=1)]
    fronts: Annotated[int, Field(ge=1)]
    decodes: Annotated[int, Field(ge=0)]
    found_fronts: Annotated[int, Field(ge=0)]
    found_decodes: Annotated[int, Field(ge=0)]
    noted: Annotated[float, Field(ge=0, le=LAST_TIME)] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    seconds_left: Annotated[float, Field(ge=0)] | None = None


@plain_dataclass(frozen=True)
class Status:
    """The progress of a run.

    Attributes:
        alive: whether a driver is running in the folder.
        prompts: the number of prompts with all fronts done.
        done, failed: the numbers of fronts. The next driver tries a failed front again.
        decodes: the decodes of the fronts that are done.
        seconds: the time from the start of the last driver until now or, if it has ended, until it last finished a
            front. Never below 0, even if a clock was set back.
        now: when this was read, in seconds since 1970.
    """

    record: DriverRecord
    alive: bool
    prompts: int
    done: int
    failed: int
    decodes: int
    seconds: float
    now: float

    @property
    def left(self) -> int:
        """The number of fronts that are neither done nor failed."""
        return self.record.fronts - self.done - self.failed

    @property
    def rate(self) -> float | None:
        """The decodes per second of the last driver, or None until it has made some."""
        if self.record.rate is not None:
            return self.record.rate
        # The driver has not noted its pace: it has just begun, or is of an older version.
        new = self.decodes - self.record.found_decodes
        return new / self.seconds if new > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """The time left as the driver notes it or, if none is running, the time that a driver of its pace will take."""
        record = self.record
        if self.alive and record.seconds_left is not None and record.noted is not None:
            return max(record.seconds_left - max(self.now - record.noted, 0.0), 0.0)
        mean = record.decodes / record.fronts
        return Pace(self.rate, 0).seconds_left(max(record.decodes - self.decodes - round(self.failed * mean), 0))

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


def write_driver_record(
    run: Location, prompts: int, fronts: int, decodes: int
) -> tuple[DriverRecord, dict[str, FrontCost]]:
    """Write what this driver sets out to do into the run's folder. Returns it, and the costs of the finished fronts."""
    done = costs_of(run, finished_keys(run))
    record = DriverRecord(
        time.time(), socket.gethostname(), os.getpid(), prompts, fronts, decodes, len(done), _decodes(done)
    )
    _write(run, record)
    return record, done


def write_pace(run: Location, record: DriverRecord, pace: Pace, decodes: int) -> None:
    """Add the driver's pace to its record. `decodes` are those expected of the fronts that are open."""
    if pace.rate is not None:
        left = pace.seconds_left(decodes)
        _write(run, replace(record, noted=time.time(), rate=pace.rate, seconds_left=left))


def _write(run: Location, record: DriverRecord) -> None:
    fields = {name: value for name, value in asdict(record).items() if value is not None}
    write_atomically(run / DRIVER_FILE, dump_yaml(fields).encode())


def _read(run: Location) -> DriverRecord:
    try:
        fields = parse_yaml(read_file(run, DRIVER_FILE).decode())
        if not isinstance(fields, dict):
            raise ValueError("it holds no keys")
        return DriverRecord(**fields)
    except ValueError as error:
        # A check of pydantic, or a text that is no YAML or no UTF-8; all are of this class.
        reason = " ".join(str(error).split())
        raise OSError(
            f"{run / DRIVER_FILE} is damaged ({reason:.200}); give the command of the run again, which writes it anew"
        ) from error


def read_status(run: Location) -> Status:
    """Read the progress of a run.

    Raises:
        FileNotFoundError: no driver has started in this folder.
        OSError: the folder cannot be read.
    """
    if not has_file(run, DRIVER_FILE):
        if has_file(run, "config.yaml"):
            raise FileNotFoundError(
                f"the run in {run} has lost its {DRIVER_FILE}; give the command of the run again, which writes it anew"
            )
        raise FileNotFoundError(
            f"there is no run in {run}: it has no {DRIVER_FILE}, which every driver writes when it starts"
        )
    record, alive = _read(run), is_locked(run)
    done = costs_of(run, finished_keys(run))
    fronts_per_prompt = max(record.fronts // record.prompts, 1)
    return Status(
        record,
        alive,
        prompts=sum(n >= fronts_per_prompt for n in Counter(cost.prompt_id for cost in done.values()).values()),
        done=len(done),
        failed=len(failed_keys(run) - done.keys()),
        decodes=_decodes(done),
        seconds=_seconds(run, record, alive),
        now=time.time(),
    )


def _decodes(costs: Mapping[str, FrontCost]) -> int:
    return sum(cost.decodes for cost in costs.values())


def _seconds(run: Location, record: DriverRecord, alive: bool) -> float:
    """Return the time of the last driver. A clock that was set back hides only the time after its last part."""
    last = store_of(run / "costs").last_change(run / "costs") or record.began
    return max(last - record.began, time.time() - record.began if alive else 0.0, 0.0)
