"""Results by tag equal what pandas computes from the Parquet files; tags come from every kind of prompt file."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import RequestError
from configs.schema import PromptsConfig
from evaluation.measures.by_tag import by_tag, by_tag_and_weight
from evaluation.measures.hypervolume import hypervolume_table, reference_point
from evaluation.reading.comparison import load_runs
from evaluation.report import write_report
from pipeline.planning.prompts import read_prompts
from pipeline.records import finished_keys, read_table, write_part
from tests.support.runs import run_here

Write = Callable[..., Path]
TAGS = {"a fox": ["counting", "colors"], "an owl": ["colors"], "a cat": [], "two dogs": ["counting"]}


def with_tags(run: Path, tags: Mapping[str, Sequence[str]]) -> Path:
    for key in finished_keys(run):
        (row,) = read_table(run, "costs", [key]).to_pylist()
        write_part(run, "costs", key, [row | {"tags": tags[row["prompt"]]}])
    return run


@pytest.fixture
def run(synthetic_run: Write) -> Path:
    return with_tags(synthetic_run(prompts=list(TAGS)), TAGS)


def test_scores_and_hypervolume_are_those_of_the_prompts_with_the_tag(run: Path) -> None:
    comparison = load_runs([run])
    volumes = hypervolume_table(comparison, reference_point(comparison))
    found = by_tag(comparison, volumes).set_index(["label", "tag"])
    samples = pd.read_parquet(run / "samples", columns=["key", "prompt", "method"]).drop_duplicates()
    scores = pd.read_parquet(run / "scores").merge(samples, on="key")
    assert set(found.index) == {(method, tag) for method in ("srsoup", "unguided") for tag in ("counting", "colors")}
    for pair, row in found.iterrows():
        method, tag = str(pair[0]), str(pair[1])  # type: ignore[index]
        prompts = [prompt for prompt, tags in TAGS.items() if tag in tags]
        own = scores[(scores["method"] == method) & scores["prompt"].isin(prompts)]
        assert row["prompts"] == row["fronts"] == len(prompts) == 2
        for reward, values in own.groupby("reward")["value"]:
            assert row[reward] == pytest.approx(values.mean(), rel=1e-12)
        each = volumes.by_prompt[(volumes.by_prompt["label"] == method) & volumes.by_prompt["prompt"].isin(prompts)]
        assert row["hypervolume"] == pytest.approx(each["hypervolume"].mean(), rel=1e-12)
        assert row["low"] <= row["hypervolume"] <= row["high"]
    by_weight = by_tag_and_weight(comparison)
    assert len(by_weight) == 2 * 2 * 6 and (by_weight["fronts"] == 2).all()
    means = by_weight.groupby(["label", "tag"])["mini_clip"].mean()
    np.testing.assert_allclose(means.reindex(found.index), found["mini_clip"], rtol=1e-12)


def test_the_report_has_the_tables_if_there_are_tags(run: Path, synthetic_run: Write) -> None:
    out = write_report([run], run / "report").parent
    written = pd.read_csv(out / "by_tag.csv")
    assert list(written["tag"]) == ["counting", "colors"] * 2 and len(pd.read_csv(out / "by_tag_and_weight.csv")) == 24
    without = synthetic_run("without", prompts=["x"])
    assert not (write_report([without], without / "report").parent / "by_tag.csv").exists()


RECORDS: list[dict[str, str]] = [
    {"tag": "single_object", "prompt": "a bench"},
    {"tag": "colors", "prompt": "a red bus"},
]
WANTED = [("a bench", ("single_object",)), ("a red bus", ("colors",))]


def saved(folder: Path, name: str) -> Path:
    """The two records of `RECORDS` in the format that the suffix names."""
    path = folder / name
    rows = [(record["tag"], record["prompt"]) for record in RECORDS]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    elif path.name == "records.json":
        path.write_text(json.dumps(RECORDS))
    elif path.name == "columns.json":
        path.write_text(json.dumps({"prompts": [p for _, p in rows], "tags": [[tag] for tag, _ in rows]}))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"prompt": [p for _, p in rows], "tag": [tag for tag, _ in rows]}), path)
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        path.write_text("".join(separator.join(row) + "\n" for row in [("Tag", "prompt"), *rows]))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "records.json", "columns.json", "a.parquet", "a.csv", "a.tsv"])
def test_tags_are_read_from_every_format_and_change_no_id(tmp_path: Path, name: str) -> None:
    prompts = read_prompts(PromptsConfig(file=str(saved(tmp_path, name))))
    assert [(prompt.text, prompt.tags) for prompt in prompts] == WANTED
    plain = read_prompts(PromptsConfig(list=tuple(text for text, _ in WANTED)))
    assert [prompt.prompt_id for prompt in prompts] == [prompt.prompt_id for prompt in plain]


def test_the_names_of_several_text_files_are_the_tags(tmp_path: Path) -> None:
    """As T2I-CompBench has a file for each category."""
    for name, line in (("color_val", "a red cup"), ("shape_val", "a round clock")):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    prompts = read_prompts(PromptsConfig(file=str(tmp_path / "*_val.txt")))
    assert [prompt.tags for prompt in prompts] == [("color_val",), ("shape_val",)]
    assert read_prompts(PromptsConfig(file=str(tmp_path / "color_val.txt")))[0].tags == ()


def test_a_named_column_has_to_be_there_and_to_hold_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "x", "tag": 3, "kind": ["a", "b", "a"]}\n')
    assert read_prompts(PromptsConfig(file=str(path)))[0].tags == ()
    assert read_prompts(PromptsConfig(file=str(path), tags="kind"))[0].tags == ("a", "b")
    for column, says in (("tag", "a tag that is a int and not a text"), ("sort", "has no column 'sort'")):
        with pytest.raises(RequestError, match=says):
            read_prompts(PromptsConfig(file=str(path), tags=column))
    (tmp_path / "a.txt").write_text("x\n")
    with pytest.raises(RequestError, match="a text file has no columns"):
        read_prompts(PromptsConfig(file=str(tmp_path / "a.txt"), tags="tag"))
    with pytest.raises(ValueError, match="prompts are not those of a file"):
        PromptsConfig(list=("x",), tags="tag")


def test_a_run_records_the_tags_of_its_prompts(tmp_path: Path) -> None:
    file = saved(tmp_path, "a.jsonl")
    tiny = ("steps=2", "queries=2", "soup.steps=1", "method=srsoup", "rewards.held_out=[]", "weights={grid: 2}")
    run_here(tmp_path / "run", *tiny, f"prompts.file={file}")
    for name in ("samples", "costs"):
        rows = read_table(tmp_path / "run", name).to_pylist()
        assert {(row["prompt"], tuple(row["tags"])) for row in rows} == set(WANTED)
    comparison = load_runs([tmp_path / "run"])
    table = by_tag(comparison, hypervolume_table(comparison, reference_point(comparison)))
    assert list(table["tag"]) == ["single_object", "colors"]
