"""The image files that people hold, in `srsoup score`: converted where that is exact, and otherwise refused clearly."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

from configs.errors import RequestError
from pipeline.library import image_files
from pipeline.library.image_files import read_image
from srsoup import _app

app = _app()

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(2)
COLOURS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
DEEP = np.array([[0, 1, 128, 129, 255, 256, 257], [32767, 32768, 65279, 65280, 65406, 65407, 65535]], np.uint16)


def pixels(path: Path) -> np.ndarray:
    """What is read of a file, as (height, width, 3)."""
    found = read_image(path)
    assert found.pixels.dtype.is_floating_point is False and found.pixels.shape[:2] == (1, 3)
    return found.pixels[0].permute(1, 2, 0).numpy()


def saved(path: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def refused(path: Path, words: str) -> None:
    """The library raises one RequestError, and the command prints it, scores nothing, and ends with status 2."""
    with pytest.raises(RequestError, match=words) as caught:
        read_image(path)
    assert caught.value.key == "IMAGE" and caught.value.fix
    shown = CliRunner().invoke(app, ["score", str(path), "--rewards", "colorfulness"])
    assert shown.exit_code == 2 and shown.output.count("fix:") == 1, shown.output


def png(width: int, height: int, depth: int, kind: int, raw: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file by its specification: rows `raw` without filters, and other chunks before them."""
    size = len(raw) // height
    rows = b"".join(b"\0" + raw[i * size : (i + 1) * size] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_8_bit_rgb_and_grey_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    lossless = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", COLOURS, **lossless)
    assert (pixels(path) == COLOURS).all() and read_image(path).notes == ()
    if suffix != "webp":
        assert (pixels(saved(tmp_path / f"grey.{suffix}", GREY)) == GREY[:, :, None]).all()


def test_one_bit_and_palettes_are_read_as_they_are(tmp_path: Path) -> None:
    bits = GREY > 127
    for suffix in ("png", "gif", "bmp"):
        assert (pixels(saved(tmp_path / f"bits.{suffix}", Image.fromarray(bits))) == 255 * bits[:, :, None]).all()
        palette = Image.fromarray(COLOURS).quantize(16)
        expected = np.array(palette.getpalette()).reshape(-1, 3)[np.asarray(palette)]
        assert (pixels(saved(tmp_path / f"palette.{suffix}", palette)) == expected).all()


@pytest.mark.parametrize(("depth", "factor"), [(1, 255), (2, 85), (4, 17)])
def test_grey_of_few_bits_fills_the_whole_scale(tmp_path: Path, depth: int, factor: int) -> None:
    values = [0, 1, 1, 0, 1, 0, 0, 1] if depth == 1 else [0, 1, 2, 3] * 2
    packed = np.packbits([int(bit) for value in values for bit in f"{value:0{depth}b}"]).tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 1, depth, 0, packed))
    assert pixels(path)[0, :, 0].tolist() == [factor * value for value in values]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_is_brought_to_8_bits_by_the_rule_of_png(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"deep.{suffix}", DEEP)
    expected = np.floor(DEEP * 255.0 / 65535 + 0.5)
    assert (pixels(path) == expected[:, :, None]).all() and expected[0].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert read_image(path).notes == ("16-bit grey is brought to 8 bits, v * 255 / 65535 rounded",)
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    exact = [(2 * 255 * v + 65535) // (2 * 65535) for v in range(65536)]
    assert pixels(saved(tmp_path / f"every.{suffix}", every))[:, :, 1].ravel().tolist() == exact


def test_a_16_bit_grey_scores_like_its_8_bit_twin(tmp_path: Path) -> None:
    deep = saved(tmp_path / "deep.png", (GREY.astype(np.uint16) * 257))
    twin = saved(tmp_path / "twin.png", GREY)
    runner = CliRunner()
    shown = runner.invoke(app, ["score", str(deep), str(twin), "--rewards", "brightness,sharpness"])
    assert shown.exit_code == 0, shown.output
    rows = [line.split("\t")[1:] for line in shown.stdout.splitlines()[1:]]
    assert rows[0] == rows[1] and f"note: {deep}: 16-bit grey" in shown.stderr and str(twin) not in shown.stderr


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_orientation_says(tmp_path: Path, orientation: int) -> None:
    """Each orientation says which edge of the picture the stored rows and columns begin at (EXIF 2.3, tag 274)."""
    turn: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: a[::-1].transpose(1, 0, 2),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: a[:, ::-1].transpose(1, 0, 2),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix, options in (("png", {}), ("webp", {"lossless": True}), ("tiff", {})):
        path = saved(tmp_path / f"a.{suffix}", COLOURS, exif=exif, **options)
        assert (pixels(path) == turn[orientation](COLOURS)).all(), suffix
        assert (read_image(path).notes != ()) is (orientation > 1)
    blocks = np.kron(COLOURS[:2, :3], np.ones((16, 16, 1), np.uint8))
    path = saved(tmp_path / "a.jpg", blocks, exif=exif, quality=100, subsampling=0)
    assert np.abs(pixels(path).astype(int) - turn[orientation](blocks)).max() < 8
    eight = (DEEP.astype(int)[:, :, None] + 128) // 257
    assert (pixels(saved(tmp_path / "deep.png", DEEP, exif=exif)) == turn[orientation](eight)).all()


def test_an_opaque_alpha_channel_is_left_out(tmp_path: Path) -> None:
    opaque = np.dstack([COLOURS, np.full((5, 7), 255, np.uint8)])
    for suffix in ("png", "tiff", "webp"):
        options = {"lossless": True} if suffix == "webp" else {}
        path = saved(tmp_path / f"a.{suffix}", opaque, **options)
        assert (pixels(path) == COLOURS).all()
    assert read_image(tmp_path / "a.png").notes == ("the alpha channel is left out: it is opaque everywhere",)
    grey = saved(tmp_path / "grey.png", Image.fromarray(GREY).convert("LA"))
    assert (pixels(grey) == GREY[:, :, None]).all()
    assert pixels(ROOT / "docs" / "front.png").shape[2] == 3


def test_a_colour_key_that_no_pixel_has_is_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.full((3, 3), 7, np.uint8), transparency=8)
    assert (pixels(path) == 7).all()
    refused(saved(tmp_path / "b.png", np.full((3, 3), 7, np.uint8), transparency=7), "alpha channel")
    deep = tmp_path / "deep.png"
    deep.write_bytes(png(2, 1, 16, 0, struct.pack(">HH", 5, 6), (b"tRNS", struct.pack(">H", 7))))
    assert (pixels(deep) == 0).all()
    deep.write_bytes(png(2, 1, 16, 0, struct.pack(">HH", 5, 7), (b"tRNS", struct.pack(">H", 7))))
    refused(deep, "alpha channel")


