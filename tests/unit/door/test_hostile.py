"""Hostile inputs end in one message and the right status. `python -m tests.support.hostile` runs all of them."""

from pathlib import Path

import pytest

from tests.support.hostile.__main__ import row
from tests.support.hostile.all_cases import KINDS, all_cases
from tests.support.hostile.case import run_case

# All inputs of some kinds are quick; of the others every third one is run.
EVERY = dict.fromkeys(KINDS, 3) | {"yaml": 1, "values": 1}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "surroundings"])
def test_no_hostile_input_ends_in_a_traceback_a_hang_or_a_wrong_status(kind: str, tmp_path: Path) -> None:
    cases = [case for case in all_cases() if case.kind == kind and case.is_quick][:: EVERY[kind]]
    assert len(cases) > 5
    ended = [run_case(case, tmp_path / str(number)) for number, case in enumerate(cases)]
    assert [row(one) for one in ended if one.faults] == []


def test_the_table_has_every_kind_and_hundreds_of_inputs_each_with_a_name_of_its_own() -> None:
    names = [(case.kind, case.name) for case in all_cases()]
    assert len(names) == len(set(names)) >= 300 and {kind for kind, _ in names} == set(KINDS)
