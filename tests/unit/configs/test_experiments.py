"""Each experiment's configuration loads, has the costs of the paper, and has a small version on the embedded model.

It also makes the choices between the paper and the released code that the table of docs/experiments.md has for it.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from configs.sweep import is_sweep, load_sweep
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import make_plan

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "configs" / "experiments"
ALL = sorted(FOLDER.glob("*.yaml"))
FULL = [path for path in ALL if not path.stem.endswith("_mini")]
# The prompts of some experiments are on GitHub. A plan with one prompt is enough here.
ONE_PROMPT = "prompts.list=[snail]"


def points(path: Path, *overrides: str) -> tuple[RunConfig, ...]:
    return load_sweep(path, overrides) if is_sweep(path) else (load_config(path, overrides),)


def queries(name: str) -> list[int]:
    costs = []
    for config in points(FOLDER / f"{name}.yaml", ONE_PROMPT):
        plan = make_plan(config, str)
        costs.append(expected_cost(plan.tasks[0], config.steps).queries)
    return costs


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_experiment_makes_a_plan(path: Path, tmp_path: Path) -> None:
    for config in points(path, ONE_PROMPT, f"output={tmp_path}"):
        assert make_plan(config, str).tasks
        assert config.name.startswith(path.stem)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_experiment_has_a_small_version_of_the_same_shape(path: Path) -> None:
    full, small = points(path, ONE_PROMPT), points(path.with_name(f"{path.stem}_mini.yaml"))
    assert len(full) == len(small)
    for one, other in zip(full, small, strict=True):
        assert other.model.name == "mini" and one.methods == other.methods
        assert len(one.rewards.guided) == len(other.rewards.guided) and one.weights == other.weights
        assert (one.soup.steps == 0, one.soup.steps == one.steps) == (
            other.soup.steps == 0, other.soup.steps == other.steps
        )  # fmt: skip


def test_the_query_budgets_of_table_4() -> None:
    assert queries("fig7_soup_steps") == [3_000, 5_400, 7_800, 10_200, 12_600, 15_000]


@pytest.mark.parametrize(
    "name", ["animals_aesthetic_compressibility", "hpd_aesthetic_hpsv2", "hpd_aesthetic_pickscore"]
)
def test_the_query_budgets_of_section_5_3(name: str) -> None:
    soup, summed = [3_000, 5_400, 7_800, 10_200, 12_600], [3_000, 5_500, 8_000, 10_500, 13_000]
    assert queries(f"fig1_{name}") == soup + summed


def test_three_rewards_have_the_papers_13_weights() -> None:
    config = load_config(FOLDER / "hpd_three_rewards.yaml")
    assert len(config.weights) == 13 and (config.steps, config.queries, config.soup.steps) == (50, 30, 20)
    assert queries("hpd_three_rewards") == [30 * 3 * (50 * (13 - 3 + 1) - 20 * (13 - 3))]


def test_the_papers_defaults_and_reference_points() -> None:
    assert load_config(FOLDER / "animals_aesthetic_compressibility.yaml").report.reference_point == {
        "aesthetic": 4, "compressibility": -180
    }  # fmt: skip
    assert load_config(FOLDER / "hpd_aesthetic_hpsv2.yaml").report.reference_point == {"aesthetic": 5, "hpsv2": 0.23}
    pickscore = load_config(FOLDER / "hpd_aesthetic_pickscore.yaml").report.reference_point
    assert pickscore == {"aesthetic": 5, "pickscore": 0.18}


class Choice(NamedTuple):
    """One row of the table "Paper or code" of docs/experiments.md.

    Attributes:
        runs: (pattern of files, the method that it is limited to or "").
        key: a dotted key.
        value: the value of the key.
    """

    runs: tuple[tuple[str, str], ...]
    key: str
    value: Any

    def is_for(self, name: str, config: RunConfig) -> bool:
        return any(
            fnmatch(name, pattern) and (not method or config.methods == (method,)) for pattern, method in self.runs
        )


def choices() -> Iterator[Choice]:
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    table = text.partition("## Paper or code")[2].partition("|---|---|---|---|---|---|\n")[2].partition("\n\n")[0]
    for line in table.splitlines():
        files, key, paper, code, here, why = (cell.strip() for cell in line.strip("|").split("|"))
        assert paper and code and why
        runs = re.findall(r"`([^`]+)`(?: \(`(\w+)`\))?", files) if files != "all" else [("*", "")]
        yield Choice(tuple(runs), key.strip("`"), yaml.safe_load(here.strip("`")))


CHOICES = tuple(choices())


def value_at(config: RunConfig, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_choice_of_the_documentation_is_that_of_the_file(path: Path) -> None:
    for config in points(path, ONE_PROMPT):
        for choice in CHOICES:
            if choice.is_for(path.stem, config):
                assert value_at(config, choice.key) == choice.value, (config.name, choice)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_choice_of_a_file_is_in_the_documentation(path: Path) -> None:
    """Each of these keys has exactly one row for every run, unless a run has its default or sweeps it."""
    swept = {key for block in yaml.safe_load(path.read_text()).get("sweep", []) for key in block if len(block[key]) > 1}
    always = ["guidance.step", "soup.correction", "model.dtype", "model.guidance_scale", "guidance.noise"]
    default = RunConfig.model_fields
    for config in points(path, ONE_PROMPT):
        sections = {name: (getattr(config, name), default[name].default) for name in ("guidance", "soup", "model")}
        set_here = {
            f"{name}.{key}"
            for name, (section, plain) in sections.items()
            for key in type(section).model_fields
            if getattr(section, key) != getattr(plain, key)
        }
        not_a_choice = {"model.name", "model.revision", "model.vae_slicing"} | swept
        if path.stem in ("fig7_queries", "fig7_soup_steps", "fig7_unguided_first"):
            not_a_choice |= {"soup.steps"}  # the paper's figure itself
        for key in (set_here | set(always)) - not_a_choice:
            rows = [choice for choice in CHOICES if choice.key == key and choice.is_for(path.stem, config)]
            assert len(rows) == 1, (config.name, key, rows)


def test_every_row_of_the_documentation_is_about_a_file() -> None:
    runs = [(path.stem, config) for path in FULL for config in points(path, ONE_PROMPT)]
    for choice in CHOICES:
        for run in choice.runs:
            assert any(Choice((run,), "", None).is_for(*other) for other in runs), (choice, run)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_file_says_what_is_from_the_paper_and_what_from_the_code(path: Path) -> None:
    comment = " ".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))
    assert "From the paper" in comment and re.search("[Ff]rom the released code", comment)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_the_small_version_makes_the_same_choices(path: Path) -> None:
    """The soup steps are in the same places, and options of compressibility belong to compressibility there too."""
    small = path.with_name(f"{path.stem}_mini.yaml")
    for one, other in zip(points(path, ONE_PROMPT), points(small), strict=True):
        for key in ("step", "noise", "normalisation", "elite_in", "satisfied_in"):
            assert getattr(one.guidance, key) == getattr(other.guidance, key)
        for key in ("elite_fraction", "satisfied_above"):
            assert set(getattr(one.guidance, key)) == set(getattr(other.guidance, key))
        assert one.soup.correction == other.soup.correction
        assert one.soup.first / one.steps == other.soup.first / other.steps
        k, small_k = one.soup.steps, other.soup.steps
        assert k != "auto" and small_k != "auto" and k / one.steps == small_k / other.steps


def test_the_released_configurations() -> None:
    """The choices once more, written from the released code and not from our table."""
    wanted: dict[str, list[dict[str, Any]]] = {
        "animals_aesthetic_compressibility": [{"model.dtype": "float32", "guidance.noise": "antithetic"}],
        "fig1_animals_aesthetic_compressibility": [
            *[{"guidance.noise": "antithetic", "guidance.satisfied_above": {"compressibility": -15}}] * 5,
            *[{"guidance.noise": "antithetic", "guidance.satisfied_above": {}, "guidance.elite_fraction": {},
               "model.dtype": "float32"}] * 5,
        ],
        "fig1_hpd_aesthetic_hpsv2": [*[{"model.dtype": "float32"}] * 5, *[{"model.dtype": "float16"}] * 5],
        "fig1_hpd_aesthetic_pickscore": [*[{"model.dtype": "float32"}] * 5, *[{"model.dtype": "float16"}] * 5],
        "hpd_three_rewards": [{"soup.correction": "none", "model.dtype": "float32"}],
        "hpd_sd35": [{"model.noise_level": 0.8, "soup.first": 20, "soup.steps": 30, "model.dtype": "float32"}],
        "hpd_sd35_hpsv2": [{"model.noise_level": 0.8, "soup.first": 0, "soup.steps": 10, "model.dtype": "float16"}],
        "hpd_sdxl": [{"model.vae.name": "madebyollin/sdxl-vae-fp16-fix", "model.dtype": "float16"}],
    }  # fmt: skip
    for name, runs in wanted.items():
        for config, values in zip(points(FOLDER / f"{name}.yaml", ONE_PROMPT), runs, strict=True):
            assert {key: value_at(config, key) for key in values} == values, config.name


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


BASE = """
name: base
steps: 7
soup: {steps: 2}
weights: {grid: 2}
prompts: {file: words.txt}
rewards: {guided: [colorfulness, compressibility]}
"""


def test_a_key_replaces_the_whole_value_of_the_extended_file_and_paths_are_relative_to_their_own_file(
    tmp_path: Path,
) -> None:
    write(tmp_path, "deep/base.yaml", BASE)
    child = write(tmp_path, "child.yaml", "extends: deep/base.yaml\nname: child\nsoup: {correction: none}\nsteps: 30\n")
    config = load_config(child)
    assert (config.name, config.steps, config.soup.steps, config.soup.correction) == ("child", 30, 20, "none")
    assert config.prompts.file == str(tmp_path / "deep" / "words.txt")


@pytest.mark.parametrize("text", ["extends: a.yaml\n", "extends: 3\n", "extends: missing.yaml\n"])
def test_a_file_cannot_extend_itself_or_a_missing_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError):
        load_config(write(tmp_path, "a.yaml", text))
