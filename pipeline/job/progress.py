"""The progress display of a run: a bar on a terminal, and one line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from pipeline.storage.clock import Pace, clock

LINE_SECONDS = 10.0


class Reporter:
    """Counts prompts, denoising steps and candidates, and shows candidates per second and the time left.

    The time left is that of the decodes that are left, of candidates and of final images, at the average rate of this
    driver. `srsoup status` shows the same, because the driver writes `pace` into the folder of the run.

    Args:
        prompts, steps, candidates, images: the work of the driver. The images are the final ones.
        stream: is written to; None is the standard error stream.

    Attributes:
        loaded_at: when the workers were first loaded, on the monotonic clock; None until then.
        on_update: a function that is called after each change.
    """

    def __init__(
        self, prompts: int, steps: int, candidates: int, stream: TextIO | None = None, images: int = 0
    ) -> None:
        self._totals = (prompts, steps, candidates)
        self._prompts = self._steps = self._candidates = self._images = 0
        # The candidates of fronts that are finished or have failed, and the expected decodes of all other fronts.
        self._closed, self._open = 0, candidates + images
        self.on_update: Callable[[], None] = lambda: None
        self._stream, self._start = stream or sys.stderr, time.monotonic()
        self._last_line = float("-inf")
        self.loaded_at: float | None = None
        self._bar = (
            Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                console=Console(file=self._stream),
            )
            if self._stream.isatty()
            else None
        )

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
            self._row = self._bar.add_task("loading models", total=max(self._totals[2], 1))
        else:
            self._line("loading models")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._refresh(last=True)
        if self._bar:
            self._bar.stop()

    def started(self) -> None:
        """Note that the workers are loaded. The rate counts from now, unless candidates were counted before."""
        now = time.monotonic()
        self.loaded_at = self.loaded_at or now
        if not self._candidates:
            self._start = now
        # Fronts that an earlier set of workers had begun begin again.
        self._closed = self._candidates
        self._refresh()

    @property
    def counts(self) -> tuple[int, int]:
        """The steps and the candidates so far."""
        return self._steps, self._candidates

    def add(self, steps: int, candidates: int) -> None:
        """Add to the counts."""
        self.update(self._steps + steps, self._candidates + candidates)

    def update(self, steps: int, candidates: int) -> None:
        """Set the counts."""
        self._steps, self._candidates = steps, candidates
        self._refresh()

    @property
    def pace(self) -> Pace:
        """The rate of this driver so far, and the decodes that are done for fronts under way."""
        seconds = time.monotonic() - self._start
        done = self._candidates + self._images
        return Pace(done / seconds if seconds > 0 and done else None, max(self._candidates - self._closed, 0))

    def front_closed(self, expected: int, candidates: int, images: int) -> None:
        """Count a front that is finished or has failed.

        Args:
            expected: the decodes that were expected for it.
            candidates: its candidates that have been counted.
            images: its final images; 0 if it has failed.
        """
        self._open -= expected
        self._closed += candidates
        self._images += images

    def prompt_done(self) -> None:
        """Count one more prompt of which every front is finished or has failed."""
        self._prompts += 1
        self._refresh()

    def show_message(self, text: str) -> None:
        """Show a message above the bar or as a line."""
        if self._bar:
            self._bar.console.print(text)
        else:
            self._line(text)

    def _refresh(self, *, last: bool = False) -> None:
        if self._bar:
            self._bar.update(self._row, description=self._text(), completed=self._candidates)
        elif last or time.monotonic() - self._last_line >= LINE_SECONDS:
            self._line(self._text())
        self.on_update()

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        print(text, file=self._stream, flush=True)

    def _text(self) -> str:
        prompts, steps, candidates = self._totals
        seconds = time.monotonic() - self._start
        rate = self._candidates / seconds if seconds > 0 else 0.0
        left = self.pace.seconds_left(self._open)
        return (
            f"prompts {self._prompts}/{prompts}, steps {self._steps}/{steps}, "
            f"candidates {self._candidates:,}/{candidates:,}, {rate:.1f}/s, "
            f"{'--:--' if left is None else clock(left)} left"
        )
