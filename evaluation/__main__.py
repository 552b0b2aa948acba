"""`python -m evaluation RUN [RUN ...]` does the same as `srsoup report`."""

import sys
from collections.abc import Sequence

from evaluation.errors import ReportError
from evaluation.report import report_folder, write_report
from pipeline.records import location_of


def main(arguments: Sequence[str]) -> int:
    """Writes the report of these runs to the `report_folder` of the first; returns the exit status, 2 for an error."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m evaluation RUN [RUN ...]")
        return 0 if arguments else 2
    try:
        runs = [location_of(argument) for argument in arguments]
        print(write_report(runs, report_folder(runs[0])))
    except (ReportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
