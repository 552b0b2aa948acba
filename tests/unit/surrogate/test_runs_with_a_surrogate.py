"""Runs with a surrogate: rounds, files, resume, and what is refused."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from diffusion.surrogate.network import Surrogate, SurrogateNetwork, from_bytes, to_bytes
from pipeline.cli.commands import app
from pipeline.planning.surrogates.given import sha256
from pipeline.records import read_table
from tests.support.runs import DEMO, FOUR_FRONTS, run_here, same_bits

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_training")]
ROUNDS = (*FOUR_FRONTS, "surrogate={first_round: 1, rounds: 3, queries: 2, pairs: 3}")


def invoke(output: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", str(DEMO), *arguments, "--local", f"output={output}"])


@pytest.fixture(scope="module")
def rounds(short_training: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fronts in rounds of one, two and one."""
    return run_here(tmp_path_factory.mktemp("rounds") / "run", *ROUNDS)


@pytest.fixture
def copy(rounds: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rounds, tmp_path / "run"))


def costs_of(run: Path) -> pd.DataFrame:
    return read_table(run, "costs").to_pandas().sort_values("key").reset_index(drop=True)


def forget_front(run: Path, key: str) -> None:
    """Leave the folder as it is when the driver dies before the front is finished."""
    (run / "costs" / f"{key}.parquet").unlink()


def test_rounds_follow_the_order_of_the_keys_and_their_costs_fall(rounds: Path) -> None:
    costs = costs_of(rounds)
    assert costs.surrogate_round.tolist() == [0, 1, 1, 2]
    # K = 1 of T = 3 steps: M queries for each candidate in a soup step, and one for each positive weight in the others.
    assert costs.queries.tolist() == [n * (2 + 2 * 4) for n in (3, 2, 2, 2)]
    assert costs.decodes.tolist() == [n * (2 + 2 * 3) + 3 for n in (3, 2, 2, 2)]
    assert costs.backwards.tolist() == [0, 9, 9, 9]
    assert (costs.forwards == costs.denoises + costs.decodes - 3 + costs.backwards).all()
    assert costs.surrogate.isna().tolist() == [True, False, False, False]
    assert costs.surrogate.nunique() == 2
    assert (costs.seconds_surrogate > 0).tolist() == (costs.seconds_training > 0).tolist() == [False, True, True, True]


def test_each_surrogate_has_a_record_that_names_what_it_was_trained_on(rounds: Path) -> None:
    costs = costs_of(rounds)
    for number, fronts in ((1, 1), (2, 3)):
        content = (rounds / "surrogate" / f"round-{number}.safetensors").read_bytes()
        record = json.loads((rounds / "surrogate" / f"round-{number}.json").read_text())
        assert record["sha256"] == sha256(content)
        assert set(costs[costs.surrogate_round == number].surrogate) == {sha256(content)}
        assert record["keys"] == costs.key[:fronts].tolist() == from_bytes(content).record["keys"]
        # One or two groups of a step: a row in weighted-sum steps, an exemplar in soup steps; K = 3 or N = 2 in each.
        sizes = [3, 2, 2][:fronts]
        assert record["pairs"] == sum(size * (2 + 2 * 3) for size in sizes)
        share = costs[costs.surrogate_round == number].seconds_training
        assert share.sum() == pytest.approx(record["seconds"])


def test_pairs_are_those_that_were_paid_for(rounds: Path) -> None:
    first = costs_of(rounds).key[0]
    pairs = load_file(rounds / "surrogate" / "pairs" / f"{first}.safetensors")
    assert pairs["x0"].shape == (8, 3, 4, 16, 16) and pairs["x0"].dtype == torch.float16
    known = pairs["scores"].isfinite()
    assert known.sum() == 3 * (2 + 2 * 4), "a score for each query, and nothing else"
    assert not (rounds / "surrogate" / "pairs" / f"{costs_of(rounds).key[3]}.safetensors").exists(), "nothing to train"


