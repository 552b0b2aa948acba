"""The commands `export` and `import`. What exports is given, because `pipeline` does not import `evaluation`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from configs.location import Location, location_of
from pipeline.cli.app import Command
from pipeline.cli.errors import fail, request_errors
from pipeline.cli.options import Plugins, RunFolder

# Writes a run (its folder, where to, and the layout or None) and returns a line that says what it wrote; raises a
# ValueError that says what is wrong.
ExportRun = Callable[[Location, str, str | None], str]


def export_commands(export_run: ExportRun) -> tuple[Command, Command]:
    """The two commands; `export` writes by `export_run`."""

    def export(
        run: RunFolder,
        to: Annotated[
            str,
            typer.Option(help="A new folder, or hub:OWNER/NAME for a data set of the hub.", metavar="DIR"),
        ],
        layout: Annotated[
            str | None,
            typer.Option(
                "--as",
                help="png: PNG files and images.csv (the default). hf: a Hugging Face data set (the default for the "
                "hub). released: the image folders of the authors' released code.",
                metavar="LAYOUT",
            ),
        ] = None,
    ) -> None:
        """Write the images and results of a run for other programs.

        Only finished fronts are written. On the hub, a new data set is private; the token is that of `hf auth login`,
        or HF_TOKEN.

        Exit status: 2 if the run cannot be read, nothing is finished, or the folder cannot be written.
        """
        try:
            print(f"export: {export_run(location_of(run), to, layout)}")
        except ValueError as error:
            raise fail(error) from error

    return Command(export, "srsoup export runs/demo --to demo-images"), Command(
        import_, "srsoup import images --to runs/theirs --rewards aesthetic,hpsv2", "import"
    )


def import_(
    folder: Annotated[Path, typer.Argument(help="A folder of images.", metavar="DIR")],
    to: Annotated[Path, typer.Option(help="The folder of the new run.", metavar="RUN")],
    rewards: Annotated[
        str,
        typer.Option(help="The rewards that the weights belong to, in their order, by commas.", metavar="NAMES"),
    ],
    held_out: Annotated[
        str | None, typer.Option(help="Rewards that only score, separated by commas.", metavar="NAMES")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="The file of the prompts, if files have only their first 50 characters.", metavar="FILE"),
    ] = None,
    method: Annotated[str, typer.Option(help="A name for the method that made the images.")] = "imported",
    plugin: Plugins = None,
) -> None:
    """Score images that exist already, and write them as a run.

    `srsoup report` then compares them with other runs. DIR has PROMPT/WEIGHTS.png, or the layout of the authors'
    released code, or what `srsoup export` wrote.

    Exit status: 2 if the images, their weights or the rewards cannot be read.
    """
    with request_errors():
        from pipeline.library.import_images import import_images
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        guided, held = ([name.strip() for name in text.split(",")] if text else [] for text in (rewards, held_out))
        try:
            count = import_images(folder, to, guided, held, prompts, method)
        except OSError as error:
            raise fail(f"{to}: the run cannot be written: {error}") from error
    print(f"{count:,} images in {to}\nnext: srsoup report {to}")
