"""Other people's `rewards.py`: files in the current folder that are named like SRSoup's packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.records import finished_keys
from pipeline.shadowing import PACKAGES
from tests.support.runs import ROOT, same_bits

TINY = ("steps=2", "queries=2", "soup.steps=1", "prompts.limit=1", "method=srsoup")
SHADOWS = ("rewards.py", "configs.py", "pipeline.py", "configs/__init__.py")
# It must never run.
SOURCE = "open('it_was_imported', 'w').close()\n"
# What pip writes as the console script: the current folder is not on its path.
SCRIPT = "import sys\nfrom srsoup import _main\nsys.exit(_main())\n"
# A finder behind that of the path, as an editable installation adds one.
EDITABLE = f"""
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        for place in (Path({str(ROOT)!r}) / name / "__init__.py", Path({str(ROOT)!r}) / (name + ".py")):
            if path is None and place.is_file():
                return spec_from_file_location(name, place)

sys.path = [place for place in sys.path if place != {str(ROOT)!r}]
sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Finder)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srsoup").write_text(SCRIPT)
    return folder


def shadow(here: Path, name: str) -> Path:
    """A file of this name in the folder; returns what a message names."""
    file = here / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(SOURCE)
    return file.parent if file.name == "__init__.py" else file


def python(here: Path, *arguments: str | Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": path}
    whole = [sys.executable, *map(str, arguments)]
    return subprocess.run(whole, cwd=here, env=environment, capture_output=True, text=True, timeout=200)


def srsoup(here: Path, *arguments: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return python(here, here.parent / "bin" / "srsoup", *arguments, path=path)


def assert_refused(here: Path, done: subprocess.CompletedProcess[str], place: Path, status: int = 2) -> None:
    assert done.returncode == status and not done.stdout, done.stdout + done.stderr
    message = done.stderr[done.stderr.index("Python would import this in place of SRSoup's own") :]
    assert f"own `{place.stem}`\n  file:    {place}\n" in message
    assert f"fix:     rename {place.name} (for example to my_{place.name})" in message
    assert not (here / "runs").exists() and not (here / "it_was_imported").exists()


@pytest.mark.parametrize(
    ("command", "name"),
    [*(("run", name) for name in SHADOWS), *((c, "rewards.py") for c in ("sweep", "check", "demo"))],
)
def test_the_command_refuses_what_the_workers_of_ray_would_import(here: Path, command: str, name: str) -> None:
    place = shadow(here, name)
    configuration = {"demo": [], "sweep": ["fig7_queries_mini"]}.get(command, ["demo"])
    done = srsoup(here, command, *configuration, *TINY)
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert_refused(here, done, place)


@pytest.mark.parametrize("name", [*SHADOWS, "pipeline/__init__.py"])
def test_python_m_pipeline_refuses_it_too(here: Path, name: str) -> None:
    place = shadow(here, name)
    done = python(here, "-m", "pipeline", "run", "demo", *TINY)
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert_refused(here, done, place)


@pytest.mark.parametrize("words", [("check", "mine.yml"), ("status", "runs/one"), ("sweep", "fig7_queries_mini")])
@pytest.mark.parametrize("flags", [("-m", "pipeline"), ("-X", "dev", "-mpipeline")])
def test_a_file_pipeline_is_refused_before_python_runs_it(here: Path, words: tuple[str, str], flags: list[str]) -> None:
    (here / "mine.yml").write_text("seed: 1\nrewards: {}\n")
    run = here.parent / "one"
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").touch()
    place = shadow(here, "pipeline.py")
    done = python(here, *flags, words[0], words[1].replace("runs/one", str(run)))
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert_refused(here, done, place)


@pytest.mark.parametrize(
    "words", [(), ("run",), ("run", "mine.yaml"), ("train", "demo"), ("run", "folder"), ("run", "no\ufffd.yaml")]
)
def test_another_program_named_pipeline_runs_as_before(here: Path, words: tuple[str, ...]) -> None:
    """SRSoup is installed beside a project that has its own `python -m pipeline`."""
    (here / "mine.yaml").write_text("steps: [load, clean]\n")
    (here / "folder").mkdir()
    (here / "pipeline.py").write_text("import sys; print('mine', *sys.argv[1:])\n")
    done = python(here, "-m", "pipeline", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, " ".join(("mine", *words)) + "\n", "")


@pytest.mark.parametrize(
    ("code", "name"),
    [*(("from srsoup import sample_front", name) for name in SHADOWS), ("import srsoup", "mini.py")],
)
def test_the_library_refuses_it_with_an_import_error(here: Path, code: str, name: str) -> None:
    place = shadow(here, name)
    done = python(here, "-c", code)
    assert "ImportError: " in done.stderr
    assert_refused(here, done, place, status=1)


def test_the_library_refuses_what_only_the_workers_would_import(here: Path) -> None:
    """A script in another folder does not import from the current one, but Ray's workers do."""
    place = shadow(here, "rewards.py")
    script = here.parent / "bin" / "script.py"
    script.write_text(f"import srsoup\nsrsoup.run('demo', {list(TINY)})\n")
    done = python(here, script)
    assert "configs.errors.RequestError: " in done.stderr
    assert_refused(here, done, place, status=1)


def test_modules_that_were_imported_before_are_seen(here: Path) -> None:
    place = shadow(here, "rewards.py")
    place.write_text("")
    code = "import sys; sys.path[:0] = ['.']; import rewards; sys.path.remove('.'); sys.path.remove(''); import srsoup"
    assert_refused(here, python(here, "-c", code), place, status=1)
    by_hand = "import sys, types; sys.modules['mini'] = types.ModuleType('mini'); import srsoup"
    place.unlink()
    assert "file:    mini (made by a program)" in python(here, "-c", by_hand).stderr


def test_a_path_that_holds_the_current_folder_is_refused_in_one_message(here: Path) -> None:
    place = shadow(here, "pipeline.py")
    done = srsoup(here, "rewards", path=f"{here}{os.pathsep}{ROOT}")
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert_refused(here, done, place)


def test_all_files_are_named_at_once(here: Path) -> None:
    for name in PACKAGES:
        shadow(here, f"{name}.py")
    done = python(here, "-m", "srsoup", "run", "demo")
    assert done.returncode == 2 and done.stderr.count("  file:    ") == len(PACKAGES)


def test_a_folder_without_init_hides_an_editable_installation_and_nothing_else(here: Path) -> None:
    """Python prefers a package with `__init__.py` anywhere on its path, but asks the finder of an editable
    installation last."""
    (here / "rewards").mkdir()
    (here / "rewards" / "notes.txt").touch()
    assert python(here, "-c", "from srsoup import sample_front").returncode == 0
    assert_refused(here, python(here, "-c", f"{EDITABLE}\nimport srsoup"), here / "rewards", status=1)
    (here / "rewards").rename(here / "prizes")
    assert python(here, "-c", f"{EDITABLE}\nimport srsoup; srsoup.RewardInfo").returncode == 0


def test_what_hides_nothing_is_left_alone(here: Path) -> None:
    """A link to the checkout, SRSoup's own folder, a plugin named like a package where no worker imports it."""
    assert python(ROOT, "-c", "import srsoup; srsoup.RequestError", path="").returncode == 0
    (here / "link").symlink_to(ROOT)
    assert python(here, "-c", "import srsoup; srsoup.RequestError", path=str(here / "link")).returncode == 0
    shadow(here, "rewards.py")
    assert srsoup(here, "--version").returncode == 0
    done = srsoup(here, "run", "demo", *TINY, "--local")
    assert done.returncode == 0 and len(finished_keys(here / "runs" / "demo")) == 1, done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_a_folder_that_hides_nothing_disturbs_no_worker(here: Path) -> None:
    for name in ("rewards", "configs"):
        (here / name).mkdir()
        (here / name / "notes.txt").touch()
    done = srsoup(here, "run", "demo", *TINY)
    assert done.returncode == 0 and "1 of 1 fronts" in done.stdout, done.stdout + done.stderr
    assert srsoup(here, "run", "demo", *TINY, "output=local", "--local").returncode == 0
    assert same_bits(here / "runs" / "demo", here / "local")
