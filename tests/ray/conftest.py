"""Fixtures of the tests on Ray: a folder for Ray's files, a head to join, and an undisturbed run."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster.head import Head, RayHead
from tests.support.runs import FOUR_FRONTS, run_here


@pytest.fixture(scope="session", autouse=True)
def files_of_ray() -> Iterator[None]:
    """Keep the logs and sockets of every cluster in one folder, and remove it at the end."""
    # The paths of Ray's sockets must be short, and the paths of pytest's folders are long.
    folder = tempfile.mkdtemp(prefix="srsoup-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start_head(tmp_path: Path) -> Iterator[Head]:
    """A function that starts a head, as `ray start` makes it, with a token; it gives what it takes to speak to it."""
    with ExitStack() as stack:
        yield lambda *options, **variables: stack.enter_context(RayHead(tmp_path, options, variables))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`FOUR_FRONTS`, run in one process."""
    return run_here(tmp_path_factory.mktemp("runs") / "undisturbed", *FOUR_FRONTS)
