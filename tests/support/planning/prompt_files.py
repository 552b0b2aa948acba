"""What a prompt file gives: its texts, or the error that refuses it."""

from pathlib import Path

import pytest

from configs.errors import RequestError
from configs.schema import PromptsConfig
from pipeline.planning.prompts import read_prompts


def texts_of(path: Path, **keys: object) -> list[str]:
    """Return the texts of the prompts of a file."""
    return [prompt.text for prompt in read_prompts(PromptsConfig.model_validate({"file": str(path), **keys}))]


def refusal_of(path: Path, **keys: object) -> RequestError:
    """Return the error that refuses a file. It has every part of a clear error."""
    with pytest.raises(RequestError) as caught:
        texts_of(path, **keys)
    error = caught.value
    assert error.key.startswith("prompts.file") and all((error.file, error.problem, error.allowed, error.fix))
    return error
