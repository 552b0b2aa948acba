"""Writes the page: one HTML file that holds all it shows and runs without a network.

Prompts and the names of runs and rewards are text of strangers. The template escapes them, the explorer's data cannot
end its element, and the page's script puts them into text nodes only. The page's policy allows that script alone and no
connection.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import jinja2
from markupsafe import Markup

from evaluation.page.explorer import explorer, json_for_page
from evaluation.page.finding import finding, title_of
from evaluation.page.pictures import Front, PictureStore
from evaluation.page.sections import Shown, sections
from evaluation.page.text import format_mean_and_std, format_number, listed, plural
from evaluation.reading.comparison import Comparison

HERE = Path(__file__).parent
# In the order in which they use each other.
SCRIPTS = ("model", "pictures", "plot", "weights", "rows", "viewer", "controls")


def write_page(
    comparison: Comparison,
    shown: Shown,
    pictures: PictureStore,
    title: str | None,
    file: IO[bytes],
) -> None:
    """Writes the page of a comparison; the images go from the store to the file front by front.

    Args:
        pictures: has the images of every front of the comparison.
        title: the heading of the page; by default it names the guided rewards.
    """
    full = pictures.full
    explored = explorer(comparison, shown.volumes, shown.plots.colours, pictures.side, full)
    script = _script()
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title or title_of(comparison),
            runs=listed([run.name for run in comparison.runs], 4),
            finding=finding(comparison, shown.volumes),
            policy=_policy(script, full),
            script=Markup(script),
            data=Markup(json_for_page(explored.data)),
            side=pictures.side,
            full=full,
            **sections(comparison, shown),
        )
    )
    before, end, after = page.rpartition("</body>")
    file.write(before.encode("utf-8", "replace"))
    for number, fronts in enumerate(explored.fronts):
        _write_pictures(file, number, fronts, pictures)
    file.write((end + after).encode("utf-8"))


def _write_pictures(file: IO[bytes], number: int, fronts: Sequence[Front | None], pictures: PictureStore) -> None:
    """Writes the images of one prompt: those of each label in base64, with | between labels."""
    texts = [b"" if front is None else pictures.text(front) for front in fronts]
    file.write(b'<script type="text/plain" id="i%d">%s</script>\n' % (number, b"|".join(texts)))


def _script() -> str:
    parts = [(HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return "\n".join(["(() => {", '"use strict";', *parts, "})();"])


def _policy(script: str, full: bool) -> str:
    """Returns the page's Content-Security-Policy: its own script, images of its own, and no connection."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images = "data: blob: 'self' file:" if full else "data: blob:"
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src {images}; "
        "base-uri 'none'; form-action 'none'"
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    names: dict[str, Any] = {"mean_and_std": format_mean_and_std, "plural": plural}
    environment.globals.update(names)
    return environment
