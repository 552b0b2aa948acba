"""Writes a run in the layout of another program: what `srsoup export` does."""

from collections.abc import Callable, Mapping
from pathlib import Path

from evaluation.errors import ReportError
from evaluation.exports.hugging_face import export_hugging_face, upload
from evaluation.exports.png_folders import export_png
from evaluation.exports.released_layout import export_released
from evaluation.run import Run
from pipeline.records import Location

LAYOUTS: Mapping[str, Callable[[Run, Path], int]] = {
    "png": export_png, "hf": export_hugging_face, "released": export_released,
}  # fmt: skip
HUB = "hub:"


def export_run(run: Location, to: str, layout: str | None = None) -> str:
    """Writes the finished fronts of a run, and returns a line that says what was written.

    Args:
        to: a folder, or `hub:OWNER/NAME` for a data set of the Hugging Face hub.
        layout: a key of `LAYOUTS`; by default "png", and "hf" for the hub.

    Raises:
        ReportError: the layout is not known or not one for the hub, nothing is finished, the run cannot be read, the
            folder has files already or cannot be written, or the hub refuses.
    """
    hub = to.startswith(HUB)
    name = layout or ("hf" if hub else "png")
    if name not in LAYOUTS or (hub and name != "hf"):
        allowed = "hf" if hub else ", ".join(LAYOUTS)
        raise ReportError(f"{name!r} is not a layout for {to}; allowed: {allowed}; fix: give --as one of them")
    try:
        opened = Run.open(run)
        if hub:
            return f"uploaded to {upload(opened, to.removeprefix(HUB))}"
        return f"{LAYOUTS[name](opened, Path(to)):,} images in {to}"
    except (OSError, ValueError) as error:
        raise ReportError(f"{run}: the run cannot be exported: {error}") from error
