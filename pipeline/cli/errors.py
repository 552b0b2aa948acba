"""How a command ends when its request is wrong: with one message and exit status 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from configs.errors import RequestError
from configs.location import Location, location_of
from pipeline.redaction import redacted


def fail(error: object) -> typer.Exit:
    """Print an error; return the exception that ends the command with exit status 2."""
    print(redacted(f"error: {error}"), file=sys.stderr)
    return typer.Exit(2)


@contextmanager
def request_errors() -> Iterator[None]:
    """Turns a RequestError into its message and exit status 2."""
    try:
        yield
    except RequestError as error:
        raise fail(error) from error


@contextmanager
def reading(run: str) -> Iterator[Location]:
    """The location of a run that a command was given; if it cannot be read, a message and exit status 2."""
    try:
        yield location_of(run)
    except (ValueError, OSError) as error:
        raise fail(error) from error
