"""Configuration files that are not what they seem: YAML in odd forms, and files that are no files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.hostile.case import BASE, Case

KIND = "yaml"
DEEP = "[" * 3_000 + "]" * 3_000
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
# What is wrong -> a whole file, and what the message says.
WHOLE = {
    "an empty file": ("", "the file is empty"),
    "only a comment": ("# nothing\n", "the file is empty"),
    "~ alone": ("~\n", "the file is empty"),
    "a number": ("42\n", "holds a int"),
    "a list": ("- a\n- b\n", "holds a list"),
    "a text": ("hello\n", "holds a str"),
    "two documents": ("name: a\n---\nname: b\n", "line 2"),
    "a list as a key": ("[a, b]: 1\n", "a list is used as a key"),
    "a mapping as a key": ("{a: 1}: 1\n", "a mapping is used as a key"),
    "a key of the complex form": ("? - a\n: 1\n", "a list is used as a key"),
    "null as a key": ("~: 1\n", "read as null"),
    "a number as a key": ("1: 2\n", "read as a number"),
    "true as a key": ("yes: 2\n", "quotes"),
    "a key twice": ("name: a\nname: b\n", "given twice"),
    "nesting of 3,000": (f"name: {DEEP}\n", "nested more than"),
    "mappings nested 3,000 deep": ("{a: " * 3_000 + "1" + "}" * 3_000, "nested more than"),
    "300,000 brackets that never close": ("[" * 300_000, "nested more than|not YAML"),
    "300,000 dashes": ("- " * 300_000, "nested more than"),
    "billion laughs": (LAUGHS, "more than 100,000 values"),
    "billion laughs by merge keys": (LAUGHS.replace("[x", "{x: 1}").replace("[", "{<<: [").replace("]", "]}"), ""),
    "an alias to itself": ("name: &a [*a]\n", "that it is in"),
    "an alias to nothing": ("name: *b\n", "undefined alias"),
    "a tag of Python": ("name: !!python/object/apply:os.system [ls]\n", "not plain data"),
    "a tag of binary data": ("name: !!binary aGVsbG8=\n", "not plain data"),
    "a set": ("name: !!set {a, b}\n", "not plain data"),
    "an ordered mapping": ("name: !!omap [a: 1]\n", "not plain data"),
    "a tag of its own": ("name: !mine a\n", "not plain data"),
    "!!int of a word": ("seed: !!int abc\n", "not a number"),
    "!!int of nothing": ("seed: !!int ''\n", "not a number"),
    "!!bool of a word": ("seed: !!bool maybe\n", "neither true nor false"),
    "a list that never closes": ("name: [a, b\n", "not YAML"),
    "a quote that never closes": ("name: 'a\n", "not YAML"),
    "a tab as indentation": ("model:\n\tname: mini\n", "not YAML"),
    "a control character": ("name: a\x01b\n", "not YAML"),
    "YAML 9.9": ("%YAML 9.9\n---\nname: a\n", "not YAML"),
    "an at sign": ("name: @a\n", "not YAML"),
    "a merge of a number": ("<<: 5\nname: a\n", "merging"),
    "a million numbers": ("weights: [" + "1, " * 1_000_000 + "]\n", "more than 100,000 values"),
    "a key of a million letters": ("k" * 1_000_000 + ": 1\n", "not YAML|no such key"),
}
# What is wrong -> a line beside a right configuration, and what the message says.
LINES = {
    "an integer of 5,000 digits": ("seed: " + "9" * 5_000, "5,000 digits"),
    "5,000 hexadecimal digits": ("seed: 0x" + "f" * 5_000, "digits"),
    "010": ("seed: 010", "octal"),
    "-010": ("seed: -010", "octal"),
    "1:30": ("seed: 1:30", "base 60"),
    "1:30:30.5": ("seed: 1:30:30.5", "base 60"),
    "a date": ("seed: 2024-01-01", "valid integer"),
    "a date that is none": ("seed: 2024-13-45", "valid integer"),
    "a time": ("seed: 2024-01-01T10:00:00Z", "valid integer"),
    "infinity": ("compute: {call_seconds: .inf}", "call_seconds"),
    "not a number": ("compute: {call_seconds: .nan}", "call_seconds"),
    "1e5000": ("compute: {call_seconds: 1e5000}", "call_seconds|not YAML|digits"),
    "null for a number": ("seed: ~", "valid integer"),
    "true for a number": ("seed: yes", "valid integer"),
    "a NUL character": ('output: "a\\0b"', "NUL"),
    "half a surrogate pair": ('output: "a\\ud800b"', "surrogate"),
    "half a surrogate pair in a key": ('guidance: {satisfied_above: {"\\ud800": 1.0}}', "surrogate"),
    "half a surrogate pair in a prompt": ('model: {negative_prompt: "\\ud800"}', "surrogate"),
    "a mapping for a text": ("output: {a: b}", "valid string"),
    "a section that is a list": ("model: [mini]", "model"),
    "a section that is null": ("model: ~", "model"),
    "a text for a section": ("soup2: mini", "did you mean soup"),
    "extends itself": ("extends: a.yaml", "extends itself"),
    "extends a folder": ("extends: .", "cannot be read"),
    "extends nothing": ("extends: gone.yaml", "cannot be read"),
    "extends a number": ("extends: 5", "not a path"),
    "extends a NUL character": ('extends: "a\\0.yaml"', "NUL"),
    "a home folder of nobody": ("output: ~no-such-user-here/a", "home folder"),
}


def _file(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "a.yaml")


def _loop(folder: Path) -> None:
    (folder / "a.yaml").symlink_to("a.yaml")


def _secret(folder: Path) -> None:
    (folder / "a.yaml").write_text(BASE)
    (folder / "a.yaml").chmod(0)


def _chain(folder: Path) -> None:
    for number in range(200):
        (folder / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    (folder / "200.yaml").write_text(BASE)


def _of_size(folder: Path) -> None:
    with (folder / "a.yaml").open("wb") as file:
        file.truncate(10 * 2**30)


def cases() -> Iterator[Case]:
    for name, (content, says) in WHOLE.items():
        slow = len(content) >= 1_000_000
        yield Case(KIND, name, ("check", "a.yaml"), says, prepare=_file("a.yaml", content), is_slow=slow)
    for name, (line, says) in LINES.items():
        yield Case(KIND, name, ("check", "a.yaml"), says, prepare=_file("a.yaml", f"{BASE}{line}\n"))
    bytes_of = {
        "bytes that are not UTF-8": (b"name: \xff\xfe\n", "not UTF-8"),
        "UTF-16": (BASE.encode("utf-16"), "not UTF-8"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
        "NUL bytes": (b"name: a\x00b\n", "not YAML"),
    }
    for name, (data, says) in bytes_of.items():
        yield Case(KIND, name, ("check", "a.yaml"), says, prepare=_file("a.yaml", data))
    yield Case(KIND, "a FIFO", ("check", "a.yaml"), "not a regular file", prepare=_fifo)
    yield Case(KIND, "a FIFO to run", ("run", "a.yaml", "--local"), "not a regular file", prepare=_fifo)
    yield Case(KIND, "/dev/zero", ("check", "/dev/zero"), "not a regular file")
    yield Case(KIND, "/dev/null", ("check", "/dev/null"), "not a regular file|is empty")
    yield Case(KIND, "a folder", ("check", "."), "this is a folder")
    yield Case(KIND, "a link to itself", ("check", "a.yaml"), "no such file|cannot be read", prepare=_loop)
    yield Case(KIND, "no file", ("check", "gone.yaml"), "no such file")
    yield Case(KIND, "a path of 5,000 letters", ("check", "x" * 5_000), "no such file")
    yield Case(KIND, "an empty name", ("check", ""), "no such file|folder")
    yield Case(KIND, "bytes in a path", ("check", "\udcff.yaml"), "no such file")
    yield Case(KIND, "10 GiB", ("check", "a.yaml"), "cannot be read", prepare=_of_size)
    yield Case(KIND, "200 files that extend each other", ("check", "0.yaml"), "20 files", prepare=_chain)
    yield Case(KIND, "a file of somebody else", ("check", "a.yaml"), "", (0, 2), prepare=_secret)
    right = {
        "a merge key": "soup: {<<: {steps: 2, correction: none}, steps: 1}\n",
        "an alias": "compute: {diffusion_nodes: &n {labels: {a: b}}, reward_nodes: *n}\n",
        "a number with an exponent": "compute: {call_seconds: 1e2}\n",
        "a byte order mark": "\ufeff",
        "Windows line ends": "seed: 1\r\n",
    }
    for name, line in right.items():
        base = BASE.replace("soup: {steps: 1}\n", "") if line.startswith("soup") else BASE
        whole = line + base if line == "\ufeff" else base + line
        yield Case(KIND, f"right: {name}", ("check", "a.yaml"), "the plan", (0,), prepare=_file("a.yaml", whole))
