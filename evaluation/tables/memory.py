"""The peak memory of each method by prompts: the paper's Table 5."""

from collections.abc import Sequence

from evaluation.errors import TableError
from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.tables.model import MISSING, Cell, Head, Table, name_cell, number
from evaluation.tables.words import method_name, prompts_name, settings

Column = tuple[str, int | str | None]


def memory(comparisons: Sequence[Comparison]) -> Table:
    """Returns the table: a row for the prompts of each run, a column for each guided method and number of candidates N.

    A cell is the highest peak of all fronts. K does not decide the memory, so it makes no columns.

    Args:
        comparisons: the runs, those with the same guided rewards together.

    Raises:
        TableError: there is no guided method.
    """
    peaks: dict[tuple[str, Column], float] = {}
    for comparison in comparisons:
        highest = comparison.costs.groupby("label")["peak_memory_bytes"].max()
        for label in comparison.labels:
            method = comparison.method_of(label)
            if method != UNGUIDED:
                own = settings(comparison, label)
                key = prompts_name(comparison.run_of(label).config), (method, own.get("N", own.get("n")))
                peaks[key] = max(peaks.get(key, 0.0), float(highest[label]))
    if not peaks:
        raise TableError("a table of memory needs a guided method, and the runs have none. Add one to `method`.")
    rows = list(dict.fromkeys(prompts for prompts, _ in peaks))
    columns = sorted({column for _, column in peaks}, key=_place)
    several = {method for method, _ in columns if sum(method == other for other, _ in columns) > 1}
    return Table(
        "memory",
        "Peak memory of a worker that holds the model",
        [[Head(""), *(_head(column, column[0] in several) for column in columns)]],
        [[name_cell(prompts), *(_cell(peaks.get((prompts, column))) for column in columns)] for prompts in rows],
        notes=["1 GB is 1,000,000,000 bytes. It is GPU memory, or resident memory if there is no GPU."],
    )


def _place(column: Column) -> tuple[bool, str, float]:
    """Returns where a column stands: SRSoup first, and the largest N of a method before the others."""
    method, size = column
    return method != "srsoup", method, -float(size) if isinstance(size, int) else 0.0


def _head(column: Column, several: bool) -> Head:
    method, size = column
    name = method_name(method, short=True)
    letter = "n" if method == "best_of" else "N"
    return Head(f"{name} ({letter} = {size})", latex=f"{name} (${letter} = {size}$)") if several else Head(name)


def _cell(peak: float | None) -> Cell:
    return Cell(MISSING) if peak is None else Cell(f"{number(peak / 1e9, 1)}GB", peak)
