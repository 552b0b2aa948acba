"""Overrides and options with wrong, huge and odd values."""

from collections.abc import Iterator
from pathlib import Path

from tests.support.hostile.case import Case

KIND = "values"
# An override -> what the message says.
OVERRIDES = {
    "seeds=1000000000": "<= 10000",
    "seeds=1e9": "seeds",
    "seeds=0": "seeds",
    "seeds=-1": "seeds",
    "seed=-1": "seed",
    "seed=9223372036854775808": "seed",
    "seed=1.5": "whole number",
    "seed='1'": "whole number",
    "seed=[1]": "whole number",
    "seed={a: 1}": "whole number",
    "seed=": "whole number",
    "seed=010": "octal",
    "seed=1:30": "base 60",
    "seed=2024-01-01": "whole number",
    "steps=1000000": "<= 1000",
    "steps=1e6": "steps",
    "steps=0": "steps",
    "queries=1000000000": "<= 10000",
    "queries=0": "queries",
    "queries=1": "2 or more",
    "soup.steps=1000000": "soup.steps",
    "soup.steps=26": "0..25",
    "soup=3": "soup",
    "soup=[]": "soup",
    "soup.steps.more=3": "soup.steps",
    "prompts.limit=0": ">= 1",
    "prompts.limit=-1": ">= 1",
    "prompts.limit=1.5": "prompts.limit",
    "prompts.list=[]": "no prompts",
    "prompts.list=owl": "prompts.list",
    "prompts.list=[1]": "prompts.list",
    "prompts.list=['']": "empty",
    "prompts.list=[~]": "prompts.list",
    "prompts.list=[2024-01-01, 1:30]": "base 60",
    'prompts.list=["\\ud800"]': "surrogate",
    'prompts.list=["a\\0b"]': "NUL",
    "prompts=3": "prompts",
    "prompts.sha256=abc": "prompts",
    "weights={riesz: 10000}": "not within 2..200",
    "weights={riesz: -5}": "not within",
    "weights={riesz: 2.5}": "whole number",
    "weights={das_dennis: 1000000000}": "10000|10,000",
    "weights={grid: 100000}": "10000|10,000",
    "weights={grid: 0}": "2 or more",
    "weights={paper: 13}": "3 rewards",
    "weights={}": "one key",
    "weights={grid: 3, riesz: 4}": "one key",
    "weights={spiral: 4}": "no such rule",
    "weights=[]": "0 rows",
    "weights=[[]]": "simplex",
    "weights=[[0.5, 0.6]]": "simplex",
    "weights=[[-1, 2]]": "simplex",
    "weights=[[.nan, 1]]": "weights",
    "weights=[[.inf, 0]]": "weights",
    "weights=[[1, 0, 0]]": "3 entries",
    "weights=[1, 0]": "weights",
    "weights=3": "weights",
    "weights=~": "weights",
    "rewards.guided=[]": "no reward",
    "rewards.guided=[colorfulnes, compressibility]": "did you mean",
    "rewards.guided=[colorfulness, colorfulness]": "named twice",
    "rewards.guided=colorfulness": "rewards.guided",
    "rewards.guided=[[colorfulness]]": "rewards.guided",
    "rewards.guided=[../a, /etc/passwd]": "no reward with this name",
    "rewards.held_out=[colorfulness]": "named twice",
    "rewards.judge={}": "rewards.judge",
    "rewards=~": "rewards",
    "method=none": "method",
    "method=[]": "no method",
    "method=[srsoup, srsoup]": "each once",
    "method=~": "method",
    "model.name=/no/such/model": "no folder",
    "model.name=": "model.name",
    'model.name="a\\0b"': "NUL",
    "model.revision=main": "model.revision",
    "model.eta=0": "unguided",
    "model.eta=2": "model.eta",
    "model.noise_level=0": "noise",
    "model.guidance_scale=-1": "guidance_scale",
    "model.guidance_scale=.nan": "guidance_scale",
    "model.dtype=int8": "float32",
    "model.adapters=[{}]": "missing",
    "model.adapters=[{name: gone.safetensors}]": "gone.safetensors",
    "model.adapters=3": "model.adapters",
    "compute.chunk=0": "compute.chunk",
    "compute.chunk=1000000000": "<= 10000",
    "compute.threads=0": "compute.threads",
    "compute.threads=1000000": "<= 1024",
    "compute.diffusion_actors=1000000000": "<= 100000",
    "compute.prompts_in_flight=0": "prompts_in_flight",
    "compute.call_seconds=-1": "call_seconds",
    "compute.call_seconds=.inf": "call_seconds",
    "compute.call_seconds=1e300": "call_seconds",
    "compute.gpu_share=1": "gpu_share",
    "compute.reward_nodes={resources: {CPU: 1}}": "custom resource",
    "compute.reward_nodes={resources: {a: 0}}": "resources",
    "best_of.samples=0": "best_of.samples",
    "best_of.samples=1000000000": "<= 1000000",
    "guidance.elite_fraction=0": "elite_fraction",
    "guidance.satisfied_above={none: 1}": "not a guided reward",
    "guidance.satisfied_above={colorfulness: .nan}": "satisfied_above",
    "report.reference_point={a: 1}": "reference point",
    "name=A": "plain name",
    "name=../up": "plain name",
    "name=": "name",
    "name=" + "a" * 300: "characters",
    "output=/proc/none/run": "output",
    "output=/dev/null": "output",
    "output=/dev/null/run": "output",
    "output=s3:///a": "bucket",
    "output=ftp://a/b": "scheme",
    "output=s3://key:secret@bucket/a": "credentials",
    "output=" + "a/" * 3_000 + "b": "output",
    "output=" + "a" * 300: "output",
    'output="a\\0b"': "NUL",
    'output="\\udcff"': "surrogate",
    "output=[a]": "output",
    "stepz=3": "did you mean steps",
    "soup.corection=none": "did you mean correction",
    "=3": "KEY=VALUE",
    "steps": "KEY=VALUE",
    ".=3": "KEY=VALUE",
    "a..b=3": "KEY=VALUE",
    "steps=[": "cannot be read",
    "steps={a: 1, a: 2}": "given twice",
    "steps={[1]: 2}": "used as a key",
    "steps=" + "[" * 3_000: "nested|cannot be read",
    "steps=!!python/name:os.system": "not plain data",
    "steps=&a [*a]": "that it is in",
    "\udcff=3": "surrogate",
    "steps=\udcff": "cannot be read",
    "sweep={seed: [1]}": "no such key|sweep",
    "extends=other.yaml": "no such key",
    "__class__=3": "no such key",
    "model_config={extra: allow}": "no such key",
    "weights.0=[1, 0]": "weights",
}
OVER = {
    "seed=2024-01-01,2": "whole number",
    "seed=" + ",".join(map(str, range(2_000))): "too many points",
    "seed=1,1": "two points",
    "seed=": "KEY=VALUE,VALUE",
    "seed": "KEY=VALUE,VALUE",
    "=1,2": "KEY=VALUE,VALUE",
    "a..b=1,2": "KEY=VALUE",
    "seed=[1,2": "cannot be read",
    "seed=.nan,1": "whole number",
    "seed=1:30,2": "base 60",
    "weights={grid: 3},{grid: 4}": "",
    "model.negative_prompt=" + "a" * 300 + ",b": "characters",
    "soup={[1]: 2}": "used as a key",
}


