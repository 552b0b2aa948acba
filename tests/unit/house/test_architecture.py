"""The house: imports run one way only, read from the source and not from what happens to be loaded."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TORCH, RAY, DIFFUSERS = "torch", "ray", "diffusers"
# Room -> rooms and modules that it may import from, besides itself. The order is that of the house, from the ground up.
ARROWS: dict[str, set[str]] = {
    "configs": set(),
    "mini": set(),
    "diffusion": {"configs.file_digest"},
    "rewards/networks": {"rewards.errors", "rewards.base", "rewards.pinned_files"},
    "rewards": {"mini", "configs.addresses", "configs.file_digest", "configs.plain.texts", "configs.sections.judge"},
    "actors/pool": {"actors.protocol", "configs.errors", "configs.plain.texts"},
    "actors/telemetry": {"actors.pool"},
    "actors/cluster": {"actors", "configs", "diffusion", "rewards"},
    "actors": {"configs", "diffusion", "rewards"},
    "pipeline/guidance": set(),
    "pipeline/storage": {"configs", "pipeline.records"},
    "pipeline/planning": {"actors.from_config", "configs", "diffusion", "rewards", "mini.surrogates",
                          "pipeline.guidance", "pipeline.records", "pipeline.storage"},
    "pipeline/surrogate": {"actors.protocol", "configs", "diffusion", "rewards", "pipeline.guidance.seeds",
                           "pipeline.planning", "pipeline.records"},
    "pipeline/job": {"actors", "configs", "diffusion", "rewards", "pipeline.guidance", "pipeline.planning",
                     "pipeline.records", "pipeline.redaction", "pipeline.storage", "pipeline.surrogate"},
    "pipeline/cli": {"pipeline", "actors.protocol", "actors.workers", "configs", "diffusion", "rewards"},
    "pipeline": {"configs", "diffusion", "rewards", "actors"},
    "evaluation": {"pipeline.records"},
    "srsoup.py": {"configs", "diffusion", "rewards", "pipeline", "evaluation"},
    "_srsoup_start.py": {"pipeline.shadowing"},
}  # fmt: skip
FORBIDDEN: dict[str, set[str]] = {
    "configs": {TORCH, RAY, DIFFUSERS},
    "diffusion": {RAY},
    "rewards": {RAY, DIFFUSERS},
    # Ray is in `cluster`, and in `telemetry`, which exports through it; the rules of the pool know nothing of it.
    "actors/pool": {TORCH, RAY, DIFFUSERS},
    "actors": {RAY},
    "pipeline": {RAY},
    "pipeline/guidance": {RAY, DIFFUSERS},
    "pipeline/storage": {TORCH, RAY, DIFFUSERS},
    "evaluation": {RAY, TORCH, DIFFUSERS},
    "mini": {RAY},
    "srsoup.py": {RAY, TORCH, DIFFUSERS},
}
# Folder that is not installed -> what its files may import from such folders. What two tests share is in tests/support.
SHARED: dict[str, set[str]] = {
    "tests/support": {"tests.support"},
    "tests": {"tests.support", "benchmarks"},
    "benchmarks": {"tests.support", "benchmarks"},
    "notebooks": set(),
}
MAY_BE_LARGE = {"rewards", "tests/unit"}
MODULES_A_FOLDER = 14
ROOMS = sorted({room.split("/")[0].removesuffix(".py") for room in ARROWS})


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it; `from a import b` is `a.b` where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inner = {name for name in names if is_module(name)}
            found |= inner | ({node.module} if len(inner) < len(names) else set())
    return found


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or place.is_dir()


def files(room: str) -> list[Path]:
    """The modules of a room, without those of the rooms within it that have a row of their own."""
    place = ROOT / room
    if place.is_file():
        return [place]
    inner = [ROOT / other for other in ARROWS if other.startswith(room + "/")]
    return [path for path in sorted(place.rglob("*.py")) if not any(path.is_relative_to(other) for other in inner)]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def violations(room: str, path: Path, modules: set[str]) -> list[str]:
    here = room.replace("/", ".").removesuffix(".py")
    wrong = [
        f"{path}: {module}"
        for module in modules
        if module.split(".")[0] in ROOMS and not any(within(module, allowed) for allowed in {here, *ARROWS[room]})
    ]
    forbidden = set().union(*(FORBIDDEN[other] for other in FORBIDDEN if f"{room}/".startswith(f"{other}/")))
    if room in ("actors/cluster", "actors/telemetry"):
        forbidden -= {RAY}
    return wrong + [f"{path}: {module}" for module in modules if module.split(".")[0] in forbidden]


@pytest.mark.parametrize("room", ARROWS)
def test_imports_follow_the_arrows(room: str) -> None:
    assert files(room)
    assert [v for path in files(room) for v in violations(room, path, imports(path))] == []


def test_an_arrow_against_the_plan_is_seen() -> None:
    assert violations("rewards", Path("x.py"), {"actors.pool"})
    assert violations("rewards/networks", Path("x.py"), {"ray"})
    assert violations("actors", Path("x.py"), {"ray"})
    assert violations("actors/pool", Path("x.py"), {"torch"})
    assert violations("pipeline/storage", Path("x.py"), {"pipeline.job.driver"})
    assert violations("evaluation", Path("x.py"), {"pipeline.job.driver"})
    assert violations("pipeline/guidance", Path("x.py"), {"pipeline.records"})
    assert not violations("actors/cluster", Path("x.py"), {"ray", "actors.pool.pool"})
    assert not violations("evaluation", Path("x.py"), {"pipeline.records"})


def borrowed(folder: str, modules: set[str]) -> list[str]:
    """Modules of tests or benchmarks that a file in this folder may not import."""
    others = [module for module in modules if module.split(".")[0] in ("tests", "benchmarks")]
    return [module for module in others if not any(within(module, allowed) for allowed in SHARED.get(folder, ()))]


def test_tests_and_benchmarks_share_through_the_support_folder_alone() -> None:
    inner = ROOT / "tests" / "support"
    found = {
        f"{path}: {module}"
        for folder in (*SHARED, *ROOMS)
        for path in files_below(folder)
        if folder != "tests" or not path.is_relative_to(inner)
        for module in borrowed(folder, imports(path))
    }
    assert found == set()


def test_a_test_that_imports_another_is_seen() -> None:
    assert borrowed("tests", {"tests.unit.actors.test_pool"})
    assert borrowed("tests", {"tests.conftest"})
    assert borrowed("benchmarks", {"tests.ray.test_runs"})
    assert borrowed("tests/support", {"benchmarks.simulate"})
    assert borrowed("pipeline", {"tests.support.runs"})
    assert not borrowed("benchmarks", {"tests.support.cluster.processes", "benchmarks.storm"})


def circle() -> list[str]:
    """A circle of modules that import each other, wherever in them; empty if there is none."""
    paths = [path for room in ROOMS for path in files_below(room)]
    graph = {name_of(path): {module for module in imports(path) if module.split(".")[0] in ROOMS} for path in paths}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def files_below(room: str) -> list[Path]:
    single = ROOT / f"{room}.py"
    return [single] if single.is_file() else sorted((ROOT / room).rglob("*.py"))


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle() == []


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py") if not {".venv", "build"} & {*path.relative_to(ROOT).parts}}
    crowded = {}
    for folder in folders:
        modules = [path for path in folder.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
        if len(modules) > MODULES_A_FOLDER and folder.relative_to(ROOT).as_posix() not in MAY_BE_LARGE:
            crowded[folder.name] = len(modules)
    assert crowded == {}
