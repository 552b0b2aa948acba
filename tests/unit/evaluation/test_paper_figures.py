"""Each figure of the paper holds the numbers that pandas computes from the Parquet files; no text is overprinted."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from evaluation.errors import ReportError
from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.paper import FIGURES, draw, write_figures
from evaluation.figures.paper_style import COLOURS, COLUMN, fitted, readable, shades, short_labels
from evaluation.figures.three_rewards import CORNERS
from evaluation.reading.comparison import load_runs
from pipeline.records import finished_keys, read_table, write_part
from srsoup import _app
from tests.support.figures.drawn_texts import lines_of, marks_of, text_faults
from tests.support.figures.sweep_runs import STEPS, write_point

A, B = "colorfulness", "compressibility"
PROMPTS = ("a fox", "A man sitting at a table in front of bowls of $x$ spices 🦊 and <b>saffron</b>, " * 2)
THREE = ("aesthetic", B, "mini_clip")
THIRD = 1 / 3
W3 = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [THIRD, THIRD, THIRD], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1],
      [0.8, 0.1, 0.1], [0.2, 0.4, 0.4]]  # fmt: skip


class Sweeps(NamedTuple):
    """Run folders: srsoup by K (1, 2, 4), the weighted sum by N, srsoup by N at K = 2, both kinds of first steps."""

    steps: list[Path]
    sums: list[Path]
    candidates: list[Path]
    first: Path
    three: Path


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Sweeps:
    root = tmp_path_factory.mktemp("sweeps")
    return Sweeps(
        [write_point(root, f"sweep_k-{k}", k, 30, prompts=PROMPTS) for k in (1, 2, 4)],
        [write_point(root, f"sweep_n-{n}", 0, n, ["weighted_sum"], prompts=PROMPTS) for n in (6, 30)],
        [write_point(root, f"n-{n}", 2, n, prompts=PROMPTS) for n in (10, 40)],
        write_point(root, "first", 2, 30, ["srsoup", "unguided_first", "unguided"], prompts=PROMPTS),
        write_point(root, "three", 2, 30, ["srsoup", "unguided"], THREE, PROMPTS, W3),
    )


def drawn(runs: Sequence[Path], number: str, prompts: Sequence[str] = ()) -> list[Drawn]:
    return draw(load_runs(runs), number, prompts)


def scores(run: Path, method: str) -> pd.DataFrame:
    """Prompt x weight of one method, with its weights and a column for each reward, from the Parquet files alone."""
    names = ["key", "weight_index", "weights", "prompt", "prompt_id", "method"]
    samples = pd.read_parquet(run / "samples", columns=names)
    values = pd.read_parquet(run / "scores").pivot(index=["key", "weight_index"], columns="reward", values="value")
    joined = samples[samples["method"] == method].merge(values.reset_index(), on=["key", "weight_index"])
    return joined.sort_values(["prompt", "weight_index"])


def mean_front(run: Path, method: str, rewards: Sequence[str] = (A, B)) -> np.ndarray:
    """The means over prompts (L, M), in the order of the weights."""
    means = scores(run, method).groupby("weight_index")[list(rewards)].mean()
    return means.sort_index().to_numpy()


def reference(runs: Mapping[Path, str]) -> np.ndarray:
    values = pd.concat([scores(run, method) for run, method in runs.items()])[[A, B]]
    return (values.min() - 0.05 * (values.max() - values.min())).to_numpy()


def area(points: np.ndarray, corner: np.ndarray) -> float:
    """The hypervolume in the plane: a sum over steps of the staircase from the largest first reward down."""
    total, height = 0.0, corner[1]
    for x, y in sorted(map(tuple, points), reverse=True):
        total += max(0.0, x - corner[0]) * max(0.0, y - height)
        height = max(height, y)
    return total


def ours(found: np.ndarray) -> np.ndarray:
    return found[np.lexsort(found.T)]


def test_figure_1_has_the_hypervolume_of_the_mean_front_by_queries_and_seconds(sweeps: Sweeps) -> None:
    runs = dict.fromkeys(sweeps.steps, "srsoup") | dict.fromkeys(sweeps.sums, "weighted_sum")
    ((_, figure, data, _),) = drawn(list(runs), "1")
    corner = reference(runs)
    expected: dict[str, list[tuple[float, float, float]]] = {"srsoup": [], "weighted_sum": []}
    for run, method in runs.items():
        costs = pd.read_parquet(run / "costs")
        volume = area(mean_front(run, method), corner)
        expected[method].append((costs["queries"].mean(), costs["seconds_total"].mean(), volume))
    assert len(data) == 5
    for method, rows in expected.items():
        for axis, x in zip(figure.axes, (0, 1), strict=True):
            wanted = np.array([(row[x], row[2]) for row in rows])
            np.testing.assert_allclose(ours(lines_of(axis)[method]), ours(wanted), rtol=1e-12)
    by_prompt = [area(own[[A, B]].to_numpy(), corner) for _, own in scores(sweeps.steps[0], "srsoup").groupby("prompt")]
    own = data[(data["method"] == "srsoup") & (data["K"] == 1)]
    assert own["hypervolume"].item() == pytest.approx(np.mean(by_prompt), rel=1e-12)


def test_the_folder_of_a_sweep_stands_for_its_runs(sweeps: Sweeps, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    for run in sweeps.steps:
        (tmp_path / "sweep" / run.name).symlink_to(run)
    whole = write_figures([tmp_path / "sweep"], "10", tmp_path / "whole").files
    apart = write_figures([*sweeps.steps], "10", tmp_path / "apart").files
    assert whole[-1].read_text() == apart[-1].read_text()


def test_figure_3_has_the_means_and_darker_marks_for_larger_weights(sweeps: Sweeps) -> None:
    ((_, figure, data, _),) = drawn([sweeps.first], "3")
    (axis,) = figure.axes
    lines = lines_of(axis)
    for method in ("srsoup", "unguided_first"):
        np.testing.assert_allclose(lines[method], mean_front(sweeps.first, method), rtol=1e-12)
    np.testing.assert_allclose(lines["unguided"], [scores(sweeps.first, "unguided")[[A, B]].mean()], rtol=1e-12)
    assert len(data) == 6 + 6 + 1
    marks = [line for line in axis.get_lines() if str(line.get_label()).startswith("_")]
    brightness = [sum(to_rgb(line.get_markerfacecolor())) for line in marks[:6]]
    assert len(marks) == 12 and brightness == sorted(brightness, reverse=True) and len(set(brightness)) == 6


def test_figure_5_has_the_means_in_space_and_over_the_triangle(sweeps: Sweeps) -> None:
    space, ternary = drawn([sweeps.three], "5")
    means = mean_front(sweeps.three, "srsoup", THREE)
    marks = [collection for collection in space.figure.axes[0].collections if hasattr(collection, "_offsets3d")]
    np.testing.assert_allclose(np.column_stack(marks[0]._offsets3d), means, rtol=1e-12)
    alone = scores(sweeps.three, "unguided")[list(THREE)].mean()
    np.testing.assert_allclose(np.column_stack(marks[1]._offsets3d), [alone], rtol=1e-12)
    assert [axis.get_title() for axis in ternary.figure.axes[:3]] == [f"{m}: {r}" for m, r in enumerate(THREE, 1)]
    for m, axis in enumerate(ternary.figure.axes[:3]):
        (found,) = axis.collections
        np.testing.assert_allclose(np.asarray(found.get_offsets(), dtype=float), np.array(W3) @ CORNERS, atol=1e-12)
        np.testing.assert_allclose(np.asarray(found.get_array(), dtype=float), means[:, m], rtol=1e-12)
    # The corners of the triangle are the one-hot weights, one apart from each other.
    assert [round(float(np.linalg.norm(CORNERS[i] - CORNERS[i - 1])), 12) for i in range(3)] == [1, 1, 1]


def test_figure_7_has_a_panel_for_each_sweep(sweeps: Sweeps) -> None:
    ((_, figure, data, notes),) = drawn([*sweeps.steps, *sweeps.candidates, sweeps.first, sweeps.sums[1]], "7")
    left, middle, right = map(lines_of, figure.axes)
    assert notes == () and set(data["panel"].str.split().str[0]) == {"left", "middle", "right"}
    assert left.keys() == {"K = 0", "K = 1", "K = 2", "K = 4"}
    np.testing.assert_allclose(left["K = 0"], mean_front(sweeps.sums[1], "weighted_sum"), rtol=1e-12)
    for k, run in zip((1, 2, 4), sweeps.steps, strict=True):
        np.testing.assert_allclose(left[f"K = {k}"], mean_front(run, "srsoup"), rtol=1e-12)
    assert middle.keys() == {"N = 10", "N = 30", "N = 40"}
    np.testing.assert_allclose(middle["N = 10"], mean_front(sweeps.candidates[0], "srsoup"), rtol=1e-12)
    np.testing.assert_allclose(right["K = 2, unguided"], mean_front(sweeps.first, "unguided_first"), rtol=1e-12)
    dashed = [line.get_label() for line in figure.axes[2].get_lines() if line.get_linestyle() == "--"]
    assert dashed == ["K = 2, unguided"] and right.keys() == {"K = 2", "K = 2, unguided"}


def test_figure_7_says_which_panels_are_missing(sweeps: Sweeps) -> None:
    ((_, figure, _, notes),) = drawn(sweeps.steps, "7")
    assert len(figure.axes) == 1 and len(notes) == 2
    assert "middle" in notes[0] and "fig7_queries" in notes[0] and "fig7_unguided_first" in notes[1]


def test_figure_8_has_the_quartiles_of_steps(sweeps: Sweeps) -> None:
    first, second = drawn([sweeps.first], "8")
    assert (first.stem, second.stem) == ("figure_8", "figure_8_2")
    steps = pd.read_parquet(sweeps.first / "steps").dropna(subset=["reward"])
    costs = pd.read_parquet(sweeps.first / "costs", columns=["key", "method"])
    steps = steps.merge(costs, on="key").query("method == 'srsoup'")
    # Of the six weights, the third is the first of the two that are nearest to equal weights.
    wanted = {"BC between μ and c₁": (A, 2), "BC between μ and c₂": (B, 2), "BC between c₁ and c₂": (A, 0)}
    lines = lines_of(first.figure.axes[0])
    assert lines.keys() == wanted.keys()
    for name, (exemplar, index) in wanted.items():
        own = steps[(steps["reward"] == exemplar) & (steps["weight_index"] == index)]
        medians = own.groupby("step")["overlap_q50"].mean()
        np.testing.assert_allclose(lines[name], np.column_stack([STEPS - medians.index, medians]), rtol=1e-12)
    low, high = first.figure.axes[0].get_xlim()
    assert low > high, "time falls, as in the paper"


def test_figure_10_has_both_hypervolumes_by_k(sweeps: Sweeps) -> None:
    runs = {sweeps.sums[1]: "weighted_sum"} | dict.fromkeys(sweeps.steps, "srsoup")
    ((_, figure, _, _),) = drawn(list(runs), "10")
    corner, lines = reference(runs), lines_of(figure.axes[0])
    volumes = [area(mean_front(run, method), corner) for run, method in runs.items()]
    np.testing.assert_allclose(lines["of the mean front"], np.column_stack([(0, 1, 2, 4), volumes]), rtol=1e-12)
    means = [
        np.mean([area(own[[A, B]].to_numpy(), corner) for _, own in scores(run, method).groupby("prompt")])
        for run, method in runs.items()
    ]
    np.testing.assert_allclose(lines["mean over prompts"][:, 1], means, rtol=1e-12)


def test_figure_16_has_the_front_of_each_prompt_by_n(sweeps: Sweeps) -> None:
    ((_, figure, _, _),) = drawn(sweeps.candidates, "16")
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert len(panels) == 2
    for axis in panels:
        text = next(text for text in PROMPTS if axis.get_title()[:5] == text[:5])
        for n, run in zip((10, 40), sweeps.candidates, strict=True):
            own = scores(run, "srsoup")
            wanted = own[own["prompt"] == text][[A, B]].to_numpy()
            np.testing.assert_allclose(lines_of(axis)[f"N = {n}"], wanted, rtol=1e-12)
    ((_, named, _, _),) = drawn(sweeps.candidates, "16", ["a fox"])
    assert [axis.get_title() for axis in named.axes] == ["a fox"]


@pytest.mark.parametrize(("number", "prompts"), [("4", ["a fox"]), ("18", []), ("22", ["a fox"])])
def test_a_grid_has_the_images_of_samples(sweeps: Sweeps, number: str, prompts: list[str]) -> None:
    first = drawn([sweeps.first], number, prompts)[0]
    samples = pd.read_parquet(sweeps.first / "samples").set_index(["method", "prompt_id", "weight_index"])["image"]
    assert len(first.data) == len(first.figure.axes) == (12 if number in ("4", "18") else 6)
    for axis, row in zip(first.figure.axes, first.data.to_dict("records"), strict=True):
        content = samples[row["label"], row["prompt_id"], row["weight_index"]]["bytes"]
        (shown,) = axis.get_images()
        np.testing.assert_array_equal(shown.get_array(), np.asarray(Image.open(io.BytesIO(content))))
    assert "w₁ = 0.4" in {text.get_text() for text in first.figure.texts}


def every_picture(sweeps: Sweeps) -> list[Drawn]:
    many = [*sweeps.steps, *sweeps.sums, *sweeps.candidates]
    found = [*drawn(many[:5], "1"), *drawn([*many, sweeps.first], "7"), *drawn(many, "10"), *drawn(many, "16")]
    found += [one for number in ("3", "4", "8", "18", "22") for one in drawn([sweeps.first], number)]
    return found + [one for number in ("4", "5", "8", "18") for one in drawn([sweeps.three], number)]


@pytest.mark.slow
def test_no_text_is_overprinted_or_cut_and_every_picture_is_one_column_wide(sweeps: Sweeps) -> None:
    pictures = every_picture(sweeps)
    assert {one.stem.split("_")[1] for one in pictures} == FIGURES.keys()
    assert {one.stem: text_faults(one.figure) for one in pictures} == {one.stem: [] for one in pictures}
    assert {one.figure.get_figwidth() for one in pictures} == {COLUMN}


def test_overprinted_and_cut_texts_are_seen() -> None:
    figure = Figure(figsize=(2, 2))
    figure.text(0.2, 0.5, "one text")
    figure.text(0.3, 0.5, "another")
    figure.text(0.9, 0.9, "beyond the edge")
    assert len(text_faults(figure)) == 2


def simulated(colour: str | Sequence[float], kind: np.ndarray) -> np.ndarray:
    """A colour as a dichromat sees it (Machado, Oliveira and Fernandes 2009, severity 1), in CIE L*a*b*."""
    srgb: np.ndarray = np.array(to_rgb(colour))  # type: ignore[arg-type]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(kind @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    t = xyz / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)


@pytest.mark.parametrize("kind", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["all", "no red", "no green"])
@pytest.mark.parametrize("colours", [COLOURS[:4], shades(5)], ids=["methods", "ordered"])
def test_colours_are_told_apart_without_red_or_green_cones(kind: np.ndarray, colours: Sequence) -> None:
    seen = [simulated(colour, kind) for colour in colours]
    apart = [float(np.linalg.norm(a - b)) for number, a in enumerate(seen) for b in seen[:number]]
    assert min(apart) > 10


def other_rewards(sweeps: Sweeps) -> list[Path]:
    return [sweeps.three]


def one_run(sweeps: Sweeps) -> list[Path]:
    return [sweeps.steps[0]]


@pytest.mark.parametrize(
    ("runs", "number", "says"),
    [
        (one_run, "1", r"two or more budgets.*srsoup: 1,680.*fig1_"),
        (other_rewards, "3", r"two guided rewards, and these runs have 3 .*draw figure 5"),
        (one_run, "5", r"three guided rewards.*hpd_three_rewards"),
        (one_run, "7", r"fig7_soup_steps.*fig7_queries.*fig7_unguided_first"),
        (one_run, "10", r"these have K = 1\..*fig7_soup_steps"),
        (other_rewards, "16", r"two guided rewards"),
    ],
)
def test_a_figure_that_the_runs_cannot_give_says_what_is_missing(
    sweeps: Sweeps, runs: Callable[[Sweeps], list[Path]], number: str, says: str
) -> None:
    with pytest.raises(CannotDraw, match=says):
        drawn(runs(sweeps), number)


def test_runs_that_differ_in_more_than_the_sweep_are_not_drawn_together(sweeps: Sweeps, tmp_path: Path) -> None:
    other = write_point(tmp_path, "other", 5, 30, prompts=PROMPTS, guidance={"step": "gradient"})
    for number in ("1", "7", "10"):
        with pytest.raises(CannotDraw, match=r"also differ in guidance\.step\. fix: give the runs of one sweep"):
            drawn([*sweeps.steps, other], number)


def test_an_unknown_figure_or_prompt_is_refused(sweeps: Sweeps, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no figure '2'; allowed: 1, 3, 4, 5, 7, 8, 10, 16, 18, 22 and all"):
        write_figures([sweeps.first], "2", tmp_path)
    with pytest.raises(CannotDraw, match="no compared prompt is 'a wolf'"):
        drawn([sweeps.first], "4", ["a wolf"])


@pytest.mark.slow
def test_the_command_writes_every_figure_that_the_runs_can_give(sweeps: Sweeps, tmp_path: Path) -> None:
    arguments = ["report", str(sweeps.first), "--figure", "all", "--out"]
    result = CliRunner().invoke(_app(), [*arguments, str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    suffixes = {path.suffix for path in (tmp_path / "a").iterdir() if path.stem == "figure_3"}
    assert suffixes == {".png", ".pdf", ".svg", ".csv"} and "figure_3.pdf" in result.output
    assert len(re.findall(r"^note: Figure (?:1|5|10) needs", result.output, re.MULTILINE)) == 3
    with Image.open(tmp_path / "a" / "figure_3.png") as image:
        assert image.width == pytest.approx(300 * COLUMN, abs=1)
    written = pd.read_csv(tmp_path / "a" / "figure_3.csv")
    np.testing.assert_allclose(written.loc[written["label"] == "srsoup", [A, B]], mean_front(sweeps.first, "srsoup"))
    assert CliRunner().invoke(_app(), [*arguments[:3], "3", "--out", str(tmp_path / "b")]).exit_code == 0
    for name in ("figure_3.pdf", "figure_3.svg", "figure_3.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    refused = CliRunner().invoke(_app(), ["report", str(sweeps.first), "--figure", "1"])
    assert refused.exit_code == 2 and "error: Figure 1 needs" in refused.output
    assert CliRunner().invoke(_app(), ["report", str(sweeps.first), "--prompt", "x"]).exit_code == 2


def test_half_a_sweep_one_prompt_and_empty_folders(sweeps: Sweeps, tmp_path: Path) -> None:
    """Only the prompts that every run has are drawn, and one prompt has no interval."""
    other = write_point(tmp_path, "sweep_k-5", 5, 30, prompts=PROMPTS[:1])
    ((_, figure, data, _),) = drawn([*sweeps.steps, other], "10")
    first = [scores(run, "srsoup").query("prompt == 'a fox'")[[A, B]].to_numpy() for run in (*sweeps.steps, other)]
    both = np.concatenate(first)
    corner = both.min(axis=0) - 0.05 * np.ptp(both, axis=0)
    volumes = [area(points, corner) for points in first]
    np.testing.assert_allclose(lines_of(figure.axes[0])["of the mean front"][:, 1], volumes, rtol=1e-12)
    assert data["low"].isna().all() and text_faults(figure) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"config\.yaml is missing"):
        write_figures([tmp_path / "empty"], "3", tmp_path / "out")
    with pytest.raises(ReportError, match="guided by"):
        write_figures([sweeps.first, sweeps.three], "3", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_score_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    run = write_point(tmp_path, "nan", 1, 30, prompts=["x"])
    (key,) = finished_keys(run)
    rows = read_table(run, "scores", [key]).to_pylist()
    write_part(run, "scores", key, [row | {"value": float("nan")} for row in rows])
    with pytest.raises(ReportError, match="no score of"):
        write_figures([run], "3", tmp_path / "out")


def test_texts_are_cut_to_their_width_and_lose_what_the_font_lacks() -> None:
    assert readable("a\nfox 🦊 $x$") == "a fox ? $x$"
    cut = fitted("$m$ " * 200, 1.0, 7)
    assert cut.endswith("…") and 10 < len(cut) < 40 and fitted("short", 1.0, 7) == "short"


def test_runs_of_a_sweep_are_named_by_what_differs(tmp_path: Path) -> None:
    names = [f"fig7_method-srsoup_soup-steps-{k}" for k in (1, 2)]
    comparison = load_runs([write_point(tmp_path, name, 1, 30) for name in names])
    assert list(short_labels(comparison).values()) == ["soup-steps-1 srsoup", "soup-steps-2 srsoup"]
    alone = load_runs([tmp_path / names[0]])
    assert short_labels(alone) == {"srsoup": "srsoup"}


def test_a_notebook_shows_the_picture(sweeps: Sweeps) -> None:
    (one,) = drawn([sweeps.first], "3")
    with Image.open(io.BytesIO(one._repr_png_())) as image:
        assert image.width == pytest.approx(200 * COLUMN, abs=1)


def test_marks_are_all_points_of_an_axis(sweeps: Sweeps) -> None:
    ((_, figure, _, _),) = drawn([sweeps.first], "3")
    assert len(marks_of(figure.axes[0])) == 2 * 12 + 1
