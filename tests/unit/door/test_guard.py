"""What nobody has foreseen ends a command with one message and status 1, and its stack is in a file."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from pipeline.cli import guard
from pipeline.cli.app import Command, new_app


class Odd(BaseException):
    """An error that is no Exception, and that has no text."""

    def __str__(self) -> str:
        raise ValueError


def end(error: BaseException | type[BaseException]) -> Result:
    """Run a command that raises this."""

    def first() -> None:
        """First."""
        raise error

    def second() -> None:
        """Second."""

    return CliRunner().invoke(new_app(Command(first, ""), Command(second, "")), ["first"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("a"), "KeyError: 'a'"),
        (RecursionError("deep"), "RecursionError: deep"),
        (SystemExit(0), "SystemExit: 0"),
        (SystemExit(), "SystemExit"),
        (GeneratorExit(), "GeneratorExit"),
        (ValueError("half \ud800"), r"ValueError: half \ud800"),
        (Odd(), "Odd: (its message cannot be read)"),
        (OSError("https://me:secret@host failed"), "OSError: https://***@host failed"),
        (ValueError("line\n" * 5_000), "ValueError: line"),
    ],
)
def test_an_unexpected_error_is_one_message_and_a_file_with_its_stack(
    folder: Path, error: BaseException, text: str
) -> None:
    done = end(error)
    assert done.exit_code == 1 and done.output.count("error: ") == 1 and "Traceback" not in done.output
    assert done.output.startswith(f"error: SRSoup met an error that it does not expect: {text}")
    assert "github.com/srsoup/srsoup/issues" in done.output
    (file,) = folder.iterdir()
    assert re.search(r"stack:  (.*)", done.output) and str(file) in done.output
    stack = file.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in stack and "in first" in stack
    assert "Python 3" in stack and "folder: " in stack and "secret" not in stack


def test_without_a_place_for_the_file_the_stack_is_in_the_message(folder: Path) -> None:
    folder.rmdir()
    done = end(KeyError("a"))
    assert done.exit_code == 1 and "no file could be written, so it is here:" in done.output
    assert "Traceback (most recent call last)" in done.output and "in first" in done.output


@pytest.mark.parametrize(
    ("error", "status", "output"),
    [
        (KeyboardInterrupt, 130, "interrupted\n"),
        (SystemExit(3), 3, ""),
        (typer.Exit(2), 2, ""),
        (typer.Exit(0), 0, ""),
    ],
)
def test_what_a_command_means_to_end_with_stays(folder: Path, error: BaseException, status: int, output: str) -> None:
    done = end(error)
    assert (done.exit_code, done.output) == (status, output) and not list(folder.iterdir())


def test_a_current_folder_that_is_gone_is_a_wrong_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    done = end(KeyError("a"))
    assert done.exit_code == 2 and "the current folder does not exist any more" in done.output
    assert "fix:     change into another folder" in done.output and "KeyError" not in done.output


def test_every_command_is_guarded() -> None:
    from srsoup import _app

    commands: list[Callable[..., object] | None] = [one.callback for one in _app().registered_commands]
    assert len(commands) > 8
    assert all(getattr(command, "__code__", None) is guard.guarded(lambda: None).__code__ for command in commands)
