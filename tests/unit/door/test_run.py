"""`srsoup.run` and `Run`: a whole run from Python, and its results as frames and images."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from actors.protocol import RunStopped
from evaluation.errors import ReportError
from pipeline.library import batch
from pipeline.library.thread import in_a_thread
from pipeline.records import finished_keys
from pipeline.storage.schemas import SCHEMAS
from srsoup import RequestError, Run, load_config, run
from tests.support.runs import run as run_of_the_command
from tests.support.runs import same_bits
from tests.support.synthetic_run import NASTY

TINY = ("steps=2", "queries=2", "soup.steps=1", "prompts.limit=1", "method=srsoup")
PLUGIN = """
def half(images, prompts):
    if "owl" in prompts[0]:
        raise ValueError("no owls")
    return [{value}] * len(images)
REWARDS = {{"half": half}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run("demo", [*TINY, f"output={tmp_path_factory.mktemp('made')}"], local=True, progress=False)


def test_a_run_from_python_has_the_bits_of_the_command_and_leaves_the_process_alone(
    made: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert same_bits(Path(str(made.folder)), run_of_the_command(tmp_path / "command", *TINY, "--local"))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    config = load_config("demo", [*TINY, f"output={tmp_path / 'own'}", "prompts.list=[an owl]"])
    try:
        found = run(config, local=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert found.samples()["prompt"].unique().tolist() == ["an owl"]
    assert "prompts 1/1" in capfd.readouterr().err


def test_it_continues_and_works_where_an_event_loop_is_running(made: Run, capfd: pytest.CaptureFixture[str]) -> None:
    async def cell() -> Run:
        return run("demo", [*TINY, "prompts.limit=2", f"output={made.folder}2"], local=True, progress=False)

    found = asyncio.run(cell())
    assert len(finished_keys(found.folder)) == 2 and found.failures().empty
    assert not capfd.readouterr().err
    again = asyncio.run(cell())
    assert again == found and repr(again) == f"Run('{made.folder}2': 2 fronts finished, 0 failed)"


def test_a_plugin_file_can_be_edited_between_two_calls_and_failures_are_kept(tmp_path: Path) -> None:
    plugin, owls = tmp_path / "mine.py", ["prompts.list=[an owl, a snail]", "prompts.limit=2"]
    for value in (0.5, 0.25):
        plugin.write_text(PLUGIN.format(value=value))
        given = [*TINY, *owls, "rewards.held_out=[half]", f"output={tmp_path / str(value)}"]
        found = run("demo", given, local=True, plugins=[plugin], progress=False)
        scores = found.scores()
        assert (scores[scores["reward"] == "half"]["value"] == value).all()
        assert found.failures()[["prompt", "error_class"]].to_numpy().tolist() == [["an owl", "ValueError"]]
        assert repr(found).endswith("1 fronts finished, 1 failed)")


def test_wrong_calls_name_key_and_fix(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=r"(?s)did you mean steps\?"):
        run("demo", ["stepz=3"], local=True)
    with pytest.raises(RequestError, match="nearest names: demo"):
        run("dem", local=True)
    with pytest.raises(RequestError, match=r"write overrides=\['seed=1'\]"):
        run("demo", "seed=1", local=True)
    with pytest.raises(RequestError, match=r"write plugins=\['a.py'\]"):
        run("demo", plugins="a.py", local=True)
    with pytest.raises(RequestError, match="give them to load_config"):
        run(load_config("demo"), ["seed=1"], local=True)
    with pytest.raises(RequestError, match=r"(?s)no reward with this name.*file:    \(a RunConfig\)"):
        run(load_config("demo", ["rewards.held_out=[colour]"]), local=True)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with pytest.raises(RequestError, match=r"call ray.shutdown\(\) first"):
        run("demo", [*TINY, f"output={made.folder}"])


def test_a_run_that_stops_says_why_and_that_the_call_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object, **__: object) -> None:
        raise RunStopped("the disk is full, token=abc")

    monkeypatch.setattr(batch, "execute", stops)
    with pytest.raises(RuntimeError, match=r"stopped: the disk is full.*the same call continues the run"):
        run("demo", [*TINY, f"output={tmp_path}"], local=True)


def test_an_interrupt_ends_a_local_run_and_the_next_call_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*TINY, "prompts.limit=3", f"output={tmp_path / 'run'}"]

    def interrupt(steps: int, candidates: int) -> None:
        if finished_keys(tmp_path / "run"):
            raise KeyboardInterrupt

    monkeypatch.setattr(batch, "in_a_thread", lambda work, _: in_a_thread(work, interrupt))
    with pytest.raises(KeyboardInterrupt):
        run("demo", arguments, local=True, progress=False)
    assert 1 <= len(finished_keys(tmp_path / "run")) < 3 and Run.open(tmp_path / "run").failures().empty
    monkeypatch.undo()
    assert len(run("demo", arguments, local=True, progress=False).costs()) == 3


def test_frames_have_the_columns_of_the_tables(synthetic_run: Callable[..., Path]) -> None:
    found = Run.open(str(synthetic_run(failures=2)))
    for name, schema in SCHEMAS.items():
        frame = getattr(found, name)()
        assert isinstance(frame, pd.DataFrame)
        assert [*frame.columns] == [column for column in schema.names if (name, column) != ("samples", "image")]
    assert (len(found.samples()), len(found.scores()), len(found.costs())) == (36, 108, 6)
    assert len(found.failures()) == 2 and repr(found).endswith("6 fronts finished, 2 failed)")
    assert found.rewards == ("colorfulness", "compressibility", "mini_clip") and found.config["steps"] == 25


def test_images_come_with_what_they_were_made_for(synthetic_run: Callable[..., Path]) -> None:
    found = Run.open(synthetic_run())
    samples = found.samples().set_index(["key", "weight_index"])
    images = list(found.images())
    assert len(images) == 36
    for one in images:
        row: Any = samples.loc[(one.key, one.weight_index)]
        assert (one.prompt, one.method, one.seed) == (row.prompt, row.method, row.seed)
        assert one.weights is None if one.method == "unguided" else one.weights == tuple(row.weights)
        assert isinstance(one.image, Image.Image) and one.image.size == (64, 64)
    assert [(one.prompt, one.method, one.weight_index) for one in images] == sorted(
        (one.prompt, one.method, one.weight_index) for one in images
    )
    assert len(list(found.images(method="srsoup"))) == 18
    assert {one.prompt for one in found.images("p001")} == {NASTY[1]}


def test_a_front_joins_images_weights_and_scores(made: Run) -> None:
    front = made.front(made.samples()["prompt"].iloc[0])
    rewards = ["colorfulness", "compressibility", "mini_clip"]
    assert [*front.columns] == ["method", "seed", "weight_index", "weights", "image", *rewards]
    assert front["weights"].tolist()[0] == (0.0, 1.0) and front["weight_index"].tolist() == list(range(6))
    for row in front.itertuples():
        pixels = np.asarray(row.image).astype(float)
        red_green, yellow_blue = pixels[..., 0] - pixels[..., 1], pixels[..., :2].mean(2) - pixels[..., 2]
        spread = np.hypot(red_green.std(), yellow_blue.std()) + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
        assert row.colorfulness == pytest.approx(spread, rel=1e-4)
    assert made.front(made.samples()["prompt_id"].iloc[0], "srsoup").equals(front)


def test_an_unknown_prompt_or_method_is_named_with_the_nearest(synthetic_run: Callable[..., Path]) -> None:
    found = Run.open(synthetic_run(prompts=["a snail", "an owl"]))
    with pytest.raises(LookupError, match=r"no finished front is of prompt 'a snale'.*nearest prompts are \['a snail'"):
        found.front("a snale")
    with pytest.raises(LookupError, match="the methods are srsoup, unguided"):
        list(found.images(method="soup"))


def test_the_report_is_that_of_the_command(synthetic_run: Callable[..., Path], tmp_path: Path) -> None:
    found = Run.open(synthetic_run())
    assert found.report() == found.folder / "report" / "index.html" and found.report().is_file()
    assert found.report(tmp_path / "out").parent == tmp_path / "out"
    with pytest.raises(ReportError, match="no finished prompt"):
        Run.open(synthetic_run(prompts=())).report()


def test_a_folder_without_a_run_is_refused_and_a_moved_one_is_not_forgotten(
    synthetic_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run in .*/none: it holds no config.yaml; give a folder"):
        Run.open(tmp_path / "none")
    with pytest.raises(ValueError, match="no file system has the scheme"):
        Run.open("ftp://a/b")
    synthetic_run()
    monkeypatch.chdir(tmp_path)
    found = Run.open("demo")
    monkeypatch.chdir("/")
    assert len(found.costs()) == 6
