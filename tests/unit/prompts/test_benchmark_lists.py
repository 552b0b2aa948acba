"""The prompt lists of benchmarks: ImageNet's classes, which are packaged, and pinned files of a data set (HPDv2)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from configs.errors import RequestError
from configs.load import load_config
from mini.names import ICONS
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import make_plan
from pipeline.planning.prompt_formats.hub_dataset import PromptsNotHereError
from pipeline.planning.prompts import Prompt, read_prompts
from rewards.networks.imagenet_names import TABLE, named_classes

ROOT = Path(__file__).parents[3]
EXPERIMENTS = ROOT / "configs" / "experiments"
COMMIT = "0123456789" * 4
STYLES = ("photo", "anime", "paintings")


def prompts_of(*overrides: str, name: str = "imagenet_aesthetic_compressibility") -> list[Prompt]:
    return read_prompts(load_config(EXPERIMENTS / f"{name}.yaml", overrides).prompts)


def test_imagenet_is_the_first_name_of_each_class_or_all_names() -> None:
    """Read a second time, from the table's own lines."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    first, every = prompts_of("prompts.template=null"), prompts_of("prompts.template=null", "prompts.synonyms=all")
    assert [prompt.text for prompt in first] == [line.split(",")[0] for line in lines] and len(first) == 1000
    assert [prompt.text for prompt in every] == [name.strip() for line in lines for name in line.split(",")]
    assert len(every) == 1860 and {prompt.source for prompt in every} == {"imagenet"}
    assert len({prompt.prompt_id for prompt in every}) == 1860, "crane is a bird and a machine, and two prompts"


def test_a_prompt_of_imagenet_names_its_class_for_the_classifier() -> None:
    """So `imagenet_confidence` scores each of them, in the template of the experiment too."""
    for index, prompt in enumerate(prompts_of()):
        assert prompt.text.startswith("a photo of ") and index in named_classes(prompt.text), prompt.text


def test_the_twin_has_imagenets_animals_that_the_embedded_model_was_taught() -> None:
    twin = prompts_of("prompts.template=null", name="imagenet_aesthetic_compressibility_mini")
    names = [prompt.text for prompt in twin]
    first = {line.split(",")[0] for line in TABLE.read_text(encoding="utf-8").splitlines()}
    # The first name "mouse" is that of a computer's mouse.
    assert sorted(names) == sorted((first & set(ICONS)) - {"mouse"})


def test_prompts_of_the_command_line_replace_the_packaged_list() -> None:
    assert [prompt.text for prompt in prompts_of("prompts.list=[owl]")] == ["a photo of owl"]
    given = prompts_of("prompts.synonyms=all", "prompts.packaged=imagenet", "prompts.limit=2")
    assert [prompt.text for prompt in given] == ["a photo of tench", "a photo of Tinca tinca"]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("prompts={packaged: coco}", "prompts.packaged"),
        ("prompts={packaged: imagenet, list: [owl]}", "prompts"),
        ("prompts={packaged: imagenet, synonyms: some}", "prompts.synonyms"),
        ("prompts={list: [owl], synonyms: all}", "prompts.synonyms"),
    ],
)
def test_wrong_keys_of_a_packaged_list_are_refused(override: str, key: str) -> None:
    with pytest.raises(RequestError) as refused:
        prompts_of(override)
    assert refused.value.key == key and refused.value.fix