def test_transparency_is_refused(tmp_path: Path) -> None:
    layers = np.dstack([COLOURS, np.full((5, 7), 255, np.uint8)])
    layers[2, 3, 3] = 254
    refused(saved(tmp_path / "rgba.png", layers), "not all of it is opaque")
    refused(saved(tmp_path / "la.png", Image.fromarray(layers).convert("LA")), "not all of it is opaque")
    refused(saved(tmp_path / "rgba.webp", layers, lossless=True), "not all of it is opaque")
    palette = Image.fromarray(COLOURS).quantize(16)
    for suffix in ("png", "gif"):
        clear = int(np.asarray(palette)[0, 0])
        refused(saved(tmp_path / f"p.{suffix}", palette, transparency=clear), "not all of it is opaque")
    refused(
        saved(tmp_path / "key.png", COLOURS, transparency=tuple(map(int, COLOURS[0, 0]))), "not all of it is opaque"
    )


def test_kinds_without_an_exact_rgb_are_refused(tmp_path: Path) -> None:
    colours = Image.fromarray(COLOURS)
    refused(saved(tmp_path / "cmyk.jpg", colours.convert("CMYK")), "is CMYK")
    refused(saved(tmp_path / "cmyk.tiff", colours.convert("CMYK")), "is CMYK")
    refused(saved(tmp_path / "f.tiff", GREY.astype(np.float32)), "of floats")
    refused(saved(tmp_path / "i.tiff", GREY.astype(np.int32)), "of 32-bit integers")
    srgb, to = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(colours, srgb, to, outputMode="LAB")
    assert lab
    refused(saved(tmp_path / "lab.tiff", lab), "is Lab")


def test_16_bit_colours_are_refused_for_pillow_would_cut_them(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (2, 3, 4)).astype(">u2")
    for kind, channels in ((2, 3), (4, 2), (6, 4)):
        path = tmp_path / f"{kind}.png"
        path.write_bytes(png(3, 2, 16, kind, deep[:, :, :channels].tobytes()))
        refused(path, "more than 8 bits a channel")
    (tmp_path / "a.ppm").write_bytes(b"P6 3 2 65535\n" + deep[:, :, :3].tobytes())
    refused(tmp_path / "a.ppm", "more than 8 bits a channel")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 2 65535\n" + deep[:, :, 0].tobytes())
    refused(tmp_path / "a.pgm", "of 32-bit integers")
    (tmp_path / "plain.ppm").write_text("P3 1 1 255 1 2 3\n")
    assert pixels(tmp_path / "plain.ppm").tolist() == [[[1, 2, 3]]]
    (tmp_path / "plain.ppm").write_text("P3 1 1 1023 1 2 3\n")
    refused(tmp_path / "plain.ppm", "more than 8 bits a channel")
    (tmp_path / "a.tiff").write_bytes(tiff_of_16_bits(deep[:, :, :3].astype("<u2").tobytes()))
    refused(tmp_path / "a.tiff", "more than 8 bits a channel")


