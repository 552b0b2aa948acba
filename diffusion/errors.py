"""The errors of models."""


class ModelError(ValueError):
    """A model, or an adapter of it, that cannot be used.

    Attributes:
        problem: what is wrong with the model.
        allowed: the models, files or values that are allowed.
        fix: what to do about it, as an imperative.
        key: the key of the configuration that must change.
    """

    def __init__(self, problem: str, allowed: str, fix: str, key: str = "model.name") -> None:
        super().__init__(problem, allowed, fix, key)
        self.problem, self.allowed, self.fix, self.key = problem, allowed, fix, key

    def __str__(self) -> str:
        return f"{self.problem}; allowed: {self.allowed}; fix: {self.fix}"


class NotHereError(Exception):
    """A file of the hub is not on this machine, and the caller did not allow its download."""
