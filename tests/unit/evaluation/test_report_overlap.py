"""The overlap in the report: quartiles from `steps/`, averaged over prompts, as a table and a figure (Figure 8)."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

from configs.load import load_config
from evaluation.figures.overlap import draw_overlap
from evaluation.measures.overlap import QUARTILES, overlap_table
from evaluation.reading.comparison import load_runs
from evaluation.report import write_report
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import make_plan
from pipeline.records import finished_keys, read_table, write_part

Write = Callable[..., Path]
STEPS, K = 5, 2


def overlap(key: str, step: int, index: int, m: int) -> float:
    """Returns a number in 0..1 that differs from row to row."""
    return (1 + sum(key.encode()) % 7 + 3 * step + 5 * index + 11 * m) / 60


def write_steps(run: Path, weights: Sequence[Sequence[float]], guided: Sequence[str]) -> None:
    """Writes the steps of every guided key: K soup steps, then weighted-sum steps. An exemplar overlaps itself by 1."""
    for key in finished_keys(run):
        if key.endswith("unguided"):
            continue
        rows = []
        for step in range(STEPS):
            for index, w in enumerate(weights):
                for m, reward in enumerate(guided):
                    median = 1.0 if w[m] == 1 else overlap(key, step, index, m)
                    rows.append({
                        "key": key, "step": step, "timestep": 900 - 100 * step, "sigma": 0.5, "weight_index": index,
                        "phase": "soup" if step < K else "weighted_sum", "reward": reward,
                        "overlap_q25": 0.9 * median, "overlap_q50": median, "overlap_q75": min(1, 1.1 * median),
                    })  # fmt: skip
        write_part(run, "steps", key, rows)


@pytest.fixture
def run(synthetic_run: Write) -> Path:
    folder = synthetic_run(prompts=["a fox", "a cat", "an owl"], weights=3)
    write_steps(folder, [[0, 1], [0.5, 0.5], [1, 0]], ["colorfulness", "compressibility"])
    return folder


def test_the_table_is_the_mean_over_prompts_of_each_quartile(run: Path) -> None:
    table = overlap_table(load_runs([run]))
    keys = [key for key in finished_keys(run) if key.endswith("srsoup")]
    assert len(table) == 2 * 3 * STEPS and set(table["label"]) == {"srsoup"} and (table["fronts"] == 3).all()
    assert list(dict.fromkeys(table["exemplar"])) == ["colorfulness", "compressibility"]
    for row in table.to_dict("records"):
        m = ["colorfulness", "compressibility"].index(row["exemplar"])
        alone = row["weight_index"] == (2, 0)[m]
        medians = [1.0 if alone else overlap(key, row["step"], row["weight_index"], m) for key in keys]
        assert row["overlap_q50"] == pytest.approx(np.mean(medians), rel=1e-12)
        assert row["overlap_q25"] == pytest.approx(0.9 * np.mean(medians), rel=1e-12)
        assert row["overlap_q75"] == pytest.approx(np.mean(np.minimum(1, 1.1 * np.array(medians))), rel=1e-12)
        assert (row["timestep"], row["phase"]) == (
            900 - 100 * row["step"],
            "soup" if row["step"] < K else "weighted_sum",
        )


def test_the_figure_has_one_panel_per_exemplar_with_the_medians_of_all_other_weightings(run: Path) -> None:
    table = overlap_table(load_runs([run]))
    weights = {0: [0.0, 1.0], 1: [0.5, 0.5], 2: [1.0, 0.0]}
    figure = draw_overlap(table, weights, ["colorfulness", "compressibility"])
    for axis, exemplar, drawn in zip(figure.axes, ("colorfulness", "compressibility"), ((0, 1), (1, 2)), strict=True):
        own = table[table["exemplar"] == exemplar]
        lines = [line for line in axis.get_lines() if not str(line.get_label()).startswith("_")]
        assert axis.get_title() == f"exemplar of {exemplar}" and len(lines) == len(drawn) == len(axis.collections)
        for line, index, band in zip(lines, drawn, axis.collections, strict=True):
            expected = own[own["weight_index"] == index]
            np.testing.assert_allclose(np.asarray(line.get_ydata()), expected["overlap_q50"])
            assert line.get_label() == f"{weights[index][0]:g}"
            heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
            assert heights.min() == pytest.approx(expected["overlap_q25"].min())
            assert heights.max() == pytest.approx(expected["overlap_q75"].max())
        (end,) = [line for line in axis.get_lines() if line.get_linestyle() == "--"]
        assert np.asarray(end.get_xdata())[0] == K - 0.5
    plt.close(figure)


def test_the_report_shows_the_overlap_and_writes_the_table(run: Path, synthetic_run: Write) -> None:
    out = write_report([run], run / "report").parent
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count('id="overlap"') == 1 and 'href="#overlap"' in page
    assert (out / "overlap_1_srsoup.png").is_file() and (out / "overlap_1_srsoup.svg").is_file()
    written = pd.read_csv(out / "overlap.csv")
    pd.testing.assert_frame_equal(written, overlap_table(load_runs([run])), check_dtype=False)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    # A comparison has the overlap of each run, over the prompts of both.
    assert set(written["fronts"]) == {3}
    other = synthetic_run("other", prompts=["a fox"], weights=3)
    write_steps(other, [[0, 1], [0.5, 0.5], [1, 0]], ["colorfulness", "compressibility"])
    both = overlap_table(load_runs([run, other]))
    assert set(both["label"]) == {"demo · srsoup", "other · srsoup"}
    assert both.groupby("label")["fronts"].first().to_dict() == {"demo · srsoup": 1, "other · srsoup": 1}


@pytest.mark.parametrize("guided", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_any_number_of_rewards_and_steps_without_exemplars(synthetic_run: Write, guided: list[str]) -> None:
    """One reward has no second distribution; steps without exemplars have no row."""
    run = synthetic_run(prompts=["x"], guided=guided, held_out=[], weights=3)
    assert overlap_table(load_runs([run])).empty
    weights = (
        [[1.0]] * 3
        if len(guided) == 1
        else [[w, *[(1 - w) / (len(guided) - 1)] * (len(guided) - 1)] for w in (0, 0.5, 1)]
    )
    write_steps(run, weights, guided)
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    assert ('id="overlap"' in page) == (len(guided) > 1)
    assert page.count(">exemplar of") == (0 if len(guided) == 1 else len(guided))


def test_the_overlap_of_a_real_run_is_1_at_the_first_step_and_falls(tmp_path: Path) -> None:
    """All weightings start from the same x_T, so all means agree at the first step."""
    data = {
        "name": "overlap", "output": str(tmp_path / "run"), "method": ["srsoup", "unguided"],
        "steps": 3, "queries": 2, "soup": {"steps": 1}, "weights": {"grid": 3}, "prompts": {"list": ["snail", "owl"]},
        "rewards": {"guided": ["colorfulness", "compressibility"]},
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(data))
    plan = make_plan(load_config(tmp_path / "run.yaml"), str)
    execute([plan], local=True, reporter=Reporter(1, 1, 1))
    table = overlap_table(load_runs([plan.folder]))
    assert set(table["label"]) == {"srsoup"} and len(table) == 2 * 3 * 3
    quartiles = table[list(QUARTILES)]
    assert (table[table["step"] == 0][list(QUARTILES)] == 1).all(axis=None)
    assert ((quartiles > 0) & (quartiles <= 1)).all(axis=None)
    last = table[(table["step"] == 2) & (table["weight_index"] == 1)].set_index("exemplar")["overlap_q50"]
    assert (last < 1).all()
    raw = read_table(plan.folder, "steps").to_pandas().dropna(subset=["reward"])
    own = raw[(raw["step"] == 2) & (raw["weight_index"] == 1)].groupby("reward")["overlap_q50"].mean()
    assert last.to_dict() == pytest.approx(own.to_dict())
