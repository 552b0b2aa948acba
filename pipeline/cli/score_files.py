"""Scores of image files, contract tests and weight files of rewards, all without a run."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from actors.workers import default_device
from configs.errors import RequestError
from rewards import registry
from rewards.base import Reward, checked_score
from rewards.errors import RewardError
from rewards.pinned_files import locate


def score_files(images: Sequence[Path], names: Sequence[str], prompt: str | None) -> Iterator[tuple[Path, list[float]]]:
    """Yield each file with its scores, one score for each reward. Files are scored one at a time, so sizes may differ.

    Raises:
        RequestError: a reward is unknown or cannot be loaded, a prompt is missing, or a file is not an RGB image.
    """
    rewards = [_created(name) for name in names]
    reading = [reward.info.name for reward in rewards if reward.info.reads_prompt]
    if reading and prompt is None:
        raise _error("--prompt", None, f"{', '.join(reading)} reads the prompt", "a text", "give --prompt TEXT")
    pictures = [(path, read_image(path)) for path in images]
    with ExitStack() as stack:
        for reward in rewards:
            stack.callback(_close, reward)
            try:
                reward.setup(default_device())
            except RewardError as error:
                raise _reward_error(reward.info.name, error) from error
        for path, picture in pictures:
            yield path, [_scored(reward, picture, prompt or "") for reward in rewards]


def _close(reward: Reward) -> None:
    """Close a reward whose scores are all printed. An error of it is told, and changes no score."""
    try:
        reward.close()
    except RewardError as error:
        print(f"warning: {error}", file=sys.stderr)


def read_image(path: Path) -> Tensor:
    """Read an image file as uint8 (1, 3, h, w).

    Raises:
        RequestError: the file cannot be read as an image, or has an alpha channel.
    """
    try:
        with Image.open(path) as picture:
            if picture.has_transparency_data:
                fix = "put it on a background first, as `convert -background white -flatten` does"
                raise _error("IMAGE", str(path), "this image has an alpha channel", "RGB or grey", fix)
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        problem = f"the file cannot be read: {error}"
        raise _error("IMAGE", str(path), problem, "PNG or JPEG files", "check the path") from error
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


def broken_checks(name: str) -> list[str]:
    """Test a reward against its contract; return one line for each check that fails.

    Raises:
        RequestError: the reward is unknown or cannot be loaded.
    """
    # Here, because only the test of a reward needs it.
    from rewards.contract import check_reward

    _created(name)
    try:
        check_reward(lambda: registry.create(name), device=default_device())
    except ExceptionGroup as group:
        return [f"{error.__notes__[-1].removeprefix('check: ')}: {error}" for error in group.exceptions]
    except RewardError as error:
        raise _reward_error(name, error) from error
    return []


def fetched(name: str) -> Iterator[Path]:
    """Download and check the weight files of a reward; yield each file when it is on this machine.

    Raises:
        RequestError: the reward is unknown, or a file can neither be found nor downloaded.
    """
    for file in _created(name).info.weights:
        try:
            yield locate(file)
        except RewardError as error:
            raise _reward_error(name, error) from error


def _created(name: str) -> Reward:
    try:
        return registry.create(name)
    except registry.UnknownRewardError as error:
        fix = f"did you mean {registry.nearest(name)}? If a file of yours defines it, give --plugin FILE"
        raise _error("--rewards", name, "there is no reward of this name", ", ".join(registry.names()), fix) from error
    except RewardError as error:
        raise _reward_error(name, error) from error


def _scored(reward: Reward, picture: Tensor, prompt: str) -> float:
    try:
        return checked_score(reward, picture, [prompt]).item()
    except RewardError as error:
        raise _reward_error(reward.info.name, error) from error


def _reward_error(name: str, error: RewardError) -> RequestError:
    fix = error.fix or "correct the reward where it is defined, or leave it out"
    return _error("--rewards", name, error.problem, "a reward that can be queried on this machine", fix)


def _error(key: str, value: object, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file="command line", key=key, value=value, problem=problem, allowed=allowed, fix=fix)
