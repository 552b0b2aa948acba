"""Fixtures of the tests on Ray: a folder for Ray's files, heads to join, and a run that nothing disturbs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.workers import LOGICAL_GPUS
from tests.support.cluster.head import Head, RayHead
from tests.support.runs import FOUR_FRONTS, run_here


@pytest.fixture(scope="session", autouse=True)
def files_of_ray() -> Iterator[None]:
    """Keep the logs and sockets of every cluster in one folder, and remove it at the end."""
    # Ray's sockets need a short path, and pytest's folders have long ones.
    folder = tempfile.mkdtemp(prefix="srsoup-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        # By default Ray's workers give way to everything else (niceness 15), and other tests keep both cores busy.
        patch.setenv("RAY_worker_niceness", "0")
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start_head(tmp_path: Path) -> Iterator[Head]:
    """A function that starts a head with `ray start` and a token, and returns the environment for its clients."""
    with ExitStack() as stack:
        yield lambda *options, **variables: stack.enter_context(RayHead(tmp_path, options, variables))


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of clients of a head that tests share, because each start of Ray takes many seconds.

    Ray keeps count of two GPUs there, although this machine has none: the models compute on its CPUs.
    """
    folder = tmp_path_factory.mktemp("head")
    with RayHead(folder, ("--num-cpus=4", "--num-gpus=2"), {LOGICAL_GPUS: "1"}) as environment:
        yield environment


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `FOUR_FRONTS` in one process."""
    return run_here(tmp_path_factory.mktemp("runs") / "undisturbed", *FOUR_FRONTS)
