"""A Ray head on this machine, for tests of runs that join a cluster."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster.head import Head, RayHead


@pytest.fixture
def start_head(tmp_path: Path) -> Iterator[Head]:
    """A function that starts a head, as `ray start` makes it, with a token; it gives what it takes to speak to it."""
    with ExitStack() as stack:
        yield lambda *options, **variables: stack.enter_context(RayHead(tmp_path, options, variables))
