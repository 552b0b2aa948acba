"""Texts of other code, such as the message of an error, as texts that any file and terminal takes."""

import traceback


def writable(text: str) -> str:
    """Return a text that UTF-8 can encode: half of a surrogate pair becomes its escape, such as `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode()


def message_of(error: BaseException) -> str:
    """Return the message of an error, even if its class cannot give one."""
    try:
        return writable(str(error))
    except Exception:
        return "(its message cannot be read)"


def described(error: BaseException) -> str:
    """Return the class of an error and its message, such as `ValueError: no such word`."""
    return writable(f"{type(error).__name__}: {message_of(error)}".removesuffix(": "))


def is_writable(error: BaseException) -> bool:
    """Whether the stack of an error, with its message and its causes, is a text that UTF-8 can encode."""
    stack = "".join(traceback.format_exception(error))
    return writable(stack) == stack


def with_writable_text(error: Exception) -> Exception:
    """Return the error with a text that UTF-8 can encode, or a RuntimeError that holds its class and message."""
    error.args = tuple(writable(part) if isinstance(part, str) else part for part in error.args)
    error.__cause__ = error.__context__ = None
    return error if is_writable(error) else RuntimeError(described(error))


def shown(value: object, most: int = 80) -> str:
    """Return how a value of other code looks, cut to a number of characters."""
    try:
        return writable(repr(value)[:most])
    except Exception:
        return f"(a {type(value).__name__} that cannot be shown)"
