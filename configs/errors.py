"""The errors of a wrong request."""

from typing import Any

COMMAND_LINE = "command line"
"""The `file` of a `RequestError` whose value was given on the command line."""


class RequestError(Exception):
    """A request that cannot be run. Nothing was started; the exit status is 2.

    Attributes:
        file: the file that the value came from, or `COMMAND_LINE`.
        key: the dotted key of the value.
        value: the value that was given.
        problem: what is wrong with the value.
        allowed: the values that are allowed.
        fix: what to do about it, as an imperative.
    """

    def __init__(self, *, file: str, key: str, value: Any, problem: str, allowed: str, fix: str) -> None:
        self.file, self.key, self.value = file, key, value
        self.problem, self.allowed, self.fix = problem, allowed, fix
        super().__init__(file, key, value, problem, allowed, fix)

    def __str__(self) -> str:
        return (
            f"{self.problem}\n"
            f"  file:    {self.file}\n"
            f"  key:     {self.key}\n"
            f"  value:   {_shortened(self.value)}\n"
            f"  allowed: {self.allowed}\n"
            f"  fix:     {self.fix}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled with positional arguments, and this one takes keywords only.
        return _rebuilt, self.args


class InvalidValueError(ValueError):
    """A value that a check of the configuration refuses.

    The check knows neither the file nor the value's origin. pydantic carries the error to `configs.explain`, which
    makes a `RequestError` of it.

    Attributes:
        problem: what is wrong with the value.
        fix: what to do about it, as an imperative.
        key: the dotted key of the value; empty if it is the key that pydantic was checking.
    """

    def __init__(self, problem: str, fix: str, key: str = "") -> None:
        super().__init__(problem, fix, key)
        self.problem, self.fix, self.key = problem, fix, key

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


def _rebuilt(*args: Any) -> RequestError:
    names = ("file", "key", "value", "problem", "allowed", "fix")
    return RequestError(**dict(zip(names, args, strict=True)))


def _shortened(value: Any, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