def test_a_run_that_was_killed_anywhere_gives_the_same_bits(rounds: Path, copy: Path) -> None:
    costs = costs_of(rounds)
    forget_front(copy, costs.key[2])
    forget_front(copy, costs.key[3])
    (copy / "surrogate" / "round-2.json").unlink()
    (copy / "surrogate" / "round-2.safetensors").write_bytes(b"half a file")
    run_here(copy, *ROUNDS)
    assert same_bits(copy, rounds)
    for number in (1, 2):
        name = f"surrogate/round-{number}.safetensors"
        assert (copy / name).read_bytes() == (rounds / name).read_bytes()


def test_another_set_of_prompts_has_other_keys(rounds: Path, tmp_path: Path) -> None:
    """The same prompt gets another surrogate there, and so other pixels."""
    other = run_here(tmp_path / "run", *ROUNDS, "prompts.list=[snail, crab]")
    assert not set(costs_of(other).key) & set(costs_of(rounds).key)


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "foreign", "pairs"])
def test_a_damaged_surrogate_of_the_run_is_refused(copy: Path, damage: str) -> None:
    costs, file = costs_of(copy), copy / "surrogate" / "round-2.safetensors"
    forget_front(copy, costs.key[3])
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        file.unlink()
    elif damage == "foreign":
        file.write_bytes((copy / "surrogate" / "round-1.safetensors").read_bytes())
    else:
        (copy / "surrogate" / "round-2.json").unlink()
        (copy / "surrogate" / "pairs" / f"{costs.key[0]}.safetensors").write_bytes(b"no pairs")
    refused = invoke(copy, *ROUNDS)
    assert refused.exit_code == 2, refused.output
    assert "fix:" in refused.output and ("pairs" if damage == "pairs" else "round-2.safetensors") in refused.output
    assert len(costs_of(copy)) == 3


def test_a_surrogate_of_another_run_can_be_named(rounds: Path, tmp_path: Path) -> None:
    file = rounds / "surrogate" / "round-2.safetensors"
    reuse = (*FOUR_FRONTS, f"surrogate={{file: {file}, queries: 0}}", "prompts.list=[owl]", "guidance.strength=0.2")
    run = run_here(tmp_path / "run", *reuse)
    costs = costs_of(run)
    assert costs.queries.tolist() == [0] and costs.decodes.tolist() == [3] and costs.backwards.tolist() == [9]
    assert costs.surrogate.tolist() == [sha256(file.read_bytes())]
    assert set(read_table(run, "scores").to_pandas().role) == {"guided"}, "finals have true scores"

    other = rounds / "surrogate" / "round-1.safetensors"
    replaced = invoke(run, *reuse, f"surrogate={{file: {other}, queries: 0}}")
    assert replaced.exit_code == 2 and "surrogate" in replaced.output
    for wrong, problem in (
        (
            ("rewards.guided=[sharpness, brightness]", "report.reference_point=null"),
            "trained for colorfulness, compressibility",
        ),
        ((f"surrogate={{file: {tmp_path / 'none.safetensors'}, queries: 0}}",), "cannot be read"),
        ((f"surrogate={{file: {DEMO}, queries: 0}}",), "no surrogate"),
    ):
        refused = invoke(tmp_path / "refused", *reuse, *wrong)
        assert refused.exit_code == 2 and problem in " ".join(refused.output.split()), refused.output
        assert not (tmp_path / "refused").exists()


def test_each_weighting_keeps_the_best_sample_of_several_fronts(rounds: Path, tmp_path: Path) -> None:
    file = rounds / "surrogate" / "round-2.safetensors"
    one, many = (
        run_here(
            tmp_path / str(n), *FOUR_FRONTS, "prompts.list=[owl]",
            f"surrogate={{file: {file}, queries: 0, strength: 0.3, fronts: {n}}}",
        )
        for n in (1, 3)
    )  # fmt: skip
    costs = costs_of(many)
    assert costs.queries.tolist() == [3 * 3 * 2] and costs.decodes.tolist() == [3 * 3 + 3]
    assert costs.backwards.tolist() == [3 * 9]
    single, best = (
        read_table(run, "scores").to_pandas().pivot_table("value", "weight_index", "reward") for run in (one, many)
    )
    for row, reward in ((0, "compressibility"), (2, "colorfulness")):
        assert best[reward][row] >= single[reward][row], "the first of the fronts is the only one of the other run"
    assert best["colorfulness"][2] == best["colorfulness"].max()