class Hub:
    """The hub's cache on this machine, offline, with a data set of JSON files."""

    def __init__(self, home: Path, texts: dict[str, list[str]]) -> None:
        self.folder = home / "hub" / "datasets--some--set" / "snapshots" / COMMIT / "benchmark"
        self.files = dict[str, str]()
        self.folder.mkdir(parents=True)
        for style, prompts in texts.items():
            content = json.dumps(prompts).encode()
            (self.folder / f"{style}.json").write_bytes(content)
            self.files[f"benchmark/{style}.json"] = hashlib.sha256(content).hexdigest()

    @property
    def dataset(self) -> dict[str, Any]:
        return {"name": "some/set", "revision": COMMIT, "files": self.files}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.delenv("SRSOUP_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return Hub(tmp_path, {style: [f"{style} {{{i}}}, ü" for i in range(3)] for style in STYLES})


def read(dataset: dict[str, Any], fetch: bool = True, **more: Any) -> list[Prompt]:
    override = yaml.safe_dump(
        {"dataset": dataset} | more, default_flow_style=True, width=10_000, sort_keys=False
    ).strip()
    config = load_config(ROOT / "configs" / "demo.yaml", [f"prompts={override}"])
    return read_prompts(config.prompts, fetch=fetch)


@pytest.mark.parametrize("fetch", [True, False])
def test_files_of_a_data_set_are_read_in_their_order_with_a_tag_each(hub: Hub, fetch: bool) -> None:
    prompts = read(hub.dataset, fetch)
    assert [prompt.text for prompt in prompts] == [f"{style} {{{i}}}, ü" for style in STYLES for i in range(3)]
    assert [prompt.tags for prompt in prompts] == [(style,) for style in STYLES for _ in range(3)]
    assert {prompt.source for prompt in prompts} == {f"{style}.json" for style in STYLES}
    assert [prompt.text for prompt in read(hub.dataset, fetch, limit=4)] == [prompt.text for prompt in prompts[:4]]


def test_a_file_with_another_content_is_refused(hub: Hub) -> None:
    (hub.folder / "anime.json").write_text('["another"]')
    with pytest.raises(RequestError, match="SHA-256") as refused:
        read(hub.dataset, fetch=False)
    assert refused.value.key == "prompts.dataset.files" and refused.value.value == "benchmark/anime.json"


def test_a_missing_file_is_planned_by_check_and_refused_by_a_run_without_a_network(hub: Hub) -> None:
    (hub.folder / "anime.json").unlink()
    with pytest.raises(PromptsNotHereError):
        read(hub.dataset, fetch=False)
    command = f"hf download some/set benchmark/anime.json --repo-type dataset --revision {COMMIT}"
    with pytest.raises(RequestError) as refused:
        read(hub.dataset)
    assert command in refused.value.fix and hub.files["benchmark/anime.json"] in refused.value.problem


def test_a_copy_in_the_users_own_folder_is_read(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "some").mkdir(parents=True)
    hub.folder.parent.rename(tmp_path / "mine" / "some" / "set")
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path / "mine"))
    assert len(read(hub.dataset, fetch=False)) == 9


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}}, {"files": None}, {"split": "train"}, {"subset": "one"}, {"files": {"../a.json": "0" * 64}},
        {"files": {"/a.json": "0" * 64}}, {"files": {"a.json": "main"}}, {"files": ["a.json"]},
    ],
)  # fmt: skip
def test_wrong_keys_of_files_are_refused(hub: Hub, changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        read(hub.dataset | changes)
    assert refused.value.key.startswith("prompts.dataset")


def test_the_files_of_hpdv2_are_four_pinned_styles() -> None:
    dataset = load_config(EXPERIMENTS / "hpdv2_aesthetic_hpsv2.yaml").prompts.dataset
    assert dataset is not None and dataset.files is not None and len(set(dataset.files.values())) == 4
    assert list(dataset.files) == [
        f"benchmark/{style}.json" for style in ("anime", "concept-art", "paintings", "photo")
    ]


def test_the_plan_of_hpdv2_at_full_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 3,200 prompts of its shape in place of its own, which are not on this machine."""
    styles = ("anime", "concept-art", "paintings", "photo")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = Hub(tmp_path, {style: [f"{style} {i}" for i in range(800)] for style in styles})
    override = yaml.safe_dump(hub.dataset, default_flow_style=True, width=10_000, sort_keys=False).strip()
    arguments = [f"prompts.dataset={override}", f"output={tmp_path / 'run'}"]
    plan = make_plan(load_config(EXPERIMENTS / "hpdv2_aesthetic_hpsv2.yaml", arguments), str)
    assert plan.n_prompts == 3200 and len(plan.tasks) == 2 * 3200
    assert {task.prompt.tags for task in plan.tasks} == {(style,) for style in styles}
    assert expected_cost(plan.tasks[0], 50).queries == 10_200
