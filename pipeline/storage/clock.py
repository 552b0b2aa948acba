"""Durations as people read them, and how long a driver's work will take."""

from typing import NamedTuple


def clock(seconds: float) -> str:
    """Return a duration as MM:SS, or as H:MM:SS from one hour on; a negative one counts as 0."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


class Pace(NamedTuple):
    """How fast a driver works. `srsoup run` and `srsoup status` both compute the time left from it.

    Attributes:
        rate: the decodes a second since the models were loaded, or None if there are none yet.
        under_way: the decodes that are done for fronts that are not finished.
    """

    rate: float | None
    under_way: int

    def seconds_left(self, decodes: int) -> float | None:
        """Return the time for the fronts that are left, of which these decodes are expected in all."""
        return None if self.rate is None else max(decodes - self.under_way, 0) / self.rate
