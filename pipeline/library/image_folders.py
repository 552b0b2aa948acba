"""Finds the images in a folder that another program or `srsoup export` wrote, with their prompts and weights."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.errors import COMMAND_LINE, RequestError
from configs.schema import PromptsConfig
from configs.weights import WEIGHT_TOLERANCE, with_exact_one_hot
from pipeline.planning.prompts import Prompt, read_prompts

TABLE, PROMPT = "images.csv", "prompt.txt"
# The released code names files by so many characters of the prompt.
CUT = 50
_NUMBERS = r"\[[^\]]+\]|[-+.,;e\d ]+"
_WEIGHTS = re.compile(rf"(?P<weights>{_NUMBERS})\.(?:png|jpe?g|webp)", re.IGNORECASE)
_RELEASED = re.compile(rf"(?P<prompt>.+)_(?P<weights>{_NUMBERS})\.png", re.DOTALL)
LAYOUTS = (
    "images.csv as `srsoup export` writes it; or PROMPT/WEIGHTS.png; or PROMPT_WEIGHTS.png, alone or in folders 0, 1, "
    "..., as the released code writes them. WEIGHTS is w_1 of two rewards, or all weights, as 0.2,0.3,0.5 or [0.2 0.3 "
    "0.5]"
)


@dataclass(frozen=True)
class FoundImage:
    """One image file. `weights` is None for an image of the model alone."""

    path: Path
    prompt: Prompt
    method: str
    seed: int
    order: int | tuple[float, ...]
    weights: tuple[float, ...] | None


def find_images(folder: Path, guided: Sequence[str], prompts: Path | None, method: str) -> list[FoundImage]:
    """Return the images of a folder, in one of `LAYOUTS`.

    Args:
        guided: the names of the rewards, in the order of the weights.
        prompts: the file of the prompts. It is needed if a name has `CUT` characters, so that the prompt may be longer.
        method: the name of the method that made the images, unless images.csv says it.

    Raises:
        RequestError: there are no images, or a prompt, a weight or a row of the table cannot be read.
    """
    if not folder.is_dir():
        raise refusal(folder, "this is not a folder", "check the path")
    texts = _Texts(folder, prompts)
    if (folder / TABLE).is_file():
        found = list(_from_table(folder, guided, texts, method))
    else:
        found = list(_from_names(folder, len(guided), texts, method))
    if not found:
        raise refusal(folder, "there are no images with weights in their names", "give the folder that holds them")
    return found


class _Texts:
    """Makes a prompt of the name of a file or a folder, and gives equal texts equal ids."""

    def __init__(self, folder: Path, file: Path | None) -> None:
        self._folder = folder
        listed = read_prompts(PromptsConfig(file=str(file))) if file else []
        self._listed: dict[str, Prompt] = {}
        for prompt in listed:
            for name in (prompt.text, prompt.text[:CUT].replace("/", "_")):
                self._listed.setdefault(name, prompt)
        self._given = file is not None
        self._made: dict[str, Prompt] = {}

    def of_name(self, name: str) -> Prompt:
        """The prompt of a file's or a folder's name."""
        if self._given:
            if name not in self._listed:
                raise refusal(
                    self._folder, f"no prompt of the file begins with {name!r}", "give the file with all prompts"
                )
            return self._listed[name]
        if len(name) == CUT:
            raise refusal(
                self._folder, f"the name {name!r} has {CUT} characters, at which the released code cuts a prompt",
                "give the file of the prompts with --prompts",
            )  # fmt: skip
        return self.of_text(name)

    def of_text(self, text: str, prompt_id: str | None = None) -> Prompt:
        """The prompt of a whole text."""
        if text not in self._made:
            self._made[text] = read_prompts(PromptsConfig(list=(text,)))[0]
        made = self._made[text]
        return Prompt(prompt_id or made.prompt_id, made.text, "import")


def _from_table(folder: Path, guided: Sequence[str], texts: _Texts, method: str) -> Iterator[FoundImage]:
    with (folder / TABLE).open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                yield _of_row(folder, row, guided, texts, method)
            except (KeyError, ValueError) as error:
                problem = f"line {number} of {TABLE} cannot be read ({type(error).__name__}: {error})"
                raise refusal(folder, problem, f"write file, prompt and weight_{guided[0]} ... in each line") from error


def _of_row(folder: Path, row: Mapping[str, str], guided: Sequence[str], texts: _Texts, method: str) -> FoundImage:
    path = folder / row["file"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{row['file']!r} lies outside of the folder")
    # The table has an apostrophe before what a spreadsheet would run; the file has the prompt as it is.
    beside = path.parent / PROMPT
    text = beside.read_bytes().decode("utf-8") if beside.is_file() else row["prompt"]
    cells = [row[f"weight_{reward}"] for reward in guided]
    weights = _checked(folder, tuple(map(float, cells)), len(guided)) if all(cells) else None
    prompt = texts.of_text(text, row.get("prompt_id") or None)
    index = int(row["weight_index"]) if row.get("weight_index") else weights
    if index is None:
        raise ValueError("there are neither weights nor a weight_index")
    return FoundImage(path, prompt, row.get("method") or method, int(row.get("seed") or 0), index, weights)


def _from_names(folder: Path, rewards: int, texts: _Texts, method: str) -> Iterator[FoundImage]:
    """The images whose names, and the names of their folders, say everything."""
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    yield from _released(folder, 0, rewards, texts, method)
    for inner in below:
        if inner.name.isdecimal() and any(_RELEASED.fullmatch(path.name) for path in inner.iterdir()):
            yield from _released(inner, int(inner.name), rewards, texts, method)
            continue
        beside = inner / PROMPT
        for path in sorted(inner.iterdir()):
            if match := _WEIGHTS.fullmatch(path.name):
                whole = beside.is_file()
                prompt = texts.of_text(beside.read_bytes().decode("utf-8")) if whole else texts.of_name(inner.name)
                weights = _weights(inner, match["weights"], rewards)
                yield FoundImage(path, prompt, method, 0, weights, weights)


def _released(folder: Path, seed: int, rewards: int, texts: _Texts, method: str) -> Iterator[FoundImage]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and (match := _RELEASED.fullmatch(path.name)):
            weights = _weights(folder, match["weights"], rewards)
            yield FoundImage(path, texts.of_name(match["prompt"]), method, seed, weights, weights)


def _weights(folder: Path, text: str, rewards: int) -> tuple[float, ...]:
    """The weights of a name: w_1 of two, or one for each reward."""
    try:
        numbers = [float(part) for part in re.split(r"[\s,;]+", text.strip("[] ")) if part]
    except ValueError as error:
        raise refusal(folder, f"{text!r} in a file's name is not a row of weights", "rename the file") from error
    if len(numbers) == 1 and rewards == 2:
        numbers.append(float(np.round(1 - numbers[0], 12)))
    return _checked(folder, tuple(numbers), rewards)


def _checked(folder: Path, weights: tuple[float, ...], rewards: int) -> tuple[float, ...]:
    if len(weights) != rewards or min(weights) < 0 or not abs(sum(weights) - 1) <= WEIGHT_TOLERANCE:
        shown = ", ".join(f"{w:g}" for w in weights)
        fix = "name one reward for each weight with --rewards, in the order of the weights"
        raise refusal(folder, f"({shown}) is not a row of weights of {rewards} rewards", fix)
    return tuple(with_exact_one_hot(weights))


def refusal(folder: Path, problem: str, fix: str) -> RequestError:
    """Return the error of a folder that cannot be imported."""
    return RequestError(
        file=COMMAND_LINE, key="DIR", value=str(folder), problem=problem, allowed=f"a folder with {LAYOUTS}", fix=fix
    )
