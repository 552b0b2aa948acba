"""What a figure of the paper is made of: the picture, and the numbers in it."""

import io
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

    def _repr_png_(self) -> bytes:
        """Returns the picture as a PNG file, which a notebook shows."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=200, facecolor="white")
        return buffer.getvalue()


class CannotDraw(ReportError):
    """These runs cannot give a figure. The message says what is missing and which runs have it."""
