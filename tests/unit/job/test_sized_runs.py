"""Runs with images of another size than the model's own: every family, resume, refusals, forecasts and the library."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import checked_config, load_config
from configs.sweep import load_sweep
from diffusion.errors import ModelError
from diffusion.surrogate.network import SurrogateFileError, from_bytes
from mini.surrogates import packaged_surrogates
from pipeline.cli.commands import app
from pipeline.cli.plan_table import needs
from pipeline.planning.plan import make_plan
from pipeline.planning.surrogates.given import check_surrogate
from pipeline.records import read_table
from srsoup import sample_front
from tests.support import tiny
from tests.support.own_rewards import SMALL

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
T, N, K = 3, 3, 2
COMMIT = "0123456789abcdef" * 2 + "01234567"
EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


def write_config(path: Path, name: Path | str, **model: Any) -> Path:
    config = {
        "name": "sized", "steps": T, "queries": N, "soup": {"steps": K}, "weights": {"grid": 3},
        "prompts": {"list": ["a fox", "two owls"]}, "output": str(path.parent / "run"),
        "rewards": {"guided": ["colorfulness", "compressibility"], "held_out": ["mini_clip"]},
        "model": {"name": str(name), **model},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


def invoke(config: Path, *overrides: str, command: str = "run") -> Any:
    return CliRunner().invoke(app, [command, str(config), *overrides, *(["--local"] if command == "run" else [])])


def images_of(run: Path) -> list[bytes]:
    rows = read_table(run, "samples").to_pandas().sort_values(["prompt", "weight_index"])
    return [image["bytes"] for image in rows.image]


@EVERY_FAMILY
def test_a_run_has_images_of_its_size_and_is_continued(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    config, run = write_config(tmp_path / "sized.yaml", folders[family], height=16, width=24), tmp_path / "run"
    assert invoke(config).exit_code == 0
    samples, costs = (read_table(run, table).to_pandas() for table in ("samples", "costs"))
    assert set(zip(samples.width, samples.height, strict=True)) == {(24, 16)} and len(samples) == 2 * 3
    assert all(Image.open(io.BytesIO(image)).size == (24, 16) for image in images_of(run))
    assert set(costs.queries) == {N * 2 * (T * 2 - K)} and set(costs.decodes) == {N * (2 * K + 3 * (T - K)) + 3}
    assert yaml.safe_load((run / "config.yaml").read_text())["config"]["model"]["width"] == 24

    before, lost = images_of(run), next((run / "costs").iterdir()).name
    for table in ("samples", "scores", "steps", "costs"):
        (run / table / lost).unlink()
    again = invoke(config)
    assert again.exit_code == 0 and "1 of 2 fronts are done already" in again.output
    assert images_of(run) == before
    for override, held in (("model.width=16", "24"), ("model.width=null", "24"), ("model.height=32", "16")):
        other = invoke(config, override)
        assert other.exit_code == 2 and f"holds a run with {override.partition('=')[0]} = {held}" in other.output


def test_sd35_with_dynamic_shifting_has_more_noise_in_larger_images_of_a_run(tmp_path: Path) -> None:
    """s -> e^mu / (e^mu + 1/s - 1), with mu on the line through (16, 0.5) and (200, 1.15) at 96 and 144 tokens."""
    dynamic = {"use_dynamic_shifting": True, "base_image_seq_len": 16, "max_image_seq_len": 200}
    folder = tiny.save_model("sd3", tmp_path / "model", dynamic)
    for height, tokens in ((16, 96), (24, 144)):
        config = write_config(tmp_path / f"{height}.yaml", folder, height=height, width=24)
        run = tmp_path / f"run{height}"
        assert invoke(config, f"output={run}", "prompts.list=[a fox]").exit_code == 0
        found = read_table(run, "steps").to_pandas().drop_duplicates("step").sort_values("step").timestep
        mu = np.interp(tokens, [16, 200], [0.5, 1.15])
        shares = np.exp(mu) / (np.exp(mu) + 1 / np.linspace(1, 0.001, T) - 1)
        assert list(found) == [round(1000 * s) for s in shares]


def test_a_run_without_a_size_has_the_record_and_the_keys_of_earlier_versions(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "sized.yaml", folders["sd"])
    dumped = load_config(config).model_dump(mode="json")["model"]
    assert not {"height", "width"} & set(dumped)
    assert invoke(config, "prompts.limit=1").exit_code == 0
    refused = invoke(config, "prompts.limit=1", "model.height=24")
    assert refused.exit_code == 2 and "key:     model.height\n" in refused.output
    assert "holds a run without model.height" in refused.output
    assert "1 of 1 fronts are done already" in invoke(config, "prompts.limit=1").output


@pytest.mark.parametrize(
    ("family", "override", "message", "fix"),
    [
        ("sd", "model.height=17", "multiples of 2, 2..2048 (its own: 16 x 16", "set model.height=18"),
        ("sdxl", "model.width=23", "multiples of 2, 2..2048 (its own: 16 x 16", "set model.width=24"),
        ("sd3", "model.width=15", "multiples of 2, 2..32 (its own: 16 x 16", "set model.width=16"),
        ("sd3", "model.height=64", "multiples of 2, 2..32 (its own: 16 x 16", "set model.height=32"),
        ("sd", "model.height=0", ">= 1", "set model.height"),
        ("sd", "model.width=8193", "<= 8192", "set model.width"),
        ("sd", "model.width=24.5", "a whole number", "set model.width"),
        ("sd", "model.width='24'", "a whole number", "set model.width"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_size_that_the_model_does_not_have_is_refused_before_it_is_loaded(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, override: str,
    message: str, fix: str, command: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("actors.workers.load_model", lambda *_: pytest.fail("a model was loaded"))
    result = invoke(write_config(tmp_path / "sized.yaml", folders[family]), override, command=command)
    assert result.exit_code == 2, result.output
    for part in ("file:    command line\n", f"key:     {override.partition('=')[0]}\n", message, fix):
        assert part in result.output, result.output
    assert not (tmp_path / "run").exists()


def test_sizes_of_a_sweep_share_their_workers(folders: dict[str, Path], tmp_path: Path) -> None:
    config = write_config(tmp_path / "sized.yaml", folders["sdxl"])
    points = load_sweep(config, [], ["model.width=16,24", "model.height=16,32"])
    assert len(points) == 4 and all(point.workers == points[0].workers for point in points)
    assert len({make_plan(point, str).tasks[0].key for point in points}) == 4
    done = CliRunner().invoke(
        app, ["sweep", str(config), "--over", "model.width=16,24", "--local", "prompts.limit=1", "method=unguided"]
    )
    assert done.exit_code == 0, done.output
    sizes = [read_table(run, "samples").to_pandas().width.unique().tolist() for run in sorted(tmp_path.glob("run*/*"))
             if (run / "samples").is_dir()]  # fmt: skip
    assert sorted(sizes) == [[16], [24]]


def test_the_forecast_follows_the_pixels_of_the_embedded_model(tmp_path: Path) -> None:
    def of(*overrides: str) -> int:
        rows = dict(needs([make_plan(load_config(DEMO, [*overrides, f"output={tmp_path / 'none'}"]), str)]))
        return int(rows["seconds expected"].split()[1].replace(",", ""))

    own = of()
    assert of("model.height=64") == own
    assert of("model.height=128", "model.width=96") == pytest.approx(3 * own, abs=2)


def test_hours_and_memory_of_the_paper_are_given_at_its_size_only(tmp_path: Path) -> None:
    model = {"name": "stable-diffusion-v1-5/stable-diffusion-v1-5", "revision": COMMIT}
    data = {
        "name": "paper", "weights": {"grid": 6}, "prompts": {"list": ["a fox"]}, "output": str(tmp_path / "run"),
        "rewards": {"guided": ["aesthetic", "compressibility"]},
    }  # fmt: skip

    def rows(**size: int) -> dict[str, str]:
        return dict(needs([make_plan(checked_config({**data, "model": model | size}, "here"), str)]))

    for size in ({}, {"height": 512}, {"height": 512, "width": 512}):
        assert "20.9 GB" in rows(**size)["GPU memory"] and "Table 6" in rows(**size)["GPU hours"]
    for size in ({"width": 768}, {"height": 768, "width": 768}):
        assert "peak not known" in rows(**size)["GPU memory"]
        assert rows(**size)["GPU hours"].startswith("not known for this model at this size")


@EVERY_FAMILY
def test_a_front_from_a_pipeline_has_the_bits_of_a_run(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    config = write_config(tmp_path / "sized.yaml", folders[family], height=24, width=16)
    assert invoke(config, "prompts.list=[a fox]", "steps=3", "queries=4", "rewards.held_out=[]").exit_code == 0
    pipe = tiny.PIPELINES[family].from_pretrained(folders[family])
    front = sample_front(
        pipe, "a fox", ["colorfulness", "compressibility"], height=24, width=16, progress=False, **SMALL
    )
    assert front.images[0].size == (16, 24)
    ours = [np.array(image) for image in front.images]
    assert np.array_equal(ours, [np.array(Image.open(io.BytesIO(image))) for image in images_of(tmp_path / "run")])


def test_wrong_sizes_of_a_front_are_refused(folders: dict[str, Path]) -> None:
    pipe = tiny.PIPELINES["sd3"].from_pretrained(folders["sd3"])
    arguments: dict[str, Any] = {"progress": False, **SMALL}
    with pytest.raises(ModelError, match=r"set model.height=18"):
        sample_front(pipe, "a fox", ["colorfulness", "compressibility"], height=17, **arguments)
    for options in ({"height": -8}, {"width": "24"}, {"width": True}):
        with pytest.raises(RequestError, match=f"model.{next(iter(options))}"):
            sample_front(pipe, "a fox", ["colorfulness", "compressibility"], **options, **arguments)
    with pytest.raises(RequestError, match="give it as an argument of sample_front"):
        sample_front(pipe, "a fox", ["colorfulness", "compressibility"], options={"model": {"width": 24}}, **arguments)


def test_a_surrogate_of_images_of_another_size_is_refused() -> None:
    file, *_ = packaged_surrogates().values()
    surrogate = from_bytes(file.read_bytes())
    arguments = (surrogate.record["model_revision"], surrogate.record["plugins"])
    check_surrogate(surrogate, load_config(DEMO), *arguments)
    with pytest.raises(SurrogateFileError, match="another size"):
        check_surrogate(surrogate, load_config(DEMO, ["model.width=96"]), *arguments)
