"""Trackers get the counts of a driver and the tables and images of a report: fake packages, and TensorBoard's own."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from pipeline.job import trackers
from pipeline.planning.plan import make_plan
from pipeline.records import read_table
from srsoup import _app
from tests.support.runs import DEMO, run_here

TINY = ["steps=2", "queries=2", "soup.steps=1", "prompts.limit=2", "method=[srsoup]", "rewards.held_out=[]"]
Sent = list[tuple[Any, ...]]


def install(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """A module of this name that is found and imported in place of the real one."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    for key, value in content.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What a fake wandb was sent, call by call."""
    sent: Sent = []

    class FakeRun:
        def log(self, values: dict[str, Any]) -> None:
            sent.append(("log", dict(values)))

        def finish(self) -> None:
            sent.append(("finish",))

    def init(**options: Any) -> FakeRun:
        sent.append(("init", options))
        return FakeRun()

    install(
        monkeypatch, "wandb", init=init, Table=lambda dataframe: dataframe, Image=lambda image: image.size
    )  # fmt: skip
    return sent


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What a fake mlflow was sent. It finds the runs that it has by their tags."""
    sent: Sent = []
    runs: dict[str, str] = {}

    class Client:
        def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[SimpleNamespace]:
            found = [run for tag, run in runs.items() if query == f"tags.srsoup_id = '{tag}'"]
            return [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run in found]

    def start_run(run_id: str | None = None, run_name: str = "", tags: dict[str, str] | None = None) -> str:
        if tags:
            runs[tags["srsoup_id"]] = "run-1"
        sent.append(("start", run_id or "new"))
        return run_id or "run-1"

    install(
        monkeypatch, "mlflow", MlflowClient=Client, start_run=start_run,
        set_experiment=lambda name: SimpleNamespace(experiment_id=name),
        log_metrics=lambda values, step: sent.append(("log", values, step)),
        log_text=lambda text, name: sent.append(("text", name, text)),
        log_image=lambda image, name: sent.append(("image", name, image.size)), end_run=lambda: sent.append(("end",)),
    )  # fmt: skip
    return sent


def run(folder: Path, tracker: str) -> Path:
    run_here(folder, *TINY, f"report.tracker={tracker}")
    return folder


def totals(folder: Path) -> dict[str, Any]:
    """The counts by the table costs/ of the run."""
    costs = read_table(folder, "costs").to_pandas(maps_as_pydicts="strict")
    return {
        "fronts_done": float(len(costs)), "fronts_failed": 0.0, "queries": float(costs["queries"].sum()),
        "decodes": float(costs["decodes"].sum()), "seconds": pytest.approx(costs["seconds_total"].sum()),
    }  # fmt: skip


def test_wandb_gets_counts_tables_and_images_in_one_record(wandb: Sent, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "wandb")
    kinds = [call[0] for call in wandb]
    assert kinds == ["init", "log", "log", "finish"]
    assert wandb[1][1]["fronts_done"] == 1 and wandb[2][1] == totals(folder) | {"fronts": 2}
    assert wandb[0][1] | {"id": ""} == {"project": "srsoup", "name": "demo", "resume": "allow", "id": ""}
    result = CliRunner().invoke(_app(), ["report", str(folder)])
    assert result.exit_code == 0, result.output
    assert wandb[4] == wandb[0] and wandb[-1] == ("finish",)
    sent = {key: value for call in wandb[5:-1] for key, value in call[1].items()}
    written = pd.read_csv(folder / "report" / "hypervolume.csv")
    pd.testing.assert_frame_equal(sent["report/hypervolume"], written)
    images = [key for key in sent if key.startswith("images/srsoup/")]
    assert len(images) == 12 and sent[images[0]] == (64, 64) and "report/front_mean" in sent


def test_mlflow_finds_the_record_of_the_run_again(mlflow: Sent, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "mlflow")
    assert [call[0] for call in mlflow] == ["start", "log", "log", "end"] and mlflow[0] == ("start", "new")
    assert mlflow[2] == ("log", totals(folder), 2)
    CliRunner().invoke(_app(), ["report", str(folder)])
    assert mlflow[4] == ("start", "run-1")
    assert {"report/costs.csv", "report/front_mean.png"} <= {call[1] for call in mlflow if call[0] in ("text", "image")}


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard", "mlflow"])
def test_a_missing_package_is_refused_by_check_with_the_line_that_installs_it(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "pipeline.planning.request_checks.find_spec", lambda name: None if name == tracker else real(name)
    )
    with pytest.raises(RequestError, match=rf"the package {tracker} is not installed") as caught:
        make_plan(load_config(DEMO, [f"report.tracker={tracker}", f"output={tmp_path / 'a'}"]), lambda key: "test")
    assert caught.value.key == "report.tracker" and f"pip install 'srsoup[{tracker}]'" in caught.value.fix


def test_a_tracker_that_fails_does_not_stop_the_run(wandb: Sent, tmp_path: Path) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("no route to the server")

    sys.modules["wandb"].init = refuse  # type: ignore[attr-defined]
    folder = run(tmp_path / "run", "wandb")
    assert len(read_table(folder, "costs")) == 2
    assert "the run goes on: ConnectionError: no route" in (folder / "driver.log").read_text()
    result = CliRunner().invoke(_app(), ["report", str(folder)])
    assert result.exit_code == 2 and "the tracker wandb did not take the report" in result.output
    assert (folder / "report" / "index.html").is_file()


class FakeWriter:
    """In place of torch's SummaryWriter."""

    def __init__(self, folder: str) -> None:
        self.folder, self.calls = folder, list[tuple[Any, ...]]()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values, **options: self.calls.append((name, *values, *options.values()))


def test_tensorboard_gets_scalars_text_and_pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, "torch.utils.tensorboard", SummaryWriter=FakeWriter)
    tracker: Any = trackers.open_tracker("tensorboard", "demo", tmp_path)
    tracker.log({"queries": 3.0}, 1)
    tracker.add_table("t", pd.DataFrame({"a": ["<b>"], "b": [1]}))
    assert tracker._writer.folder == str(tmp_path / "tensorboard")
    assert tracker._writer.calls == [("add_scalar", "queries", 3.0, 1), ("add_text", "t", "    a\tb\n    <b>\t1")]
