"""Data sets of the hub: read by the package `datasets` at one commit, kept, and not downloaded by `check`."""

import os
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.packaged_modules.parquet.parquet import Parquet
from huggingface_hub import constants

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import PromptsConfig
from pipeline.planning.plan import make_plan
from pipeline.planning.prompt_formats.hub_dataset import PromptsNotHereError
from pipeline.planning.prompts import Prompt, read_prompts

COMMIT = "0123456789" * 4
TEXTS = ["a fox", "", "an owl", "a fox"]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with empty caches and no network."""
    home = tmp_path / "hf"
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(home / "datasets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return home


def builder(tmp_path: Path, commit: str = COMMIT, **columns: Any) -> Parquet:
    """The builder that the package makes for a data set of Parquet files on the hub, with files of this machine."""
    files = {}
    for split in ("train", "test"):
        files[split] = [str(tmp_path / f"{split}.parquet")]
        table = columns or {"image": [b"x"] * 4, "prompt": TEXTS if split == "train" else ["of the test"] * 4}
        pq.write_table(pa.table(table), files[split][0])
    return Parquet(dataset_name="my_prompts", hash=commit, data_files=files)


def prepare(tmp_path: Path, commit: str = COMMIT) -> None:
    """Fill the cache of the package as it does itself for a data set of the hub."""
    folder = tmp_path / "hf" / "datasets" / "me___my_prompts" / "default" / "0.0.0" / commit
    builder(tmp_path, commit).download_and_prepare(str(folder))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A hub with the data set me/MyPrompts; the calls are listed."""
    calls: list[Any] = []

    def load(name: str, subset: str | None = None, *, revision: str) -> Parquet:
        calls.append((name, subset, revision))
        return builder(tmp_path)

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    return calls


def read(fetch: bool = True, limit: int | None = None, skip_empty: bool = True, **keys: Any) -> list[Prompt]:
    dataset = {"name": "me/MyPrompts", "revision": COMMIT, "split": "train"} | keys
    config = PromptsConfig.model_validate({"dataset": dataset, "limit": limit, "skip_empty": skip_empty})
    return read_prompts(config, fetch=fetch)


