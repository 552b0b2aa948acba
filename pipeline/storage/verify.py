"""Reads every row of a run and names what is damaged: `srsoup verify`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from configs.location import Location
from pipeline.records import check_footers, is_merged, read_file
from pipeline.storage.disk import store_of
from pipeline.storage.no_failures import NO_FAILURES
from pipeline.storage.part_damage import RUN_AGAIN, Content, Damage, content_by_config, has_checksums, read_part
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.status import DRIVER_FILE, DriverRecord

# `status` reads every row of a run on a disk that is not larger than this.
SMALL_BYTES = 64 * 2**20
# How often a table is read again because its parts were merged meanwhile.
_TRIES = 10
_RESTORE = "Restore the file"


class DamagedRun(OSError):
    """A run with damage. The message names the first of it."""

    def __init__(self, run: Location, damage: Sequence[Damage]) -> None:
        more = f" `srsoup verify {run}` names {len(damage) - 1:,} more." if len(damage) > 1 else ""
        super().__init__(f"{damage[0]}{more}")


@dataclass
class TableContent:
    """What the parts of one table hold.

    Attributes:
        parts: the number of parts.
        unchecked: the number of parts without checksums, which an earlier version wrote.
        places, contents: the part of each key, and what its rows are.
        damage: what is wrong with single parts.
    """

    parts: int = 0
    unchecked: int = 0
    places: dict[str, Location] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)


@dataclass(frozen=True)
class Verification:
    """What `verify` found: the numbers of finished fronts, of parts and of parts without checksums, and all damage."""

    fronts: int
    parts: int
    unchecked: int
    damage: tuple[Damage, ...]

    def lines(self) -> list[str]:
        """Return the findings as lines of text."""
        if self.damage:
            return [*map(str, self.damage), f"damaged: {len(self.damage):,} found in {self.parts:,} files"]
        note = f"; {self.unchecked:,} files of an earlier version have no checksums" if self.unchecked else ""
        return [f"fine: {self.fronts:,} fronts in {self.parts:,} files{note}"]


def verify(run: Location) -> Verification:
    """Read everything in the folder of a run and compare it.

    The pages of all parts are read and their checksums compared. The rows must be those of the keys that the names of
    the parts say, each once. Every finished front must have one image for each row of `weights`, and one finite score
    for each image and reward.

    Raises:
        FileNotFoundError: the folder holds no run.
        OSError: the folder cannot be read.
    """
    # A driver writes the part in costs/ last, so all other parts of the keys that are found there exist.
    tables = {table: _read_table(run, table) for table in ("costs", *(name for name in SCHEMAS if name != "costs"))}
    damage = [found for content in tables.values() for found in content.damage]
    parts = sum(content.parts for content in tables.values())
    try:
        expected = content_by_config(yaml.safe_load(read_file(run, "config.yaml")))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not parts:
            raise FileNotFoundError(f"there is no run in {run}: it holds no config.yaml and no tables") from error
        expected = {}
        damage.append(Damage(run / "config.yaml", "the record of the run is missing", _RESTORE))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        expected = {}
        reason = " ".join(str(error).split())
        damage.append(Damage(run / "config.yaml", f"this is not the record of a run ({reason:.200})", _RESTORE))
    finished = _finished(tables)
    damage += _no_folders(run)
    damage += _missing_rows(run, tables)
    damage += _wrong_rows(run, tables, expected)
    damage += _wrong_driver(run, len(finished))
    return Verification(len(finished), parts, sum(content.unchecked for content in tables.values()), tuple(damage))


def _no_folders(run: Location) -> list[Damage]:
    """The tables of a run on a disk whose place is taken by a file, or by a link that leads nowhere."""
    places = [run / table for table in SCHEMAS] if isinstance(run, Path) else []
    fix = "Move it away and give the same `srsoup run` command again"
    return [
        Damage(place, "this is no folder, and the parts of a table are in one", fix)
        for place in places
        if (place.is_symlink() or place.exists()) and not place.is_dir()
    ]


def _read_table(run: Location, table: str) -> TableContent:
    for _ in range(_TRIES):
        try:
            return _read_parts(run, table)
        except FileNotFoundError:
            continue
    return _read_parts(run, table)


def _read_parts(run: Location, table: str) -> TableContent:
    found = TableContent()
    for part in store_of(run).parts(run / table):
        if (table, part.stem) == ("failures", NO_FAILURES):
            continue
        found.parts += 1
        damage = list[Damage]()
        for key, content in read_part(part, table, damage):
            if other := found.places.get(key):
                merged = is_merged(part) != is_merged(other)
                fix = f"Run `srsoup compact {run}`, which keeps the newer rows" if merged else "Move one of them away"
                damage.append(Damage(part, f"the rows of {key} are also in {other}", fix))
            found.places[key], found.contents[key] = part, content
        found.unchecked += not damage and not has_checksums(part)
        found.damage += damage
    return found


def _finished(tables: Mapping[str, TableContent]) -> set[str]:
    return set.intersection(*(set(tables[table].places) for table in ("samples", "scores", "costs")))


def _missing_rows(run: Location, tables: Mapping[str, TableContent]) -> list[Damage]:
    damage = []
    for table in ("samples", "scores", "steps"):
        lost = sorted(tables["costs"].places.keys() - tables[table].places.keys())
        # A part that is damaged is named already, and a front may have no steps.
        if lost and table != "steps" and not tables[table].damage:
            problem = f"there are no rows of {len(lost):,} fronts that costs/ has, such as {lost[0]}"
            fix = "Give the same `srsoup run` command again, which computes these fronts again"
            damage.append(Damage(run / table, problem, fix))
    for key in sorted(tables["costs"].places.keys() & tables["failures"].places.keys()):
        place = tables["failures"].places[key]
        damage.append(Damage(place, f"{key} is finished, and cannot have failed too", "Remove the file"))
    return damage


def _wrong_rows(run: Location, tables: Mapping[str, TableContent], expected: Mapping[str, Content]) -> list[Damage]:
    """Compare the rows of every finished front with the configuration. If no front agrees, the configuration is wrong.

    Fronts of the unguided model have no weights, so only the number of their images is compared.
    """
    damage, finished = [], sorted(_finished(tables))
    for table, wanted in expected.items():
        contents = {key: tables[table].contents[key] for key in finished}
        wrong = [key for key, content in contents.items() if not content.agrees_with(wanted)]
        if len(wrong) > 1 and wanted not in contents.values():
            problem = f"{table}/ has {contents[wrong[0]]} of a front, but this file asks for {wanted}"
            damage.append(Damage(run / "config.yaml", problem, _RESTORE))
        else:
            damage += [
                Damage(tables[table].places[key], f"{key} has {contents[key]}, but should have {wanted}", RUN_AGAIN)
                for key in wrong
            ]
    return damage


def _wrong_driver(run: Location, fronts: int) -> list[Damage]:
    """Compare the number of finished fronts with the record of the last driver."""
    file, again = run / DRIVER_FILE, "give the same `srsoup run` command again, which writes it"
    try:
        record = DriverRecord(**yaml.safe_load(read_file(run, DRIVER_FILE)))
        if not all(type(number) is int and number > 0 for number in (record.fronts, record.prompts)):
            raise ValueError(f"there cannot be {record.fronts!r:.80} fronts of {record.prompts!r:.80} prompts")
        if record.fronts % record.prompts:
            raise ValueError(f"{record.fronts} fronts are not the same number for each of {record.prompts} prompts")
    except FileNotFoundError:
        return [Damage(file, "the record of the last driver is missing", again.capitalize())]
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return [
            Damage(
                file,
                f"this is not what a driver wrote ({' '.join(str(error).split()):.200})",
                f"Remove the file and {again}",
            )
        ]
    if fronts <= record.fronts:
        return []
    problem = f"there are {fronts:,} finished fronts, but the run has only {record.fronts:,}"
    return [Damage(run, problem, "Move the parts of another run, or of another version, out of the folder")]


def check_small(run: Location) -> None:
    """Verify a small run on a disk, and of every other run on a disk the footers of its parts.

    Raises:
        DamagedRun: something is damaged.
        DamagedPart: a footer cannot be read.
    """
    if not isinstance(run, Path):
        return
    size = sum(part.stat().st_size for table in SCHEMAS for part in (run / table).glob("*.parquet"))
    if size > SMALL_BYTES:
        check_footers(run)
    elif damage := verify(run).damage:
        raise DamagedRun(run, damage)
