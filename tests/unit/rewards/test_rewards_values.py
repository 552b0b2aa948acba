"""Values of the rewards against their equations and against Pillow's files; the registry."""

import io
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rewards import mini_clip, registry
from rewards.base import checked_score
from rewards.colorfulness import Colorfulness
from rewards.errors import RewardError

Pixels = NDArray[np.uint8]


def score(name: str, *pictures: Pixels) -> Tensor:
    """Scores of pictures of shape (h, w, 3), the layout of Pillow and NumPy."""
    images = torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())
    return checked_score(registry.create(name), images, [""] * len(pictures))


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Pixels:
    picture = np.empty((10, 16, 3), np.uint8)
    picture[:, :8], picture[:, 8:] = left, right
    return picture


def photos(n: int = 6) -> list[Pixels]:
    """Pictures from smooth to noisy, all of one size with odd edges."""
    rng = np.random.default_rng(5)
    small = rng.integers(0, 256, (n, 6, 8, 3), np.uint8)
    smooth = [np.asarray(Image.fromarray(one).resize((53, 37), Image.Resampling.BICUBIC)) for one in small]
    noise = [rng.integers(-12 * i, 12 * i + 1, one.shape) for i, one in enumerate(smooth)]
    return [np.clip(one + more, 0, 255).astype(np.uint8) for one, more in zip(smooth, noise, strict=True)]


@pytest.mark.parametrize(("name", "sign"), [("compressibility", -1), ("incompressibility", 1)])
def test_jpeg_sizes_are_those_of_pillows_files(name: str, sign: int) -> None:
    files = [io.BytesIO() for _ in photos()]
    for picture, file in zip(photos(), files, strict=True):
        Image.fromarray(picture).save(file, format="JPEG", quality=95)
    expected = np.array([sign * len(file.getvalue()) / 1000 for file in files], np.float32)
    assert len(set(expected.tolist())) == len(expected)
    assert score(name, *photos()).numpy().tobytes() == expected.tobytes()


def test_noise_compresses_worse_than_a_flat_picture() -> None:
    flat, noise = halves((9, 99, 199), (9, 99, 199)), np.random.default_rng(0).integers(0, 256, (10, 16, 3), np.uint8)
    worse, better = score("compressibility", noise, flat).tolist()
    assert worse < better < 0


def test_colorfulness_follows_its_equation() -> None:
    def by_hand(picture: Pixels) -> float:
        r, g, b = (picture[..., c].astype(np.float64).ravel() for c in range(3))
        rg, yb = r - g, 0.5 * (r + g) - b
        n = rg.size
        mean = np.array([rg.sum() / n, yb.sum() / n])
        variance = np.array([((rg - mean[0]) ** 2).sum() / n, ((yb - mean[1]) ** 2).sum() / n])
        return float(np.sqrt(variance.sum()) + 0.3 * np.sqrt((mean**2).sum()))

    expected = torch.tensor([by_hand(picture) for picture in photos()], dtype=torch.float64)
    torch.testing.assert_close(score("colorfulness", *photos()).double(), expected, rtol=1e-6, atol=0)


RED, BLUE, YELLOW, GREY = (255, 0, 0), (0, 0, 255), (255, 255, 0), (90, 90, 90)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (GREY, GREY, 0.0),
        # All greys are one point of the opponent plane, also black and white.
        ((0, 0, 0), (255, 255, 255), 0.0),
        # One color has no variance; its distance from grey is weighted by 0.3: rg = 255, yb = 127.5.
        (RED, RED, 0.3 * 127.5 * math.sqrt(5)),
        # rg is 255 and 0, yb is 127.5 and -255: std 127.5 and 191.25, mean 127.5 and -63.75.
        (RED, BLUE, 127.5 * (math.sqrt(3.25) + 0.3 * math.sqrt(1.25))),
        # Opposite in yb (255 and -255), equal in rg (0): std 255, mean 0.
        (YELLOW, BLUE, 255.0),
    ],
)
def test_colorfulness_of_two_halves_has_a_closed_form(
    left: tuple[int, int, int], right: tuple[int, int, int], expected: float
) -> None:
    assert score("colorfulness", halves(left, right)).item() == pytest.approx(expected, rel=1e-7)


def test_the_most_colorful_picture_stays_below_the_declared_bound() -> None:
    _, high = registry.create("colorfulness").info.range
    colors = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    scores = score("colorfulness", *(halves(a, b) for a in colors for b in colors))
    assert 255 <= scores.max().item() <= high


def luma_by_hand(picture: Pixels) -> NDArray[np.float64]:
    return picture.astype(np.float64) @ [0.299, 0.587, 0.114]


