"""Rounds of a surrogate on Ray: the bits of one process on one actor and on two, to the files of the surrogates."""

from pathlib import Path

import pytest

from tests.support.runs import FOUR_FRONTS, run, same_bits

# The second round has two fronts, so that two actors work on it at once.
ROUNDS = (
    *FOUR_FRONTS, "steps=2", "prompts.list=[snail, crab, owl]",
    "surrogate={first_round: 1, rounds: 2, queries: 2, pairs: 2}",
)  # fmt: skip


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "local", *ROUNDS, "--local")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [pytest.param(1, marks=pytest.mark.chaos), 2])
def test_rounds_on_ray_give_the_bits_of_one_process(
    local_run: Path, tmp_path: Path, head: dict[str, str], actors: int
) -> None:
    options = (f"compute.diffusion_actors={actors}", "compute.device=cpu")
    output = run(tmp_path / "run", *ROUNDS, *options, environment=head)
    assert same_bits(output, local_run)
    name = "surrogate/round-1.safetensors"
    assert (output / name).read_bytes() == (local_run / name).read_bytes()
