"""Weight files that the user accepts although their content is not the pinned one: `rewards.accept_sha256`."""

from configs.errors import RequestError
from configs.schema import RunConfig
from pipeline.planning.model_check import Origin
from rewards import registry
from rewards.pinned_files import WeightFile, accepted_digest

KEY = "rewards.accept_sha256"


def check_accepted(config: RunConfig, origin: Origin) -> None:
    """Check that each name of `rewards.accept_sha256` is the name of one weight file of this run.

    Raises:
        RequestError: no reward of the run reads a file of this name, or there are several such files.
    """
    files = _files(config)
    for name, digest in config.rewards.accept_sha256.items():
        named = [file for file in files if name in (file.name, file.path)]
        if len(named) != 1:
            raise RequestError(
                file=origin(KEY), key=KEY, value={name: digest},
                problem=f"{len(named) or 'no'} weight files of this run have the name {name}",
                allowed=", ".join(file.path for file in files) or "nothing, because no reward of this run reads a file",
                fix="name the file as owner/repository/name, or leave it out",
            )  # fmt: skip


def accepted_lines(config: RunConfig) -> list[str]:
    """Return a line for each weight file that is accepted with another content than the pinned one."""
    digests = ((file, accepted_digest(file, config.rewards.accept_sha256)) for file in _files(config))
    return [
        f"{file.path} is accepted with SHA-256 {digest}, and not with the pinned {file.sha256}"
        for file, digest in digests
        if digest not in (None, file.sha256)
    ]


def _files(config: RunConfig) -> list[WeightFile]:
    """The weight files that the rewards of a run declare, each once."""
    names = (*config.rewards.guided, *config.rewards.held_out)
    return list(dict.fromkeys(file for name in names for file in registry.create(name).info.weights))
