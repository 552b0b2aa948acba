"""`python -m tests.support.hostile`: runs hostile inputs, and prints how each of them ended.

    python -m tests.support.hostile [--only KIND] [--named TEXT] [--failing]

The exit status is 1 if a command ended in a traceback or a hang, or with a wrong exit status or message.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.support.hostile.all_cases import KINDS, all_cases
from tests.support.hostile.case import Ended, run_case, shell


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.hostile", description=__doc__)
    parser.add_argument("--only", choices=KINDS, action="append", help="run the cases of this kind only")
    parser.add_argument("--named", default="", help="run the cases only whose name has this text")
    parser.add_argument("--failing", action="store_true", help="print only the cases that do not end as they have to")
    given = parser.parse_args()
    cases = [case for case in all_cases() if case.kind in (given.only or KINDS) and given.named in case.name]
    began, failing = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="srsoup-hostile-") as folder:
        for number, case in enumerate(cases):
            ended = run_case(case, Path(folder) / str(number))
            failing += bool(ended.faults)
            if ended.faults or not given.failing:
                print(row(ended), flush=True)
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s, {failing} not as they have to end")
    return 1 if failing else 0


def row(ended: Ended) -> str:
    """One line of the table, and a second one for what is wrong."""
    status = "hang" if ended.status is None else str(ended.status)
    name = f"{ended.case.kind}: {ended.case.name}".encode("ascii", "backslashreplace").decode()
    line = f"{status:>4} {ended.seconds:6.2f} s  {name:<60.60}  {ended.message:.110}"
    line = line.encode("ascii", "backslashreplace").decode()
    if ended.faults:
        command = shell(ended.case.arguments).encode("ascii", "backslashreplace").decode()
        line += f"\n     WRONG     {'; '.join(ended.faults)}   [{command:.200}]"
    return line


if __name__ == "__main__":
    sys.exit(main())
