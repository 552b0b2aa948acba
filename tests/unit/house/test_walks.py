"""The two walks of docs/architecture.md are true: a real run passes through the functions that they name, in order."""

import ast
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from typer.testing import CliRunner

from configs.load import load_config
from srsoup import _app
from tests.support.runs import DEMO, ROOT

ROW = re.compile(r"\| `(?P<file>[\w/]+\.py)`(?P<ray> \(Ray\))? \| `(?P<function>[\w.]+)` \|")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = [[match.groupdict() for match in ROW.finditer(section)] for section in PAGE.split("\n## ")[1:]]
TINY = ["method=srsoup", "steps=2", "queries=2", "soup.steps=1", "prompts.limit=1", "rewards.held_out=[]", "--local"]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """The (file, function) of every call of a named function in a run in this process, in order."""
    wanted = {(row["file"], row["function"]) for walk in WALKS for row in walk}
    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOT)):
            file = Path(frame.f_code.co_filename).relative_to(ROOT).as_posix()
            if (call := (file, frame.f_code.co_qualname)) in wanted:
                found.append(call)

    arguments = ["run", str(DEMO), *TINY, f"output={tmp_path_factory.mktemp('run') / 'run'}"]
    # The libraries are imported beforehand: their imports are slow under a profiler.
    from pipeline.job.local_workers import LocalWorkers

    LocalWorkers.from_config(load_config(DEMO)).close()
    app, before = _app(), sys.getprofile()
    sys.setprofile(note)
    try:
        result = CliRunner().invoke(app, arguments)
    finally:
        sys.setprofile(before)
    assert result.exit_code == 0, result.output
    return found


@pytest.mark.parametrize("walk", WALKS, ids=["from a prompt to its score", "from a weighting to its row"])
def test_a_run_passes_through_the_functions_of_a_walk_in_order(
    walk: list[dict[str, Any]], calls: list[tuple[str, str]]
) -> None:
    rest = iter(calls)
    for row in walk:
        if not row["ray"]:
            step = (row["file"], row["function"])
            assert step in rest, f"{step} is not called after the steps before it"


def test_the_functions_on_ray_are_where_the_page_says() -> None:
    steps = [row for walk in WALKS for row in walk if row["ray"]]
    assert len(steps) >= 6
    for row in steps:
        *parent, name = row["function"].split(".")
        body = ast.parse((ROOT / row["file"]).read_text(encoding="utf-8")).body
        if parent:
            (owner,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == parent[0])
            body = owner.body
        assert any(getattr(node, "name", None) == name for node in body), row


def test_every_room_is_in_the_picture() -> None:
    picture = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    inits = [*ROOT.glob("*/__init__.py"), *ROOT.glob("pipeline/*/__init__.py"), *ROOT.glob("actors/*/__init__.py")]
    rooms = {path.parent.name for path in inits} - {"docs", "notebooks"}
    assert len(rooms) >= 15 and rooms <= set(re.findall(r"[a-z]+", picture))
