"""The documentation is true to the code: its links resolve, its references are complete, its commands exist."""

import json
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import yaml

import srsoup
from configs.load import load_config
from configs.schema import RunConfig
from docs import generate
from docs.configuration_keys import sections
from pipeline.storage.schemas import SCHEMAS
from rewards import registry

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
README = ROOT / "README.md"
BASE = "https://github.com/srsoup/srsoup/blob/main/"
RAW = "https://raw.githubusercontent.com/srsoup/srsoup/main/"
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@cache
def whole(page: Path) -> str:
    """A page with its generated parts, as the site shows it."""
    text = page.read_text(encoding="utf-8")
    return generate.on_page_markdown(text) if page.parent == DOCS else text


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and GitHub name them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", whole(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[str]:
    yield from LINK.findall(FENCE.sub("", whole(page)))


def is_dead(page: Path, link: str) -> bool:
    """Whether a link leads nowhere; those to other sites are not followed."""
    for base in (BASE, RAW):
        if link.startswith(base):
            page, link = README, link.removeprefix(base)
    if "://" in link:
        return False
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return not target.is_file() or bool(anchor and anchor not in anchors(target))


def test_the_readme_is_short_and_reads_on_a_package_index() -> None:
    text = README.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) < 100 and len(text) < 4_500
    assert all(link.startswith((BASE, RAW)) for link in links(README))
    assert all(link.startswith(RAW) for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text))


@pytest.mark.parametrize("page", [README, ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if is_dead(page, link)] == []


@pytest.mark.parametrize(
    "link", ["no_such_page.md", "#no-such-heading", f"{BASE}docs/models.md#no", f"{RAW}docs/a.png"]
)
def test_a_dead_link_is_seen(link: str) -> None:
    assert is_dead(DOCS / "index.md", link)


def test_the_build_is_strict() -> None:
    """With --quiet MkDocs would count no warning, and --strict would refuse nothing."""
    assert "mkdocs build --strict\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation() -> None:
    nav = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(nav) == [page.name for page in PAGES]


def keys_of(schema: dict[str, Any], mappings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a JSON schema, those that hold mappings too."""
    for name, field in schema["properties"].items():
        yield f"{prefix}{name}"
        for mapping in set(re.findall(r"#/\$defs/(\w+)", json.dumps(field))):
            yield from keys_of(mappings[mapping], mappings, f"{prefix}{name}.")


def test_the_reference_lists_every_key_of_a_configuration() -> None:
    listed = set[str]()
    for section in sections():
        name = section.name.replace("[]", "")
        listed |= {name} | {f"{name}.{key.name}".lstrip(".") for key in section.keys}
    schema = RunConfig.model_json_schema()
    assert listed - {""} == set(keys_of(schema, schema["$defs"])) and "model.adapters.weight" in listed
    text = whole(DOCS / "configuration.md")
    assert all(f"### `{section.name}`" in text for section in sections() if section.name)


@pytest.mark.parametrize(
    ("section", "key", "values", "default"),
    [
        ("", "steps", "whole number ≥ 1 and ≤ 1000", "`50`"),
        ("", "name", "text", "required"),
        ("", "weights", "list of lists of numbers", "required"),
        ("model", "eta", "number ≥ 0 and ≤ 1 or `null`", "`null`"),
        ("model", "dtype", "`float32`, `float16`, `bfloat16`", "`float32`"),
        ("model", "adapters", "list of mappings", "`[]`"),
        ("compute", "cells", "`auto` or whole number ≥ 1 and ≤ 100000", "`1`"),
        ("compute.reward_nodes", "resources", "mapping of names to numbers > 0", "`{}`"),
    ],
)
def test_a_key_is_shown_with_what_it_takes(section: str, key: str, values: str, default: str) -> None:
    (shown,) = (k for s in sections() if s.name == section for k in s.keys if k.name == key)
    assert (shown.values, shown.default) == (values, default)


def test_the_commands_are_those_of_the_program() -> None:
    shown = generate.program("--help").partition("Commands:")[2]
    commands = dict(re.findall(r"^  (\w+)  +(.*)$", shown, re.MULTILINE))
    text = whole(DOCS / "commands.md")
    table = dict(re.findall(r"^\| \[`srsoup (\w+)`\]\(#srsoup-\w+\) \| (.*) \|$", text, re.MULTILINE))
    assert table.keys() == commands.keys() and "run" in commands
    assert all(table[name].startswith(meaning.removesuffix("...")) for name, meaning in commands.items())
    assert all(f"\n## srsoup {name}\n" in text for name in commands)


def typed(page: Path) -> Iterator[list[str]]:
    """The words of each `srsoup` command that a page has people type."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ {4}srsoup (.*)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


@cache
def help_of(command: str) -> str:
    return generate.program(command, "--help")


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_a_command_that_a_page_has_people_type_is_taken(page: Path) -> None:
    for command, *words in typed(page):
        shown, options = help_of(command), {word for word in words if word.startswith("--")}
        assert all(option in shown for option in options), command
        if command in ("run", "check", "sweep"):
            config = ROOT / (words[0] if words[0].endswith(".yaml") else f"configs/{words[0]}.yaml")
            # The rewards of a plugin are known only to a run.
            sets = [word for word in words[1:] if "=" in word and words[words.index(word) - 1] != "--over"]
            assert load_config(config, sets, swept=command != "run")


def test_the_columns_are_those_of_the_tables() -> None:
    meanings: dict[str, Any] = yaml.safe_load((DOCS / "columns.yaml").read_text(encoding="utf-8"))
    assert {table: [*columns] for table, columns in meanings.items()} == {
        table: ["rows", *schema.names] for table, schema in SCHEMAS.items()
    }


def test_the_rewards_are_those_of_the_registry() -> None:
    text = whole(DOCS / "rewards.md")
    assert all(text.count(f"| `{name}` |") >= 2 for name in registry.REWARDS)
    assert f"**Rewards:** {len(registry.REWARDS)} are" in README.read_text(encoding="utf-8")


def test_the_public_names_are_all_in_the_library_page() -> None:
    text = whole(DOCS / "library.md")
    assert all(re.search(rf"srsoup\.{name}\b", text) for name in srsoup.__all__)


def test_the_smallest_configuration_of_the_page_is_taken(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(name: .*?)```", (DOCS / "configuration.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example
    (tmp_path / "snails.yaml").write_text(example.group(1))
    assert len(load_config(tmp_path / "snails.yaml").weights) == 6


def test_the_readers_of_the_results_run(synthetic_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of the README and of the page on files, on a run in the folder that they name."""
    page = (DOCS / "files.md").read_text(encoding="utf-8")
    pandas, query = re.findall(r"```(?:python\nimport pandas|sql\n)(.*?)```", page, re.DOTALL)
    (readme,) = re.findall(r"(    import pandas.*?\n)\n", README.read_text(encoding="utf-8"), re.DOTALL)
    run = synthetic_run()
    monkeypatch.chdir(run.parent)
    for code in (f"import pandas{pandas}", textwrap.dedent(readme)):
        named: dict[str, Any] = {}
        exec(re.sub(r"runs/(demo|mine)", run.name, code), named)
        assert len(named["scores"]) == len(pd.read_parquet("demo/scores")) and "prompt" in named["scores"]
    prompts = set(named["scores"]["prompt"])
    rows = duckdb.sql(query.replace("runs/demo", run.name))
    assert rows and {row[0] for row in rows.fetchall()} == prompts