def refused(**keys: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(**keys)
    assert caught.value.key.startswith("prompts.dataset") and caught.value.file == "me/MyPrompts"
    return caught.value


def test_a_split_is_read_at_its_commit_once(hub: list[Any], machine: Path) -> None:
    prompts = read()
    assert [(prompt.text, prompt.source) for prompt in prompts] == [
        ("a fox", "me/MyPrompts"), ("an owl", "me/MyPrompts"), ("a fox", "me/MyPrompts"),
    ]  # fmt: skip
    assert len({prompt.prompt_id for prompt in prompts}) == 3
    assert read(fetch=False) == read() == prompts and hub == [("me/MyPrompts", None, COMMIT)]
    for file in (machine / "srsoup" / "prompts").iterdir():
        file.write_text("[")
    assert read() == prompts and len(hub) == 2
    assert {prompt.text for prompt in read(split="test")} == {"of the test"}
    assert [prompt.text for prompt in read(limit=2)] == ["a fox", "an owl"]


def test_only_the_column_is_read(hub: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    generate = Parquet._generate_tables

    def watched(self: Parquet, *arguments: Any, **more: Any) -> Any:
        asked.append(self.config.columns)
        yield from generate(self, *arguments, **more)

    monkeypatch.setattr(Parquet, "_generate_tables", watched)
    read()
    assert asked == [["prompt"]]


@pytest.mark.parametrize("prepared", [False, True])
def test_tags_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: bool) -> None:
    columns: dict[str, list] = {
        "prompt": ["a fox", "two owls", "a cat"], "kind": ["colour", "count", None],
        "skills": [["a", "b", "a"], [], ["b"]], "size": [1, 2, 3], "image": [b"x"] * 3,
    }  # fmt: skip
    if prepared:
        folder = tmp_path / "hf" / "datasets" / "me___my_prompts" / "default" / "0.0.0" / COMMIT
        builder(tmp_path, COMMIT, **columns).download_and_prepare(str(folder))
    else:
        monkeypatch.setattr(
            datasets, "load_dataset_builder", lambda *given, **more: builder(tmp_path, COMMIT, **columns)
        )
    for _ in range(2):  # the second time from the cache
        assert [prompt.tags for prompt in read(tags="kind")] == [("colour",), ("count",), ()]
        assert [prompt.tags for prompt in read(tags="skills")] == [("a", "b"), (), ("b",)]
        assert [prompt.tags for prompt in read()] == [()] * 3
    assert [one.prompt_id for one in read(tags="kind")] == [one.prompt_id for one in read()]
    assert "row 0 has a tag that is a int" in refused(tags="size").problem
    error = refused(tags="none")
    assert "no column 'none'" in error.problem and "prompts.dataset.tags" in error.fix
    assert "prompts.dataset.column" in refused(column="none").fix


def test_what_is_not_here_is_not_downloaded_by_check(hub: list[Any]) -> None:
    with pytest.raises(PromptsNotHereError):
        read(fetch=False)
    assert hub == []


def test_what_the_package_has_prepared_is_read_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert [prompt.text for prompt in read(fetch=False)] == ["a fox", "an owl", "a fox"]
    with pytest.raises(PromptsNotHereError):
        read(fetch=False, revision=COMMIT[::-1])
    with pytest.raises(PromptsNotHereError):
        read(fetch=False, split="validation")


def test_an_empty_row_is_refused_by_its_number(hub: list[Any]) -> None:
    error = refused(skip_empty=False)
    assert error.key == "prompts.dataset, row 1" and "prompts.skip_empty=true" in error.fix


def test_another_commit_of_the_cache_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the package itself would take the newest commit that it has."""
    prepare(tmp_path, COMMIT[::-1])
    error = refused()
    assert f"the cache has the commit {COMMIT[::-1]} only" in error.problem


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"split": "validation"}, "Bad split: validation"),
        ({"column": "words"}, "has no column 'words'"),
        ({"column": "image", "skip_empty": False}, "empty or not text"),
    ],
)
def test_wrong_keys_are_refused(hub: list[Any], keys: dict[str, Any], problem: str) -> None:
    assert problem in refused(**keys).problem
    assert problem in refused(**keys).problem  # nothing wrong was kept


def test_a_hub_that_is_not_reached_is_a_clear_error() -> None:
    assert "cannot be read" in refused().problem


def test_without_the_extra_the_fix_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'srsoup[datasets]'" in refused().fix


def test_a_folder_of_the_same_name_is_not_read(hub: list[Any]) -> None:
    os.makedirs("me/MyPrompts")
    assert "a me/MyPrompts of its own" in refused().problem and hub == []


YAML = "name: d\nweights: [[1.0]]\nrewards: {guided: [colorfulness]}\nprompts: "


@pytest.mark.parametrize(
    ("prompts", "override", "key"),
    [
        ("{dataset: {name: a/b, split: train}}", "steps=3", "prompts.dataset.revision"),
        (f"{{dataset: {{name: a, split: train, revision: '{COMMIT}'}}}}", "steps=3", "prompts.dataset.name"),
        (f"{{dataset: {{name: a/b, split: ../x, revision: '{COMMIT}'}}}}", "steps=3", "prompts.dataset.split"),
        (
            f"{{dataset: {{name: a/b, split: train, revision: '{COMMIT}', colum: x}}}}",
            "steps=3",
            "prompts.dataset.colum",
        ),
        (f"{{dataset: {{name: a/b, split: train, revision: '{COMMIT}'}}, list: [x]}}", "steps=3", "prompts"),
        (f"{{dataset: {{name: a/b, split: train, revision: '{COMMIT}'}}, column: x}}", "steps=3", "prompts.column"),
    ],
)
def test_a_wrong_section_is_refused_by_its_key(tmp_path: Path, prompts: str, override: str, key: str) -> None:
    (tmp_path / "run.yaml").write_text(YAML + prompts)
    with pytest.raises(RequestError) as caught:
        load_config(tmp_path / "run.yaml", [override])
    assert caught.value.key == key


def test_a_source_on_the_command_line_replaces_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(YAML + "{file: x.txt, limit: 2}")
    section = {"name": "a/b", "split": "train", "revision": COMMIT}
    given = [f"prompts.dataset.{key}={value!r}" for key, value in section.items()]
    prompts = load_config(path, given).prompts
    assert prompts.dataset and prompts.dataset.name == "a/b" and (prompts.file, prompts.limit) == (None, 2)
    path.write_text(YAML + f"{{dataset: {{name: a/b, split: train, revision: '{COMMIT}'}}}}")
    assert load_config(path, ["prompts.list=[x]"]).prompts.dataset is None
    dataset = load_config(path, ["prompts.dataset.split=test"]).prompts.dataset
    assert dataset and (dataset.split, dataset.revision) == ("test", COMMIT)


def test_a_plan_has_no_tasks_until_the_prompts_are_here(tmp_path: Path, hub: list[Any]) -> None:
    path = tmp_path / "run.yaml"
    section = f"{{dataset: {{name: me/MyPrompts, split: test, revision: '{COMMIT}'}}, limit: 2}}"
    path.write_text(YAML + section + f"\nmodel: {{name: mini}}\noutput: {tmp_path / 'run'}\n")
    config = load_config(path)
    assert make_plan(config, str).tasks == () and hub == []
    tasks = make_plan(config, str, fetch=True).tasks
    assert [task.prompt.text for task in tasks] == ["of the test"] * 2
    assert make_plan(config, str).tasks == tasks and len(hub) == 1
