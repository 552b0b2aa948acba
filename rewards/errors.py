"""The errors of rewards."""


class RewardError(ValueError):
    """A reward was asked wrongly, or answered wrongly; the message says what, and the fix."""


class WeightsError(RewardError):
    """A weight file is not here, or is not the one that was asked for; the message says the fix."""
