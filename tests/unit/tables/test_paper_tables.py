"""Tables 1 to 6 of the paper, from runs that have the paper's numbers, in the paper's layout."""

import re
from pathlib import Path

import pytest

from evaluation.errors import ReportError
from evaluation.reading.comparison import Comparison
from evaluation.tables.formats import latex
from evaluation.tables.kinds import load_by_rewards, print_tables, tables
from evaluation.tables.model import Table
from tests.support.evaluation import paper_tables as paper


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def heads(table: Table) -> list[list[tuple[str, int]]]:
    return [[(head.text, head.span) for head in row] for row in table.heads]


@pytest.fixture(scope="module", params=[1, 2, 3])
def cross_reward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, Table]:
    run = paper.cross_reward_run(tmp_path_factory.mktemp("runs"), request.param)
    (table,) = tables(str(request.param), load_by_rewards([run]))
    return request.param, run, table


def test_tables_1_to_3_are_the_papers(cross_reward: tuple[int, Path, Table]) -> None:
    number, _, table = cross_reward
    blocks = paper.CROSS_REWARD[number][1]
    assert heads(table) == [
        [("Cross-reward", 1), ("Method", 1), *((f"w₁ = {w}", 1) for w in ("0", "0.2", "0.4", "0.6", "0.8", "1"))]
    ]
    expected = [
        [f"{name} (SD1.5: {base})" if method == "SRSoup" else "", method, *values.split()]
        for name, base, rows in blocks
        for method, values in zip(paper.SOUPS, rows, strict=True)
    ]
    assert texts(table) == expected
    assert list(table.rules) == [0, 4]


def test_a_drop_is_marked_where_the_paper_is_below_the_base_model(cross_reward: tuple[int, Path, Table]) -> None:
    """The run's prompts agree on the differences to the seventh digit, so every difference in the fourth is sure."""
    number, _, table = cross_reward
    expected = [
        [float(value) < float(base) for value in values.split()]
        for _, base, rows in paper.CROSS_REWARD[number][1]
        for values in rows
    ]
    found = [[cell.drop for cell in row[2:]] for row in table.rows]
    assert found == expected
    # "When aligning with the aesthetic reward, we observe some drops in the CLIP metric across all methods."
    assert all(row[-1] for row in found[:4])


def test_table_1_as_markdown_and_latex(tmp_path: Path) -> None:
    run = paper.cross_reward_run(tmp_path, 1)
    lines = print_tables([run], "1", "markdown").splitlines()
    assert lines[2] == "| Cross-reward | Method | w₁ = 0 | w₁ = 0.2 | w₁ = 0.4 | w₁ = 0.6 | w₁ = 0.8 | w₁ = 1 |"
    assert lines[3] == "|---|---|---:|---:|---:|---:|---:|---:|"
    assert lines[4].startswith(
        "| CLIP (SD1.5: 0.2589) | SRSoup | 0.2692 | 0.2672 | 0.2735 | 0.2690 | 0.2549 ↓ | 0.2532 ↓ |"
    )
    assert lines[5].startswith("|  | AlignProp (soup) | 0.1844 ↓ | 0.2298 ↓ | 0.2650 | 0.2446 ↓")
    tex = print_tables([run], "1", "latex")
    assert r"Cross-reward & Method & $w_1 = 0$ & $w_1 = 0.2$" in tex
    assert r"CLIP (SD1.5: 0.2589) & SRSoup & 0.2692 & 0.2672 & 0.2735 & 0.2690 & \textcolor{red}{0.2549}" in tex
    assert tex.count(r"\midrule") == 2 and r"\toprule" in tex and r"\bottomrule" in tex and "xcolor" in tex


def test_table_4_is_the_papers(tmp_path: Path) -> None:
    (table,) = tables("4", load_by_rewards(paper.queries_run(tmp_path)))
    assert heads(table) == [
        [("Method", 1), ("SRSoup", 5), ("WeightedSum", 1)],
        [("", 1), *((f"K = {k}", 1) for k in (50, 40, 30, 20, 10)), ("", 1)],
    ]
    assert texts(table) == [[name, *paper.TABLE_4[name]] for name in ("#Query", "Time (min)")]
    assert "N = 30, T = 50, L = 6" in table.notes[0]


@pytest.fixture(scope="module")
def breakdown(tmp_path_factory: pytest.TempPathFactory) -> list[Comparison]:
    return load_by_rewards(paper.breakdown_runs(tmp_path_factory.mktemp("runs")))


def test_table_5_is_the_papers(breakdown: list[Comparison]) -> None:
    (table,) = tables("5", breakdown)
    assert heads(table) == [[("", 1), ("SRSoup", 1), *((f"WS (N = {n})", 1) for n in (26, 21, 16, 11, 6))]]
    assert texts(table) == [[name, *row] for name, row in paper.TABLE_5.items()]


def test_table_6_is_the_papers(breakdown: list[Comparison]) -> None:
    (table,) = tables("6", breakdown)
    pairs = ("Aesthetic & Compressibility", "Aesthetic & PickScore", "Aesthetic & HPSv2")
    assert heads(table) == [
        [("Method", 1), ("#Queries", 1), *((pair, 3) for pair in pairs)],
        [("", 1), ("", 1), *((part, 1) for _ in pairs for part in ("Total", "Decode", "Reward"))],
    ]
    expected = [
        [name if number == 0 else "", queries, *times.split()]
        for name, rows in (("SRSoup", paper.TABLE_6["srsoup"]), ("WS", paper.TABLE_6["weighted_sum"]))
        for number, (_, queries, times) in enumerate(rows)
    ]
    assert texts(table) == expected and list(table.rules) == [0, 5]
    assert table.caption.startswith("Time of one prompt (min)")


def test_table_6_has_a_rule_under_each_pair_of_rewards_in_latex(breakdown: list[Comparison]) -> None:
    tex = latex(tables("6", breakdown)[0])
    assert r"\cmidrule(lr){3-5} \cmidrule(lr){6-8} \cmidrule(lr){9-11}" in tex
    assert r"\multicolumn{3}{c}{Aesthetic \& Compressibility}" in tex
    assert re.search(r"SRSoup & 3000 & 9\.2 & 8\.8 & 0\.2 & 9\.7 & 9\.0 & 0\.3 & 9\.7 & 9\.0 & 0\.3 \\\\", tex)


def test_a_table_that_the_runs_cannot_give_says_what_is_missing(tmp_path: Path) -> None:
    runs = paper.queries_run(tmp_path)
    with pytest.raises(ReportError, match=r"no held-out reward\. Set rewards\.held_out and run again"):
        tables("1", load_by_rewards(runs[:1]))
    with pytest.raises(ReportError, match="a comparison of methods needs two methods"):
        tables("methods", load_by_rewards(runs[:1]))
    with pytest.raises(ReportError, match="needs the method unguided"):
        tables("over_optimisation", load_by_rewards(runs[:1]))
    with pytest.raises(ReportError, match="two guided methods that make queries"):
        tables("cost_ratios", load_by_rewards(runs[:2]))
