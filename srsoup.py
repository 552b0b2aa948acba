"""Sample Reward Soups: guide text-to-image sampling by several black-box rewards at once.

    from srsoup import Run, run, sample_front

`sample_front` makes the front of one prompt from a diffusers pipeline, `run` makes the fronts of many prompts, and
`Run` reads their results. Importing this module imports no torch and no Ray: a name is loaded when it is first used.
"""

import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from configs.errors import RequestError
    from configs.location import Location
    from configs.schema import RunConfig
    from diffusion.errors import ModelError
    from evaluation.run import Run
    from pipeline.cli.report_commands import PageOptions
    from pipeline.library.front import Front, sample_front
    from rewards.base import RewardInfo
    from rewards.errors import RewardError

    __version__: str

__all__ = [
    "Front",
    "ModelError",
    "RequestError",
    "RewardError",
    "RewardInfo",
    "Run",
    "__version__",
    "load_config",
    "run",
    "sample_front",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    module: Any = None
    if name in ("Front", "sample_front"):
        from pipeline.library import front as module
    elif name == "Run":
        from evaluation import run as module
    elif name == "RewardInfo":
        from rewards import base as module
    elif name == "RewardError":
        from rewards import errors as module
    elif name == "ModelError":
        from diffusion import errors as module
    elif name == "RequestError":
        from configs import errors as module
    elif name == "__version__":
        from pipeline.cli.version import srsoup_version

        return srsoup_version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_config(config: str | Path, overrides: Sequence[str] = ()) -> "RunConfig":
    """Read and check a configuration.

    Args:
        config: a YAML file, or the name of a configuration that comes with SRSoup, such as "demo".
        overrides: values that replace those of the file, as on the command line: `["seed=1", "soup.steps=10"]`.

    Raises:
        RequestError: the file cannot be read, or a key or a value is not allowed; names it and the fix.
    """
    from configs.load import load_config
    from configs.packaged import config_file

    return load_config(config_file(config), overrides)


def run(
    config: "RunConfig | str | Path",
    overrides: Sequence[str] = (),
    *,
    local: bool = False,
    plugins: Sequence[str | Path] = (),
    progress: bool = True,
    allow_open_cluster: bool = False,
) -> "Run":
    """Make the front of every prompt of a configuration, as `srsoup run` does, and return the run.

    The same call again continues a run that stopped. Prompts that failed are in `Run.failures()`; the next call tries
    them again.

    Args:
        config: a configuration, a YAML file, or the name of a configuration that comes with SRSoup, such as "demo".
        overrides: values that replace those of the file, as on the command line: `["seed=1", "output=runs/a"]`.
        local: run in this process, without Ray. The results are the same bit for bit.
        plugins: Python files that define rewards; docs/own_reward.md.
        progress: whether to show the progress, on the standard error stream.
        allow_open_cluster: also run on a cluster of RAY_ADDRESS that asks nobody for a token.

    Raises:
        RequestError: the request is wrong, and nothing was started; names file, key, value and the fix.
        RuntimeError: the run had to stop, for example because the disk is full. Finished prompts are kept.
    """
    from evaluation.run import Run
    from pipeline.library.batch import run_config

    return Run.open(
        run_config(
            config, overrides, local=local, plugins=plugins, progress=progress, allow_open_cluster=allow_open_cluster
        )
    )


def _write_report(runs: "Sequence[Location]", out: Path | None, page: "PageOptions") -> Path:
    """Write the page of some runs, and send it to the tracker that the run names."""
    from evaluation import doors
    from evaluation.exports.tracked import send_to_tracker
    from pipeline.job.trackers import open_tracker

    written = doors.write(runs, out, page)
    if len(runs) == 1:
        send_to_tracker(runs[0], written.parent, open_tracker)
    return written


def _app() -> "typer.Typer":
    """The whole command line: the commands of `pipeline`, and those that need `evaluation` too."""
    from evaluation import doors
    from pipeline.cli.app import new_app
    from pipeline.cli.commands import COMMANDS
    from pipeline.cli.export_commands import export_commands
    from pipeline.cli.report_commands import Reports, report_commands
    from pipeline.cli.reward_commands import REWARD_COMMANDS

    demo, report = report_commands(Reports(_write_report, doors.watch, doors.table, doors.figures))
    ours = (*COMMANDS[:-2], report, *export_commands(doors.export), *REWARD_COMMANDS, *COMMANDS[-2:])
    return new_app(demo, *ours, completion=True)


def _main() -> None:
    """Entry point of the console script `srsoup`."""
    try:
        _app()(prog_name="srsoup")
    except KeyboardInterrupt:
        # Ctrl-C while the command line itself is imported. `pipeline.cli.guard` ends its commands in the same way.
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _refuse_shadows() -> None:
    """Refuse to start if Python would import other people's modules in place of SRSoup's packages.

    The check is loaded by its place, because `pipeline` may be one of the packages that are hidden.
    """
    spec = spec_from_file_location("_srsoup_shadowing", Path(__file__).with_name("pipeline") / "shadowing.py")
    assert spec and spec.loader
    shadowing = module_from_spec(spec)
    spec.loader.exec_module(shadowing)
    if shadows := shadowing.shadows_here():
        message = shadowing.message_of(shadows)
        if __name__ == "__main__" or Path(sys.argv[0]).name == "srsoup":
            print(f"error: {message}", file=sys.stderr)
            sys.exit(2)
        raise ImportError(message)


_refuse_shadows()

if __name__ == "__main__":
    _main()
