"""The page and the tables of the report, for synthetic runs."""

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from evaluation.errors import ReportError
from evaluation.figures.plots import draw_front, palette
from evaluation.measures.costs import cost_table
from evaluation.measures.extremes import extremes
from evaluation.measures.hypervolume import derived_point, hypervolume_table, reference_point
from evaluation.page.text import format_mean_and_std, format_number, listed
from evaluation.reading.comparison import load_runs
from evaluation.report import write_report

Write = Callable[..., Path]


def outside_links(page: str) -> list[str]:
    """Returns every src, href and url() that is neither data nor an anchor of the page."""
    found = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", page)
    return [a or b for a, b in found if not (a or b).strip("'\"").startswith(("data:", "#"))]


def scripts(page: str) -> list[str]:
    """Returns the start tags of all scripts."""
    return re.findall(r"<script[^>]*>", page)


def out_files(index: Path) -> list[Path]:
    return list(index.parent.iterdir())


def test_page_is_self_contained_and_escapes_prompts(synthetic_run: Write) -> None:
    run = synthetic_run()
    index = write_report([run], run / "report")
    page = index.read_text(encoding="utf-8")
    assert index == run / "report" / "index.html"
    assert outside_links(page) == []
    # The page's own script, its data, and the images of three prompts: nothing of a prompt became an element.
    assert len(scripts(page)) == 2 + 3 and "@import" not in page
    assert "&lt;script&gt;alert(1)" in page and "🦊" in page
    assert {"front_mean.png", "front_mean.svg"} <= {file.name for file in out_files(index)}
    assert "2,720" in page and "1,766" in page
    assert "32 % fewer queries" in page and "ICLR 2026" in page
    assert {"held_out_mini_clip.png", "held_out_mini_clip.svg", "ends.csv"} <= {file.name for file in out_files(index)}
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'\bid="([^"]+)"', page))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_tables_equal_the_frames(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a fox", "a cat"])
    out = write_report([run], run / "report").parent
    comparison = load_runs([run])
    front = pd.read_csv(out / "front.csv")
    assert len(front) == len(comparison.points) == 24
    pd.testing.assert_series_equal(front["colorfulness"], comparison.points["colorfulness"])
    volumes = hypervolume_table(comparison, reference_point(comparison))
    written = pd.read_csv(out / "hypervolume.csv")
    pd.testing.assert_frame_equal(written[list(volumes.by_prompt.columns)], volumes.by_prompt, check_dtype=False)
    costs = pd.read_csv(out / "costs.csv")
    pd.testing.assert_frame_equal(costs, cost_table(comparison).rows, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_csv(out / "ends.csv"), extremes(comparison), check_dtype=False)


@pytest.mark.parametrize("guided", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_any_number_of_rewards(synthetic_run: Write, guided: list[str]) -> None:
    run = synthetic_run(guided=guided, prompts=["x"], weights=3)
    out = write_report([run], run / "report").parent
    assert len(list(out.glob("front_mean*.svg"))) == {1: 1, 2: 1, 3: 3}[len(guided)]
    assert (pd.read_csv(out / "hypervolume.csv")["hypervolume"] > 0).all()
    # With three rewards the figures number the weightings, and the page gives the weights of each number.
    assert ("2: (0.5, 0.25, 0.25)" in (out / "index.html").read_text(encoding="utf-8")) == (len(guided) == 3)


def test_the_name_of_a_reward_can_neither_leave_the_folder_nor_overwrite_another_figure(synthetic_run: Write) -> None:
    held_out = ["hpsv2", "hpsv2.1", "../../escaped", '"><script>']
    run = synthetic_run(prompts=["x"], weights=2, held_out=held_out)
    before = set(run.parent.rglob("*"))
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    made = {path for path in set(run.parent.rglob("*")) - before if path.is_file()}
    assert made and {path.parent for path in made} == {run / "report", run / "report" / "tables"}
    assert {"held_out_hpsv2.png", "held_out_hpsv2-1.png", "held_out_-escaped.png"} <= {path.name for path in made}
    assert len(scripts(page)) == 2 + 1


@pytest.mark.parametrize(("guided", "lines"), [(["a", "b"], {"-", "--"}), (["a", "b", "c"], {"None"})])
def test_only_two_rewards_have_a_front_line(synthetic_run: Write, guided: list[str], lines: set[str]) -> None:
    points = load_runs([synthetic_run(guided=guided, prompts=["x"], weights=4)]).points
    colours = palette(["srsoup", "unguided"], ["unguided"])
    figure = draw_front(points, ("a", "b"), colours, ["unguided"], {"a": "a", "b": "b"}, small=True)
    assert {line.get_linestyle() for line in figure.axes[0].get_lines()} == lines
    plt.close(figure)


def test_failures_are_listed_escaped(synthetic_run: Write) -> None:
    run = synthetic_run(failures=2)
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    assert "2 prompts failed" in page and "&lt;b&gt;broken" in page and "<b>broken" not in page


def test_two_runs_have_a_label_for_each_method(synthetic_run: Write) -> None:
    runs = [synthetic_run("one", prompts=["x"]), synthetic_run("two", prompts=["x", "y"], weights=3)]
    page = write_report(runs, runs[0] / "report").read_text(encoding="utf-8")
    assert all(label in page for label in ("one · srsoup", "two · unguided"))
    assert load_runs(runs).unguided_label("two · srsoup") == "two · unguided"


def test_the_configured_reference_point_is_used(synthetic_run: Write) -> None:
    reference = {"colorfulness": -5.0, "compressibility": -9.0}
    found = reference_point(load_runs([synthetic_run(reference=reference, prompts=["x"])]))
    assert found.values == reference and "set in the configuration of demo" in found.origin


def test_another_reference_point_is_named_and_not_used(synthetic_run: Write) -> None:
    first, second = {"colorfulness": -5.0, "compressibility": -9.0}, {"colorfulness": -6.0, "compressibility": -9.0}
    runs = [synthetic_run(n, reference=r, prompts=["x"]) for n, r in {"one": first, "two": second}.items()]
    found = reference_point(load_runs(runs))
    assert found.values == first and "another point, in the configuration of two, is not used" in found.origin


def test_the_page_also_has_hypervolume_from_a_point_below_every_image(synthetic_run: Write) -> None:
    # The point is so high that no image counts. The page shows this, and still has the other ratio.
    run = synthetic_run(reference={"colorfulness": 50.0, "compressibility": 50.0}, prompts=["x", "y"])
    out = write_report([run], run / "report").parent
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "12 of 12 images not above the reference point" in page and "2 of 2 prompts without any hypervolume" in page
    assert "unguided, if measured from a point below every image" in page
    comparison = load_runs([run])
    volumes = hypervolume_table(comparison, derived_point(comparison))
    written = pd.read_csv(out / "hypervolume_below_all.csv")
    pd.testing.assert_series_equal(written["hypervolume"], volumes.by_prompt["hypervolume"])
    assert (written["outside"] == 0).all()


def test_derived_reference_point_is_below_every_sample(synthetic_run: Write) -> None:
    comparison = load_runs([synthetic_run()])
    found = reference_point(comparison)
    assert "derived" in found.origin
    assert all(found.values[reward] < comparison.points[reward].min() for reward in comparison.guided)
    assert hypervolume_table(comparison, found).by_label["outside"].sum() == 0


def test_units_in_the_record_of_the_run_are_on_axes_and_columns(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["x"])
    with (run / "config.yaml").open("a", encoding="utf-8") as file:
        file.write("units: {compressibility: -kB}\n")
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    assert "compressibility (-kB), higher is better" in page and "guided, -kB" in page


def test_numbers_are_short_and_readable() -> None:
    numbers = (2720.0, -2.0, 0.12346, None, float("nan"))
    assert [format_number(number) for number in numbers] == ["2,720", "−2", "0.1235", "–", "–"]
    assert format_mean_and_std(-2.2044, 0.231) == "−2.20 ± 0.23"
    assert format_mean_and_std(57.95, 22.4) == "58 ± 22"
    assert format_mean_and_std(1.0, 0.0) == "1 ± 0"


def test_lists_read_as_english() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_errors_name_the_folder_and_the_fix(synthetic_run: Write, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"nothing: the folder has no run.*srsoup run"):
        write_report([tmp_path / "nothing"], tmp_path / "out")
    with pytest.raises(ReportError, match=r"demo: the run has no finished prompt \(1 failed\).*srsoup run"):
        write_report([synthetic_run(prompts=[], failures=1)], tmp_path / "out")
    one, two = synthetic_run("one", prompts=["x"]), synthetic_run("two", prompts=["x"], guided=["a", "b"])
    with pytest.raises(ReportError, match=r"two: the run was guided by a, b.*for each of these runs"):
        write_report([one, two], tmp_path / "out")
