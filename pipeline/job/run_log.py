"""The log of a driver: a file with one line for each event. Later drivers of the run append to the same file."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from actors.protocol import RunStopped
from configs.location import Location, RemotePath
from pipeline.records import has_file, read_file, write_atomically
from pipeline.redaction import redacted

LOG_NAME = "driver.log"
# The packages of SRSoup. Their modules log under their own names.
PACKAGES = ("actors", "configs", "diffusion", "pipeline", "rewards")

log = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """Writes lines with their UTC time. If it cannot write, it reports that once and the run continues."""

    def __init__(self, path: Path, on_error: Callable[[str], None]) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._path, self._on_error, self._failed = path, on_error, False
        form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
        form.converter = time.gmtime
        self.setFormatter(form)

    def format(self, record: logging.LogRecord) -> str:
        """Return the message as one line. Secrets are removed, because it may quote the error of other code."""
        return redacted(" ".join(super().format(record).splitlines()))

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._failed:
            self._failed = True
            self._on_error(f"{self._path} cannot be written")

    def close(self) -> None:
        # Closing tries to write the buffered lines again. If that fails, the error was already reported.
        with suppress(OSError):
            super().close()


def log_file(folder: Location) -> Path:
    """Return the path of a run's log: in its folder or, for a run on an object store, in the current folder.

    No line can be appended to an object.
    """
    return folder / LOG_NAME if isinstance(folder, Path) else Path(f"driver-{folder.name}.log")


@contextmanager
def _upload_at_end(folder: RemotePath) -> Iterator[None]:
    """Append the lines that are logged meanwhile to the log in the run's folder on an object store, at the end.

    If the store cannot be reached then, the lines stay in the file on this machine.
    """
    path, before = log_file(folder), read_file(folder, LOG_NAME) if has_file(folder, LOG_NAME) else b""
    start = path.stat().st_size if path.is_file() else 0
    try:
        yield
    finally:
        with suppress(OSError):
            write_atomically(folder / LOG_NAME, before + path.read_bytes()[start:])


@contextmanager
def run_log(folders: Sequence[Location], on_error: Callable[[str], None]) -> Iterator[Path]:
    """Log to the first of a driver's folders. The logs of the other folders name this log.

    Args:
        folders: the folders of the runs of a driver.
        on_error: a function that is called with a message, once, if the log can no longer be written.

    Raises:
        OSError: the log cannot be opened.
    """
    path = log_file(folders[0])
    with ExitStack() as stack:
        for folder in folders:
            if isinstance(folder, RemotePath):
                stack.enter_context(_upload_at_end(folder))
        for folder in folders[1:]:
            with closing(_LogFile(log_file(folder), on_error)) as other:
                text = f"this run is part of a sweep; the log of the sweep is {path}"
                other.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None))
        handler = _LogFile(path, on_error)
        stack.callback(handler.close)
        for name in PACKAGES:
            stack.enter_context(_attached(handler, logging.getLogger(name)))
        log.info("driver starts, process %d on %s", os.getpid(), socket.gethostname())
        try:
            yield path
        except RunStopped as stop:
            log.error("stopped: %s", stop)
            raise
        except BaseException as error:
            log.error("ended with %s", f"{type(error).__name__}: {error}".removesuffix(": "))
            raise


@contextmanager
def _attached(handler: logging.Handler, logger: logging.Logger) -> Iterator[None]:
    """Attach a handler to a logger, and log events of level INFO and above."""
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
