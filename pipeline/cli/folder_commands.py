"""The commands `status` and `compact`, which look after the folder of a run."""

from pipeline.cli.errors import reading
from pipeline.cli.options import RunFolder


def status(run: RunFolder) -> None:
    """Print how far a run is, and the time left.

    It prints the fronts done, failed and left, and the rate, while the run goes on and after it has ended.

    Exit status: 2 if the folder holds no run.
    """
    from pipeline.storage.status import read_status

    with reading(run) as folder:
        lines = read_status(folder).lines()
    print(*lines, sep="\n")


def compact_run(run: RunFolder) -> None:
    """Merge the small files of a run into a few large ones.

    `run` does this by itself for long runs. Other programs can read the run meanwhile.

    Exit status: 2 if the folder holds no run, if a run is at work in it, or
    if its files cannot be merged there.
    """
    from pipeline.records import has_file
    from pipeline.storage.compact import CannotMerge, compact
    from pipeline.storage.disk import remove_leftovers
    from pipeline.storage.lock import FolderInUse, lock_folder

    with reading(run) as folder:
        if not has_file(folder, "config.yaml"):
            raise FileNotFoundError(f"no run in {run}: it holds no config.yaml")
        try:
            with lock_folder(folder):
                remove_leftovers(folder)
                print(f"{compact(folder):,} files less in {run}")
        except (CannotMerge, FolderInUse) as error:
            raise OSError(f"{run}: {error}") from error
