"""Fixtures that several tests share: a synthetic run on disk, and the learned rewards with tiny weights."""

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Set before NumPy and torch are imported, because they read it once. Several test processes share the cores, and on two
# threads, which wait for each other, networks as small as those of the tests take three times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from rewards import registry
from tests.support.synthetic_run import write_run

if TYPE_CHECKING:
    from tests.support.servers.fake_judge import FakeJudge
    from tests.support.tiny_blip import TinyBlip
    from tests.support.tiny_clip import Tiny

ON_RAY = Path(__file__).parent / "ray"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first if several processes share the tests, so that all end at about the same time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (not item.path.is_relative_to(ON_RAY), item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one process, and all tests on Ray to the same one: two cores are too few for two clusters."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "ray" if nodeid.startswith("tests/ray/") else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # keep the order of `pytest_collection_modifyitems`
    return Scheduler(config, log)


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep in a folder that pytest clears what a command leaves for its user: the stack of an unexpected error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(autouse=True)
def torch_as_before() -> Iterator[None]:
    """Restore the settings of torch that a run changes for its whole process, because they decide bits."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the rewards of plugin files after each test, because they are known to the whole process."""
    monkeypatch.setattr(registry, "_plugged", {})


@pytest.fixture
def synthetic_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run into a folder of the test and returns where it is."""
    return functools.partial(write_run, tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Tiny"]:
    """The CLIP rewards with tiny random weights, in the folder that `rewards.pinned_files` reads first."""
    # Imported here, because most tests do not need transformers.
    from tests.support.tiny_clip import make_tiny

    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRSOUP_WEIGHTS", str(folder))
        yield make_tiny(folder)


@pytest.fixture(scope="session")
def tiny_blip(tiny: "Tiny") -> "TinyBlip":
    """ImageReward with tiny random weights, in the same folder."""
    from tests.support.tiny_blip import make_tiny_blip

    return make_tiny_blip(tiny.folder)


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator["FakeJudge"]:
    """A server that scores images in place of a vision-language model."""
    from tests.support.servers.fake_judge import FakeJudge

    with FakeJudge(tmp_path_factory.mktemp("answers")) as server:
        yield server
