"""Plugins that bring files with them: a file with what it imports from its folder, a folder, and a module."""

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from configs.errors import RequestError
from configs.load import load_config
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import make_plan
from pipeline.planning.plugins import plug_in, read_plugins
from rewards import registry
from rewards.contract_case import distinct_images
from rewards.errors import PluginError
from rewards.plugin import Plugin
from tests.support.runs import FOUR_FRONTS

ROOT = Path(__file__).parents[3]
MAIN = """
import my_shades
from my_colours.mixing import share

def reddest(images, prompts):
    return [share(image) * my_shades.SCALE for image in images]

REWARDS = {"reddest": reddest}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    yield
    registry.forget_plugins()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugin file with a module, a package that reads a data file, and things that nobody imports beside it."""
    home = tmp_path / "work"
    files = {
        "my_rewards.py": MAIN,
        "my_shades.py": "from my_constants import SCALE",
        "my_constants.py": "SCALE = 3.0",
        "my_colours/__init__.py": "",
        "my_colours/mixing.py": "from pathlib import Path\nfrom . import parts\n"
        "CHANNEL = int(Path(__file__).with_name('channel.txt').read_text())\n"
        "def share(image):\n    return float(image[CHANNEL].double().mean() / 255 * parts.ONE)",
        "my_colours/parts.py": "ONE = 1.0",
        "my_colours/channel.txt": "0",
        "my_colours/__pycache__/old.cpython-311.pyc": "stale",
        "my_colours/.secret": "never sent",
        "other.py": "raise SystemExit('nobody imports this')",
        "data.csv": "never sent",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def expected(scale: float = 3.0) -> list[float]:
    return [float(image[0].double().mean() / 255 * scale) for image in distinct_images()]


def scores(name: str) -> list[float]:
    return registry.create(name).score(distinct_images(), [""] * 6).tolist()


def test_a_file_brings_what_it_imports_from_its_folder(folder: Path) -> None:
    plugin = Plugin.read(folder / "my_rewards.py")
    names = ["my_colours/__init__.py", "my_colours/channel.txt", "my_colours/mixing.py", "my_colours/parts.py"]
    assert [path for path, _ in plugin.files] == [*names, "my_constants.py", "my_shades.py"]
    registry.plug_in([plugin])
    assert scores("reddest") == pytest.approx(expected())


def test_the_files_reach_a_process_that_has_no_copy_of_them(folder: Path, tmp_path: Path) -> None:
    content = pickle.dumps(Plugin.read(folder / "my_rewards.py"))
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    code = (
        "import pickle, sys; from rewards import registry; from rewards.contract_case import distinct_images\n"
        "registry.plug_in([pickle.loads(sys.stdin.buffer.read())])\n"
        "print(*registry.create('reddest').score(distinct_images(), [''] * 6).tolist())"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "there")}
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, env=environment, cwd=ROOT)
    assert [float(word) for word in done.stdout.split()] == pytest.approx(expected()), done.stderr.decode()


def test_a_folder_is_a_plugin(folder: Path) -> None:
    (folder / "my_colours" / "__init__.py").write_text(
        "from my_colours.mixing import share\n"
        "def red(images, prompts):\n    return [share(image) for image in images]\nREWARDS = {'red': red}"
    )
    (plugin,) = read_plugins([folder / "my_colours"])
    assert plugin.name == "my_colours" and ".secret" not in str(plugin.files)
    plug_in([plugin])
    assert scores("red") == pytest.approx(expected(1.0))
    lines = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in plugin.files)
    assert plugin.sha256 == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("module", ["my_colours", "my_colours.table"])
