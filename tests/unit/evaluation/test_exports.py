"""Exports hold the images of the run byte for byte and its scores; what is exported is imported again as it was."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from PIL import Image
from typer.testing import CliRunner

from evaluation.errors import ReportError
from evaluation.exports.export import export_run
from evaluation.report import write_report
from evaluation.run import Run
from pipeline.records import finished_keys, location_of, read_table, write_part
from pipeline.storage.part_rows import for_file
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.verify import verify
from srsoup import _app
from tests.support.synthetic_run import NASTY, simplex, write_driver, write_key

Write = Callable[..., Path]
TWO = ["colorfulness", "compressibility"]


def said(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(_app(), [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def pngs(run: Path) -> dict[tuple[str, str, int], bytes]:
    """(method, prompt_id, weight_index) -> the PNG file, from the Parquet files alone."""
    samples = pd.read_parquet(run / "samples")
    names = samples[["method", "prompt_id", "weight_index"]].itertuples(index=False, name=None)
    return dict(zip(names, (image["bytes"] for image in samples["image"]), strict=True))


def test_png_folders_have_every_image_and_the_table_every_score(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(methods=["srsoup"])
    assert said("export", run, "--to", tmp_path / "out") == f"export: 18 images in {tmp_path / 'out'}\n"
    for (_, prompt_id, index), png in pngs(run).items():
        assert (tmp_path / "out" / prompt_id / f"{index}.png").read_bytes() == png
    table = pd.read_csv(tmp_path / "out" / "images.csv")
    scores = pd.read_parquet(run / "scores")
    scores = scores.assign(prompt_id=scores["key"].str.split("-").str[0])
    wide = scores.pivot(index=["prompt_id", "weight_index"], columns="reward", values="value")
    found = table.set_index(["prompt_id", "weight_index"])[wide.columns]
    pd.testing.assert_frame_equal(found.sort_index(), wide, check_names=False, check_index_type=False)
    assert len(found) == len(wide) == 18
    np.testing.assert_allclose(table[[f"weight_{reward}" for reward in TWO]].head(6), simplex(6, 2))
    assert all((tmp_path / "out" / file).is_file() for file in table["file"])
    prompts = {path.parent.name: path.read_bytes().decode() for path in (tmp_path / "out").glob("*/prompt.txt")}
    assert sorted(prompts.values()) == sorted(NASTY)


def test_methods_and_seeds_have_folders_of_their_own(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["x"], weights=2)
    write_key(run, "p000-again-srsoup", "x", "srsoup", simplex(2, 2), TWO, ["mini_clip"], seed=7)
    export_run(run, str(tmp_path / "out"))
    folders = {path.parent.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert folders == {"srsoup/p000-1", "srsoup/p000-2", "unguided/p000"}
    table = pd.read_csv(tmp_path / "out" / "images.csv").set_index("file")
    assert table.loc["srsoup/p000-2/0.png", "seed"] == 7
    assert table.loc["unguided/p000/0.png", ["weight_colorfulness", "weight_compressibility"]].isna().all()


def test_a_spreadsheet_runs_no_prompt_of_an_export(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["=HYPERLINK(1)"], weights=2, methods=["srsoup"])
    export_run(run, str(tmp_path / "out"))
    assert '"\'=HYPERLINK(1)"' in (tmp_path / "out" / "images.csv").read_text()
    assert (tmp_path / "out" / "p000" / "prompt.txt").read_text() == "=HYPERLINK(1)"


def test_a_data_set_is_read_by_datasets_and_by_the_report(synthetic_run: Write, tmp_path: Path) -> None:
    run, out = synthetic_run(failures=1), tmp_path / "out"
    write_driver(run, 6)
    (run / "costs" / "p002-srsoup.parquet").unlink()
    assert said("export", run, "--to", out, "--as", "hf").startswith("export: 30 images")
    copied = {path.relative_to(out).as_posix() for path in out.rglob("*.parquet")}
    assert "samples/p001-srsoup.parquet" in copied and not any("p002-srsoup" in name for name in copied)
    assert all((out / name).read_bytes() == (run / name).read_bytes() for name in copied)
    rows = {
        name: load_dataset(str(out), name, split="train", cache_dir=str(tmp_path / "cache"))
        for name in ("samples", "scores", "steps", "costs", "failures")
    }
    assert {name: len(data) for name, data in rows.items()} == {
        "samples": 30, "scores": 90, "steps": 30, "costs": 5, "failures": 1
    }  # fmt: skip
    first = rows["samples"][0]
    png = pngs(run)[first["method"], first["prompt_id"], first["weight_index"]]
    np.testing.assert_array_equal(np.asarray(first["image"]), np.asarray(Image.open(io.BytesIO(png))))
    assert write_report([out], tmp_path / "report").is_file() and not verify(out).damage
    assert "host: here" not in (out / "driver.yaml").read_text()
    card = (out / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert [entry["config_name"] for entry in head["configs"] if entry.get("default")] == ["samples"]
    assert "5, of 3 prompts" in card and "`colorfulness`, `compressibility`" in card and NASTY[0] not in card


def test_rows_of_a_merged_part_that_are_not_finished_stay_out(synthetic_run: Write, tmp_path: Path) -> None:
    """The merged part of samples/ holds a front whose costs are lost; it is written anew without it."""
    run = synthetic_run(methods=["srsoup"])
    parts = sorted((run / "samples").glob("*.parquet"))
    merged = pa.concat_tables([pq.read_table(part) for part in parts])
    keys = {b"srsoup.keys": json.dumps([part.stem for part in parts]).encode()}
    pq.write_table(merged.replace_schema_metadata(keys), run / "samples" / "merged-0.parquet")
    for part in parts:
        part.unlink()
    (run / "costs" / f"{parts[0].stem}.parquet").unlink()
    export_run(run, str(tmp_path / "out"), "hf")
    assert len(pd.read_parquet(tmp_path / "out" / "samples")) == 12
    assert finished_keys(tmp_path / "out") == {part.stem for part in parts[1:]}


def test_the_released_layout_names_files_as_the_released_code_does(synthetic_run: Write, tmp_path: Path) -> None:
    long = "a very long prompt/with a slash, and more than fifty characters in it"
    run = synthetic_run(prompts=["a fox", long])
    said("export", run, "--to", tmp_path / "out", "--as", "released")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    cut = "a very long prompt_with a slash, and more than fif"
    names = {f"0/{name}_{w}.png" for name in ("a fox", cut) for w in ("0.0", "0.2", "0.4", "0.6", "0.8", "1.0")}
    assert len(cut) == 50 and found == names
    assert (tmp_path / "out" / "0" / "a fox_0.4.png").read_bytes() == pngs(run)["srsoup", "p000", 2]
    assert (tmp_path / "out" / "prompts.txt").read_text() == f"a fox\n{long}\n"


def test_three_rewards_are_named_as_numpy_prints_them(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["a fox"], guided=["a", "b", "c"], weights=3)
    export_run(run, str(tmp_path / "out"), "released")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert found == {"a fox_[0.  0.5 0.5].png", "a fox_[0.5  0.25 0.25].png", "a fox_[1. 0. 0.].png"}


@pytest.mark.parametrize(
    ("options", "layout", "says"),
    [
        ({"prompts": ["x" * 50 + "a", "x" * 50 + "b"]}, "released", "would have the same files"),
        ({"prompts": ["two\nlines"]}, "released", "several lines"),
        ({"guided": ["a"], "prompts": ["x"]}, "released", "two or three rewards, not 1"),
        ({"methods": ["unguided"], "prompts": ["x"]}, "released", "unguided images only"),
        ({"prompts": ["x"]}, "zip", "'zip' is not a layout for .*; allowed: png, hf, released; fix: give --as"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_and_nothing_is_written(
    synthetic_run: Write, tmp_path: Path, options: dict[str, Any], layout: str, says: str
) -> None:
    run = synthetic_run(weights=2, **options)
    with pytest.raises(ReportError, match=says):
        export_run(run, str(tmp_path / "out"), layout)
    assert not (tmp_path / "out").exists()


def test_wrong_requests_end_with_one_message(synthetic_run: Write, tmp_path: Path) -> None:
    run = synthetic_run(prompts=["x"], weights=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert "there are files already" in said("export", run, "--to", tmp_path / "full", status=2)
    assert "no run in" in said("export", tmp_path / "full", "--to", tmp_path / "b", status=2)
    shutil.rmtree(run / "costs")
    assert "no front is finished" in said("export", run, "--to", tmp_path / "b", status=2)


class FakeHub:
    """A hub that keeps what is uploaded, or raises an error."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder, self.error, self.made = folder, error, dict[str, Any]()

    def create_repo(self, name: str, **options: Any) -> Any:
        self.made = {"name": name, **options}
        if self.error:
            raise self.error
        return huggingface_hub.RepoUrl(f"https://huggingface.co/datasets/{name}")

    def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: Path, commit_message: str) -> None:
        assert (repo_id, repo_type) == ("me/fronts", "dataset") and commit_message
        shutil.copytree(folder_path, self.folder)


