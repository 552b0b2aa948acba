"""`python -m evaluation RUN [RUN ...]`: the same as `srsoup report`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import ReportError
from evaluation.report import write_report


def main(arguments: Sequence[str]) -> int:
    """Write the report of these run folders into the first one's `report/`; 2 for a wrong request."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m evaluation RUN [RUN ...]")
        return 0 if arguments else 2
    runs = [Path(argument) for argument in arguments]
    try:
        print(write_report(runs, runs[0] / "report"))
    except ReportError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
