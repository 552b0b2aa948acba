"""Collects warnings that a model logs in a model actor, whose output nobody reads, so that the answer carries them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _CollectingHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def collected_warnings(logger_name: str) -> Iterator[list[str]]:
    """Collect the warnings of a logger and of the loggers below it. The list grows as they are logged."""
    logger, handler = logging.getLogger(logger_name), _CollectingHandler()
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)
