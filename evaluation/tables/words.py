"""The names that printed tables use: of methods, rewards, models, prompts and settings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from evaluation.reading.comparison import UNGUIDED, Comparison
from evaluation.tables.model import Head

METHODS = {
    "srsoup": "SRSoup", "weighted_sum": "WeightedSum", "unguided": "Base model", "unguided_first": "Unguided first",
    "best_candidate": "Best candidate", "demon": "Demon", "fk_steering": "FK steering", "best_of": "Best of n",
    "model_soup": "Rewarded soup", "output_soup": "Output soup",
}  # fmt: skip
SHORT = METHODS | {"weighted_sum": "WS"}
REWARDS = {
    "aesthetic": "Aesthetic", "brightness": "Brightness", "clip_score": "CLIP", "colorfulness": "Colorfulness",
    "compressibility": "Compressibility", "hpsv2": "HPSv2", "hpsv2.1": "HPSv2.1", "image_reward": "ImageReward",
    "incompressibility": "Incompressibility", "pickscore": "PickScore", "sharpness": "Sharpness",
}  # fmt: skip
MODELS = {
    "stable-diffusion-v1-5": "SD1.5", "stable-diffusion-xl-base-1.0": "SDXL",
    "stable-diffusion-3.5-medium": "SD3.5",
}  # fmt: skip


def method_name(method: str, short: bool = False) -> str:
    """Returns the name of a method in a table; one that is not known keeps its own."""
    return (SHORT if short else METHODS).get(method, method)


def reward_name(reward: str) -> str:
    """Returns the name of a reward in a table; one that is not known keeps its own."""
    return REWARDS.get(reward, reward)


def rewards_name(rewards: Iterable[str]) -> str:
    """Returns the names of guided rewards, as in "Aesthetic & Compressibility"."""
    return " & ".join(reward_name(reward) for reward in rewards)


def base_name(comparison: Comparison, label: str) -> str:
    """Returns the name of the model that an unguided label stands for."""
    model = comparison.run_of(label).config.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    last = PurePosixPath(str(name)).name if name else "base model"
    return MODELS.get(last, last)


def prompts_name(config: Mapping[str, Any]) -> str:
    """Returns the name of a run's prompts: of their file or data set, or how many are listed."""
    prompts = config.get("prompts")
    prompts = prompts if isinstance(prompts, Mapping) else {}
    if prompts.get("file"):
        return PurePosixPath(str(prompts["file"])).stem
    data = prompts.get("dataset")
    if isinstance(data, Mapping) and data.get("name"):
        return PurePosixPath(str(data["name"])).name
    listed = prompts.get("list") or ()
    return f"{len(listed)} listed prompts" if len(listed) != 1 else "1 listed prompt"


def settings(comparison: Comparison, label: str) -> dict[str, int | str]:
    """Returns what a label was run with: K for methods with K first steps, N, and n for best of n."""
    config, method = comparison.run_of(label).config, comparison.method_of(label)
    found: dict[str, int | str] = {}
    if method in ("srsoup", "unguided_first") and config.get("soup"):
        found["K"] = config["soup"]["steps"]
    # Imported images do not say N.
    if method not in (UNGUIDED, "best_of", "model_soup", "output_soup") and config.get("queries"):
        found["N"] = config["queries"]
    if method == "best_of":
        found["n"] = (config.get("best_of") or {}).get("samples", "auto")
    return found


def setting_heads(comparison: Comparison, labels: Sequence[str], always: Sequence[str] = ()) -> dict[str, Head]:
    """Returns for each label of one method the settings in which the labels differ, and those of `always`.

    If two labels have the same settings, the name of their run is added.
    """
    found = {label: settings(comparison, label) for label in labels}
    names = dict.fromkeys(name for own in found.values() for name in own)
    shown = [name for name in names if name in always or len({own.get(name) for own in found.values()}) > 1]
    heads = {}
    for label, own in found.items():
        parts = [f"{name} = {own[name]}" for name in shown if name in own]
        text = ", ".join(parts)
        latex = ", ".join(f"${part}$" for part in parts if "auto" not in part) or None
        if list(found.values()).count(own) > 1:
            text, latex = ", ".join([*parts, comparison.run_of(label).name]), None
        heads[label] = Head(text, latex=latex)
    return heads


def labels_in_order(comparison: Comparison) -> list[str]:
    """Returns the labels in the order of the runs and of `method` in their configurations, the unguided model last."""

    def place(label: str) -> tuple[bool, int, int]:
        run, method = comparison.run_of(label), comparison.method_of(label)
        methods = list(run.wanted)
        number = methods.index(method) if method in methods else len(methods)
        return method == UNGUIDED, [other.name for other in comparison.runs].index(run.name), number

    return sorted(comparison.labels, key=place)


def label_names(comparison: Comparison) -> dict[str, str]:
    """Returns a name for each label that no other label has: its method, and the settings or the run if needed."""
    methods: dict[str, list[str]] = {}
    for label in labels_in_order(comparison):
        methods.setdefault(comparison.method_of(label), []).append(label)
    names = {}
    for method, labels in methods.items():
        for label, head in setting_heads(comparison, labels).items():
            names[label] = f"{method_name(method)} ({head.text})" if len(labels) > 1 else method_name(method)
    return {label: names[label] for label in labels_in_order(comparison)}


def decimals(values: Iterable[float], figures: int = 4) -> int:
    """Returns how many decimals give the largest of these values this many significant figures, 0 or more."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 0 if largest == 0 else max(0, figures - 1 - math.floor(math.log10(largest) + 1e-12))
