"""The errors of models."""

from collections.abc import Iterator
from contextlib import contextmanager


class ModelError(ValueError):
    """A model, or an adapter of it, that cannot be used.

    Attributes:
        problem: what is wrong with the model.
        allowed: the models, files or values that are allowed.
        fix: what to do about it, as an imperative.
        key: the key of the configuration that must change.
    """

    def __init__(self, problem: str, allowed: str, fix: str, key: str = "model.name") -> None:
        super().__init__(problem, allowed, fix, key)
        self.problem, self.allowed, self.fix, self.key = problem, allowed, fix, key

    def __str__(self) -> str:
        return f"{self.problem}; allowed: {self.allowed}; fix: {self.fix}"


@contextmanager
def for_key(key: str) -> Iterator[None]:
    """Give every ModelError that is raised within the key of the configuration that named the file."""
    try:
        yield
    except ModelError as error:
        raise ModelError(error.problem, error.allowed, error.fix, key) from error


class NotHereError(Exception):
    """A file of the hub is not on this machine, and the caller did not allow its download."""


class NotFiniteError(ArithmeticError):
    """A network computed NaN or infinity, as every retry of the call would, so the prompt fails.

    Attributes:
        part: "text encoder", "reverse step", "look-ahead" or "decoder".
        dtype: name of the dtype in which the part computes.
        step: 0-based index of the denoising step; None for a part outside the steps.
    """

    def __init__(self, part: str, dtype: str, step: int | None = None) -> None:
        super().__init__(part, dtype, step)
        self.part, self.dtype, self.step = part, dtype, step

    def __str__(self) -> str:
        where = f"the {self.part}" if self.step is None else f"the {self.part} of step {self.step} (the first is 0)"
        return f"{where} computed NaN or infinity in {self.dtype}; fix: {_FIXES[self.dtype]}"

    def at(self, step: int) -> "NotFiniteError":
        """Return the same error with the step that the call belongs to."""
        return NotFiniteError(self.part, self.dtype, step)


class BackwardMemoryError(RuntimeError):
    """The backward pass of a surrogate's gradients does not fit into memory. The prompt fails."""

    def __str__(self) -> str:
        return (
            "out of memory in the backward pass; fix: set surrogate.rows=1, set model.gradient_checkpointing=true, "
            "use a dtype of fewer bytes or a larger GPU, or leave surrogate out"
        )


_WEIGHTS = "check the files of the model and of its adapters for NaN, and lower model.guidance_scale"
_FIXES = {
    "float16": "its numbers end at 65504, so set model.dtype=bfloat16 or model.dtype=float32",
    "bfloat16": f"set model.dtype=float32; if that does not help, {_WEIGHTS}",
    "float32": _WEIGHTS,
}
