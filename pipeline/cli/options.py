"""The arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from configs.packaged import packaged_configs


def _completed_config(incomplete: str) -> list[str]:
    """Names of packaged configurations, and YAML files, that begin with what has been typed."""
    files = sorted(str(path) for path in Path().glob(f"{incomplete}*") if path.suffix in (".yaml", ".yml"))
    return [*files, *(name for name in packaged_configs() if name.startswith(incomplete))]


ConfigFile = Annotated[
    str,
    typer.Argument(
        help="A YAML file, or the name of a configuration that comes with SRSoup, such as demo or fig7_queries_mini. "
        "If a file of that name exists, the file is read.",
        metavar="CONFIG",
        autocompletion=_completed_config,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Values that replace those of the file, such as soup.steps=10.", metavar="KEY=VALUE"),
]
Over = Annotated[
    list[str] | None,
    typer.Option(
        help="A key and its values, such as soup.steps=0,10,20. With several, every combination is a point.",
        metavar="KEY=VALUE,...",
    ),
]
Local = Annotated[
    bool, typer.Option("--local", help="Run in this one process, without Ray. The results are the same bit for bit.")
]
AllowOpen = Annotated[
    bool,
    typer.Option(
        "--allow-open-cluster",
        help="Also run on a cluster of RAY_ADDRESS that asks nobody for a token. Its network must keep others out.",
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        help="A Python file, folder or module that defines rewards. Can be given several times.",
        metavar="PLACE",
    ),
]
RunFolder = Annotated[
    str, typer.Argument(help="The folder of a run, such as runs/demo or s3://bucket/demo.", metavar="RUN")
]