def test_the_hub_gets_a_private_data_set(synthetic_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, hub = synthetic_run(prompts=["x"], weights=2), FakeHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    assert "https://huggingface.co/datasets/me/fronts" in said("export", run, "--to", "hub:me/fronts")
    assert hub.made == {"name": "me/fronts", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert len(Run.open(tmp_path / "hub").samples()) == 4 and (tmp_path / "hub" / "README.md").is_file()
    assert "allowed: hf" in said("export", run, "--to", "hub:me/fronts", "--as", "png", status=2)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (LocalTokenNotFoundError("none"), "run `hf auth login`, or set HF_TOKEN"),
        (OSError("down"), "did not take.*down"),
    ],
)
def test_a_hub_that_refuses_is_one_message(
    synthetic_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: FakeHub(tmp_path, error))
    with pytest.raises(ReportError, match=says):
        export_run(synthetic_run(prompts=["x"], weights=2), "hub:me/fronts")
    assert issubclass(HfHubHTTPError, HfHubHTTPError.__bases__[0])


def fronts(run: Path) -> pd.DataFrame:
    """One row for each image of a run, with its PNG file and scores, from the Parquet files alone."""
    scores = pd.read_parquet(run / "scores").pivot(index=["key", "weight_index"], columns="reward", values="value")
    costs = pd.read_parquet(run / "costs", columns=["key", "seed"]).rename(columns={"seed": "front_seed"})
    names = ["key", "method", "prompt_id", "prompt", "weight_index", "weights", "image"]
    points = pd.read_parquet(run / "samples", columns=names).merge(costs, on="key")
    points = points.merge(scores.reset_index(), on=["key", "weight_index"])
    points["png"] = [image["bytes"] for image in points["image"]]
    points["digest"] = [hashlib.sha256(png).hexdigest() for png in points["png"]]
    points["weights"] = pd.Series([w if w is None else tuple(w) for w in points["weights"]], dtype=object)
    return points.sort_values(["method", "prompt", "front_seed", "weight_index"]).reset_index(drop=True)


