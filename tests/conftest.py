"""Fixtures that several tests share: a synthetic run on disk, and the learned rewards with tiny weights."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.synthetic_run import write_run

if TYPE_CHECKING:
    from tests.support.fake_judge import FakeJudge
    from tests.support.tiny_blip import TinyBlip
    from tests.support.tiny_clip import Tiny


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
    from tests.support.fake_judge import FakeJudge

    with FakeJudge(tmp_path_factory.mktemp("answers")) as server:
        yield server
