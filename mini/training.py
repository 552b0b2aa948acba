"""The parts that all three trainings share: a wall-clock budget, a learning rate, the loop, and checkpoints."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Stateful(Protocol):
    """An object whose state a checkpoint holds: a module or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass
class Budget:
    """The progress of a training through its wall-clock budget.

    The seconds of earlier, interrupted runs count too: the checkpoint holds `elapsed`.

    Attributes:
        seconds: the whole budget.
        elapsed: seconds spent by the runs before this one.
        step, samples: optimiser steps and pictures so far, earlier runs included.
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
        """Returns peak min(1, step / warmup) (floor + (1 - floor) (1 + cos(pi fraction)) / 2)."""
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * self.fraction))
        return peak * min(1.0, (self.step + 1) / warmup) * cosine

    def advance(self, batch: int) -> None:
        """Counts one optimiser step on `batch` pictures."""
        self.step += 1
        self.samples += batch


def repeat_steps(
    name: str,
    step: Callable[[], float],
    budget: Budget,
    checkpoint: Path,
    parts: Mapping[str, Stateful],
    *,
    save_every: float,
    max_steps: int | None,
    log: Callable[[str], None],
) -> None:
    """Repeats `step` until the budget is spent; saves `parts` every `save_every` seconds and at the end.

    Args:
        name: the training's name in the log.
        step: takes one optimiser step, advances the budget, and returns the loss.
        max_steps: stops the training earlier, at this number of steps over all runs.
        log: receives one line every 100 steps, with the loss as an exponential moving average.
    """
    saved, running = budget.spent, 0.0
    while budget.fraction < 1 and (max_steps is None or budget.step < max_steps):
        loss = step()
        running = loss if running == 0 else 0.98 * running + 0.02 * loss
        if budget.step % 100 == 0:
            log(f"{name} step {budget.step} seconds {budget.spent:.0f} samples {budget.samples} loss {running:.4f}")
        if budget.spent - saved > save_every:
            save_checkpoint(checkpoint, budget, parts)
            saved = budget.spent
    save_checkpoint(checkpoint, budget, parts)


def take_step(loss: Tensor, optimiser: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], rate: float) -> None:
    """Takes one optimiser step at the learning rate `rate` on the gradient of `loss`, whose norm is clipped to 1."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()


def save_checkpoint(path: Path, budget: Budget, parts: Mapping[str, Stateful]) -> None:
    """Writes the state of all parts and the progress, to a temporary file first, so that no file is half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    progress = {"elapsed": budget.spent, "step": budget.step, "samples": budget.samples}
    fresh = path.with_suffix(".new")
    torch.save({"progress": progress, **{name: part.state_dict() for name, part in parts.items()}}, fresh)
    os.replace(fresh, path)


def load_checkpoint(path: Path, budget: Budget, parts: Mapping[str, Stateful]) -> bool:
    """Restores all parts and the progress; without a checkpoint it changes nothing and returns False."""
    if not path.exists():
        return False
    kept = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(kept[name])
    budget.elapsed, budget.step = kept["progress"]["elapsed"], kept["progress"]["step"]
    budget.samples = kept["progress"]["samples"]
    return True


def prepare(threads: int) -> None:
    """Sets the threads of this process, and has denormal numbers flushed to zero.

    Denormal numbers in the optimiser's moments make each step several times slower on a CPU.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
