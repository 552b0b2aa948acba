"""Refuses a user's own `pipeline.py` when `python -m pipeline` is to run SRSoup's commands.

Python runs the file of the current folder before any module of SRSoup, so nothing in `pipeline/` can see it. Therefore
an installation has the file `srsoup-start.pth` (written by `setup.py`), and Python imports this module while it starts,
if its arguments say `-m pipeline`. A program of the user that is named `pipeline` and is given something else than a
command of SRSoup with a configuration or a run of SRSoup is left alone.
"""

import os
import re
import sys
from pathlib import Path

COMMANDS = ("run", "sweep", "check", "status", "compact", "verify")
# A configuration of SRSoup has one of these keys at the beginning of a line.
KEYS = re.compile(r"^(rewards|prompts|extends)\s*:", re.MULTILINE)
LONGEST = 1_000_000  # bytes of a configuration that are searched for a key
HOME = Path(__file__).absolute().parent


def is_for_srsoup(words: list[str]) -> bool:
    """Whether the words after `python -m pipeline` are a command of SRSoup and something of SRSoup's that it reads."""
    return words[:1] != [] and words[0] in COMMANDS and any(map(_is_of_srsoup, words[1:]))


def _is_of_srsoup(word: str) -> bool:
    """Whether this is the name of a packaged configuration, a configuration file or the folder of a run."""
    if re.fullmatch(r"\w+", word) and any((HOME / "configs").rglob(f"{word}.yaml")):
        return True
    try:
        path = Path(word)
        if path.is_dir():
            return (path / "config.yaml").is_file() and (path / "samples").is_dir()
        if path.suffix not in (".yaml", ".yml") or not path.is_file():
            return False
        with path.open("rb") as file:
            return KEYS.search(file.read(LONGEST).decode(errors="replace")) is not None
    except (OSError, ValueError):
        return False


def refuse_shadows() -> None:
    """End Python with exit status 2 if it would run another `pipeline` than SRSoup's, of which SRSoup is expected."""
    if sys.flags.safe_path or not is_for_srsoup(sys.argv[1:]):
        return
    from pipeline.shadowing import message_of, shadows_on_workers

    shadows = shadows_on_workers()
    if any(place.stem == "pipeline" for place in shadows):
        print(f"error: {message_of(shadows)}", file=sys.stderr, flush=True)
        # An exception would be reported as a fault of Python's own start.
        os._exit(2)


refuse_shadows()
