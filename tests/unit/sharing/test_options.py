"""The keys of `soup.steps: auto`: what the configuration takes and refuses, and what the plan says of the cost."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from pipeline.cli.commands import app
from pipeline.guidance.sharing.auto_step import Sharing
from pipeline.planning.method.options import guidance_of
from tests.support.runs import DEMO

TEXT = """
name: options
weights: {grid: 3}
prompts: {list: [snail]}
rewards: {guided: [colorfulness, compressibility]}
steps: 25
"""


def loaded(folder: Path, *overrides: str) -> RunConfig:
    (folder / "run.yaml").write_text(TEXT)
    return load_config(folder / "run.yaml", overrides)


def soup(config: RunConfig) -> Any:
    return json.loads(json.dumps(config.model_dump(mode="json")["soup"]))


def test_a_mean_of_queries_is_a_number_and_a_rule(tmp_path: Path) -> None:
    config = loaded(tmp_path, "soup.steps=auto", "queries={auto: 16}")
    assert (config.queries, config.soup.queries) == (16, "auto")
    again = RunConfig.model_validate(config.model_dump())
    assert again == config, "the record of a run gives the same run"
    assert guidance_of(config, "srsoup").sharing == Sharing(0.7, True, True)
    assert guidance_of(config, "srsoup").soup_steps == 25
    assert guidance_of(config, "weighted_sum").sharing is None and guidance_of(config, "weighted_sum").soup_steps == 0


def test_without_auto_the_record_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """These bytes enter the key of every task."""
    assert soup(loaded(tmp_path)) == {"steps": 20, "correction": "renormalised"}
    assert soup(loaded(tmp_path, "soup.steps=auto"))["threshold"] == 0.7


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("soup.threshold=0.5",), "soup.threshold"),
        (("soup.every_reward=false",), "soup.every_reward"),
        (("queries={auto: 16}",), "soup.queries"),
        (("soup.steps=auto", "queries={auto: 16}", "soup.queries=fixed"), "soup.queries"),
        (("soup.steps=auto", "queries={auto: 1.5}"), "queries"),
        (("soup.steps=auto", "queries={mean: 4}"), "queries"),
        (("soup.steps=auto", "queries={auto: 1}"), "queries"),
        (("soup.steps=auto", "queries={auto: 2}", "weights=[[0.5, 0.5]]"), "queries"),
        (("soup.steps=auto", "soup.threshold=1.5"), "soup.threshold"),
        (("soup.steps=auto", "soup.first=3"), "soup.first"),
        (("soup.steps=sometimes",), "soup.steps"),
        (("soup.steps=auto", "method=weighted_sum"), "soup.steps"),
        (("soup.steps=auto", "method=[srsoup, unguided_first]"), "soup.steps"),
        (("soup.steps=auto", "method=[srsoup, best_of]"), "best_of.samples"),
        (("soup.steps=auto", "surrogate={}"), "soup.steps"),
        (("guidance.noise=distinct",), "guidance.noise"),
        (("guidance.noise=distinct", "method=weighted_sum", "soup.steps=0"), "guidance.noise"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(tmp_path: Path, overrides: tuple[str, ...], key: str) -> None:
    with pytest.raises(RequestError) as refused:
        loaded(tmp_path, *overrides)
    assert refused.value.key.startswith(key) and refused.value.fix


@pytest.mark.parametrize(
    ("overrides", "cost"),
    [
        # 2 exemplars of 4 readings in the first step, then at most 6 rows with 2 rewards in each of 24 steps.
        (("queries=3",), "at most 876 queries and 444 decodes a front"),
        (("queries=3", "soup.every_reward=false"), "at most 726 queries and 444 decodes a front"),
        (("queries={auto: 3}",), "at most 750 queries and 456 decodes a front"),
    ],
)
def test_check_forecasts_a_bound_and_says_so(tmp_path: Path, overrides: tuple[str, ...], cost: str) -> None:
    arguments = ["check", str(DEMO), "method=srsoup", "soup.steps=auto", *overrides, f"output={tmp_path / 'run'}"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0 and cost in done.output and "measured cosines decide" in done.output
