"""YAML is read as plain data: what versions of YAML read differently, and what is huge or no data, is refused."""

from pathlib import Path
from typing import Any

import pytest

from configs.errors import RequestError
from configs.load import load_config
from configs.plain.data import MAX_DEPTH, MAX_VALUES, PlainYamlError, dump_yaml, parse_yaml

BASE = """\
name: a
prompts: {list: [owl]}
rewards: {guided: [colorfulness, compressibility]}
weights: {grid: 3}
"""


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("~", None),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-45", "2024-13-45"),
        ("1e5", 1e5),
        ("1.5e3", 1.5e3),
        ("-2e-3", -2e-3),
        (".5e1", 5.0),
        # Names that only begin like a number: a prompt, and the hash of a commit.
        ("5e11 owls", "5e11 owls"),
        ("5e118145454545454545454545454545454545ab", "5e118145454545454545454545454545454545ab"),
        ("12345678901234567890123456789012345678e1", "12345678901234567890123456789012345678e1"),
        ("0x10", 16),
        ("1_000", 1000),
        ("08", "08"),
        ("'010'", "010"),
        ("'1:30'", "1:30"),
        ("0", 0),
        ("[yes, no]", [True, False]),
        ("a: =", {"a": "="}),
        ("!!str 5", "5"),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}], d: 4}", {"a": {"b": 1, "c": 3, "d": 4}}),
    ],
)
def test_plain_data_is_read_as_it_is_meant(text: str, data: Any) -> None:
    assert parse_yaml(text) == data


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("010", "octal"),
        ("[1:30]", "base 60"),
        ("a: 1\nb: 1:30:15.5", r"90 to|base 60 \(line 2\)|line 2"),
        ("9" * 5_000, "5,000 digits"),
        ("0b" + "1" * 5_000, "digits"),
        ("[a]: 1", "a list is used as a key"),
        ("{a: 1}: 1", "a mapping is used as a key"),
        ("~: 1", "read as null"),
        ("1: 1", "read as a number"),
        ("a: 1\nb: 2\na: 3", r"'a' is given twice \(line 3\)"),
        ("{<<: {a: 1}, <<: {b: 1}}", "given twice"),
        ("--- a\n--- b", "single document"),
        ("!!python/object/apply:os.system [ls]", "not plain data"),
        ("!!binary aGk=", "not plain data"),
        ("!!set {a}", "not plain data"),
        ("!!int x", "not a number"),
        ("!!bool x", "neither true nor false"),
        ("&a [*a]", "that it is in"),
        ("&a {b: {c: *a}}", "that it is in"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested more than"),
        ("{a: " * 3_000 + "1" + "}" * 3_000, "nested more than"),
        ("a: &a [" + "x, " * 400 + "]\nb: [" + "*a, " * 400 + "]", f"more than {MAX_VALUES:,} values"),
        ("a: [", "not YAML in line"),
        ("a\x00b", "not YAML"),
    ],
)
def test_what_is_no_plain_data_is_refused_with_the_line(text: str, problem: str) -> None:
    with pytest.raises(PlainYamlError, match=problem) as caught:
        parse_yaml(text)
    assert caught.value.fix


def test_an_alias_and_its_anchor_are_no_longer_one_object(tmp_path: Path) -> None:
    """An override of the one would change the other too."""
    file = tmp_path / "a.yaml"
    file.write_text(BASE + "compute: {diffusion_nodes: &n {labels: {a: b}}, reward_nodes: *n}\n")
    compute = load_config(file, ["compute.diffusion_nodes.labels={c: d}"]).compute
    assert (compute.diffusion_nodes.labels, compute.reward_nodes.labels) == ({"c": "d"}, {"a": "b"})


def test_a_home_folder_is_meant_where_a_path_begins_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text(BASE + "output: ~/runs/a\nmodel: {name: ~/models/a}\n")
    config = load_config(tmp_path / "a.yaml")
    assert (config.output, config.model.name) == (f"{tmp_path}/runs/a", f"{tmp_path}/models/a")
    config = load_config(tmp_path / "a.yaml", ["output=~/b", "model.name=~/c"])
    assert (config.output, config.model.name) == (f"{tmp_path}/b", f"{tmp_path}/c")


@pytest.mark.parametrize(
    ("overrides", "point"),
    [
        (["rewards.guided=[sharpness, compressibility]"], None),
        (["rewards={guided: [sharpness, compressibility]}"], None),
        (["rewards.guided=[compressibility, colorfulness]"], {"colorfulness": 69.0, "compressibility": -2.8}),
        (["seed=1"], {"colorfulness": 69.0, "compressibility": -2.8}),
        (["rewards.guided=[sharpness, compressibility]", "report.reference_point={sharpness: 1, compressibility: 0}"],
         {"sharpness": 1.0, "compressibility": 0.0}),
    ],
)  # fmt: skip
def test_other_rewards_on_the_command_line_leave_out_the_reference_point_of_the_file(
    overrides: list[str], point: dict[str, float] | None
) -> None:
    demo = Path(__file__).parents[3] / "configs" / "demo.yaml"
    assert load_config(demo, overrides).report.reference_point == point


VALUES = ("null", "[]", "{}", "text", "1", "-1", "1.5", "true", "[[]]", "[null]", "[{}]", "{a: 1}", "{a: null}",
          "[1, a]", "''", "[[[[1]]]]", "{a: {b: {c: 1}}}", '"\\0"', ".inf")  # fmt: skip


def every_key() -> list[str]:
    from docs.configuration_keys import sections

    return [
        f"{section.name.replace('[]', '')}.{key.name}".lstrip(".") for section in sections() for key in section.keys
    ]


@pytest.mark.parametrize("key", every_key())
def test_no_value_of_any_key_ends_in_another_error_than_a_clear_one(key: str) -> None:
    demo = Path(__file__).parents[3] / "configs" / "demo.yaml"
    for value in VALUES:
        for text in (f"{key}={value}", f"{key}.more={value}"):
            try:
                load_config(demo, [text])
            except RequestError as error:
                assert error.problem and error.fix and str(error).isprintable() is False


@pytest.mark.parametrize(
    "text", ["5e11", "5e1181", "-1e5", ".5e1", "1.5e3", "010", "1:30", "yes", "~", "2024-01-01", "="]
)
def test_a_text_that_looks_like_something_else_is_written_so_that_it_stays_a_text(text: str) -> None:
    assert parse_yaml(dump_yaml({"name": text, "list": [text]})) == {"name": text, "list": [text]}


@pytest.mark.parametrize("number", [1e5, 1e-5, 3, 0.1, -2e22])
def test_numbers_are_read_back_as_they_were_written(number: float) -> None:
    assert parse_yaml(dump_yaml({"value": number})) == {"value": number}
