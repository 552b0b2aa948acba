"""The commands `status`, `compact` and `verify`, which look after the folder of a run."""

import typer

from pipeline.cli.errors import reading
from pipeline.cli.options import RunFolder
from pipeline.redaction import redacted


def status(run: RunFolder) -> None:
    """Print how far a run is, and the time left.

    It prints the fronts done, failed and left, and the rate, while the run goes on and after it has ended.

    Exit status: 2 if the folder holds no run, or if the run is damaged; `verify` tells more.
    """
    from pipeline.storage.status import read_status
    from pipeline.storage.verify import check_small

    with reading(run) as folder:
        print(*read_status(folder).lines(), sep="\n")
        check_small(folder)


def compact_run(run: RunFolder) -> None:
    """Merge the small files of a run into a few large ones.

    `run` does this by itself for long runs. Other programs can read the run meanwhile.

    Exit status: 2 if the folder holds no run, if a run is at work in it, or
    if its files are damaged or cannot be merged there.
    """
    from pipeline.records import check_footers, has_file
    from pipeline.storage.compact import CannotMerge, compact
    from pipeline.storage.disk import remove_leftovers
    from pipeline.storage.lock import FolderInUse, lock_folder

    with reading(run) as folder:
        if not has_file(folder, "config.yaml"):
            raise FileNotFoundError(f"no run in {run}: it holds no config.yaml")
        try:
            with lock_folder(folder):
                remove_leftovers(folder)
                check_footers(folder)
                print(f"{compact(folder):,} files less in {run}")
        except (CannotMerge, FolderInUse) as error:
            raise OSError(f"{run}: {error}") from error


def verify_run(run: RunFolder) -> None:
    """Read every row of a run, and name every damaged file.

    Each comes with its fix. The command compares the checksums of all pages, and the rows with the weights, the
    rewards and the number of fronts. The run may go on meanwhile.

    Exit status: 0 if everything is fine, 1 if something is damaged, 2 if the folder holds no run.
    """
    from pipeline.storage.verify import verify

    with reading(run) as folder:
        found = verify(folder)
    print(*(redacted(line) for line in found.lines()), sep="\n")
    raise typer.Exit(1 if found.damage else 0)
