"""Scores of image files, contract tests and weight files of rewards, all without a run."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import Tensor

from actors.workers import default_device
from configs.errors import RequestError
from pipeline.library.image_files import read_image
from rewards import registry
from rewards.base import Reward, checked_score
from rewards.errors import RewardError
from rewards.pinned_files import locate


def score_files(
    images: Sequence[tuple[Path, str | None]], names: Sequence[str], note: Callable[[str], None]
) -> Iterator[tuple[Path, list[float]]]:
    """Yield each file with its scores, one for each reward. Files are scored one at a time, so sizes may differ.

    Every file is read before a reward is loaded, and read again when it is scored, so one image is in memory at a time.

    Args:
        images: each file, and its prompt or None.
        note: called with a line about each file whose values had to be converted.

    Raises:
        RequestError: a reward is unknown or cannot be loaded, a prompt is missing, or a file cannot be scored.
    """
    rewards = [_created(name) for name in names]
    reading = [reward.info.name for reward in rewards if reward.info.reads_prompt]
    if reading and any(prompt is None for _, prompt in images):
        raise _error("--prompt", None, f"{', '.join(reading)} reads the prompt", "a text", "give --prompt TEXT")
    for path, _ in images:
        for text in read_image(path).notes:
            note(f"{path}: {text}")
    with ExitStack() as stack:
        for reward in rewards:
            stack.callback(_close, reward)
            try:
                reward.setup(default_device())
            except RewardError as error:
                raise _reward_error(reward.info.name, error) from error
        for path, prompt in images:
            picture = read_image(path).pixels
            yield path, [_scored(reward, picture, prompt or "") for reward in rewards]


def _close(reward: Reward) -> None:
    """Close a reward whose scores are all printed. Its error is printed as a warning and changes no score."""
    try:
        reward.close()
    except RewardError as error:
        print(f"warning: {error}", file=sys.stderr)


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


def compared(name: str, show: Callable[[str], None]) -> bool:
    """Compare a reward with its authors' package, show the comparison line by line, and return whether they agree.

    Raises:
        RequestError: the reward is unknown or cannot be loaded, or the package fails.
    """
    # Here, because only this comparison needs it.
    from rewards.parity.compare import lines_of, parity

    _created(name)
    try:
        found = parity(name, default_device())
    except RewardError as error:
        raise _reward_error(name, error) from error
    for line in lines_of(found):
        show(line)
    return found.agrees


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
