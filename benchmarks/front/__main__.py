"""Compares methods by their fronts at their costs: `python -m benchmarks.front run`, then `... table`.

Each arm is a run of the embedded model on names that were used neither for training nor for tuning. `run` makes the
fronts that are missing, and can be stopped and given again. `table` compares, over the fronts that all arms have, the
volume in three ways with the arm "weighted sum, N = 16", with intervals over names. `--rewards` says which rewards
guide; each choice has its own folder. `collect` adds what tables need of all fronts to one file, and the tables of
docs/results.md are made from the one that is kept here (`--measured`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.front.arms import ARMS, NAMES, SETTINGS, Setting
from benchmarks.front.figure import draw
from benchmarks.front.fronts import MEASURED, collect, in_file, in_file_already, in_folders, part_of
from benchmarks.front.table import replace_part, seconds_table, table
from configs.load import load_config
from configs.packaged import config_file
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import make_plan


def run(
    folder: Path, setting: Setting, arms: Sequence[str], names: Sequence[str], seed: int, dtype: str, anew: bool = False
) -> None:
    """Make the missing fronts, name by name over all arms, so that whatever is finished can be compared.

    A front is there if its folder has one or, unless it is to be made anew, if the file of the measured fronts has it.
    """
    there = set() if anew else in_file_already(MEASURED, folder.name)
    for name in names:
        for slug in (slug for slug in arms if (slug, name, seed) not in there):
            values = (*setting.of(ARMS[slug]), f"model.dtype={dtype}", f"name={slug}", f"seed={seed}",
                      "prompts.file=null", f"prompts.list=[{name}]",
                      f"output={part_of(folder, slug, name, seed)}")  # fmt: skip
            plan = make_plan(load_config(config_file(ARMS[slug].config), list(values)), lambda key: key)
            execute([plan], local=True, reporter=Reporter(plan.n_prompts, 1, 1))


def main() -> None:
    """Make fronts, print a table of those that are there, or add them to one file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("run", "table", "seconds", "collect"))
    parser.add_argument("--folder", type=Path, default=Path("runs/front"), help="the default is %(default)s")
    parser.add_argument("--rewards", choices=tuple(SETTINGS), default="colour_size", help="which rewards guide")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--skip", type=int, default=0, help="names to leave out at the start of the list")
    parser.add_argument("--names", type=int, default=len(NAMES), help="names to take then")
    parser.add_argument("--seed", type=int, default=0, help="of the fronts that `run` makes; a table has all seeds")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16",
        help="of the model in all arms; bfloat16 is slow on CPUs without avx512_bf16 or AMX",
    )  # fmt: skip
    parser.add_argument("--anew", action="store_true", help=f"`run` also makes the fronts that {MEASURED.name} has")
    parser.add_argument("--measured", action="store_true", help=f"read {MEASURED.name}, not the folder")
    parser.add_argument("--page", type=Path, help="a page, of which the table replaces a part")
    parser.add_argument("--part", help="the part `<!-- measured: PART -->` of the page; default: front REWARDS")
    parser.add_argument("--figure", type=Path, help="a PNG file for the volumes of the arms against their queries")
    given = parser.parse_args()
    setting, folder = SETTINGS[given.rewards], given.folder / given.rewards
    if given.what == "run":
        names = NAMES[given.skip : given.skip + given.names]
        run(folder, setting, given.arms, names, given.seed, given.dtype, given.anew)
        return
    if given.what == "collect":
        print(f"{collect(given.folder, MEASURED)} new fronts in {MEASURED.name}")
        return
    fronts = in_file(MEASURED, given.rewards) if given.measured else in_folders(folder, setting)
    text = table(fronts, setting, given.arms) if given.what == "table" else seconds_table(fronts, given.arms)
    print(text)
    if given.page:
        replace_part(given.page, given.part or f"front {given.rewards}", text)
    if given.figure:
        draw(fronts, given.arms, given.figure)


if __name__ == "__main__":
    main()
