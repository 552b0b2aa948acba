"""What the explorer is given: every prompt, its scores and images, and the weighting at each place of a slider."""

import base64
import html
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.errors import ReportError
from evaluation.measures.hypervolume import hypervolume_table, reference_point, reference_warnings
from evaluation.page import pictures
from evaluation.page.pictures import (
    LARGEST,
    MOST_PIXELS,
    SMALLEST,
    PictureStore,
    as_webp,
    display_side,
    front_of,
)
from evaluation.page.text import format_number
from evaluation.reading.comparison import load_runs
from evaluation.reading.images import FrontImages, read_images
from evaluation.report import write_report
from evaluation.statistics.bootstrap import mean_interval
from pipeline.records import read_table
from pipeline.storage.compact import compact

Write = Callable[..., Path]
NASTY = "</script><img src=x onerror=alert(1)> & \u2028 \\ ☃"


def data_of(page: Path) -> dict[str, Any]:
    """Returns the data that the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def pictures_of(page: Path, prompt: int) -> list[list[bytes]]:
    """Returns the images that the page holds of a prompt, by label."""
    found = re.search(rf'<script type="text/plain" id="i{prompt}">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    return [[base64.b64decode(word) for word in label.split()] for label in found[1].split("|")]


def coloured(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


def test_the_page_has_every_prompt_with_its_scores_and_images(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=[*(f"prompt {i}" for i in range(30)), NASTY], weights=3)
    page = write_report([run], run / "report")
    data = data_of(page)
    samples = read_table(run, "samples").to_pylist()
    scores = read_table(run, "scores").to_pandas().set_index(["key", "weight_index", "reward"])["value"]
    assert sorted(prompt["text"] for prompt in data["prompts"]) == sorted({row["prompt"] for row in samples})
    rewards = data["guided"] + data["heldOut"]
    for number, prompt in enumerate(data["prompts"]):
        own = [row for row in samples if row["prompt"] == prompt["text"]]
        for label, front, shown in zip(data["labels"], prompt["fronts"], pictures_of(page, number), strict=True):
            rows = sorted((row for row in own if row["method"] == label["name"]), key=lambda row: row["weight_index"])
            assert front["seeds"] == [str(row["seed"]) for row in rows]
            for row, values, picture in zip(rows, front["values"], shown, strict=True):
                expected = [scores[row["key"], row["weight_index"], reward] for reward in rewards]
                np.testing.assert_allclose(values, expected, rtol=1e-5)
                # 64 pixels are kept without loss.
                saved = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
                np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")), saved)


def test_no_prompt_reward_or_run_can_end_its_element(synthetic_run: Write) -> None:
    run = synthetic_run("demo", prompts=[NASTY], guided=[NASTY, "b"], held_out=["<b>held</b>"], weights=2)
    record = run / "config.yaml"
    record.write_text(record.read_text().replace("name: demo", "name: <img src=x onerror=alert(2)>"))
    page = write_report([run], run / "report", title="<script>alert(3)</script>")
    text = page.read_text(encoding="utf-8")
    assert data_of(page)["prompts"][0]["text"] == NASTY and data_of(page)["guided"][0] == NASTY
    assert len(re.findall(r"<script\b", text)) == 3
    assert "<img src=x" not in text and "<b>held" not in text


def test_the_script_may_run_and_nothing_else_and_no_address_may_be_asked(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], weights=2)
    text = write_report([run], run / "report").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy and "default-src &#39;none&#39;" in policy[1] and "connect-src" not in policy[1]
    assert "img-src data: blob:;" in policy[1] and "http" not in policy[1]


def test_a_slider_of_runs_with_different_weights_takes_all_and_shows_the_nearest(synthetic_run: Write) -> None:
    runs = [synthetic_run("six", prompts=["a"], weights=6), synthetic_run("three", prompts=["a"], weights=3)]
    data = data_of(write_report(runs, runs[0] / "report"))
    assert [row[0] for row in data["positions"]] == pytest.approx([0, 0.2, 0.4, 0.5, 0.6, 0.8, 1])
    six, alone, three = (next(n for n in data["labels"] if n["name"] == name) for name in (
        "six · srsoup", "six · unguided", "three · srsoup"))  # fmt: skip
    assert six["at"] == [0, 1, 2, 2, 3, 4, 5] or six["at"] == [0, 1, 2, 3, 3, 4, 5]
    assert three["at"] == [0, 0, 1, 1, 1, 2, 2] and alone["at"][0] == 0 and alone["at"][-1] == 5


def test_equal_weights_are_places_of_their_own(synthetic_run: Write) -> None:
    data = data_of(write_report([run := synthetic_run(prompts=["a"], guided=["only"], weights=4)], run / "report"))
    assert len(data["positions"]) == 4 and data["labels"][0]["at"] == [0, 1, 2, 3]


def test_a_held_out_reward_of_one_run_only_is_null_in_the_other(synthetic_run: Write) -> None:
    runs = [synthetic_run("one", prompts=["a"], held_out=["x"]), synthetic_run("two", prompts=["a"], held_out=["y"])]
    data = data_of(write_report(runs, runs[0] / "report"))
    assert data["heldOut"] == ["x", "y"]
    one = data["prompts"][0]["fronts"][0]["values"][0]
    assert one[2] is not None and one[3] is None


@pytest.mark.parametrize("images", [1, 288, 12_000, 120_000, 10_000_000])
def test_no_page_has_more_pixels_than_a_browser_can_take(images: int) -> None:
    side = display_side(images)
    assert SMALLEST <= side <= LARGEST
    assert images * side**2 <= MOST_PIXELS or side == SMALLEST
    assert display_side(12_000) == 256


def test_large_images_are_shrunk_and_small_ones_keep_every_pixel() -> None:
    large = Image.open(io.BytesIO(as_webp(coloured(640), 320)))
    assert large.format == "WEBP" and large.size == (320, 320)
    small = coloured(64)
    shown = Image.open(io.BytesIO(as_webp(small, 320))).convert("RGB")
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(small)).convert("RGB")))
    with pytest.raises(ReportError, match=r"cannot be read.*srsoup verify"):
        as_webp(b"GIF89a", 320)


def test_images_are_read_from_parts_and_merged_parts_front_by_front(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a", "b", "c"], weights=2)
    keys = {row["key"] for row in read_table(run, "costs").to_pylist()}
    single = {front.key: front.images for front in read_images(run, keys)}
    assert compact(run) > 0
    assert {front.key: front.images for front in read_images(run, keys)} == single
    assert {front.key for front in read_images(run, {"p000-srsoup"})} == {"p000-srsoup"}
    with pytest.raises(ReportError, match="images of p999 are gone"):
        list(read_images(run, {"p999"}))


def test_the_saved_images_lie_beside_the_page_if_they_are_asked_for(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], weights=2)
    assert not (write_report([run], run / "report").parent / "images").exists()
    page = write_report([run], run / "report", full=True)
    data = data_of(page)
    saved = {row["image"]["bytes"] for row in read_table(run, "samples").to_pylist()}
    names = {f"{front['name']}-{i}.png" for front in data["prompts"][0]["fronts"] for i in range(2)}
    assert {path.name for path in (page.parent / "images").iterdir()} == names
    assert {path.read_bytes() for path in (page.parent / "images").iterdir()} == saved


def test_nothing_but_the_report_is_left_in_its_folder(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], weights=2)
    page = write_report([run], run / "report")
    assert not [path for path in page.parent.iterdir() if path.name.startswith(".")]


def test_the_folder_of_a_sweep_is_all_of_its_runs(synthetic_run: Write, tmp_path: Path) -> None:
    runs = [synthetic_run("steps-0", prompts=["a"]), synthetic_run("steps-10", prompts=["a"])]
    data = data_of(write_report([tmp_path], tmp_path / "out"))
    assert data == data_of(write_report(runs, tmp_path / "out"))
    assert len(data["labels"]) == 4


def test_the_sentence_at_the_top_says_what_the_tables_say(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a fox", "a cat", "an owl"])
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    table = hypervolume_table(comparison := load_runs([run]), reference_point(comparison)).by_prompt
    wide = table.pivot(index="text_id", columns="label", values="hypervolume")
    low, high = mean_interval((wide["srsoup"] - wide["unguided"]).to_numpy(), wide.index.to_numpy(dtype=str))
    ratio = wide["srsoup"].mean() / wide["unguided"].mean()
    assert (
        f"srsoup reached a larger hypervolume than the model alone on {(wide['srsoup'] > wide['unguided']).sum()} of "
        f"3 prompts: {ratio:.2f} times its mean (95 % interval of the difference: {format_number(low, 3)} to "
        f"{format_number(high, 3)})"
    ) in page
    held = comparison.points.groupby("label")["mini_clip"].mean()
    word = "rose" if held["srsoup"] > held["unguided"] else "fell"
    assert f"; the held-out mini_clip {word} by {abs(held['srsoup'] - held['unguided']):.2g}" in page


def test_an_advantage_that_may_be_chance_is_called_so(synthetic_run: Write) -> None:
    """Two methods whose values are drawn alike."""
    run = synthetic_run(prompts=["a fox", "a cat", "an owl"], methods=["srsoup", "weighted_sum"])
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    assert "reached the largest mean hypervolume of 2 methods" in page and "so it may be chance" in page


def test_the_heading_is_readable_or_the_given_one(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a"], guided=["mini_clip", "sharpness"], held_out=[])
    assert "<h1>Mini clip against sharpness</h1>" in write_report([run], run / "report").read_text(encoding="utf-8")
    given = write_report([run], run / "report", title="Owls & foxes").read_text(encoding="utf-8")
    assert "<h1>Owls &amp; foxes</h1>" in given


def test_few_fronts_are_in_memory_at_once(synthetic_run: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run(prompts=[f"prompt {i}" for i in range(40)], methods=["srsoup"], weights=1, guided=["a"])
    keys = [f"p{i:03d}-srsoup" for i in range(40)]
    ahead = list[int]()

    def counted(run: Path, keys: list[str]) -> Iterator[FrontImages]:
        for read, front in enumerate(read_images(run, keys)):
            ahead.append(read - sum(store.has(front_of(run, key)) for key in keys))
            yield front

    monkeypatch.setattr(pictures, "read_images", counted)
    with PictureStore(run) as store:
        store.add(run, keys)
    assert len(ahead) == 40 and max(ahead) <= 10


def test_the_page_has_the_interval_of_the_mean_front_and_warns_of_a_misleading_reference(synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a fox", "a cat", "an owl"])
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    table = hypervolume_table(comparison := load_runs([run]), point := reference_point(comparison)).by_label
    for low, high in zip(table["mean_front_low"], table["mean_front_high"], strict=True):
        assert f"<td>{format_number(low)} to {format_number(high)}</td>" in page
    assert reference_warnings(comparison, point) == []
    run = synthetic_run(prompts=["a fox"], reference={"colorfulness": 1e6, "compressibility": -100.0})
    page = write_report([run], run / "report").read_text(encoding="utf-8")
    warnings = reference_warnings(comparison := load_runs([run]), reference_point(comparison))
    assert len(warnings) == 2
    assert all(f"<li>{html.escape(warning).replace('&#x27;', '&#39;')}</li>" in page for warning in warnings)