def _long_weights(folder: Path) -> None:
    (folder / "a.yaml").write_text("extends: demo.yaml\nweights:\n" + "- [0.5, 0.5]\n" * 100_000)


def _many_rows(folder: Path) -> None:
    from tests.support.hostile.case import BASE

    rows = "[" + ", ".join(["[0.5, 0.5]"] * 20_000) + "]"
    (folder / "a.yaml").write_text(BASE.replace("{grid: 3}", rows))


def _many_prompts(folder: Path) -> None:
    (folder / "a.txt").write_text("owl\n" * 200_000)


def cases() -> Iterator[Case]:
    for override, says in OVERRIDES.items():
        yield Case(KIND, f"{override[:60]!r}", ("check", "demo", override), says)
    for over, says in OVER.items():
        statuses = (2,) if says else (0,)
        yield Case(KIND, f"--over {over[:60]!r}", ("check", "demo", "--over", over), says, statuses)
    product = [part for key in ("seed", "steps", "queries", "soup.steps", "seeds", "prompts.limit") for part in
               ("--over", f"{key}={','.join(map(str, range(1, 101)))}")]  # fmt: skip
    yield Case(KIND, "a sweep of 10^12 points", ("check", "demo", *product), "too many points")
    yield Case(KIND, "100,000 weight rows", ("check", "a.yaml"), "values|rows", prepare=_long_weights, is_slow=True)
    yield Case(KIND, "20,000 weight rows", ("check", "a.yaml"), "rows of weights", prepare=_many_rows, is_slow=True)
    many = ("check", "demo", "prompts.file=a.txt", "seeds=10000")
    yield Case(KIND, "2,000,000,000 fronts", many, "fronts", prepare=_many_prompts, is_slow=True)
    names = "[" + ", ".join(f"r{number}" for number in range(5_000)) + "]"
    rewards = ("check", "demo", f"rewards.guided={names}", "weights={das_dennis: 2}")
    yield Case(KIND, "5,000 rewards", rewards, "100")
    yield Case(KIND, "right: an output in the home folder", ("check", "demo", "output=~/runs/none"), "the plan", (0,),
               environment={"HOME": "/tmp"})  # fmt: skip
    for key in ("output", "model.name", "model.vae.name", "surrogate.file", "prompts.file"):
        yield Case(KIND, f"{key} of 5,000 letters", ("check", "demo", f"{key}={'x' * 5_000}"), "")
    adapter = f"model.adapters=[{{name: {'x' * 5_000}}}]"
    yield Case(KIND, "an adapter of 5,000 letters", ("check", "demo", adapter), "")
    yield Case(KIND, "right: an exponent", ("check", "demo", "compute.call_seconds=1e2"), "the plan", (0,))
    yield Case(KIND, "a command that does not exist", ("runn", "demo"), "No such command")
    yield Case(KIND, "an option that does not exist", ("run", "demo", "--locl"), "No such option")
    yield Case(KIND, "a plugin without a file", ("run", "demo", "--plugin"), "requires an argument")
    yield Case(KIND, "no configuration", ("run",), "Missing argument")
