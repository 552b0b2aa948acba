"""What a model warns of in a process whose output nobody reads, kept to go with the answer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def warnings_of(name: str) -> Iterator[list[str]]:
    """The warnings of a logger and those under it, as they come."""
    logger, keeper = logging.getLogger(name), _Keeper()
    logger.addHandler(keeper)
    try:
        yield keeper.texts
    finally:
        logger.removeHandler(keeper)
