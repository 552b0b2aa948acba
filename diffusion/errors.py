"""The errors of a model that cannot be used, or is not there to be looked at."""


class ModelError(ValueError):
    """A model, or an adapter on it, that cannot be used.

    Attributes:
        problem: what is wrong with it.
        allowed: what may be used.
        fix: what to do now.
        key: the configuration's key that is to be changed.
    """

    def __init__(self, problem: str, allowed: str, fix: str, key: str = "model.name") -> None:
        super().__init__(f"{problem}; allowed: {allowed}; fix: {fix}")
        self.problem, self.allowed, self.fix, self.key = problem, allowed, fix, key


class NotHereError(Exception):
    """A file of the hub is not on this machine, and was not to be fetched."""
