"""The error of a wrong request."""

from typing import Any


class RequestError(Exception):
    """A request that cannot be run: nothing was started, exit status 2.

    Attributes:
        file: the file that the value came from, or "command line".
        key: dotted key of the value.
        value: what was given.
        problem: what is wrong with it.
        allowed: what may be given.
        fix: what to do now.
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
            f"  value:   {_shown(self.value)}\n"
            f"  allowed: {self.allowed}\n"
            f"  fix:     {self.fix}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by position, and this one takes keywords only.
        return _rebuilt, self.args


def _rebuilt(*args: Any) -> RequestError:
    names = ("file", "key", "value", "problem", "allowed", "fix")
    return RequestError(**dict(zip(names, args, strict=True)))


def _shown(value: Any, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
