"""How a command ends if something happens that no part of SRSoup expects: with one message, and no traceback."""

import errno
import functools
import io
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import typer

from configs.errors import COMMAND_LINE, RequestError
from configs.plain.texts import described, writable
from pipeline.cli.errors import fail
from pipeline.cli.version import srsoup_version
from pipeline.redaction import redacted

INTERRUPTED = 130
"""The exit status after Ctrl-C, which shells use for it too."""
REPORTS = "https://github.com/srsoup/srsoup/issues"
# Redaction takes time, and the end of a long text tells nothing new.
MOST_CHARACTERS = 50_000


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that ends with an exit status and one message, whatever it raises.

    An unexpected error ends it with exit status 1, and Ctrl-C with 130.
    """

    @functools.wraps(command)
    def guard(*arguments: Any, **options: Any) -> None:
        _accept_any_text()
        _check_current_folder()
        try:
            command(*arguments, **options)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BaseException as error:
            if isinstance(error, SystemExit) and error.code not in (None, 0):
                raise
            if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise fail(_no_path(error)) from None
            print(unexpected(error), file=sys.stderr)
            raise typer.Exit(1) from None

    return guard


def _no_path(error: OSError) -> RequestError:
    """The error for a path that no file system takes, wherever in a request it stands."""
    return RequestError(
        file=COMMAND_LINE, key="(a path)", value=str(error.filename)[:200], problem=f"{error.strerror}",
        allowed="paths whose parts have at most 255 bytes, without links in a circle", fix="check the path",
    )  # fmt: skip


def unexpected(error: BaseException) -> str:
    """Return the message about an error that nobody has foreseen, and write its stack to a file."""
    stack = "".join(traceback.format_exception(error))[-MOST_CHARACTERS:]
    text = redacted(writable(f"{_circumstances()}\n\n{stack}"))
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="srsoup-error-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
        place = file.name
    except OSError:
        place = f"no file could be written, so it is here:\n{text}"
    return (
        f"error: SRSoup met an error that it does not expect: {redacted(described(error)[:500])}\n"
        f"  stack:  {place}\n"
        f"  report: {REPORTS}, with the stack; read it first, because it may quote prompts and paths"
    )


def _circumstances() -> str:
    """The versions and the command, which a report of an error needs."""
    return (
        f"srsoup {srsoup_version()}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {shlex.join(sys.argv)}\nfolder: {_current_folder()}"
    )


def _check_current_folder() -> None:
    """End the command with exit status 2 if its folder is gone, which path after path would fail at otherwise."""
    if _current_folder() is None:
        raise fail(
            RequestError(
                file=COMMAND_LINE, key="(the current folder)", value=os.environ.get("PWD", "unknown"),
                problem="the current folder does not exist any more, or may not be read",
                allowed="a folder that exists", fix="change into another folder, or into the same path again",
            )
        )  # fmt: skip


def _current_folder() -> str | None:
    """Return the path of the current folder; None if it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _accept_any_text() -> None:
    """Have the output streams write escapes for what their encoding lacks, where they would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
