"""Progress of a run: a bar on a terminal, one line every ten seconds anywhere else."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from pipeline.storage.clock import clock

LINE_SECONDS = 10.0


class Reporter:
    """Counts prompts, denoising steps and candidates; tells candidates a second and the time left.

    The time left is that of the candidates left at the rate of this call so far.

    Attributes:
        loaded: when the workers first were, on the monotonic clock.
    """

    def __init__(self, prompts: int, steps: int, candidates: int, stream: TextIO | None = None) -> None:
        self._totals = (prompts, steps, candidates)
        self._prompts = self._steps = self._candidates = 0
        self._stream, self._start = stream or sys.stderr, time.monotonic()
        self._told = float("-inf")
        self.loaded: float | None = None
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
        self._tell(last=True)
        if self._bar:
            self._bar.stop()

    def started(self) -> None:
        """The workers are loaded: time counts from here, if it has not begun to."""
        now = time.monotonic()
        self.loaded = self.loaded or now
        if not self._candidates:
            self._start = now
        self._tell()

    @property
    def counted(self) -> tuple[int, int]:
        """Steps and candidates so far."""
        return self._steps, self._candidates

    def add(self, steps: int, candidates: int) -> None:
        self.update(self._steps + steps, self._candidates + candidates)

    def update(self, steps: int, candidates: int) -> None:
        self._steps, self._candidates = steps, candidates
        self._tell()

    def prompt_done(self) -> None:
        """Every method of one more prompt has ended, well or not."""
        self._prompts += 1
        self._tell()

    def note(self, text: str) -> None:
        """Something worth reading that happened."""
        if self._bar:
            self._bar.console.print(text)
        else:
            self._line(text)

    def _tell(self, *, last: bool = False) -> None:
        if self._bar:
            self._bar.update(self._row, description=self._text(), completed=self._candidates)
        elif last or time.monotonic() - self._told >= LINE_SECONDS:
            self._line(self._text())

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        print(text, file=self._stream, flush=True)

    def _text(self) -> str:
        prompts, steps, candidates = self._totals
        seconds = time.monotonic() - self._start
        rate = self._candidates / seconds if seconds > 0 else 0.0
        left = clock((candidates - self._candidates) / rate) if rate else "--:--"
        return (
            f"prompts {self._prompts}/{prompts}, steps {self._steps}/{steps}, "
            f"candidates {self._candidates:,}/{candidates:,}, {rate:.1f}/s, {left} left"
        )
