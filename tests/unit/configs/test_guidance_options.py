"""Options of one reward: what the schema takes, what it refuses, and what the record of a run keeps."""

import json
from pathlib import Path
from typing import Any

import pytest

from configs.errors import COMMAND_LINE, RequestError
from configs.load import load_config
from configs.schema import RunConfig

TEXT = """
name: options
weights: {grid: 3}
prompts: {list: [snail]}
rewards: {guided: [colorfulness, compressibility], held_out: [mini_clip]}
"""


def loaded(folder: Path, *overrides: str) -> RunConfig:
    (folder / "run.yaml").write_text(TEXT)
    return load_config(folder / "run.yaml", overrides)


def recorded(config: RunConfig) -> Any:
    return json.loads(json.dumps(config.model_dump(mode="json")["guidance"]))


def test_options_are_given_for_each_reward(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "guidance.elite_fraction={compressibility: 0.16667}",
        "guidance.satisfied_above={compressibility: -15, colorfulness: 30}",
    )
    assert config.guidance.elite_fraction == {"compressibility": 0.16667}
    assert config.guidance.satisfied_above == {"compressibility": -15.0, "colorfulness": 30.0}
    assert (config.guidance.elite_in, config.guidance.satisfied_in) == ("exemplars", "everywhere")


@pytest.mark.parametrize(
    "override", ["guidance.elite_fraction=1", "guidance.elite_fraction=1.0", "guidance={}", "seed=0"]
)
def test_without_them_the_record_is_that_of_earlier_versions(tmp_path: Path, override: str) -> None:
    """These bytes enter the key of every task."""
    assert recorded(loaded(tmp_path, override)) == {
        "step": "sphere", "noise": "plain", "normalisation": "std", "elite_fraction": 1.0, "satisfied_above": {}
    }  # fmt: skip


def test_a_key_that_has_no_effect_is_left_out_of_the_record_and_a_place_that_has_one_is_kept(tmp_path: Path) -> None:
    alone = loaded(tmp_path, "guidance.elite_in=everywhere", "guidance.satisfied_in=exemplars")
    assert recorded(alone) == recorded(loaded(tmp_path))
    target = recorded(loaded(tmp_path, "guidance.satisfied_above={compressibility: -15}"))
    assert (target["satisfied_in"], target["elite_fraction"]) == ("everywhere", 1.0) and "elite_in" not in target
    elite = recorded(loaded(tmp_path, "guidance.elite_fraction={compressibility: 0.5}"))
    assert (elite["elite_in"], elite["elite_fraction"]) == ("exemplars", {"compressibility": 0.5})
    assert "satisfied_in" not in elite


def test_a_record_can_be_read_as_a_configuration_again(tmp_path: Path) -> None:
    for overrides in ([], ["guidance.elite_fraction={compressibility: 0.5}"]):
        config = loaded(tmp_path, *overrides)
        assert RunConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("override", "key", "problem", "fix"),
    [
        ("elite_fraction=0.5", "elite_fraction", "one fraction for all rewards is not allowed",
         "name the reward that the fraction is for, such as {compressibility: 0.5}"),
        ("elite_fraction=0", "elite_fraction", "one fraction for all rewards is not allowed",
         "name the reward that the fraction is for, such as {compressibility: 0}"),
        ("elite_fraction={mini_clip: 0.5}", "elite_fraction", "mini_clip is not a guided reward of this run",
         "name guided rewards only: colorfulness, compressibility"),
        ("elite_fraction={compresibility: 0.5, x: 1}", "elite_fraction",
         "compresibility, x is not a guided reward of this run",
         "name guided rewards only: colorfulness, compressibility"),
        ("satisfied_above={mini_clip: 0.5}", "satisfied_above", "mini_clip is not a guided reward of this run",
         "name guided rewards only: colorfulness, compressibility"),
        ("elite_fraction={compressibility: 2}", "elite_fraction.compressibility",
         "Input should be less than or equal to 1", "set guidance.elite_fraction.compressibility to an allowed value"),
        ("elite_fraction={compressibility: 0}", "elite_fraction.compressibility",
         "Input should be greater than 0", "set guidance.elite_fraction.compressibility to an allowed value"),
        ("elite_fraction={compressibility: .nan}", "elite_fraction.compressibility",
         "Input should be a finite number", "set guidance.elite_fraction.compressibility to an allowed value"),
        ("elite_fraction=true", "elite_fraction", "Input should be a valid dictionary",
         "set guidance.elite_fraction to an allowed value"),
        ("elite_fraction=[0.5, 1]", "elite_fraction", "Input should be a valid dictionary",
         "set guidance.elite_fraction to an allowed value"),
        ("satisfied_above={compressibility: high}", "satisfied_above.compressibility", "Input should be a valid number",
         "set guidance.satisfied_above.compressibility to an allowed value"),
        ("elite_in=soup", "elite_in", "Input should be 'exemplars' or 'everywhere'",
         "set guidance.elite_in to an allowed value"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(tmp_path: Path, override: str, key: str, problem: str, fix: str) -> None:
    with pytest.raises(RequestError) as caught:
        loaded(tmp_path, f"guidance.{override}")
    error = caught.value
    assert (error.file, error.key) == (COMMAND_LINE, f"guidance.{key}")
    assert (error.problem, error.fix) == (problem, fix)


def test_antithetic_noise_takes_an_odd_number_of_queries(tmp_path: Path) -> None:
    config = loaded(tmp_path, "guidance.noise=antithetic", "queries=11")
    assert (config.guidance.noise, config.queries) == ("antithetic", 11)