SAME = ["method", "prompt_id", "prompt", "front_seed", "weight_index", "weights", "digest"]


def test_an_exported_run_is_imported_as_it_was(synthetic_run: Write, tmp_path: Path) -> None:
    run, back = synthetic_run(), tmp_path / "back"
    export_run(run, str(tmp_path / "out"))
    shown = said("import", tmp_path / "out", "--to", back, "--rewards", ",".join(TWO), "--held-out", "brightness")
    assert shown == f"36 images in {back}\nnext: srsoup report {back}\n"
    pd.testing.assert_frame_equal(fronts(back)[SAME], fronts(run)[SAME])
    again = fronts(back)
    wanted = [colorfulness(png) for png in again["png"]]
    np.testing.assert_allclose(again["colorfulness"], wanted, rtol=1e-5)
    assert not verify(back).damage
    assert "6 of 6 done, 0 failed, 0 left" in said("status", back)
    page = write_report([back], tmp_path / "report").read_text(encoding="utf-8")
    assert "brightness" in page and read_table(back, "costs").column("queries").null_count == 6
    assert pd.read_csv(tmp_path / "report" / "costs.csv").query("quantity == 'queries'")["total"].isna().all()


def colorfulness(png: bytes) -> float:
    """Hasler and Suesstrunk (2003), in float64."""
    red, green, blue = np.moveaxis(np.asarray(Image.open(io.BytesIO(png)), dtype=np.float64), 2, 0)
    opposed = red - green, (red + green) / 2 - blue
    return float(np.hypot(*(x.std() for x in opposed)) + 0.3 * np.hypot(*(x.mean() for x in opposed)))


