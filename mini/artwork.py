"""Artwork from the registries: download of the npm packages and rendering of their icons on white.

Needs `npm` on PATH and resvg_py (extra `mini`); what the tests need of the pictures is in `mini.data`.
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
"""Icon names left out of the general pictures: flags, keycaps, clock faces and other copies of one
drawing."""


def fetch_icons(style: str, folder: Path) -> dict[str, str]:
    """Icon name -> complete SVG text of one artwork set; downloads the pinned npm package unless it is there.

    Raises:
        subprocess.CalledProcessError: `npm pack` failed (no registry, no such version).
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
            raise FileNotFoundError(f"{tarball} holds no package/icons.json")
        document = json.load(member)
    return _svgs(document)


def _svgs(document: dict[str, Any]) -> dict[str, str]:
    """The SVG texts of an Iconify document: sizes fall back on the document's, aliases on their parent."""
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
    """An SVG on white, scaled to fit and centred: uint8 (px, px, 3)."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=px, height=px, background="white", skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    if image.size == (px, px):
        return np.asarray(image)
    canvas = Image.new("RGB", (px, px), "white")
    image.thumbnail((px, px))
    canvas.paste(image, ((px - image.width) // 2, (px - image.height) // 2))
    return np.asarray(canvas)


def render_animals(packages: Path) -> Artwork:
    """All artwork of the taught names at `RENDER_PX`, ordered by name, then style."""
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
    """All pictures whose icon name at least `minimum_sets` sets share, flags and the like left out, at
    `RENDER_PX`."""
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
