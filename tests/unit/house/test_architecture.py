"""The house: imports run one way only, read from the source and not from what happens to be loaded."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Room -> rooms that it may import from, besides itself.
ARROWS = {
    "configs": set(),
    "diffusion": set(),
    "mini": set(),
    "rewards": {"mini"},
    "actors": {"configs", "diffusion", "rewards"},
    "pipeline": {"configs", "diffusion", "rewards", "actors"},
    "evaluation": {"pipeline.records"},
    "srsoup.py": {"configs", "pipeline", "evaluation"},
}
FORBIDDEN = {
    "configs": {"torch", "ray", "diffusers"},
    "diffusion": {"ray"},
    "rewards": {"ray", "diffusers"},
    "pipeline": {"ray"},
    "evaluation": {"ray", "torch", "diffusers"},
    "mini": {"ray"},
    "srsoup.py": {"ray", "torch", "diffusers"},
}
OURS = {"configs", "diffusion", "mini", "rewards", "actors", "pipeline", "evaluation", "srsoup"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def files(room: str) -> list[Path]:
    place = ROOT / room
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def violations(room: str, path: Path, modules: set[str]) -> list[str]:
    wrong = []
    for module in modules:
        top = module.split(".")[0]
        allowed = any(module == a or module.startswith(a + ".") for a in ARROWS[room])
        if top in OURS and top != room.removesuffix(".py") and not allowed:
            wrong.append(f"{path}: {module}")
        if top in FORBIDDEN.get(room, set()):
            wrong.append(f"{path}: {module}")
    return wrong


@pytest.mark.parametrize("room", ARROWS)
def test_imports_follow_the_arrows(room: str) -> None:
    assert files(room)
    assert [v for path in files(room) for v in violations(room, path, imports(path))] == []


def test_the_method_imports_nothing_of_ours_but_itself() -> None:
    modules = {m for path in files("pipeline/guidance") for m in imports(path)}
    assert {m for m in modules if m.split(".")[0] in OURS} <= {m for m in modules if m.startswith("pipeline.guidance.")}


@pytest.mark.parametrize("module", ["crew", "pool", "protocol", "transport", "workers"])
def test_the_plain_classes_of_the_actors_import_no_ray(module: str) -> None:
    assert not {m for m in imports(ROOT / "actors" / f"{module}.py") if m.split(".")[0] == "ray"}


def test_an_arrow_against_the_plan_is_seen() -> None:
    assert violations("rewards", Path("x.py"), {"actors.pool.pool"})
    assert violations("evaluation", Path("x.py"), {"pipeline.job.driver"})
    assert violations("pipeline", Path("x.py"), {"ray"})
    assert not violations("evaluation", Path("x.py"), {"pipeline.records"})