def test_images_of_the_released_code_are_compared_with_a_run(synthetic_run: Write, tmp_path: Path) -> None:
    long = "a very long prompt/with a slash, and more than fifty characters in it"
    run = synthetic_run(prompts=["a fox", long], methods=["srsoup"])
    export_run(run, str(tmp_path / "out"), "released")
    arguments: list[str | Path] = ["import", tmp_path / "out", "--rewards", ",".join(TWO), "--method", "ddpo", "--to"]
    refused = said(*arguments, tmp_path / "no", status=2)
    assert "has 50 characters" in refused and "--prompts" in refused and not (tmp_path / "no").exists()
    said(*arguments, tmp_path / "ddpo", "--prompts", tmp_path / "out" / "prompts.txt")
    found = fronts(tmp_path / "ddpo")
    assert set(found["prompt"]) == {"a fox", long} and set(found["method"]) == {"ddpo"}
    np.testing.assert_allclose(list(found["weights"][:6]), simplex(6, 2), atol=1e-12)
    assert list(found["digest"]) == list(fronts(run)["digest"])


def saved(path: Path, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def test_folders_of_prompts_take_weights_in_any_notation(tmp_path: Path) -> None:
    for number, prompt in enumerate(("a fox", "an owl")):
        for place, name in enumerate(("[1. 0. 0.]", "0,1,0", "0.33333333 0.33333333 0.33333333")):
            saved(tmp_path / "in" / prompt / f"{name}.png", 10 * number + place, "L" if place else "RGB")
    said("import", tmp_path / "in", "--to", tmp_path / "run", "--rewards", "colorfulness,compressibility,sharpness")
    points = fronts(tmp_path / "run")
    assert len(points) == 6 and set(points["prompt"]) == {"a fox", "an owl"}
    assert {(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)} <= set(points["weights"])
    grey = points[[w[1] == 1 for w in points["weights"]]]
    # Grey files become the RGB pixels that the rewards saw.
    assert all(Image.open(io.BytesIO(png)).mode == "RGB" for png in grey["png"])
    np.testing.assert_allclose(grey["colorfulness"], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("files", "rewards", "says"),
    [
        (["a/0.0.png", "a/1.0.png", "b/0.0.png"], "brightness,sharpness", "1 images of 1 weightings, and others have"),
        (["a/1.2.png"], "brightness,sharpness", r"\(1.2, -0.2\) is not a row of weights"),
        (["a/0.5,0.5.png"], "brightness", r"is not a row of weights of 1 rewards"),
        (["a/x.png"], "brightness,sharpness", "no images with weights in their names"),
        (["a/0.0.png", "a/1.0.png"], "brightness,no_such", "no reward of this name"),
        (["a/0.0.png", "a/1.0.png"], "brightness,brightness", "a reward is named twice"),
    ],
)  # fmt: skip
def test_images_that_are_no_fronts_are_refused(tmp_path: Path, files: list[str], rewards: str, says: str) -> None:
    for number, file in enumerate(files):
        saved(tmp_path / "in" / file, number)
    shown = said("import", tmp_path / "in", "--to", tmp_path / "run", "--rewards", rewards, status=2)
    assert pd.Series([shown]).str.contains(says).all(), shown
    assert not (tmp_path / "run").exists()


def test_a_table_leads_to_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    saved(tmp_path / "secret.png", 0)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "images.csv").write_text("file,prompt,weight_brightness\n../secret.png,x,1\n")
    shown = said("import", tmp_path / "in", "--to", tmp_path / "run", "--rewards", "brightness", status=2)
    assert "line 2 of images.csv" in shown and "outside of the folder" in shown


