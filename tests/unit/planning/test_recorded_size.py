"""What `check` accepts can be continued and reported: the record of a run is never too long to be read back."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from configs.plain import data
from configs.plain.data import MAX_VALUES, PlainYamlError, count_values, parse_yaml
from pipeline.cli.commands import app
from pipeline.job.result_writer import write_record
from pipeline.planning import request_checks
from pipeline.planning.plan import make_plan
from pipeline.planning.request_checks import MOST_RECORDED
from tests.support.runs import DEMO


@pytest.mark.parametrize(
    ("text", "values"),
    [("1", 1), ("[]", 1), ("[1, [2, 3]]", 5), ("{a: 1}", 3), ("{a: [1, 2], b: {c: null}}", 9)],
)
def test_values_are_counted_as_the_reader_counts_them(text: str, values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_values(parse_yaml(text)) == values
    monkeypatch.setattr(data, "MAX_VALUES", values)
    assert parse_yaml(text + "\n") is not None
    monkeypatch.setattr(data, "MAX_VALUES", values - 1)
    with pytest.raises(PlainYamlError, match="more than"):
        parse_yaml(text + "\n\n")


def test_the_largest_configuration_that_is_accepted_is_recorded_within_the_limit_of_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(DEMO, ["weights={das_dennis: 200}", f"output={tmp_path}"])
    values = count_values(config.model_dump(mode="json"))
    monkeypatch.setattr(request_checks, "MOST_RECORDED", values)
    write_record(make_plan(config, str))
    recorded = count_values(parse_yaml((tmp_path / "config.yaml").read_text()))
    assert values < recorded <= values + (MAX_VALUES - MOST_RECORDED)
    monkeypatch.setattr(request_checks, "MOST_RECORDED", values - 1)
    with pytest.raises(RequestError, match="201 rows for 2 rewards") as refused:
        make_plan(config, str)
    assert refused.value.key == "weights" and f"{values:,} values, of which 402 are weights" in refused.value.problem


def test_check_refuses_a_rule_that_gives_more_weights_than_a_record_holds(tmp_path: Path) -> None:
    """100 rewards have 5,050 rows of multiples of 1/2: the file holds one value, the record would hold 510,000."""
    (tmp_path / "p.py").write_text("REWARDS = {f'r{i}': len for i in range(100)}\n")
    rewards = f"rewards.guided=[{', '.join(f'r{i}' for i in range(100))}]"
    words = ["check", str(DEMO), rewards, "weights={das_dennis: 2}", "--plugin", str(tmp_path / "p.py")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and "of which 505,000 are weights" in done.output, done.output
    assert "key:     weights" in done.output and f"at most {MOST_RECORDED:,} values" in done.output
