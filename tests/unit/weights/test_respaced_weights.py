"""Weights that are re-spaced: closed forms of the rule, rounds in a run, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from pipeline.records import read_table
from pipeline.storage.verify import verify
from pipeline.surrogate.weights import Array, Spread, respaced
from srsoup import _app
from tests.support.runs import DEMO, FOUR_FRONTS, run_here, same_bits

DENSE = np.linspace(0, 1, 2001)


def line(w: Array, fronts: int = 1) -> Spread:
    """A straight front on which a row lies at the share w^3 of its length, in units that differ by reward."""
    return Spread(w, np.stack([100 * w**3 - 7, 5 - 0.3 * w**3], 1), fronts)


def test_rows_lie_where_the_equation_says() -> None:
    """(1 - e) w^3 + e w = l / 5, solved as a polynomial."""
    want = []
    for part in range(6):
        roots = np.roots([0.9, 0, 0.1, -part / 5])
        want.append(roots[np.abs(roots.imag) < 1e-9].real.max())
    np.testing.assert_allclose(respaced([line(DENSE)], 6), want, atol=2e-3)


def test_a_front_that_is_even_stays_and_one_without_extent_is_evenly_spaced() -> None:
    w = np.linspace(0, 1, 6)
    np.testing.assert_allclose(respaced([Spread(w, np.stack([w, -w], 1), 3)], 6), w, atol=1e-6)
    np.testing.assert_allclose(respaced([Spread(w, np.zeros((6, 2)), 3)], 6), w, atol=1e-6)
    flat = Spread(w, np.stack([w**2, np.full(6, 3.0)], 1), 1)
    assert respaced([flat], 6)[1] > 0.2, "a reward that is the same at both ends has no unit, and the other decides"


def test_rounds_count_by_their_fronts_and_their_curves_are_averaged() -> None:
    w = np.linspace(0, 1, 6)
    curves = [Spread(w, np.stack([w, -w], 1), 3), line(DENSE)]
    got = respaced(curves, 6)
    share = 0.75 * DENSE + 0.25 * np.interp(DENSE, DENSE, DENSE**3)
    np.testing.assert_allclose(got, np.interp(w, 0.9 * share + 0.1 * DENSE, DENSE), atol=2e-3)
    np.testing.assert_array_equal(got, respaced(curves[::-1], 6))


def test_images_are_more_even_after_it_also_on_a_curved_front() -> None:
    def points(w: Array) -> Array:
        angle = np.pi / 2 * np.clip(2.2 * w, 0, 1) ** 1.5
        return np.stack([80 * np.sin(angle), 3 * np.cos(angle)], 1)

    def unevenness(w: Array) -> float:
        gaps = np.linalg.norm(np.diff(points(w) / (80, 3), axis=0), axis=1)
        return float(gaps.std() / gaps.mean())

    spreads, found = list[Spread](), [np.linspace(0, 1, 6)]
    for _ in range(3):
        spreads.append(Spread(found[-1], points(found[-1]), 1))
        found.append(respaced(spreads, 6))
    assert unevenness(found[0]) > 0.9 and unevenness(found[-1]) < 0.35
    assert all(w[0] == 0 and w[-1] == 1 and (np.diff(w) > 0).all() for w in found)


ADAPTIVE = (*FOUR_FRONTS, "steps=2", "queries=2", "method=[weighted_sum, unguided]", "weights={adaptive: 4}",
            "adaptive={first_round: 1, rounds: 3}")  # fmt: skip


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fronts in rounds of one, two and one, and four of the model alone."""
    return run_here(tmp_path_factory.mktemp("adaptive") / "run", *ADAPTIVE)


@pytest.fixture
def copy(rounds: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rounds, tmp_path / "run"))


def guided_keys(run: Path) -> list[str]:
    costs = read_table(run, "costs").to_pandas()
    return sorted(costs[costs.method == "weighted_sum"].key)


def forget(run: Path, key: str) -> None:
    (run / "costs" / f"{key}.parquet").unlink()


def invoke(command: str, output: Path, *arguments: str) -> Result:
    return CliRunner().invoke(_app(), [command, str(DEMO), *arguments, f"output={output}"], env={"COLUMNS": "200"})