def tiff_of_16_bits(raw: bytes) -> bytes:
    """A TIFF file of 3 x 2 pixels with 16 bits for each of three colours, by its specification."""
    entries = [(256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 256),
               (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, len(raw)), (284, 3, 1, 1)]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0)
    return (head.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16)).ljust(256, b"\0") + raw


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_a_file_with_several_images_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    refused(saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:]), "more than one image")


def test_the_first_image_of_a_phones_file_is_taken(tmp_path: Path) -> None:
    blocks = np.kron(COLOURS[:2, :2], np.ones((16, 16, 1), np.uint8))
    frames = [Image.fromarray(blocks), Image.fromarray(255 - blocks)]
    path = saved(tmp_path / "a.mpo", frames[0], save_all=True, append_images=frames[1:], quality=100, subsampling=0)
    assert np.abs(pixels(path).astype(int) - blocks).max() < 8
    assert read_image(path).notes == ("the first of the file's images is taken",)


def test_another_colour_profile_than_srgb_is_noted(tmp_path: Path) -> None:
    profiles = {name: ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("sRGB", "LAB")}
    assert read_image(saved(tmp_path / "a.png", COLOURS, icc_profile=profiles["sRGB"])).notes == ()
    (note,) = read_image(saved(tmp_path / "b.png", COLOURS, icc_profile=profiles["LAB"])).notes
    assert "colour profile is not applied" in note


def test_a_file_that_is_too_large_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One colour at 14,000 x 14,000 is a small file; at 50,000 x 50,000 Pillow itself would refuse it."""
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it is decoded"))
    for side in (8_193, 14_000, 50_000, 2**31 - 1):
        path = tmp_path / f"{side}.png"
        path.write_bytes(bomb(side))
        refused(path, "more than 67,108,864 pixels")
    monkeypatch.setattr(image_files, "MOST_BYTES", 40)
    refused(path, "at most 40 are read")


def bomb(side: int) -> bytes:
    """A PNG file whose header promises side x side pixels."""
    whole = png(1, 1, 8, 2, b"\0\0\0")
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return whole[:8] + chunk + whole[8 + 25 :]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "webp", "gif", "bmp", "tiff"):
        whole = io.BytesIO()
        large = RNG.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(large).save(whole, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
        path = tmp_path / f"a.{suffix}"
        for length in (0, 3, 30, len(whole.getvalue()) // 2):
            path.write_bytes(whole.getvalue()[:length])
            refused(path, "cannot be read")
    for name, content in {
        "text.png": b"hello",
        "page.jpg": b"<html></html>",
        "lfs.png": b"version https://git-lfs",
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "cannot be read")


def test_flipped_bytes_end_in_an_image_or_in_a_clear_refusal(tmp_path: Path) -> None:
    for suffix in ("png", "jpg", "webp", "gif", "bmp", "tiff"):
        path = saved(tmp_path / f"a.{suffix}", COLOURS)
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for place in RNG.integers(0, len(whole), 3):
                damaged[place] = RNG.integers(0, 256)
            path.write_bytes(damaged)
            try:
                read_image(path)
            except RequestError as error:
                assert error.fix


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, words in (("pipe.png", "not a regular file"), ("zero.png", "not a regular file"),
                        ("folder.png", "Is a directory"), ("none.png", "No such file")):  # fmt: skip
        refused(tmp_path / name, words)


def test_a_format_that_runs_a_program_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands an EPS file to Ghostscript."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program is run"))
    saved(tmp_path / "a.eps", COLOURS)
    refused(tmp_path / "a.eps", "cannot be read")


def test_nothing_is_scored_if_one_file_is_wrong(tmp_path: Path) -> None:
    good, bad = saved(tmp_path / "a.png", COLOURS), tmp_path / "b.png"
    bad.write_bytes(b"no image")
    shown = CliRunner().invoke(app, ["score", str(good), str(bad), "--rewards", "colorfulness"])
    assert shown.exit_code == 2 and "image\t" not in shown.output and str(good) not in shown.output
