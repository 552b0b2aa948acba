"""The log of a driver: one line for each event worth reading, in a file that later drivers of the run go on with."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from actors.protocol import RunStopped
from configs.location import Location, RemotePath
from pipeline.records import holds, read_file, write_whole
from pipeline.redaction import redacted

LOG = "driver.log"
# Our rooms, whose modules log under their own names.
ROOMS = ("actors", "configs", "diffusion", "pipeline", "rewards")

log = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """Lines with UTC time. A log that cannot be written costs the run nothing: its results are kept elsewhere."""

    def __init__(self, path: Path, on_error: Callable[[str], None]) -> None:
        super().__init__(path, encoding="utf-8")
        self._path, self._on_error, self._failed = path, on_error, False
        form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
        form.converter = time.gmtime
        self.setFormatter(form)

    def format(self, record: logging.LogRecord) -> str:
        """One line, however many the message has; what other people's code says in it may hold a secret."""
        return redacted(" ".join(super().format(record).splitlines()))

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._failed:
            self._failed = True
            self._on_error(f"{self._path} cannot be written")

    def close(self) -> None:
        # What it could not write it tries once more; that it cannot has been told.
        with suppress(OSError):
            super().close()


def log_file(folder: Location) -> Path:
    """Where the drivers of a run log: in its folder, or, as no line can be added to an object, in the current one."""
    return folder / LOG if isinstance(folder, Path) else Path(f"driver-{folder.name}.log")


@contextmanager
def _put_at_the_end(folder: RemotePath) -> Iterator[None]:
    """Add what is logged meanwhile to the log in a run's folder on an object store, once, when it ends.

    Where the store is gone by then the log stays where it is, on this machine.
    """
    path, before = log_file(folder), read_file(folder, LOG) if holds(folder, LOG) else b""
    start = path.stat().st_size if path.is_file() else 0
    try:
        yield
    finally:
        with suppress(OSError):
            write_whole(folder / LOG, before + path.read_bytes()[start:])


@contextmanager
def run_log(folders: Sequence[Location], on_error: Callable[[str], None]) -> Iterator[Path]:
    """Log to the first of the folders that a driver works on; the others say where.

    Args:
        on_error: is told, once, that the file cannot be written any more.

    Raises:
        OSError: it cannot be written from the start.
    """
    path = log_file(folders[0])
    with ExitStack() as stack:
        for folder in folders:
            if isinstance(folder, RemotePath):
                stack.enter_context(_put_at_the_end(folder))
        for folder in folders[1:]:
            with closing(_LogFile(log_file(folder), on_error)) as other:
                text = f"this run is made together with others; their log is {path}"
                other.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None))
        handler = _LogFile(path, on_error)
        stack.callback(handler.close)
        for name in ROOMS:
            stack.enter_context(_heard_by(handler, logging.getLogger(name)))
        log.info("driver begins, process %d on %s", os.getpid(), socket.gethostname())
        try:
            yield path
        except RunStopped as stop:
            log.error("stopped: %s", stop)
            raise
        except BaseException as error:
            log.error("ended by %s", f"{type(error).__name__}: {error}".removesuffix(": "))
            raise


@contextmanager
def _heard_by(handler: logging.Handler, logger: logging.Logger) -> Iterator[None]:
    """Hand a logger's events to a handler, from INFO on."""
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
