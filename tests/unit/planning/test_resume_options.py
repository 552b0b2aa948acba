"""Runs of earlier versions: they are continued where nothing has changed, and refused where an option has."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.errors import RequestError
from configs.load import checked_config, load_config
from pipeline.job.result_writer import write_record
from pipeline.planning.plan import Plan, _shared_identity, make_plan, prompt_task
from pipeline.planning.prompts import Prompt

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
ELITE = "guidance.elite_fraction={compressibility: 0.5}"
TARGET = "guidance.satisfied_above={compressibility: -1.8}"


def plan_of(folder: Path, *overrides: str) -> Plan:
    return make_plan(load_config(DEMO, [f"output={folder}", *overrides]), str)


def written(folder: Path, guidance: dict[str, Any] | None = None, *overrides: str) -> Path:
    """Write the record of a run, as an earlier version wrote it if the section `guidance` is given."""
    write_record(plan_of(folder, *overrides))
    record = yaml.safe_load((folder / "config.yaml").read_text())
    if guidance:
        record["config"]["guidance"] |= guidance
        (folder / "config.yaml").write_text(yaml.safe_dump(record))
    return folder


def test_the_key_of_a_task_without_options_is_that_of_earlier_versions() -> None:
    """The key was computed before the options were given for each reward."""
    config = checked_config(
        {
            "name": "fixed", "weights": [[0.0, 1.0], [1.0, 0.0]], "prompts": {"list": ["a snail"]},
            "rewards": {"guided": ["colorfulness", "compressibility"]},
        },
        "here",
    )  # fmt: skip
    prompt = Prompt("0", "a snail", "config")
    task = prompt_task(
        config, prompt, 0, "srsoup", "revision", json.dumps(_shared_identity(config, []), sort_keys=True)
    )
    assert task.key == "7ff5856392324cf69408def5557c08d6346db55876bf067efc21ce3398c239bb"


def test_a_run_without_options_is_continued(tmp_path: Path) -> None:
    old = {"step": "sphere", "noise": "plain", "normalisation": "std", "elite_fraction": 1.0, "satisfied_above": {}}
    folder = written(tmp_path / "run", old)
    assert plan_of(folder).tasks == plan_of(tmp_path / "new").tasks


@pytest.mark.parametrize("options", [[ELITE], [TARGET], [ELITE, TARGET, "guidance.elite_in=everywhere"]])
def test_a_run_with_options_is_continued_with_the_same_ones_only(tmp_path: Path, options: list[str]) -> None:
    folder = written(tmp_path / "run", None, *options)
    assert plan_of(folder, *options).tasks[0].key != plan_of(tmp_path / "new").tasks[0].key
    for others in ([], [ELITE, TARGET], ["guidance.elite_fraction={colorfulness: 0.5}"]):
        with pytest.raises(RequestError, match="holds a run with"):
            plan_of(folder, *others)


@pytest.mark.parametrize(
    ("old", "requested", "key"),
    [
        ({"elite_fraction": 0.5}, [], "guidance.elite_fraction"),
        ({"elite_fraction": 0.5}, [ELITE], "guidance.elite_fraction.compressibility"),
        ({"satisfied_above": {"compressibility": -1.8}}, [], "guidance.satisfied_above.compressibility"),
        ({"satisfied_above": {"compressibility": -1.8}}, [TARGET], "guidance.satisfied_in"),
        ({"satisfied_above": {"compressibility": -1.8, "colorfulness": 3.0}, "satisfied_in": "everywhere"}, [TARGET],
         "guidance.satisfied_above.colorfulness"),
    ],
)  # fmt: skip
def test_a_run_of_an_earlier_version_with_an_option_is_refused_because_its_meaning_has_changed(
    tmp_path: Path, old: dict[str, Any], requested: list[str], key: str
) -> None:
    folder = written(tmp_path / "run", old)
    with pytest.raises(RequestError) as caught:
        plan_of(folder, *requested)
    assert caught.value.key == key and "set output=... to a new folder" in caught.value.fix
