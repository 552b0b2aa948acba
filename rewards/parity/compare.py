"""Scores the reference images with a reward and, if it is installed, with its authors' package."""

from dataclasses import dataclass

import torch
from PIL import Image

from rewards import registry
from rewards.base import checked_score
from rewards.errors import RewardError
from rewards.parity.peers import PEERS, Peer
from rewards.parity.references import Reference, references


@dataclass(frozen=True)
class Parity:
    """The comparison of one reward.

    Attributes:
        name: the reward.
        images: the reference images.
        ours: its scores of them.
        peer: what it is compared with; None if there is nothing.
        theirs: the scores of the authors' package; None if it is not installed.
    """

    name: str
    images: tuple[Reference, ...]
    ours: tuple[float, ...]
    peer: Peer | None
    theirs: tuple[float, ...] | None

    @property
    def largest(self) -> float | None:
        """The largest difference between the two; None if there is nothing to compare with."""
        if self.theirs is None:
            return None
        return max(abs(one - other) for one, other in zip(self.ours, self.theirs, strict=True))

    @property
    def agrees(self) -> bool:
        """Whether no score differs by more than rounding may explain; true if there is nothing to compare with."""
        return self.peer is None or self.largest is None or self.largest <= self.peer.tolerance


def parity(name: str, device: str) -> Parity:
    """Score the reference images with a reward and with its authors' package.

    Raises:
        UnknownRewardError: there is no reward of this name.
        RewardError: the reward cannot be loaded, does not score an image, or its authors' package fails.
    """
    reward, images = registry.create(name), references()
    reward.setup(device)
    try:
        ours = tuple(
            checked_score(reward, torch.from_numpy(one.pixels.copy())[None], [one.prompt]).item() for one in images
        )
    finally:
        reward.close()
    peer = PEERS.get(name)
    if peer is None or peer.version is None:
        return Parity(name, images, ours, peer, None)
    pictures = [Image.fromarray(one.pixels.transpose(1, 2, 0).copy()) for one in images]
    try:
        theirs = peer.load()(pictures, [one.prompt for one in images])
    # It is other people's code, which may raise anything.
    except Exception as error:
        raise RewardError(
            f"{peer.package} {peer.version} does not score the reference images: {type(error).__name__}: {error}",
            "give it a network, as it downloads its own weights, or uninstall it",
        ) from error
    return Parity(name, images, ours, peer, tuple(theirs))


def lines_of(found: Parity) -> list[str]:
    """Return the comparison as lines for people; the last one is a row of a Markdown table."""
    with_peer = found.peer is not None and found.theirs is not None
    head = f"{'image':13}{'h x w':>11}{'ours':>12}"
    lines = [f"{found.name}: {len(found.images)} reference images", head + (f"{'theirs':>12}{'apart':>10}" * with_peer)]
    for index, (image, ours) in enumerate(zip(found.images, found.ours, strict=True)):
        _, height, width = image.pixels.shape
        line = f"{image.name:13}{f'{height} x {width}':>11}{ours:>12.6f}"
        if found.theirs is not None:
            line += f"{found.theirs[index]:>12.6f}{abs(ours - found.theirs[index]):>10.1e}"
        lines.append(line)
    if found.peer is None:
        lines.append("its authors publish no package to compare with")
    elif found.theirs is None:
        lines.append(f"the authors' package is not installed: pip install {found.peer.package}")
    else:
        within = "within" if found.agrees else "MORE THAN"
        lines.append(f"largest difference {found.largest:.1e}, {within} the {found.peer.tolerance:g} of rounding")
        lines.append(f"| `{found.name}` | {found.peer.package} {found.peer.version} | {found.largest:.1e} |")
    return lines
