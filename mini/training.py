"""What the three trainings share: a wall-clock budget, the learning rate along it, checkpoints to go on
from."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """A module, an optimiser, or anything else that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


@dataclass
class Budget:
    """Progress of a training along its wall-clock budget.

    Seconds of earlier, interrupted runs count: `elapsed` is kept in the checkpoint.

    Attributes:
        seconds: the whole budget.
        elapsed: seconds spent by the runs before this one.
        step, samples: optimiser steps and pictures seen so far, earlier runs included.
    """

    seconds: float
    elapsed: float = 0.0
    step: int = 0
    samples: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Seconds spent, earlier runs included."""
        return self.elapsed + time.monotonic() - self.started

    @property
    def fraction(self) -> float:
        """Share of the budget spent, at most 1."""
        return min(1.0, self.spent / self.seconds)

    def learning_rate(self, peak: float, warmup: int = 200, floor: float = 0.02) -> float:
        """peak min(1, step / warmup) (floor + (1 - floor) (1 + cos(pi fraction)) / 2)."""
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * self.fraction))
        return peak * min(1.0, (self.step + 1) / warmup) * cosine

    def advance(self, batch: int) -> None:
        """Counts one optimiser step on `batch` pictures."""
        self.step += 1
        self.samples += batch


def save_checkpoint(path: Path, budget: Budget, parts: dict[str, Stateful]) -> None:
    """Writes the state of all parts and the progress, whole or not at all: temporary file, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    progress = {"elapsed": budget.spent, "step": budget.step, "samples": budget.samples}
    fresh = path.with_suffix(".new")
    torch.save({"progress": progress, **{name: part.state_dict() for name, part in parts.items()}}, fresh)
    os.replace(fresh, path)


def load_checkpoint(path: Path, budget: Budget, parts: dict[str, Stateful]) -> bool:
    """Restores all parts and the progress; False, and nothing touched, if there is no checkpoint."""
    if not path.exists():
        return False
    kept = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(kept[name])
    budget.elapsed, budget.step = kept["progress"]["elapsed"], kept["progress"]["step"]
    budget.samples = kept["progress"]["samples"]
    return True


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The same learning rate for all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def prepare(threads: int) -> None:
    """Threads of this process, and denormals to zero: in the optimiser's moments they slow a CPU down
    severalfold."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
