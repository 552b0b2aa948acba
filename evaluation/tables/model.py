"""A printed table: heads, cells and notes, apart from the format that it is written in."""

from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "\u2013"
Value = float | int | str | None


@dataclass(frozen=True)
class Head:
    """A heading over one or more columns.

    Attributes:
        text: its text, in every format but LaTeX.
        span: number of columns that it stands over.
        latex: its LaTeX, for formulas; by default the text, escaped.
    """

    text: str
    span: int = 1
    latex: str | None = None


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what is printed.
        value: what CSV and JSON hold: the number with all its digits, or the text of a name.
        drop: true for a number that is marked as a drop.
        ends: the lower and the upper end of the interval of the number, if it has one.
    """

    text: str
    value: Value = None
    drop: bool = False
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: the name of its files.
        caption: what it shows, one sentence.
        heads: one or two rows of headings, each over all columns.
        rows: the cells of each row, one for each column.
        names: how many columns, from the left, hold names and not numbers.
        rules: rows before which a line is drawn, by number from 0.
        notes: what a reader has to know, one sentence each.
    """

    name: str
    caption: str
    heads: Sequence[Sequence[Head]]
    rows: Sequence[Sequence[Cell]]
    names: int = 1
    rules: Sequence[int] = ()
    notes: Sequence[str] = ()

    def columns(self, joint: str = ", ") -> list[str]:
        """Returns one heading for each column: those of the rows of heads, joined by these characters."""
        spread = [[head.text for head in row for _ in range(head.span)] for row in self.heads]
        return [joint.join(text for text in dict.fromkeys(texts) if text) for texts in zip(*spread, strict=True)]

    @property
    def has_drops(self) -> bool:
        """Whether a cell is marked as a drop."""
        return any(cell.drop for row in self.rows for cell in row)


def name_cell(text: str, value: str | None = None) -> Cell:
    """Returns the cell of a name. `value` is what CSV and JSON hold, if that differs from what is printed."""
    return Cell(text, text if value is None else value)


def number_cell(value: float, digits: int, drop: bool = False, thousands: bool = False) -> Cell:
    """Returns the cell of a number with these decimals, or of a dash if it is NaN."""
    if value != value:
        return Cell(MISSING)
    return Cell(number(value, digits, thousands), value, drop)


def number(value: float, digits: int, thousands: bool = False) -> str:
    """Returns a number with these decimals and a true minus sign."""
    text = f"{value:z,.{digits}f}" if thousands else f"{value:z.{digits}f}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def interval_cell(value: float, low: float, high: float, digits: int, drop: bool = False) -> Cell:
    """Returns the cell of a number with its interval in brackets, if that is known."""
    if value != value:
        return Cell(MISSING)
    if low != low:
        return Cell(number(value, digits), value, drop)
    return Cell(f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]", value, drop, (low, high))
