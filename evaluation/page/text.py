"""Writes the numbers and lists of the page as text."""

import math
from collections.abc import Sequence


def format_number(value: float | None, digits: int = 4) -> str:
    """Writes whole numbers with thousands separators, and others with a few significant digits."""
    if value is None or value != value:
        return "\u2013"
    if float(value).is_integer():
        text = f"{int(value):,}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def format_score(value: float) -> str:
    """Writes a score with few digits, so that several fit under an image."""
    return format_number(value, 3) if abs(value) >= 100 else f"{value:.2f}".replace("-", "\u2212")


def format_mean_and_std(mean: float, std: float) -> str:
    """Writes mean ± std, both rounded to the second significant digit of the standard deviation."""
    if not std > 0:
        return f"{format_number(mean)} ± {format_number(std, 2)}"
    digits = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:,.{digits}f} ± {std:,.{digits}f}".replace("-", "\u2212")


def plural(count: int, word: str) -> str:
    """Writes a count and its word, which gets an s unless the count is 1."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], most: int = 99) -> str:
    """Writes names as "a, b and c", or as "a, b and 3 more" if there are more than `most`."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
