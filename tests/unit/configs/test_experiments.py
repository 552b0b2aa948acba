"""Each experiment's configuration loads, has the costs of the paper, and has a small version on the embedded model."""

from pathlib import Path

import pytest

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from configs.sweep import is_sweep, load_sweep
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import make_plan

FOLDER = Path(__file__).parents[3] / "configs" / "experiments"
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