def test_a_backward_pass_that_does_not_fit_fails_the_prompt_with_the_fix(
    rounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("diffusion.latent_diffusion.LatentDiffusion.look_ahead_gradient", full)
    file = rounds / "surrogate" / "round-2.safetensors"
    failed = invoke(tmp_path / "run", *FOUR_FRONTS, "prompts.list=[owl]", f"surrogate={{file: {file}, queries: 0}}")
    assert failed.exit_code == 1
    (failure,) = read_table(tmp_path / "run", "failures").to_pylist()
    assert failure["error_class"] == "BackwardMemoryError" and "gradient_checkpointing" in failure["message"]


def test_a_surrogate_of_another_model_is_refused(rounds: Path, tmp_path: Path) -> None:
    found = from_bytes((rounds / "surrogate" / "round-1.safetensors").read_bytes())
    foreign = Surrogate(
        found.network, found.rewards, found.mean_M, found.std_M, found.deviation_BM,
        {**found.record, "model_revision": "another"},
    )  # fmt: skip
    file = tmp_path / "foreign.safetensors"
    file.write_bytes(to_bytes(foreign))
    refused = invoke(tmp_path / "run", *FOUR_FRONTS, f"surrogate={{file: {file}}}")
    assert refused.exit_code == 2 and "another model" in " ".join(refused.output.split())


def test_a_surrogate_of_zero_gives_todays_bits(rounds: Path, tmp_path: Path) -> None:
    network = SurrogateNetwork(4, 2)
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    record = from_bytes((rounds / "surrogate" / "round-1.safetensors").read_bytes()).record
    nothing = Surrogate(network, ("colorfulness", "compressibility"), zero, one, torch.zeros(5, 2).double(), record)
    file = tmp_path / "zero.safetensors"
    file.write_bytes(to_bytes(nothing))
    few = (*FOUR_FRONTS, "prompts.list=[snail]", "method=[srsoup, weighted_sum]")
    with_zero = run_here(tmp_path / "zero", *few, f"surrogate={{file: {file}, queries: 3}}")
    plain = run_here(tmp_path / "plain", *few)
    images, scores = (
        [read_table(run, table).to_pandas().sort_values(["method", "weight_index"] if table == "samples" else "value")
         for run in (with_zero, plain)]
        for table in ("samples", "scores")
    )  # fmt: skip
    assert images[0].image.tolist() == images[1].image.tolist()
    assert scores[0].value.tolist() == scores[1].value.tolist()


def test_a_run_of_one_round_says_that_nothing_is_amortised(tmp_path: Path) -> None:
    done = invoke(tmp_path / "run", *FOUR_FRONTS, "prompts.list=[snail]", "surrogate={}", "steps=2")
    assert done.exit_code == 0, done.output
    assert "no front of this run has a surrogate" in " ".join(done.output.split())
    assert costs_of(tmp_path / "run").surrogate.isna().all()
    assert not (tmp_path / "run" / "surrogate" / "pairs").exists(), "a last round keeps no pairs"


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("method=unguided", "surrogate={}"), "surrogate"),
        (("guidance.normalisation=tanh", "surrogate={}"), "guidance.normalisation"),
        (("surrogate={queries: 1}",), "surrogate.queries"),
        (("surrogate={queries: 0}",), "surrogate.rounds"),
        (("guidance={step: gradient, strength: 0.5}",), "guidance.strength"),
    ],
)
def test_what_cannot_be_combined_is_refused(tmp_path: Path, arguments: tuple[str, ...], key: str) -> None:
    refused = invoke(tmp_path / "run", *FOUR_FRONTS, *arguments)
    assert refused.exit_code == 2 and f"key:     {key}" in refused.output, refused.output
