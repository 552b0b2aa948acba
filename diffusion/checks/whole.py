"""All checks of a model folder that need torch, diffusers and transformers, but no weights."""

import math
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from diffusion.checks.json_file import read_json
from diffusion.checks.skeleton import short, skeleton
from diffusion.checks.tokenizers import check_tokenizers, has_vocabulary
from diffusion.checks.weights import check_weights, files_of, variant_of, weight_files, weight_parts
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import absent_parts, pipeline_class


def check_whole(folder: Path) -> str | None:
    """Check the weights and the tokenizers of a model folder, and return the variant of the weights to load.

    Raises:
        ModelError: a file is broken or missing, or does not belong to the model.
    """
    files = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return _checked(folder, tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in files))


def is_downloaded(folder: Path) -> bool:
    """Return whether all weights and vocabularies of a hub model are on this machine, and not only a part of them."""
    family, absent = FAMILIES[pipeline_class(folder)], absent_parts(folder)
    parts = weight_parts(family, absent)
    tokenizers = [folder / part for part in family.texts if part.startswith("tokenizer") and part not in absent]
    try:
        variant = variant_of(str(folder), files_of(folder, parts), parts)
        files = [file for part, base in parts.items() for file in weight_files(folder / part, base, variant)]
    except ModelError:
        return False
    return all(file.exists() for file in files) and all(map(has_vocabulary, tokenizers))


@lru_cache(maxsize=8)
def _checked(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str | None:
    """`check_whole` of a folder with these files, once for all points of a sweep."""
    family, absent = FAMILIES[pipeline_class(folder)], absent_parts(folder)
    variant = check_weights(folder, family, absent)
    check_tokenizers(folder, family, absent)
    return variant


@lru_cache(maxsize=8)
def count_weights(folder: Path) -> int:
    """Return the number of weights of all parts of a model, from its configuration files alone.

    Raises:
        ModelError: a configuration describes no part.
    """
    parts = weight_parts(FAMILIES[pipeline_class(folder)], absent_parts(folder))
    states = [skeleton(folder, part).state_dict(keep_vars=True) for part in parts]
    # A tensor with two names counts once.
    return sum({id(weight): weight.numel() for state in states for weight in state.values()}.values())


def check_timesteps(folder: Path, steps: int, tokens: int) -> bool:
    """Check that the model's scheduler gives T timesteps whose noise falls, and return whether any step has noise.

    Args:
        folder: folder of the model, or of its configuration files alone.
        steps: T, the number of denoising steps.
        tokens: number of patches of an image, which decides the shift of some flows.

    Raises:
        ModelError: it does not.
    """
    import diffusers

    from diffusion.kernels import DDIM, FlowSDE

    entry = read_json(folder / "model_index.json").get("scheduler")
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 and entry[0] == "diffusers" else None
    owner = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(owner, type) or not issubclass(owner, diffusers.SchedulerMixin):
        raise _refused(folder, f"model_index.json names {str(entry)[:100]}, which is none of diffusers")
    config: dict[str, Any] = read_json(folder / "scheduler" / "scheduler_config.json")
    family = FAMILIES[pipeline_class(folder)]
    try:
        owner.from_config(config)  # type: ignore[attr-defined]
        if family.is_flow:
            flow = FlowSDE.from_scheduler(config, steps, 0.7, tokens, family.even)
            levels, noises = list(flow.sigmas), [flow.sigma(step) for step in range(steps)]
        else:
            ddim = DDIM.from_scheduler(config, steps, 1.0)
            levels, noises = [1 - ddim.alpha_at(t) for t in ddim.timesteps], [ddim.sigma(step) for step in range(steps)]
    except Exception as error:
        raise _refused(folder, short(error)) from error
    falls = all(before >= after for before, after in pairwise(levels))
    if not falls or not all(0 <= level <= 1 + 1e-6 for level in levels) or not all(map(math.isfinite, noises)):
        raise _refused(folder, "its noise does not fall from one timestep to the next")
    return any(noise > 0 for noise in noises)


def _refused(folder: Path, problem: str) -> ModelError:
    return ModelError(
        f"the scheduler of {folder} gives no timesteps: {problem}",
        "a scheduler that diffusers can make from its configuration",
        "give the model the scheduler that it was trained with",
    )
