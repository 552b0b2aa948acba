"""The errors of a model that cannot be used, or is not there to be looked at."""


class ModelError(ValueError):
    """A model, or an adapter on it, that cannot be used.

    Attributes:
        problem: what is wrong with it.
        allowed: what may be used.
        mend: what to do now.
        key: the configuration's key that is to be changed.
    """

    def __init__(self, problem: str, allowed: str, mend: str, key: str = "model.name") -> None:
        super().__init__(f"{problem}; allowed: {allowed}; mend: {mend}")
        self.problem, self.allowed, self.mend, self.key = problem, allowed, mend, key


class NotHereError(Exception):
    """A file of the hub is not on this machine, and was not to be fetched."""
