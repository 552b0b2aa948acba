"""The volumes of the arms against what they cost, as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from benchmarks.front.arms import REFERENCE
from benchmarks.front.fronts import Fronts, compared

# The arms that make a curve: the same method with more and more queries.
CURVES = {
    "weighted sum": ("ws2", "ws4", "ws8", "ws16"),
    "SRSoup": ("soup25", "soup"),
    "surrogate": ("single", "three", "best"),
    "surrogate, gentle": ("gentle",),
    "control variate": ("cv2",),
    "unguided, best of 36": ("of36",),
    "best candidate": ("candidate",),
    "Demon, tanh": ("tanh",),
    "Demon, Boltzmann": ("boltzmann",),
    "FK steering": ("fk",),
}
MARKERS = "osD^vPX*d<"


def draw(fronts: Fronts, arms: Sequence[str], file: Path) -> None:
    """Draw the ratios of volumes to the reference against queries, for both reference points, in one picture."""
    found, _ = compared(fronts, arms)
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, layout="constrained")
    for axes, column, title in zip(panels, ("middle", "below"), ("from the middle", "from below all"), strict=True):
        base = found[REFERENCE][column].mean()
        for (label, slugs), marker in zip(CURVES.items(), MARKERS, strict=True):
            points = [(found[s].queries.mean(), found[s][column].mean() / base) for s in slugs if s in found]
            if points:
                axes.plot(*zip(*points, strict=True), marker=marker, label=label, linewidth=1.2)
        axes.axhline(1, color="0.7", linewidth=0.8, zorder=0)
        axes.set_xscale("symlog", linthresh=30)
        axes.set_ylim(bottom=0)
        axes.set(title=f"Hypervolume {title}", xlabel="queries for a front of six images")
    panels[0].set_ylabel("ratio to the weighted sum, N = 16")
    panels[1].legend(fontsize=8, frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)