def test_every_front_has_the_weights_of_its_round_and_the_record_names_where_they_came_from(rounds: Path) -> None:
    keys, costs = guided_keys(rounds), read_table(rounds, "costs").to_pandas().set_index("key")
    assert costs.loc[keys].weights_round.tolist() == [0, 1, 1, 2]
    assert costs[costs.method == "unguided"].weights_round.isna().all()
    samples = read_table(rounds, "samples").to_pandas().set_index("key")
    scores = read_table(rounds, "scores").to_pandas()
    spreads = list[Spread]()
    for number, members in enumerate((keys[:1], keys[1:3], keys[3:])):
        rows = [np.stack(samples.loc[key].sort_values("weight_index").weights.to_numpy()) for key in members]
        assert all(np.array_equal(rows[0], other) for other in rows)
        np.testing.assert_allclose(rows[0].sum(1), 1, atol=1e-9)
        if number:
            record = json.loads((rounds / "weights" / f"weighted_sum-round-{number}.json").read_text())
            assert record["keys"] == keys[: 2 * number - 1] and record["weights"] == rows[0].tolist()
            np.testing.assert_allclose(rows[0][:, 0], respaced(spreads, 4), atol=1e-6)
        own = scores[scores.key.isin(members)].pivot_table("value", "weight_index", "reward", aggfunc="mean")
        spreads.append(Spread(rows[0][:, 0], own[["colorfulness", "compressibility"]].to_numpy(), len(members)))
    assert not np.array_equal(spreads[0].w_L, spreads[1].w_L)


def test_a_run_that_was_killed_anywhere_gives_the_same_bits(rounds: Path, copy: Path) -> None:
    keys = guided_keys(rounds)
    forget(copy, keys[2])
    forget(copy, keys[3])
    (copy / "weights" / "weighted_sum-round-2.json").unlink()
    run_here(copy, *ADAPTIVE)
    assert same_bits(copy, rounds)
    name = "weights/weighted_sum-round-2.json"
    assert (copy / name).read_bytes() == (rounds / name).read_bytes()


@pytest.mark.parametrize("content", ["[]", "{", '{"weights": [[0, 1], [0.5, 0.6], [0.7, 0.3], [1, 0]]}',
                                     '{"weights": [[0, 1], [1, 0]]}', '{"weights": [[1, 0], [0, 1]]}'])  # fmt: skip
def test_a_damaged_record_is_refused(copy: Path, content: str) -> None:
    forget(copy, guided_keys(copy)[3])
    file = copy / "weights" / "weighted_sum-round-2.json"
    file.write_text(content)
    refused = invoke("run", copy, *ADAPTIVE, "--local")
    assert refused.exit_code == 2 and file.name in refused.output and "fix" in refused.output


def test_verify_and_report_read_such_a_run(copy: Path) -> None:
    assert verify(copy).damage == ()
    done = CliRunner().invoke(_app(), ["report", str(copy)])
    assert done.exit_code == 0, done.output


def test_another_set_of_prompts_has_other_keys(rounds: Path, tmp_path: Path) -> None:
    few = run_here(tmp_path / "run", *ADAPTIVE, "method=weighted_sum", "prompts.list=[snail]")
    assert not set(guided_keys(few)) & set(guided_keys(rounds))


def test_check_names_the_rounds(tmp_path: Path) -> None:
    shown = invoke("check", tmp_path / "run", *ADAPTIVE).output
    assert "weights of weighted_sum, round 1" in shown and "2 fronts, re-spaced" in shown
    shown = invoke("check", tmp_path / "run", *ADAPTIVE, "adaptive={first_round: 8}").output
    assert "all 4 fronts are in the first round" in shown


def loaded(folder: Path, *overrides: str) -> RunConfig:
    (folder / "run.yaml").write_text(
        "{name: a, method: weighted_sum, weights: {adaptive: 5}, prompts: {list: [snail]}, "
        "rewards: {guided: [colorfulness, compressibility]}}"
    )
    return load_config(folder / "run.yaml", overrides)


def test_the_record_gives_the_same_run(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert config.adaptive is not None and len(config.weights) == 5
    assert RunConfig.model_validate(config.model_dump()) == config
    assert "adaptive" not in loaded(tmp_path, "weights={grid: 5}").model_dump()


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("weights={adaptive: 2}",), "weights.adaptive"),
        (("weights={adaptive: 201}",), "weights.adaptive"),
        (("rewards.guided=[colorfulness, compressibility, brightness]",), "weights.adaptive"),
        (("method=[best_of, unguided]",), "weights"),
        (("surrogate={}",), "weights"),
        (("adaptive={rounds: 1}",), "adaptive.rounds"),
        (("weights=[[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]", "adaptive={}"), "weights"),
    ],
)
def test_what_cannot_be_respaced_is_refused(tmp_path: Path, overrides: tuple[str, ...], key: str) -> None:
    with pytest.raises(RequestError) as refused:
        loaded(tmp_path, *overrides)
    assert refused.value.key == key and refused.value.fix
