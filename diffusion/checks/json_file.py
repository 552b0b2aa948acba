"""Reads the JSON files of a model. Imports no torch."""

import json
import sys
from pathlib import Path
from typing import Any, TypeGuard

from diffusion.checks.tensor_file import check_no_pointer, unreadable
from diffusion.errors import ModelError

# The largest file of a real model is the index of a tokenizer, some megabytes.
MOST_BYTES = 50_000_000


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value of JSON is a number that a float can hold: no NaN, no infinity, no 10^400."""
    largest = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -largest <= value <= largest


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model.

    Raises:
        ModelError: the file cannot be read, or holds something else.
    """

    def refused(problem: str) -> ModelError:
        return ModelError(
            f"{path} {problem}", "the file that save_pretrained writes", "save the pipeline again with save_pretrained"
        )

    if not path.is_file():
        raise refused(f"cannot be read: {unreadable(path)}")
    check_no_pointer(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise refused(f"is longer than {MOST_BYTES} bytes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refused(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise refused(f"is not JSON: {str(error)[:200]}") from error
    if not isinstance(data, dict):
        raise refused("is not a JSON object")
    return data
