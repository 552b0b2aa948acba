"""Plugin files and rewards that raise, exit, lie or never were files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.hostile.case import TINY, Case

KIND = "plugins"
HEAD = "import sys\nimport torch\n"
CLASS = """\
class R:
    def __init__(self): {init}
    def setup(self, device): {setup}
    def score(self, images, prompts): {score}
    def close(self): {close}
REWARDS = {{"r": R}}
"""
FINE = "return images.float().mean((1, 2, 3))"
INFO = """\
from srsoup import RewardInfo
class R:
    info = RewardInfo(name="r", description="d", unit="", range=(0.0, 255.0), reads_prompt=False, differentiable=True,
                      batch_sensitive=True, source="s")
    def setup(self, device): pass
    def score(self, images, prompts): return images.float().mean((1, 2, 3))
    def close(self): pass
"""
# The text of a whole file -> what the message says.
FILES = {
    "sys.exit(0) at the top": ("import sys\nsys.exit(0)\n", "does not run: SystemExit: 0"),
    "exit() at the top": ("exit()\n", "does not run"),
    "SystemExit at the top": ("raise SystemExit\n", "does not run: SystemExit"),
    "GeneratorExit at the top": ("raise GeneratorExit\n", "does not run: GeneratorExit"),
    "an error at the top": ("1 / 0\n", "ZeroDivisionError"),
    "an error with half a surrogate pair": ("raise ValueError('\\ud800')\n", "ValueError"),
    "an error that has no text": ("class E(Exception):\n  def __str__(self): raise E\nraise E\n", "does not run: E"),
    "a BaseException at the top": ("raise BaseException('x')\n", "BaseException: x"),
    "an import of nothing": ("import no_such_package_here\n", "ModuleNotFoundError"),
    "no Python": ("this is no Python\n", "SyntaxError"),
    "brackets nested 100,000 deep": ("(" * 100_000, "does not run"),
    "recursion without end": ("def f(): f()\nf()\n", "RecursionError"),
    "an empty file": ("", "REWARDS is None"),
    "no table": ("x = 1\n", "REWARDS is None"),
    "an empty table": ("REWARDS = {}\n", "REWARDS is"),
    "a table that is a list": ("REWARDS = ['a']\n", "REWARDS is"),
    "a number as a name": ("REWARDS = {1: print}\n", "REWARDS is"),
    "a number as a reward": ("REWARDS = {'r': 5}\n", "REWARDS is"),
    "a name with a line end": ("REWARDS = {'r\\n': print}\n", "REWARDS is"),
    "a name of half a surrogate pair": ("REWARDS = {'\\ud800': print}\n", "REWARDS is"),
    "a table that cannot be shown": (
        "class T:\n  def __repr__(self): raise ValueError\nREWARDS = T()\n", "cannot be shown"),
    "the name of another reward": ("REWARDS = {'colorfulness': print}\n", "is a reward already"),
    "NUL bytes": ("x = '\0'\n", "null bytes|does not run"),
}  # fmt: skip
# The parts of a class that is a reward -> what the message says.
CLASSES = {
    "__init__ raises": ({"init": "1 / 0"}, "cannot be created: ZeroDivisionError"),
    "__init__ exits": ({"init": "sys.exit(0)"}, "cannot be created: SystemExit: 0"),
    "setup raises": ({"setup": "raise ValueError('no weights')"}, "cannot be set up: ValueError: no weights"),
    "setup exits": ({"setup": "sys.exit(0)"}, "cannot be set up: SystemExit: 0"),
    "setup cannot find its file": ({"setup": "open('gone.pt')"}, "cannot be set up: FileNotFoundError"),
    "setup imports nothing": ({"setup": "import no_such_package_here"}, "cannot be set up: ModuleNotFoundError"),
}
# What `score` does -> what the failure says. The prompt fails alone, with status 1.
SCORES = {
    "score raises": ("raise ValueError('no')", r"ValueError: no \(reward r, candidate 0 of its chunk, tried 3 times"),
    "score exits with 0": ("sys.exit(0)", "r ended with SystemExit: 0"),
    "score raises GeneratorExit": ("raise GeneratorExit", "r ended with GeneratorExit"),
    "half a surrogate pair in the error": (r"raise ValueError('no \ud800 word')", r"no \\ud800 word"),
    "an error without a text": ("raise ValueError", "ValueError"),
    "score raises an error that has no text": (
        "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "its message cannot be read"),
    "an error of 10 MB": ("raise ValueError('x' * 10_000_000)", "xxx"),
    "returns nothing": ("pass", "returned a NoneType"),
    "returns a text": ("return 'high'", "returned a str"),
    "returns NaN": ("return torch.full((len(images),), float('nan'))", "finite"),
    "returns infinity": ("return torch.full((len(images),), float('inf'))", "finite"),
    "returns one number": ("return torch.tensor(1.0)", "shape"),
    "returns too many": ("return torch.zeros(len(images) + 1)", "shape"),
    "returns complex numbers": ("return torch.zeros(len(images), dtype=torch.complex64)", "real numbers"),
    "writes to the images by a wrong shape": ("return images[99, 99]", "IndexError"),
    "score calls itself": ("return self.score(images, prompts)", "RecursionError"),
}  # fmt: skip
INFOS = {
    "info is a dict": ('    info = {"name": "r"}\n', "not a RewardInfo"),
    "info is a number": ("    info = 5\n", "not a RewardInfo"),
    "info raises": ("    @property\n    def info(self): return 1 / 0\n", "cannot be created: ZeroDivisionError"),
    "info exits": ("    @property\n    def info(self): sys.exit(0)\n", "cannot be created: SystemExit"),
    "info has another name": (
        "    from srsoup import RewardInfo\n    info = RewardInfo(name='q', description='d', unit='', range=(0, 1), "
        "reads_prompt=False, differentiable=False, batch_sensitive=True, source='s')\n", "has the name 'q'"),
}  # fmt: skip
ARGUMENTS = (
    *TINY, "rewards.guided=[r, compressibility]", "report.reference_point=null", "--plugin", "p.py",
)  # fmt: skip


def plugin(text: str | bytes) -> Callable[[Path], object]:
    """A function that writes p.py."""
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / "p.py").write_bytes(data)


def a_class(**parts: str) -> str:
    return HEAD + CLASS.format(**{"init": "pass", "setup": "pass", "score": FINE, "close": "pass", **parts})


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "p.py")


def _folder(folder: Path) -> None:
    (folder / "p.py").mkdir()


def _two(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "p.py").write_text(a_class())
    (folder / "a" / "p.py").write_text(a_class() + "# another\n")


def cases() -> Iterator[Case]:
    check, run = ("check", "demo", *ARGUMENTS), ("run", "demo", *ARGUMENTS, "--local", "output=run")
    for name, (text, says) in FILES.items():
        yield Case(KIND, name, check, says, prepare=plugin(text))
    for name, (parts, says) in CLASSES.items():
        yield Case(KIND, f"{name}, run", run, says, prepare=plugin(a_class(**parts)))
    for name in ("__init__ raises", "__init__ exits"):
        parts, says = CLASSES[name]
        yield Case(KIND, f"{name}, check", check, says, prepare=plugin(a_class(**parts)))
    for name, (parts, says) in CLASSES.items():
        tested = ("rewards", "--plugin", "p.py", "--check", "r")
        yield Case(KIND, f"{name}, tested", tested, says, (1, 2), prepare=plugin(a_class(**parts)))
        scored = ("score", "a.png", "--rewards", "r", "--prompt", "an owl", "--plugin", "p.py")
        yield Case(KIND, f"{name}, score", scored, says, prepare=_with_picture(a_class(**parts)))
    for name, (body, says) in SCORES.items():
        yield Case(KIND, name, run, says, (1,), prepare=plugin(a_class(score=body)))
    for name, (line, says) in INFOS.items():
        text = HEAD + "class R:\n" + line + "    def setup(self, d): pass\n    def score(self, i, p): pass\n"
        yield Case(KIND, name, check, says, prepare=plugin(text + "    def close(self): pass\nREWARDS = {'r': R}\n"))
    missing = HEAD + "class R:\n    def score(self, i, p): pass\nREWARDS = {'r': R}\n"
    yield Case(KIND, "no setup and no close", check, "has no setup, close", prepare=plugin(missing))
    yield Case(KIND, "close raises", run, "1 of 1 fronts", (0,), prepare=plugin(a_class(close="1 / 0")))
    yield Case(KIND, "close exits", run, "1 of 1 fronts", (0,), prepare=plugin(a_class(close="sys.exit(0)")))
    yield Case(KIND, "close exits with 3", run, "1 of 1 fronts", (0,), prepare=plugin(a_class(close="sys.exit(3)")))
    tested = ("rewards", "--plugin", "p.py", "--check", "r")
    yield Case(KIND, "close raises, tested", tested, "cannot be closed", (1,), prepare=plugin(a_class(close="1 / 0")))
    scored = ("score", "a.png", "--rewards", "r", "--prompt", "an owl", "--plugin", "p.py")
    yield Case(KIND, "close raises, score", scored, "cannot be closed", (0,),
               prepare=_with_picture(a_class(close="1 / 0")))  # fmt: skip
    yield Case(KIND, "a FIFO", check, "not a regular file", prepare=_fifo)
    yield Case(KIND, "a folder", check, "has no __init__.py", prepare=_folder)
    yield Case(KIND, "no file", check, "cannot be read")
    yield Case(KIND, "5,000 letters", ("check", "demo", "--plugin", "x" * 5_000), "File name too long")
    yield Case(KIND, "a link to itself", check, "symbolic links", prepare=_circle)
    for module in ("no.such.module", "os", "rewards.sharpness", "torch..nn", ".", ""):
        yield Case(KIND, f"module {module!r}", ("check", "demo", "--plugin", module), "plugin")
    for name, beside in {"random.py": "", "torch.py": ""}.items():
        text = f"import {name[:-3]}\n{INFO}REWARDS = {{'r': R}}\n"
        yield Case(KIND, f"a file {name} beside it", check, "has the name of", prepare=_beside(text, {name: beside}))
    text = f"import my_helper\n{INFO}REWARDS = {{'r': R}}\n"
    for name, beside in {"exits": "raise SystemExit(0)", "no Python": "def", "raises": "1 / 0"}.items():
        yield Case(KIND, f"a file beside it: {name}", check, "does not run",
                   prepare=_beside(text, {"my_helper.py": beside}))  # fmt: skip
    yield Case(KIND, "right: a file beside it", check, "the plan", (0,), prepare=_beside(text, {"my_helper.py": ""}))
    yield Case(KIND, "/dev/zero", ("check", "demo", "--plugin", "/dev/zero"), "cannot be read")
    yield Case(KIND, "two of one name", (*check, "--plugin", "a/p.py"), "another plugin", prepare=_two)
    yield Case(KIND, "bytes that are not UTF-8", check, "cannot be read", prepare=plugin(b"\xff\xfe"))
    yield Case(KIND, "an unknown reward", ("rewards", "--check", "none"), "no reward of this name")
    yield Case(KIND, "an unknown reward to fetch", ("rewards", "--fetch", "none"), "no reward of this name")
    yield Case(KIND, "right: a class with info", check, "the plan", (0,), prepare=plugin(INFO + "REWARDS = {'r': R}\n"))


def _circle(folder: Path) -> None:
    (folder / "p.py").symlink_to("p.py")


def _beside(text: str, files: dict[str, str]) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        plugin(text)(folder)
        for name, content in files.items():
            (folder / name).write_text(content)

    return prepare


def _with_picture(text: str) -> Callable[[Path], object]:
    from PIL import Image

    def prepare(folder: Path) -> None:
        plugin(text)(folder)
        Image.new("RGB", (8, 8)).save(folder / "a.png")

    return prepare
