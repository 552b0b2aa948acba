"""A weight file whose pin fails: what was expected and found, and a run that goes on with the found one by name."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from configs.errors import RequestError
from configs.load import load_config
from pipeline.cli.commands import app
from pipeline.planning.plan import _shared_identity, make_plan
from rewards.brightness import Brightness
from rewards.colorfulness import Colorfulness
from rewards.errors import WeightsError
from rewards.pinned_files import WeightFile, accepting, locate
from srsoup import _app

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
PINNED, FOUND = (hashlib.sha256(content).hexdigest() for content in (b"pinned", b"found"))
FILE = WeightFile("some/model", "a" * 40, "model.pt", PINNED)
OTHER = WeightFile("another/model", "b" * 40, "model.pt", PINNED)
SMALL = ("steps=2", "queries=2", "soup.steps=1", "method=srsoup", "prompts.list=[an owl]", "rewards.held_out=[]")


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reward with a weight file, of which this machine has another content than the pinned one."""
    place = tmp_path / "weights" / FILE.path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"found")
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(Colorfulness, "info", replace(Colorfulness.info, weights=(FILE,)))
    monkeypatch.setattr(Colorfulness, "setup", lambda self, device: locate(FILE))
    return place


def run(tmp_path: Path, *overrides: str) -> Result:
    command = ["run", str(DEMO), "--local", *SMALL, f"output={tmp_path / 'run'}", *overrides]
    return CliRunner().invoke(app, command)


def test_the_error_says_what_is_expected_and_found_and_its_fix_works(tmp_path: Path) -> None:
    failed = run(tmp_path)
    assert failed.exit_code == 2 and f"its SHA-256 is {FOUND}, not {PINNED}" in failed.output
    text = f"rewards.accept_sha256='{{some/model/model.pt: {FOUND}}}'"
    assert text in failed.output and "hf download some/model model.pt" in failed.output
    done = run(tmp_path, text.replace("'", ""))
    assert done.exit_code == 0, done.output
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert record["config"]["rewards"]["accept_sha256"] == {"some/model/model.pt": FOUND}
    log = (tmp_path / "run" / "driver.log").read_text()
    assert f"some/model/model.pt is accepted with SHA-256 {FOUND}, and not with the pinned {PINNED}" in log
    for other in ("{}", f"{{model.pt: {FOUND}}}"):
        resumed = run(tmp_path, f"rewards.accept_sha256={other}")
        assert resumed.exit_code == 2 and "key:     rewards.accept_sha256" in resumed.output


def test_a_name_may_be_short_and_the_pin_holds_for_all_other_files(weights: Path) -> None:
    for name in ("model.pt", "some/model/model.pt"):
        with accepting({name: FOUND}):
            assert locate(FILE) == weights
    for digests in ({}, {"other.pt": FOUND}, {"another/model/model.pt": FOUND}, {"model.pt": "0" * 64}):
        with accepting(digests), pytest.raises(WeightsError, match=f"its SHA-256 is {FOUND}, not"):
            locate(FILE)
    with pytest.raises(WeightsError, match=f"not {PINNED}"):
        locate(FILE)


def test_the_pinned_content_is_not_accepted_beside_the_named_one(weights: Path) -> None:
    """Machines with one file and with the other would give different scores to one configuration."""
    weights.write_bytes(b"pinned")
    assert locate(FILE) == weights
    with accepting({"model.pt": FOUND}), pytest.raises(WeightsError, match=f"its SHA-256 is {PINNED}, not {FOUND}"):
        locate(FILE)


def test_prompts_keep_their_own_digest(tmp_path: Path) -> None:
    with accepting({"model.pt": FOUND}), pytest.raises(WeightsError, match=f"not {PINNED}") as caught:
        locate(FILE, is_weight=False)
    assert "accept" not in str(caught.value)


@pytest.mark.parametrize(
    ("accept", "problem"),
    [
        (f"{{other.pt: {FOUND}}}", "no weight files of this run have the name other.pt"),
        (f"{{model: {FOUND}}}", "no weight files of this run have the name model"),
        ("{model.pt: abc}", "pattern"),
        ("[model.pt]", "dictionary"),
    ],
)
def test_a_name_or_a_digest_that_is_none_is_refused(tmp_path: Path, accept: str, problem: str) -> None:
    with pytest.raises(RequestError, match=problem) as caught:
        make_plan(load_config(DEMO, [*SMALL, f"rewards.accept_sha256={accept}", f"output={tmp_path / 'run'}"]), str)
    assert caught.value.key.startswith("rewards.accept_sha256")


def test_a_name_of_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brightness, "info", replace(Brightness.info, weights=(OTHER,)))
    both = [*SMALL, "rewards.held_out=[brightness]", f"output={tmp_path / 'run'}"]
    with pytest.raises(RequestError, match=r"2 weight files of this run have the name model\.pt"):
        make_plan(load_config(DEMO, [*both, f"rewards.accept_sha256={{model.pt: {FOUND}}}"]), str)
    assert make_plan(load_config(DEMO, [*both, f"rewards.accept_sha256={{another/model/model.pt: {FOUND}}}"]), str)


def test_a_run_from_before_there_was_this_key_is_continued(tmp_path: Path, weights: Path) -> None:
    weights.write_bytes(b"pinned")
    assert run(tmp_path).exit_code == 0
    record = tmp_path / "run" / "config.yaml"
    older = yaml.safe_load(record.read_text())
    assert older["config"]["rewards"].pop("accept_sha256") == {}
    record.write_text(yaml.safe_dump(older))
    again = run(tmp_path)
    assert again.exit_code == 0 and "1 of 1 fronts are done already" in again.output
    config = load_config(DEMO, [*SMALL, f"output={tmp_path / 'run'}"])
    assert "accept_sha256" not in _shared_identity(config, ())["rewards"]
    keys = {task.key for task in make_plan(config, str).tasks}
    accepting_config = load_config(DEMO, [*SMALL, f"rewards.accept_sha256={{model.pt: {FOUND}}}", "output=runs/none"])
    assert not keys & {task.key for task in make_plan(accepting_config, str).tasks}


def test_score_and_fetch_take_it_on_the_command_line(tmp_path: Path, weights: Path) -> None:
    fetch = ["rewards", "--fetch", "colorfulness"]
    failed = CliRunner().invoke(_app(), fetch)
    assert failed.exit_code == 2 and f"--accept-sha256 some/model/model.pt={FOUND}" in failed.output
    done = CliRunner().invoke(_app(), [*fetch, "--accept-sha256", f"some/model/model.pt={FOUND}"])
    assert done.exit_code == 0 and str(weights) in done.output
    score = ["score", str(DEMO.parents[1] / "docs" / "front.png"), "--rewards", "colorfulness"]
    assert CliRunner().invoke(_app(), score).exit_code == 2
    assert CliRunner().invoke(_app(), [*score, "--accept-sha256", f"model.pt={FOUND}"]).exit_code == 0
    wrong = CliRunner().invoke(_app(), [*fetch, "--accept-sha256", "model.pt"])
    assert wrong.exit_code == 2 and "this is not FILE=SHA256" in wrong.output
