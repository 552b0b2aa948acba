"""Reads and writes YAML as plain data: texts, numbers, true, false, null, lists, and mappings whose keys are texts.

YAML can do more than a configuration needs, and people who write it rarely know the rest. Where one text means
different things to different versions of YAML (`010`, `1:30`), or where a few lines stand for a huge value, an error
is better than a guess.
"""

import re
from functools import lru_cache
from typing import Any

import yaml

MAX_DEPTH = 64
# Values of all kinds, keys included. A value behind an alias counts as often as the alias is used.
MAX_VALUES = 100_000
MAX_DIGITS = 100

_CORE = "tag:yaml.org,2002:"
_TAGS = frozenset(_CORE + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge", "value"))
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_EXPONENT = re.compile(r"[-+]?(?:[0-9]{1,17}(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]{1,3}\Z")


class PlainYamlError(ValueError):
    """A text that is not YAML, or holds more than plain data.

    Attributes:
        problem: what is wrong and in which line, as a clause.
        fix: what to do about it, as an imperative.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


def count_values(value: Any) -> int:
    """Return how many values `parse_yaml` counts when it reads this data back: each value and each key is one."""
    if isinstance(value, dict):
        return 1 + sum(1 + count_values(inner) for inner in value.values())
    return 1 + sum(map(count_values, value)) if isinstance(value, list) else 1


def parse_yaml(text: str) -> Any:
    """Return the data that a YAML text holds; None for an empty text.

    A date is a text, and `1e5` is a number. Aliases and merge keys (`<<`) are allowed.

    Raises:
        PlainYamlError: the text is not one YAML document of plain data.
    """
    try:
        return _unshared(_loaded(text))
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        place = f" in line {where.line + 1}, column {where.column + 1}" if where else ""
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise PlainYamlError(f"this is not YAML{place}: {reason}", "correct it there") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise PlainYamlError(f"this is not YAML: {reason}", "save it as plain UTF-8 text") from error


def dump_yaml(data: Any) -> str:
    """Return plain data as YAML that `parse_yaml` reads back as it is: the text `5e11` is put in quotes."""
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


@lru_cache(maxsize=4)
def _loaded(text: str) -> Any:
    """The data of a text. It is kept, because a sweep reads one file twice for each of its points."""
    return yaml.load(text, Loader=_PlainLoader)


def _unshared(value: Any) -> Any:
    """Return a copy in which no two places share an object, as an alias and its anchor would."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


class _PlainDumper(yaml.SafeDumper):
    """A dumper that knows which texts `parse_yaml` would take for numbers."""


class _PlainLoader(yaml.SafeLoader):
    """A safe loader that refuses what `parse_yaml` does not allow. Its base class would accept or misread it."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = 0
        self._values_in = dict[yaml.Node, int]()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a value, unless it is too deep, refers to itself or stands for too many values."""
        is_alias, before = self.check_event(yaml.AliasEvent), self._values
        mark = self.current_event.start_mark
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _error(mark, f"the values are nested more than {MAX_DEPTH} deep", "nest them less")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and is_alias:
            if node not in self._values_in:
                raise _error(mark, "an alias refers to a value that it is in", "write the value out")
            self._values += self._values_in[node]
        elif node is not None:
            if node.tag not in _TAGS:
                raise _error(mark, f"the tag {node.tag.replace(_CORE, '!!')} is not plain data", "leave the tag out")
            self._values += 1
            self._values_in[node] = self._values - before
        if self._values > MAX_VALUES:
            raise _error(
                mark, f"there are more than {MAX_VALUES:,} values, counted once for each alias",
                "put prompts into a file, and weights into a rule",
            )  # fmt: skip
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping whose keys are texts, each given once. The base class would keep the last of two."""
        node = super().compose_mapping_node(anchor)
        seen = set[str]()
        for key, _ in node.value:
            mark = key.start_mark
            if not isinstance(key, yaml.ScalarNode):
                kind = "list" if isinstance(key, yaml.SequenceNode) else "mapping"
                raise _error(mark, f"a {kind} is used as a key", "write KEY: VALUE with a text as the key")
            if key.tag.removeprefix(_CORE) not in ("str", "merge", "value"):
                reads = "null" if key.tag == _CORE + "null" else "a number or true or false"
                raise _error(mark, f"the key {key.value!r:.80} is read as {reads}", "put the key in quotes")
            if key.value in seen:
                raise _error(mark, f"key {key.value!r:.80} is given twice", "remove one of the two")
            seen.add(key.value)
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return a number; refuse the forms that versions of YAML read differently."""
        text, is_int = str(node.value), node.tag == _CORE + "int"
        if len(text) > MAX_DIGITS:
            raise _error(node.start_mark, f"a number has {len(text):,} digits", f"use at most {MAX_DIGITS} digits")
        octal = is_int and _OCTAL.fullmatch(text)
        try:
            number = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        except (ValueError, IndexError) as error:
            raise _error(
                node.start_mark, f"{text!r} is not a number", "write a number, or leave out its tag"
            ) from error
        if octal or ":" in text:
            base = "octal" if octal else "base 60"
            raise _error(
                node.start_mark, f"{text} is the number {number} to YAML 1.1, which reads it as {base}",
                f"write {number}, or '{text}' in quotes if it is a text",
            )  # fmt: skip
        return number

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """Return a lone `=` as a text. The base class gives it a tag of its own, which it cannot read."""
        return str(node.value)

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """Return true or false; the base class would raise a KeyError for another text with the tag !!bool."""
        if str(node.value).lower() not in self.bool_values:
            raise _error(node.start_mark, f"{node.value!r:.80} is neither true nor false", "write true or false")
        return self.construct_yaml_bool(node)


def _error(mark: Any, problem: str, fix: str) -> PlainYamlError:
    return PlainYamlError(f"{problem} (line {mark.line + 1})", fix)


# A date would be an object that no key takes, and 2024-13-45 an error.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _CORE + "timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(_CORE + "float", _EXPONENT, list("-+.0123456789"))
_PlainDumper.add_implicit_resolver(_CORE + "float", _EXPONENT, list("-+.0123456789"))
_PlainLoader.add_constructor(_CORE + "int", _PlainLoader.construct_number)
_PlainLoader.add_constructor(_CORE + "float", _PlainLoader.construct_number)
_PlainLoader.add_constructor(_CORE + "bool", _PlainLoader.construct_truth)
_PlainLoader.add_constructor(_CORE + "value", _PlainLoader.construct_text)
