"""Downloads the artwork as npm packages and renders its icons on white.

This module needs `npm` on PATH and the package resvg_py (extra `mini`). The parts that tests use are in `mini.data`.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from mini.data import Artwork, stack
from mini.names import DROPPED, ICONS, STYLES

RENDER_PX = 128

NOT_ARTWORK = re.compile(
    r"(^|-)flag|keycap|clock|oclock|-(tone|skin)|(^|-)(light|medium|dark)($|-)|\d|button|letter|square|japanese|mahjong"
)
"""Matches the icon names that the general pictures leave out: flags, keycaps, clock faces, and variants of one
drawing."""


def fetch_icons(style: str, folder: Path) -> dict[str, str]:
    """Returns the icons of one artwork set: icon name -> complete SVG text.

    Args:
        folder: the folder of the npm packages; the package of this set is downloaded into it if it is missing.

    Raises:
        subprocess.CalledProcessError: `npm pack` failed, because the registry or the version was not found.
    """
    spec = STYLES[style]
    folder.mkdir(parents=True, exist_ok=True)
    tarball = folder / f"{spec.package.strip('@').replace('/', '-')}-{spec.version}.tgz"
    if not tarball.exists():
        command = ["npm", "pack", "--silent", f"{spec.package}@{spec.version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(tarball) as archive:
        member = archive.extractfile("package/icons.json")
        if member is None:
            raise FileNotFoundError(f"{tarball} has no package/icons.json. Delete the file and run again.")
        document = json.load(member)
    return _svgs(document)


def _svgs(document: dict[str, Any]) -> dict[str, str]:
    """Returns the SVG texts of an Iconify document.

    An icon without a size takes the size of the document, and an alias takes the drawing of its parent.
    """
    icons = dict(document["icons"])
    for alias, entry in document.get("aliases", {}).items():
        if entry["parent"] in document["icons"]:
            icons[alias] = document["icons"][entry["parent"]]
    svgs = {}
    for name, icon in icons.items():
        left, top = icon.get("left", 0), icon.get("top", 0)
        width = icon.get("width", document.get("width", 16))
        height = icon.get("height", document.get("height", 16))
        svgs[name] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
        )
    return svgs


def render(svg: str, px: int = RENDER_PX) -> np.ndarray:
    """Renders an SVG on white, scaled to fit and centred: uint8 (px, px, 3)."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=px, height=px, background="white", skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    if image.size == (px, px):
        return np.asarray(image)
    canvas = Image.new("RGB", (px, px), "white")
    image.thumbnail((px, px))
    canvas.paste(image, ((px - image.width) // 2, (px - image.height) // 2))
    return np.asarray(canvas)


def render_animals(packages: Path) -> Artwork:
    """Renders all artwork of the taught names at `RENDER_PX` pixels, in the order of the names, then of the sets."""
    icons = {style: fetch_icons(style, packages) for style in STYLES}
    images, names, styles = [], [], []
    for name, candidates in ICONS.items():
        for style, svgs in icons.items():
            icon = next((c for c in candidates if c in svgs), None)
            if icon is None or (style, name) in DROPPED:
                continue
            images.append(render(svgs[icon]))
            names.append(name)
            styles.append(style)
    return Artwork(stack(images), tuple(names), tuple(styles))


def render_all(packages: Path, minimum_sets: int = 4) -> Artwork:
    """Renders every icon whose name occurs in at least `minimum_sets` sets, at `RENDER_PX` pixels.

    Icon names that match `NOT_ARTWORK` are left out.
    """
    icons = {style: fetch_icons(style, packages) for style in STYLES}
    shared = Counter(name for svgs in icons.values() for name in svgs)
    kept = sorted(n for n, sets in shared.items() if sets >= minimum_sets and not NOT_ARTWORK.search(n))
    images, names, styles = [], [], []
    for name in kept:
        for style, svgs in icons.items():
            if name in svgs:
                images.append(render(svgs[name]))
                names.append(name)
                styles.append(style)
    return Artwork(stack(images), tuple(names), tuple(styles))
