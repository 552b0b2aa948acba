"""The contract that every reward must keep, yours included: `check_reward(MyReward)` tests it. It needs no pytest."""

from collections.abc import Callable, Sequence

from torch import Tensor

from rewards import contract_checks as checks
from rewards.contract_case import Case, distinct_images
from rewards.contract_checks import Check, Factory, LifecycleCheck

PROMPTS = ("a cheetah", "an owl", "a fish", "a snail", "a rabbit", "a bear")
CHECKS: tuple[Check, ...] = (
    checks.info_is_filled_in,
    checks.returns_floats,
    checks.stays_in_range,
    checks.tells_images_apart,
    checks.repeats_its_bits,
    checks.batch_does_not_matter,
    checks.order_does_not_matter,
    checks.neighbours_do_not_matter,
    checks.prompts_go_with_their_images,
    checks.prompts_may_be_any_text,
    checks.input_is_untouched,
    checks.memory_layout_does_not_matter,
    checks.random_state_is_untouched,
    checks.empty_batch,
    checks.one_pixel,
    checks.other_images_are_refused,
    checks.other_prompts_are_refused,
    checks.a_broken_result_is_an_error,
)
LIFECYCLE: tuple[LifecycleCheck, ...] = (checks.closes_twice, checks.closes_without_setup, checks.two_of_them_agree)


def check_reward(
    factory: Factory, *, device: str = "cpu", images: Tensor | None = None, prompts: Sequence[str] = PROMPTS
) -> None:
    """Run every check of the contract.

    Args:
        factory: a function that makes a reward that is not set up yet, for example its class.
        device: the torch device that the reward is set up on.
        images: n >= 3 distinct images, uint8 (n, 3, h, w); by default `distinct_images()`.
        prompts: n prompts that the reward can tell apart.

    Raises:
        ExceptionGroup: one error for each check that failed, with the check's name as a note.
    """
    images = distinct_images() if images is None else images
    failures = []
    reward = factory()
    reward.setup(device)
    try:
        for check in CHECKS:
            failures += _failure(check.__name__, check, Case(reward, images.clone(), tuple(prompts)))
    finally:
        failures += _failure("close", reward.close)
    for lifecycle in LIFECYCLE:
        failures += _failure(lifecycle.__name__, lifecycle, factory, device, images.clone(), tuple(prompts))
    if failures:
        raise ExceptionGroup(f"{type(reward).__name__} breaks the contract of rewards", failures)


def _failure(name: str, call: Callable[..., None], *arguments: object) -> list[Exception]:
    """The error that a check raised, with the check's name as a note; empty if it passed."""
    try:
        call(*arguments)
    except Exception as error:
        error.add_note(f"check: {name}")
        return [error]
    return []
