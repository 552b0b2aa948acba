"""The figures of the paper by their numbers, and the files that `srsoup report --figure` writes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

from evaluation.errors import ReportError
from evaluation.figures.ablations import draw_ablations
from evaluation.figures.budgets import draw_budgets
from evaluation.figures.distributions import draw_distributions
from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.image_grids import draw_methods, grid_of_prompts
from evaluation.figures.mean_fronts import draw_mean_fronts
from evaluation.figures.paper_style import paper_settings, save_figure
from evaluation.figures.prompts_by_queries import draw_prompts
from evaluation.figures.soup_steps import draw_soup_steps
from evaluation.figures.three_rewards import draw_three_rewards
from evaluation.reading.comparison import Comparison, load_runs
from evaluation.reading.sweeps import runs_of_sweeps
from evaluation.tables.csv_files import write_csv
from pipeline.records import Location

ALL = "all"


class PaperFigure(NamedTuple):
    """A figure of the paper.

    Attributes:
        title: what it shows.
        draw: draws it; raises CannotDraw if the runs cannot give it.
        takes_prompts: whether `draw` takes the names of prompts as its second argument.
    """

    title: str
    draw: Callable[..., list[Drawn]]
    takes_prompts: bool = False


FIGURES: Mapping[str, PaperFigure] = {
    "1": PaperFigure("hypervolume by queries and by time", draw_budgets),
    "3": PaperFigure("mean fronts of the methods", draw_mean_fronts),
    "4": PaperFigure("images of one prompt by method", draw_methods, takes_prompts=True),
    "5": PaperFigure("fronts of three rewards", draw_three_rewards),
    "7": PaperFigure("mean fronts by K, by N, and without the soup", draw_ablations),
    "8": PaperFigure("overlap of the distributions by step", draw_distributions),
    "10": PaperFigure("hypervolume by K", draw_soup_steps),
    "16": PaperFigure("fronts of easy and hard prompts by N", draw_prompts, takes_prompts=True),
    "18": PaperFigure("images of five prompts by weight", grid_of_prompts("18", 5), takes_prompts=True),
    "22": PaperFigure("images of eight prompts by weight", grid_of_prompts("22", 8), takes_prompts=True),
}


class Written(NamedTuple):
    """What `write_figures` did.

    Attributes:
        files: the files, in the order in which they were written.
        notes: what pictures leave out, and, for `all`, which figures these runs cannot give and why.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def write_figures(runs: Sequence[Location], number: str, out: Path, prompts: Sequence[str] = ()) -> Written:
    """Draws one figure of the paper from these runs, or all that they can give.

    Each picture is written as `figure_NUMBER` with the suffixes .png, .pdf and .svg, and its data as .csv.

    Args:
        runs: folders of runs; the folder of a sweep stands for its runs.
        number: a key of `FIGURES`, or "all".
        prompts: the prompts of a figure that shows single prompts, by text or prompt_id; by default its own choice.

    Raises:
        CannotDraw: the runs cannot give the figure; for "all", they can give none.
        ReportError: there is no figure of this number, the runs cannot be read or compared, or `out` not be written.
    """
    if number != ALL and number not in FIGURES:
        raise ReportError(
            f"there is no figure {number!r}; allowed: {', '.join(FIGURES)} and {ALL}; fix: give one of these numbers"
        )
    comparison = load_runs(runs_of_sweeps(runs))
    drawn, notes = list[Drawn](), list[str]()
    with matplotlib.rc_context(paper_settings()):
        for one in FIGURES if number == ALL else [number]:
            try:
                drawn += draw(comparison, one, prompts)
            except CannotDraw as error:
                if number != ALL:
                    raise
                notes.append(str(error))
        if not drawn:
            raise CannotDraw("\n".join(notes))
        try:
            out.mkdir(parents=True, exist_ok=True)
            files = [path for one in drawn for path in _write(one, out)]
        except OSError as error:
            raise ReportError(
                f"{out}: the figures cannot be written ({error}). Choose another folder with --out."
            ) from error
    return Written(tuple(files), (*(note for one in drawn for note in one.notes), *notes))


def draw(comparison: Comparison, number: str, prompts: Sequence[str] = ()) -> list[Drawn]:
    """Draws one figure of the paper without writing it.

    Raises:
        CannotDraw: these runs cannot give it.
    """
    figure = FIGURES[number]
    with matplotlib.rc_context(paper_settings()):
        return figure.draw(comparison, prompts) if figure.takes_prompts else figure.draw(comparison)


def _write(drawn: Drawn, out: Path) -> list[Path]:
    table = out / f"{drawn.stem}.csv"
    write_csv(drawn.data, table)
    return [*save_figure(drawn.figure, out / drawn.stem), table]
