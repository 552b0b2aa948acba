"""The notebooks run on the run that is committed for them, keep no output, and that run is what its command makes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.load import load_config
from notebooks.make_example_run import FOLDER, OVERRIDES
from pipeline.storage.verify import verify

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0*.ipynb"))


def run_notebook(path: Path) -> dict[str, Any]:
    """Execute the cells of a notebook one after the other; return its names."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells and all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), str(path), "exec"), names)
    return names


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)


def notebook(number: int) -> dict[str, Any]:
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(f"{number:02d}_"))
    return run_notebook(path)


def test_there_are_five_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


def test_01_reads_the_run() -> None:
    names = notebook(1)
    assert len(names["images"]) == 4 * 3 * 6 and len(names["front"]) == 6
    assert names["costs"].loc["srsoup", "queries"] < names["costs"].loc["weighted_sum", "queries"]


def test_02_has_both_hypervolumes_and_the_tables() -> None:
    names = notebook(2)
    assert set(names["stated"].by_label["label"]) == {"srsoup", "weighted_sum", "unguided"}
    assert (names["below_all"].by_label["outside"] == 0).all()
    assert all(table.shape == (2, 7) for table in names["tables"].values())


def test_03_compares_within_prompts() -> None:
    names = notebook(3)
    found, by_prompt = names["found"], names["by_prompt"]
    assert found.prompts == 4 and found.low <= found.difference <= found.high
    assert found.difference == pytest.approx((by_prompt["srsoup"] - by_prompt["weighted_sum"]).mean())
    assert 2 / 2**4 <= found.p <= 1
    assert (names["p_values"] >= 2 / 2**4).all()


def test_04_picks_the_image_of_the_nearest_weighting() -> None:
    names = notebook(4)
    prompt = names["prompts"][0]
    assert names["choose"](prompt, 0.45)["weights"][0] == pytest.approx(0.4)
    assert [names["choose"](prompt, share)["weights"][0] for share in names["steps"]] == names["steps"]
    assert names["chosen"].children[1].options == tuple(sorted(names["steps"]))


def test_05_finds_no_loss_at_one_hot_weightings() -> None:
    """Both methods make the same queries there, so their images are the same."""
    names = notebook(5)
    assert names["loss"].loc[[0, 5]].abs().to_numpy().max() == 0
    assert names["pictures"][0].data["overlap_q50"].between(0, 1).all()


def test_the_committed_run_is_small_whole_and_that_of_its_command() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 700_000
    assert not verify(FOLDER).damage
    recorded = flat(yaml.safe_load((FOLDER / "config.yaml").read_text())["config"])
    wanted = flat(load_config(ROOT / "configs" / "demo.yaml", OVERRIDES).model_dump(mode="json"))
    # A later version may have more keys, with defaults.
    assert {key: wanted.get(key) for key in recorded} == recorded and "prompts.list" in recorded


def flat(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a nested mapping by dotted keys, without the section `compute`, which depends on the machine."""
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        if prefix + key != "compute":
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
