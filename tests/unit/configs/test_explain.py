"""What the error of a wrong configuration says: the problem, the allowed values and the fix, each from its source."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from configs.errors import COMMAND_LINE, InvalidValueError, RequestError
from configs.explain import allowed
from configs.load import load_config
from configs.schema import RunConfig
from configs.sections.judge import JudgeConfig
from configs.sections.model import AdapterConfig, VaeConfig

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"


def refusal(*overrides: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        load_config(DEMO, overrides)
    return caught.value


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a section and of the sections in it."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")


FIELDS = [
    *fields(RunConfig), *fields(JudgeConfig, "rewards.judge."), *fields(AdapterConfig, "model.adapters."),
    *fields(VaeConfig, "model.vae."),
]  # fmt: skip


@pytest.mark.parametrize(("key", "field"), FIELDS, ids=[key for key, _ in FIELDS])
def test_every_key_has_a_description_and_a_kind(key: str, field: FieldInfo) -> None:
    assert field.description and not field.description.endswith(".")
    assert allowed(field).removesuffix(field.description).rstrip("; ")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=-1", "a whole number >= 0 and < 9223372036854775808; seed of the run"),
        ("seeds=many", "a whole number >= 1 and <= 10000; number of fronts"),
        ("output=3", "text or null; folder of the results"),
        ("compute.chunk=0", "auto or a whole number >= 1 and <= 10000; candidates in one unit of work"),
        ("compute.gpu_share=1.5", "a number > 0 and < 1; share of a GPU"),
        ("compute.diffusion_nodes=3", "a mapping with the keys labels, resources; nodes that diffusion actors"),
        ("prompts.limit=0", "a whole number >= 1 or null; number of prompts"),
        (
            "method=none",
            "srsoup or weighted_sum or unguided_first or best_candidate or demon or fk_steering or best_of or "
            "model_soup or output_soup or unguided or a list; the sampling",
        ),
        ("model.vae_slicing=3", "true or false; decode images one by one"),
        ("model.revision=main", "text or null; commit of the model"),
        ("guidance.satisfied_above=3", "a mapping; targets of guided rewards"),
        ("rewards.judge=3", "a mapping with the keys url, model, key_variable, template"),
    ],
)
def test_the_allowed_values_are_in_words(override: str, words: str) -> None:
    error = refusal(override)
    key = override.partition("=")[0]
    assert error.key == key and error.allowed.startswith(words)
    assert error.fix == f"set {key} to an allowed value" and error.file == COMMAND_LINE


@pytest.mark.parametrize(
    ("override", "key", "problem", "fix"),
    [
        ("soup.steps=26", "soup.steps", "soup.steps (K) is 26, but steps (T) is 25", "set soup.steps to 0..25"),
        ("queries=1", "queries", "queries (N) is 1, and a single candidate cannot be compared with others",
         "set queries to 2 or more"),
        ("name=A; B", "name", "this is not a plain name",
         "use lower-case letters, digits, _ and - only, and begin with a letter or digit"),
        ("prompts.file=null", "prompts", "prompts has none of file, list, dataset and packaged",
         "give exactly one of prompts.file, prompts.list, prompts.dataset and prompts.packaged"),
        ("compute.reward_nodes={resources: {GPU: 1}}", "compute.reward_nodes.resources", "GPU is not a custom resource",
         "name custom resources only; set threads, diffusion_actors and gpu_share for the others"),
        ("rewards.judge={url: 'http://[', model: m}", "rewards.judge.url",
         "the address cannot be read: Invalid IPv6 URL", "give http(s)://HOST[:PORT]/PATH and no more"),
        ("seed=null", "seed", "Input should be a valid integer", "set seed to an allowed value"),
        ("compute.cells=few", "compute.cells", "the value is of no kind that this key takes",
         "set compute.cells to an allowed value"),
    ],
)  # fmt: skip
def test_problem_and_fix_are_those_of_the_check(override: str, key: str, problem: str, fix: str) -> None:
    error = refusal(override)
    assert (error.key, error.problem, error.fix) == (key, problem, fix)


def test_a_missing_key_names_the_file_and_a_default_is_shown_as_the_value(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nweights: {grid: 2}\nprompts: {list: [owl]}\n")
    with pytest.raises(RequestError) as caught:
        load_config(path)
    error = caught.value
    assert (error.file, error.key, error.value) == (str(path), "rewards", None)
    assert (error.problem, error.fix) == ("this key is missing", "add it")
    with pytest.raises(RequestError) as caught:
        load_config(path, ["rewards.guided=[a, b]", "queries=30", "steps=3"])
    assert (caught.value.key, caught.value.value, caught.value.file) == ("soup.steps", 20, str(path))


def test_a_misspelt_key_is_shown_rather_than_the_one_that_it_makes_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nweights: {grid: 2}\nprompts: {list: [owl]}\nrewrds: {guided: [a]}\n")
    with pytest.raises(RequestError) as caught:
        load_config(path)
    assert (caught.value.key, caught.value.fix) == ("rewrds", "did you mean rewards?")


def test_the_errors_survive_pickling() -> None:
    for error in (refusal("seed=-1"), InvalidValueError("a; b", "c", "d.e"), InvalidValueError("a", "b")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and vars(copy) == vars(error) and str(copy) == str(error)
