"""The names, the methods and the rewards of the comparison of fronts."""

from collections.abc import Mapping
from dataclasses import dataclass

# The names that are left of the 46, the paper's first: without those in configs/surrogate_mini.yaml, and without the
# horse, on which `keep: spread` was chosen.
NAMES = (
    "snail", "hippopotamus", "cheetah", "crocodile", "lobster", "octopus", "monkey", "frog", "cow", "spider",
    "butterfly", "shark", "crab", "camel", "tiger", "caterpillar", "peacock", "giraffe", "dolphin", "pig",
    "owl", "rabbit", "rooster", "fox", "bee", "panda", "mouse",
)  # fmt: skip
REFERENCE = "ws16"


@dataclass(frozen=True)
class Arm:
    """One method at one budget: its title, its configuration, and the values that differ from it."""

    title: str
    config: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """The rewards of a comparison: what guides, and from where volumes are counted.

    Attributes:
        title: the rewards, for the head of a table.
        middle: the guided rewards, and a point that half of the images without guidance, or of the artwork, exceed.
        below: a point below all images, which was fixed before the fronts were made.
        held_out: a reward that only reads the final images.
        overrides: the values that differ from the configurations of the arms.
        surrogate: the name of the trained surrogate of the embedded model.
    """

    title: str
    middle: Mapping[str, float]
    below: Mapping[str, float]
    held_out: str
    overrides: tuple[str, ...] = ()
    surrogate: str = "colorfulness_compressibility"

    @property
    def rewards(self) -> tuple[str, ...]:
        """The guided rewards, in the order of the weights."""
        return tuple(self.middle)

    def of(self, arm: Arm) -> tuple[str, ...]:
        """Return the values that differ from the configuration of an arm."""
        corner = ", ".join(f"{name}: {value}" for name, value in self.middle.items())
        file = (f"surrogate.file={self.surrogate}",) if arm.config == "best_mini" else ()
        return (
            f"rewards.guided=[{', '.join(self.rewards)}]", f"rewards.held_out=[{self.held_out}]",
            f"report.reference_point={{{corner}}}", *file, *self.overrides, *arm.overrides,
        )  # fmt: skip


_LOWEST = {"colorfulness": -10.0, "compressibility": -3.8, "mini_clip": -0.5, "sharpness": 0.0, "brightness": 0.0}


def _five(middle: Mapping[str, float], held_out: str, *overrides: str) -> Setting:
    """A setting whose surrogate is that of five rewards, and whose middle is the median of unguided samples.

    The samples are six of each name in configs/surrogate_mini.yaml.
    """
    below = {name: _LOWEST[name] for name in middle}
    return Setting(", ".join(middle), middle, below, held_out, overrides, "five_rewards")


SETTINGS: Mapping[str, Setting] = {
    # The middle is the median of the real artwork.
    "colour_size": Setting(
        "colorfulness, compressibility", {"colorfulness": 69.0, "compressibility": -2.8},
        {name: _LOWEST[name] for name in ("colorfulness", "compressibility")}, "mini_clip",
    ),
    "prompt_size": _five({"mini_clip": 0.66, "compressibility": -2.68}, "colorfulness"),
    "sharp_bright": _five({"sharpness": 854.0, "brightness": 213.0}, "mini_clip"),
    "three": _five(
        {"colorfulness": 88.0, "compressibility": -2.68, "mini_clip": 0.66}, "brightness", "weights={grid: 4}"
    ),
}  # fmt: skip
"""The comparisons, by the names of their folders."""


_ONE = ("surrogate.fronts=1", "surrogate.keep=weighted")
ARMS: Mapping[str, Arm] = {
    "alone": Arm("model alone, six seeds", "weighted_sum_mini", ("method=unguided",)),
    "ws2": Arm("weighted sum, N = 2", "weighted_sum_mini", ("queries=2",)),
    "ws4": Arm("weighted sum, N = 4", "weighted_sum_mini", ("queries=4",)),
    "ws8": Arm("weighted sum, N = 8", "weighted_sum_mini", ("queries=8",)),
    "ws16": Arm("weighted sum, N = 16", "weighted_sum_mini"),
    "soup": Arm("SRSoup, K = 10, N = 16", "weighted_sum_mini", ("method=srsoup", "soup.steps=10")),
    "soup25": Arm("SRSoup, K = 25, N = 16", "weighted_sum_mini", ("method=srsoup", "soup.steps=25")),
    "cv2": Arm(
        "surrogate as control variate, N = 2, one front",
        "best_mini",
        ("surrogate.queries=2", "surrogate.unbiased=true", "surrogate.strength=1", *_ONE),
    ),
    "weak": Arm(
        "surrogate alone, strength 0.1, one front", "best_mini", ("surrogate.strength=0.1", *_ONE)
    ),
    "single": Arm("surrogate alone, strength 0.25, one front", "best_mini", _ONE),
    "three": Arm("surrogate alone, strength 0.25, three fronts, `keep: spread`", "best_mini", ("surrogate.fronts=3",)),
    "weighted": Arm(
        "surrogate alone, strength 0.25, six fronts, `keep: weighted`", "best_mini", ("surrogate.keep=weighted",)
    ),
    "best": Arm("`configs/best_mini.yaml`: surrogate alone, strength 0.25, six fronts, `keep: spread`", "best_mini"),
    "gentle": Arm(
        "surrogate alone, strength 0.1, six fronts, `keep: spread`", "best_mini", ("surrogate.strength=0.1",)
    ),
    "candidate": Arm("best candidate, N = 16", "weighted_sum_mini", ("method=best_candidate",)),
    "tanh": Arm("Demon, tanh, N = 16", "weighted_sum_mini", ("method=demon",)),
    "boltzmann": Arm(
        "Demon, Boltzmann, N = 16", "weighted_sum_mini", ("method=demon", "guidance.demon=boltzmann")
    ),
    "single_pass": Arm(
        "weighted sum, N = 16, `lookahead.guidance: off`", "weighted_sum_mini", ("lookahead.guidance=off",)
    ),
    "half": Arm("weighted sum, N = 16, `lookahead.downscale: 2`", "weighted_sum_mini", ("lookahead.downscale=2",)),
    "cheap": Arm(
        "weighted sum, N = 16, both of `lookahead`",
        "weighted_sum_mini",
        ("lookahead.guidance=off", "lookahead.downscale=2"),
    ),
    "best_single_pass": Arm(
        "`configs/best_mini.yaml`, `lookahead.guidance: off`", "best_mini", ("lookahead.guidance=off",)
    ),
    "fk": Arm("FK steering, N = 16 particles", "weighted_sum_mini", ("method=fk_steering",)),
    "fk_cold": Arm(
        "FK steering, N = 16 particles, tau = 0.2",
        "weighted_sum_mini",
        ("method=fk_steering", "guidance.temperature=0.2"),
    ),
    "evolution": Arm(
        "evolution, 102 samples in three generations, `keep: spread`",
        "weighted_sum_mini",
        ("method=best_of", "best_of.samples=102", "best_of.keep=spread", "best_of.generations=3"),
    ),
    "of36": Arm(
        "best of 36 unguided samples, `keep: spread`",
        "weighted_sum_mini",
        ("method=best_of", "best_of.samples=36", "best_of.keep=spread"),
    ),
}  # fmt: skip