def merged_run(run: Path, fronts: int, parts: int) -> Path:
    """A run of many fronts of two tiny images, in a few merged parts for each table."""
    for table in ("samples", "scores", "steps", "costs"):
        shutil.rmtree(run / table)
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, format="PNG")
    for part in range(parts):
        keys = [f"{n:05d}" for n in range(part, fronts, parts)]
        both = [(key, i) for key in keys for i in range(2)]
        shared = {key: {"key": key, "prompt_id": key, "prompt": f"a {key}", "method": "srsoup"} for key in keys}
        rows: dict[str, list[dict]] = {
            "samples": [
                shared[key] | {"seed": 0, "weight_index": i, "weights": [float(i), 1.0 - i],
                               "image": {"bytes": buffer.getvalue(), "path": None}}
                for key, i in both
            ],
            "scores": [
                {"key": key, "weight_index": i, "reward": reward, "role": "guided", "value": float(i)}
                for key, i in both for reward in TWO
            ],
            "steps": [{"key": key, "step": 0, "weight_index": i} for key, i in both],
            "costs": [shared[key] | {"seed": 0, "queries": 1, "queries_by_reward": []} for key in keys],
        }  # fmt: skip
        for table, own in rows.items():
            (run / table).mkdir(exist_ok=True)
            data = for_file(pa.Table.from_pylist(own, schema=SCHEMAS[table]))
            data = data.replace_schema_metadata({b"srsoup.keys": json.dumps(keys).encode()})
            pq.write_table(data, run / table / f"merged-{part}.parquet")
    return run


@pytest.mark.parametrize("layout", ["png", "hf", "released"])
def test_an_export_of_many_fronts_reads_each_file_a_few_times(
    synthetic_run: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """600 fronts in two parts for each table: the number of files that are opened does not grow with the fronts."""
    run = merged_run(synthetic_run(prompts=["x"], weights=2, methods=["srsoup"], held_out=[]), 600, 2)
    opened = list[str]()
    real = pq.ParquetFile

    def count(source: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(str(source))
        return real(source, *arguments, **options)

    monkeypatch.setattr(pq, "ParquetFile", count)
    assert export_run(location_of(str(run)), str(tmp_path / "out"), layout).startswith("1,200 images")
    assert len(opened) <= 24


@pytest.mark.parametrize("lost", ["scores", "pixels"])
def test_a_damaged_run_is_one_message(synthetic_run: Write, tmp_path: Path, lost: str) -> None:
    run = synthetic_run(prompts=["x"], weights=2, methods=["srsoup"])
    table = "scores" if lost == "scores" else "samples"
    rows = read_table(run, table, ["p000-srsoup"]).to_pylist()
    damaged = rows[:3] if lost == "scores" else [row | {"image": None} for row in rows]
    write_part(run, table, "p000-srsoup", damaged)
    with pytest.raises(ReportError, match=r"has no scores or no pixels.*srsoup verify"):
        export_run(run, str(tmp_path / "out"))
