"""The kinds of printed tables: their names, the paper's numbers, and how to make and write them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evaluation.errors import ReportError, TableError
from evaluation.measures.diversity import diversity
from evaluation.measures.efficiency import cost_ratios
from evaluation.measures.hypervolume import HypervolumeTable, derived_point, hypervolume_table, reference_point
from evaluation.measures.methods import compare_methods, indicators
from evaluation.measures.over_optimisation import over_optimisation
from evaluation.reading.comparison import Comparison, load_runs
from evaluation.reading.record import read_record
from evaluation.reading.sweeps import runs_of_sweeps
from evaluation.tables.cross_reward import cross_reward
from evaluation.tables.formats import FORMATS, WIDTH, screen
from evaluation.tables.held_out import held_out_table
from evaluation.tables.memory import memory
from evaluation.tables.methods import method_table
from evaluation.tables.model import Table
from evaluation.tables.quality import quality_table
from evaluation.tables.queries_and_time import queries_and_time
from evaluation.tables.ratios import ratio_table
from evaluation.tables.time_breakdown import time_breakdown
from evaluation.tables.volumes import BELOW_ALL, STATED, volume_table
from evaluation.tables.words import labels_in_order
from pipeline.records import Location

# The numbers of the paper's tables -> the kind of table.
PAPER = {
    "1": "cross_reward", "2": "cross_reward", "3": "cross_reward", "4": "queries_and_time", "5": "memory",
    "6": "time_breakdown",
}  # fmt: skip
# The file that says which tables a report could not make, and why.
LEFT_OUT = "left_out.txt"


Volumes = Mapping[str, HypervolumeTable]


def _volumes(comparison: Comparison) -> Volumes:
    return {
        STATED: hypervolume_table(comparison, reference_point(comparison)),
        BELOW_ALL: hypervolume_table(comparison, derived_point(comparison)),
    }


# Name -> how to make the table of one set of guided rewards.
_OF_ONE: Mapping[str, Callable[[Comparison], Table]] = {
    "cross_reward": cross_reward,
    "queries_and_time": queries_and_time,
    "over_optimisation": lambda comparison: held_out_table(comparison, over_optimisation(comparison)),
    "quality": lambda comparison: quality_table(comparison, indicators(comparison), diversity(comparison)),
}
# The same of those that are made from hypervolumes.
_OF_VOLUMES: Mapping[str, Callable[[Comparison, Volumes], Table]] = {
    "hypervolume": volume_table,
    "methods": lambda comparison, volumes: method_table(
        comparison, compare_methods(comparison, volumes, labels_in_order(comparison))
    ),
    "cost_ratios": lambda comparison, volumes: ratio_table(comparison, cost_ratios(comparison, volumes)),
}
# Name -> how to make the one table of all sets of guided rewards.
_OF_ALL: Mapping[str, Callable[[Sequence[Comparison]], Table]] = {"memory": memory, "time_breakdown": time_breakdown}
KINDS = (*_OF_VOLUMES, *_OF_ONE, *_OF_ALL)


def tables(
    name: str, comparisons: Sequence[Comparison], volumes_of: Callable[[Comparison], Volumes] = _volumes
) -> list[Table]:
    """Returns the tables of a kind: one for each set of guided rewards, or one for all.

    Args:
        name: one of `KINDS`, or a number of `PAPER`.
        comparisons: the runs, those with the same guided rewards together.
        volumes_of: the hypervolumes of a comparison, if they are known already.

    Raises:
        TableError: the runs do not have what the table shows.
        ReportError: an image cannot be read.
    """
    kind = PAPER.get(name, name)
    if kind in _OF_ALL:
        return [_OF_ALL[kind](comparisons)]
    if kind in _OF_VOLUMES:
        return [_OF_VOLUMES[kind](comparison, volumes_of(comparison)) for comparison in comparisons]
    return [_OF_ONE[kind](comparison) for comparison in comparisons]


def load_by_rewards(runs: Sequence[Location]) -> list[Comparison]:
    """Reads runs, those with the same guided rewards together, in the order in which they are given.

    The folder of a sweep stands for all of its runs.

    Raises:
        ReportError: `reading.comparison.load_runs` raised it.
    """
    groups: dict[frozenset[str], list[Location]] = {}
    for run in runs_of_sweeps(runs):
        groups.setdefault(frozenset(read_record(run).guided), []).append(run)
    return [load_runs(group) for group in groups.values()]


def print_tables(runs: Sequence[Location], name: str, form: str, width: int = WIDTH, colour: bool = False) -> str:
    """Returns the tables of a kind as text.

    Args:
        name: one of `KINDS`, or a number of `PAPER`.
        form: one of `FORMATS`.
        width, colour: how many characters a line of the format `screen` has, and whether it has colours.

    Raises:
        ReportError: there is no such table or format, or the runs do not have what the table shows, or cannot be read.
    """
    if name not in (*PAPER, *KINDS):
        raise ReportError(
            f"there is no table {name!r}; allowed: {', '.join((*PAPER, *KINDS))}; fix: name one of these with --table"
        )
    if form not in FORMATS:
        raise ReportError(
            f"there is no format {form!r}; allowed: {', '.join(FORMATS)}; fix: name one of these with --format"
        )
    found = tables(name, load_by_rewards(runs))
    return "\n".join(screen(t, width, colour) if form == "screen" else FORMATS[form][1](t) for t in found)


def write_tables(comparison: Comparison, out: Path) -> None:
    """Writes every table in every format into a folder, and into `left_out.txt` which could not be made, and why.

    Raises:
        OSError: a file cannot be written.
        ReportError: an image cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    left_out, volumes = [], _volumes(comparison)
    for kind in KINDS:
        try:
            (table,) = tables(kind, [comparison], lambda _: volumes)
        except TableError as error:
            left_out.append(f"{kind}: {error}")
            for suffix, _ in FORMATS.values():
                (out / f"{kind}{suffix}").unlink(missing_ok=True)
            continue
        for suffix, write in FORMATS.values():
            text = write(table)
            (out / f"{kind}{suffix}").write_text(text, encoding="utf-8", errors="replace", newline="")
    (out / LEFT_OUT).write_text("".join(f"{line}\n" for line in left_out), encoding="utf-8", errors="replace")