def test_a_module_is_a_plugin_by_its_name(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "from my_colours.mixing import share\nREWARDS = {'red': lambda images, prompts: [share(i) for i in images]}"
    (folder / "my_colours" / ("table.py" if "." in module else "__init__.py")).write_text(table)
    monkeypatch.syspath_prepend(str(folder))
    (plugin,) = read_plugins([Path(module)])
    assert "my_colours" not in sys.modules, "a plugin is read without running it"
    plug_in([plugin])
    assert scores("red") == pytest.approx(expected(1.0)) and plugin.name == module


def test_an_edited_file_beside_a_plugin_counts(folder: Path) -> None:
    before = Plugin.read(folder / "my_rewards.py")
    registry.plug_in([before])
    first = scores("reddest")
    (folder / "my_constants.py").write_text("SCALE = 6.0")
    after = Plugin.read(folder / "my_rewards.py")
    assert after.sha256 != before.sha256
    registry.forget_plugins()
    registry.plug_in([after])
    assert scores("reddest") == pytest.approx([2 * score for score in first])


def test_a_file_alone_has_the_digest_of_its_source() -> None:
    assert Plugin("mine.py", MAIN).sha256 == hashlib.sha256(MAIN.encode()).hexdigest()


def test_a_run_keeps_the_sources_and_their_digest(folder: Path, tmp_path: Path) -> None:

    plugins = read_plugins([folder / "my_rewards.py"])
    overrides = (*FOUR_FRONTS, "rewards.guided=[reddest, compressibility]", "prompts.list=[owl]", "steps=2",
                 "report.reference_point=null", f"output={tmp_path / 'run'}")  # fmt: skip
    plan = make_plan(load_config(ROOT / "configs" / "demo.yaml", list(overrides)), str, plugins)
    (outcome,) = execute([plan], local=True, reporter=Reporter(plan.n_prompts, 1, 1))
    assert outcome.done == 1
    kept = {path.relative_to(tmp_path / "run" / "plugins").as_posix(): path.read_bytes()
            for path in (tmp_path / "run" / "plugins").rglob("*") if path.is_file()}  # fmt: skip
    assert kept == dict(plugins[0].sent) and "my_rewards.py" in kept
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert record["plugins"] == {"my_rewards.py": plugins[0].sha256}


@pytest.mark.parametrize("name", ["random", "torch", "rewards", "yaml"])
def test_a_file_beside_a_plugin_may_not_hide_a_package(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text("")
    (folder / "my_rewards.py").write_text(f"import {name}\n{MAIN}")
    with pytest.raises(RequestError, match=rf"{name}.py of the plugin has the name of"):
        read_plugins([folder / "my_rewards.py"])


def test_two_plugins_may_not_bring_different_files_by_one_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "my_shades.py").write_text("SCALE = 1.0")
    (tmp_path / "theirs" / "their_rewards.py").write_text(
        "import my_shades\nREWARDS = {'one': lambda images, prompts: [my_shades.SCALE] * len(images)}"
    )
    both = read_plugins([folder / "my_rewards.py", tmp_path / "theirs" / "their_rewards.py"])
    with pytest.raises(RequestError, match="two plugins bring different files by the name my_shades"):
        plug_in(both)


def test_files_of_the_cache_that_were_changed_are_refused(folder: Path, tmp_path: Path) -> None:
    plugin = Plugin.read(folder / "my_rewards.py")
    plugin.load()
    (changed,) = (tmp_path / "cache").rglob("my_constants.py")
    changed.write_text("SCALE = 100.0")
    with pytest.raises(PluginError, match=r"my_constants.py was changed; remove the folder"):
        plugin.load()


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"has no __init__\.py"):
        read_plugins([folder])
    with pytest.raises(RequestError, match="give the name of a module that Python finds"):
        read_plugins([Path("no_such_module.rewards")])
    (folder / "my_colours" / "weights.bin").write_bytes(bytes(5_000_000))
    with pytest.raises(RequestError, match=r"weights.bin cannot be sent .*at most 3,999"):
        read_plugins([folder / "my_rewards.py"])
    many = tmp_path / "many"
    many.mkdir()
    for index in range(1_001):
        (many / f"m{index}.py").touch()
    (many / "__init__.py").touch()
    with pytest.raises(RequestError, match="more than 1,000 files"):
        read_plugins([many])
    os.mkfifo(folder / "my_colours" / "pipe.txt")
    (folder / "my_colours" / "weights.bin").unlink()
    with pytest.raises(RequestError, match="a pipe"):
        read_plugins([folder / "my_rewards.py"])
