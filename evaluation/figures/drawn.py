"""What a figure of the paper is made of: the picture, and the numbers in it."""

from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from evaluation.errors import ReportError


class Drawn(NamedTuple):
    """One picture.

    Attributes:
        stem: the name of its files, without suffix.
        figure: the picture.
        data: every number that is drawn, one row for each mark.
        notes: what the picture leaves out, one sentence each.
    """

    stem: str
    figure: Figure
    data: pd.DataFrame
    notes: tuple[str, ...] = ()


class CannotDraw(ReportError):
    """These runs cannot give a figure. The message says what is missing and which runs have it."""
