"""Data is read as data: no call in the source runs what a file says. Read from the source, as the imports are."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("actors", "benchmarks", "configs", "diffusion", "evaluation", "mini", "notebooks", "pipeline", "rewards")
# A plugin is code that the user names: a file or a module. Classes are looked up in tables of ours and of installed
# packages.
ALLOWED = {
    ("rewards/plugin.py", "exec"),
    ("rewards/plugin.py", "compile"),
    ("rewards/plugin.py", "import_module"),
    ("rewards/registry.py", "import_module"),
    ("diffusion/base.py", "import_module"),
}
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
NAMES = {"eval", "exec", "compile", "__import__", "import_module"}
# What runs code of what it reads, or a shell.
CALLS = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pd.read_pickle", "torch.jit.load",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all",
    "runpy.run_path", "importlib.import_module",
}  # fmt: skip
SWITCHES = {"shell", "trust_remote_code", "allow_pickle", "custom_pipeline"}


def sources() -> list[Path]:
    return [*(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))), *ROOT.glob("*.py")]


def forbidden(tree: ast.AST) -> Iterator[str]:
    safe_loaders = {"yaml.SafeLoader", "yaml.CSafeLoader"} | {
        node.name for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                yield f"import {node.module}"
            # A name without its module would not be seen below.
            found = {f"{node.module}.{a.name}" for a in node.names} & {*CALLS, "yaml.load", "torch.load"}
            yield from found - {"importlib.import_module"}
        elif isinstance(node, ast.Call):
            yield from forbidden_call(node, safe_loaders)


def forbidden_call(node: ast.Call, safe_loaders: set[str]) -> Iterator[str]:
    called = ast.unparse(node.func)
    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if called in NAMES | CALLS:
        yield called
    if called == "yaml.load" and arguments.get("Loader") not in safe_loaders:
        yield "yaml.load without a safe loader"
    if called == "torch.load" and arguments.get("weights_only") != "True":
        yield "torch.load without weights_only"
    yield from (f"{called}({name}=)" for name in SWITCHES if arguments.get(name, "False") not in ("False", "None"))


def test_no_call_runs_what_a_file_says() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), call)
        for path in sources()
        for call in forbidden(ast.parse(path.read_text(encoding="utf-8")))
    }
    # Equal: an exception that is not needed any more goes.
    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "torch.load(path)", "torch.load(p, weights_only=False)",
        "from torch import load", "yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "yaml.unsafe_load(text)",
        "class L(yaml.Loader): ...\nyaml.load(t, Loader=L)", "eval(text)", "exec(text)", "__import__(name)",
        "np.load(path, allow_pickle=True)", "subprocess.run(command, shell=True)", "subprocess.run(c, shell=maybe)",
        "os.system(command)", "AutoModel.from_pretrained(name, trust_remote_code=True)", "import_module(name)",
        "importlib.import_module(name)", "pd.read_pickle(path)",
    ],
)  # fmt: skip
def test_what_would_run_it_is_seen(source: str) -> None:
    assert list(forbidden(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "yaml.safe_load(text)", "torch.load(p, weights_only=True)", "re.compile(text)", "json.loads(text)",
     "class L(yaml.SafeLoader): ...\nyaml.load(t, Loader=L)", "subprocess.run(command, check=True)", "np.load(path)"],
)  # fmt: skip
def test_what_reads_data_is_let_through(source: str) -> None:
    assert not list(forbidden(ast.parse(source)))
