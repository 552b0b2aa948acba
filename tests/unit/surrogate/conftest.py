"""Fixtures of the tests of surrogates."""

from collections.abc import Iterator

import pytest

from pipeline.surrogate import training


@pytest.fixture(scope="module")
def short_training() -> Iterator[None]:
    """Train for a tenth of the updates, where nothing depends on how well a surrogate predicts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FEWEST_UPDATES", 30)
        yield
