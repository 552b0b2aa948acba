"""`srsoup export --as hf`: a run as a Hugging Face data set, and its upload to the hub."""

import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from evaluation.errors import ReportError
from evaluation.exports.fronts import Front, fronts_of, new_folder, parts_of
from evaluation.run import Run
from pipeline.records import (
    RESULT_TABLES,
    Location,
    failed_keys,
    finished_keys,
    has_file,
    keys_of,
    read_file,
    read_rows,
    write_part,
)

_ABOUT = {
    "samples": "one row for each image: the prompt, the method, the weights, the seed and the image",
    "scores": "one row for each image and reward: its value, and whether the reward guided or was held out",
    "steps": "one row for each denoising step, image and reward: gradient lengths, reward means, overlap",
    "costs": "one row for each front: queries, decodes, seconds and memory",
    "failures": "one row for each front that failed: the error",
}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**9, "1M<n<1B"))


def export_hugging_face(run: Run, out: Path) -> int:
    """Writes the run as a data set that `datasets.load_dataset` reads; returns the number of images.

    The Parquet files are copied as they are, each table is one configuration of the data set, and README.md is its
    card. The folder has the run's config.yaml too, so it is also a run that `srsoup report` reads.

    Raises:
        ReportError: no front is finished, or `out` has files already.
        OSError: a file cannot be read or written.
    """
    fronts = fronts_of(run)
    new_folder(out)
    tables = [table for table in RESULT_TABLES if _copy_table(run.folder, table, out)]
    if failed_keys(run.folder) - finished_keys(run.folder):
        _copy_failures(run.folder, out)
        tables.append("failures")
    (out / "config.yaml").write_bytes(read_file(run.folder, "config.yaml"))
    _copy_plan(run.folder, out)
    images = len(fronts) * len(run.config["weights"])
    (out / "README.md").write_text(_card(run, fronts, images, tables), encoding="utf-8")
    return images


def upload(run: Run, name: str) -> str:
    """Uploads the run as a data set of the hub, `owner/name`, and returns its address.

    A data set that is not there yet is made, private. The token is the one that `hf auth login` keeps, or HF_TOKEN.

    Raises:
        ReportError: no front is finished, or the hub refuses or cannot be reached.
        OSError: a file cannot be read or written.
    """
    # Here, because only an upload needs it, and its import takes a second.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    # The error of the HTTP library, which differs between versions of huggingface_hub.
    network_error: type[BaseException] = HfHubHTTPError.__bases__[0]
    with tempfile.TemporaryDirectory(prefix="srsoup-export-") as folder:
        export_hugging_face(run, Path(folder) / "data")
        api = HfApi()
        try:
            made = api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
            api.upload_folder(
                repo_id=made.repo_id, repo_type="dataset", folder_path=Path(folder) / "data",
                commit_message="Results of an SRSoup run",
            )  # fmt: skip
        except HFValidationError as error:
            raise ReportError(f"{name!r} is not the name of a data set ({error}). fix: give OWNER/NAME") from error
        except LocalTokenNotFoundError as error:
            raise ReportError("there is no token of the hub. fix: run `hf auth login`, or set HF_TOKEN") from error
        except (OSError, network_error) as error:
            reason = " ".join(str(error).split())
            raise ReportError(
                f"{name}: the hub did not take the data set ({reason:.300}). fix: check the network, and that the "
                "token of `hf auth login` or HF_TOKEN may write there; then give the same command again"
            ) from error
    return str(made)


def _copy_table(run: Location, table: str, out: Path) -> bool:
    """Copies the finished rows of a table; returns whether there are any."""
    found = False
    for part, wanted in parts_of(run, table, finished_keys(run)).items():
        (out / table).mkdir(exist_ok=True)
        if sorted(keys_of(part) or ()) == sorted(wanted):
            (out / table / part.name).write_bytes(read_file(run / table, part.name))
        else:
            # Some keys of this merged part are unfinished, or newer in a part of their own.
            for key, rows in read_rows(part, table, frozenset(wanted)):
                write_part(out, table, key, rows.to_pylist(maps_as_pydicts="strict"))
        found = found or any(len(rows) for _, rows in read_rows(part, table, frozenset(wanted)))
    return found


def _copy_failures(run: Location, out: Path) -> None:
    (out / "failures").mkdir()
    for key in sorted(failed_keys(run) - finished_keys(run)):
        (out / "failures" / f"{key}.parquet").write_bytes(read_file(run / "failures", f"{key}.parquet"))


def _copy_plan(run: Location, out: Path) -> None:
    """Copies driver.yaml, which says how many fronts the run is meant to have, without the name of the machine."""
    if has_file(run, "driver.yaml"):
        plan = yaml.safe_load(read_file(run, "driver.yaml")) | {"host": "", "pid": 0}
        (out / "driver.yaml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")


def _card(run: Run, fronts: list[Front], images: int, tables: list[str]) -> str:
    """Returns README.md: YAML for the hub, and text for people. Prompts, which may be any text, stay out."""
    document: dict[str, Any] = yaml.safe_load(read_file(run.folder, "config.yaml"))
    config, rewards = document["config"], document["config"]["rewards"]
    size = next((name for most, name in _SIZES if images < most), "n>1T")
    head = {
        "pretty_name": f"SRSoup run {config['name']}",
        "task_categories": ["text-to-image"],
        "tags": ["srsoup", "multi-objective", "pareto-front"],
        "size_categories": [size],
        "configs": [
            {"config_name": table, "data_files": f"{table}/*.parquet"}
            | ({"default": True} if table == "samples" else {})
            for table in tables
        ],
    }
    model = (config.get("model") or {}).get("name")
    revision = document.get("model_revision")
    facts = {
        "methods": sorted({front.method for front in fronts}),
        "guided rewards, in the order of the weights": rewards["guided"],
        "held-out rewards": rewards.get("held_out") or ["none"],
        "model": [f"{model}" + (f" at {revision}" if revision else "")] if model else ["not known"],
        "fronts": [f"{len(fronts):,}, of {len({front.prompt_id for front in fronts}):,} prompts"],
        "images": [f"{images:,}, one for each of {len(config['weights'])} weightings of a front"],
    }
    lines = [f"- {name}: {', '.join(f'`{_plain(value)}`' for value in values)}" for name, values in facts.items()]
    described = [f"| `{table}` | {_ABOUT[table]} |" for table in tables]
    return "\n".join([
        "---", yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(), "---", "",
        f"# SRSoup run `{_plain(config['name'])}`", "",
        "Fronts of images under several rewards, made by SRSoup (Sample Reward Soups, ICLR 2026). Higher scores are",
        "better for every reward.", "", *lines, "", "| configuration | rows |", "|---|---|", *described, "",
        "    from datasets import load_dataset", "",
        '    samples = load_dataset("OWNER/NAME", "samples", split="train")', "",
        "Rows of all tables join on `key`, those of images also on `weight_index`. `config.yaml` is the complete",
        "configuration. The folder is a run too: `srsoup report FOLDER` writes its report.", "",
        "The licences of the model and of the prompts apply to the images; this card states none.", "",
    ])  # fmt: skip


def _plain(value: object) -> str:
    """Returns a text for a code span of Markdown: on one line, without backticks and signs of tags."""
    return re.sub("[`<>]", "'", " ".join(str(value).split()))