def test_brightness_is_the_mean_luma() -> None:
    expected = np.array([luma_by_hand(picture).mean() for picture in photos()])
    np.testing.assert_allclose(score("brightness", *photos()).double().numpy(), expected, rtol=1e-6)
    black, white = halves((0, 0, 0), (0, 0, 0)), halves((255, 255, 255), (255, 255, 255))
    assert score("brightness", black, white).tolist() == [0, 255]
    assert score("brightness", halves(RED, BLUE)).item() == pytest.approx(255 * (0.299 + 0.114) / 2, rel=1e-6)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    def by_hand(picture: Pixels) -> float:
        y = luma_by_hand(picture)
        values = []
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                rows, columns = np.clip([i - 1, i + 1], 0, len(y) - 1), np.clip([j - 1, j + 1], 0, y.shape[1] - 1)
                values.append(y[rows[0], j] + y[rows[1], j] + y[i, columns[0]] + y[i, columns[1]] - 4 * y[i, j])
        return float(np.var(values))

    expected = np.array([by_hand(picture) for picture in photos()])
    np.testing.assert_allclose(score("sharpness", *photos()).double().numpy(), expected, rtol=1e-6)


def test_the_sharpness_of_one_edge_has_a_closed_form() -> None:
    """In two of 16 columns the Laplacian is 255 or -255, so its variance is (2/16) 255^2."""
    edge = halves((0, 0, 0), (255, 255, 255))
    assert score("sharpness", edge).item() == pytest.approx(255**2 / 8, rel=1e-6)


def test_blur_lowers_sharpness_and_noise_raises_it() -> None:
    smooth = photos(1)[0]
    blurred = np.asarray(Image.fromarray(smooth).resize((12, 9)).resize((53, 37), Image.Resampling.BILINEAR))
    noisy = photos(6)[5]
    less, plain, more = score("sharpness", blurred, smooth, noisy).tolist()
    assert less < plain < more


def test_the_sharpest_picture_stays_below_the_declared_bound() -> None:
    board = np.indices((16, 16)).sum(0) % 2 * 255
    value = score("sharpness", np.repeat(board[..., None], 3, 2).astype(np.uint8)).item()
    assert 0.8 * 1020**2 < value <= registry.create("sharpness").info.range[1]


@pytest.fixture(scope="module")
def encoder_reward() -> mini_clip.MiniClip:
    made = mini_clip.MiniClip()
    made.setup("cpu")
    return made


def test_mini_clip_is_the_cosine_of_the_encoders_features(encoder_reward: mini_clip.MiniClip) -> None:
    encoder = encoder_reward._encoder
    assert encoder is not None
    images = torch.from_numpy(np.stack(photos()).transpose(0, 3, 1, 2).copy())
    prompts = ["a cheetah", "an owl", "a fish", "an owl", "a cheetah", "a bear"]
    image, text = encoder.encode_images(images).double().numpy(), encoder.encode_texts(prompts).double().numpy()
    lengths = np.linalg.norm(image, axis=1) * np.linalg.norm(text, axis=1)
    expected = np.array([np.dot(a, b) for a, b in zip(image, text, strict=True)]) / lengths
    np.testing.assert_allclose(checked_score(encoder_reward, images, prompts).numpy(), expected, atol=1e-6)


def test_mini_clip_encodes_a_prompt_once_and_keeps_a_bounded_number(
    encoder_reward: mini_clip.MiniClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_reward._encoder
    assert encoder is not None
    encode = encoder.encode_texts
    encoded: list[str] = []

    def counted(texts: Sequence[str]) -> Tensor:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_texts", counted)
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    for _ in range(3):
        checked_score(encoder_reward, image.expand(4, -1, -1, -1), ["a new hat"] * 4)
    assert encoded == ["a new hat"]
    for i in range(mini_clip.KEPT_PROMPTS + 1):
        checked_score(encoder_reward, image, [f"prompt {i}"])
    kept = encoder_reward._text.cache_info()
    assert kept.currsize == kept.maxsize == mini_clip.KEPT_PROMPTS


def test_mini_clip_that_is_not_set_up_says_so() -> None:
    with pytest.raises(RewardError, match=r"call setup\(\) first"):
        checked_score(mini_clip.MiniClip(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), [""])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("colourfulness", "colorfulness"), ("compresibility", "compressibility"), ("CLIP", "mini_clip")],
)
def test_the_error_of_an_unknown_reward_gives_the_nearest_name_and_all(name: str, nearest: str) -> None:
    with pytest.raises(registry.UnknownRewardError) as caught:
        registry.create(name)
    assert f"did you mean {nearest!r}?" in str(caught.value)
    assert all(known in str(caught.value) for known in registry.names())


class FromAPackage(Colorfulness):
    info = replace(Colorfulness.info, name="their_reward")


def test_rewards_of_other_packages_come_after_those_of_srsoup(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("their_reward", f"{__name__}:FromAPackage", registry.ENTRY_POINTS),
        EntryPoint("colorfulness", "nowhere:Impostor", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "_announced", lambda: {point.name: point for point in points})
    assert registry.names() == (*registry.REWARDS, "their_reward")
    assert registry.create("their_reward").info.name == "their_reward"
    assert type(registry.create("colorfulness")).__module__ == "rewards.colorfulness"


def test_names_are_known_without_importing_anything_heavy() -> None:
    heavy = ("torch", "numpy", "PIL", "transformers", "mini", "ray")
    program = (
        f"import sys; from rewards import registry; registry.names(); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
