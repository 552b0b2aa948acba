"""`srsoup export --as png`: a folder of PNG files for each front, and a CSV file with everything about them."""

from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.exports.fronts import fronts_of, new_folder, read_fronts
from evaluation.run import Run
from evaluation.tables.csv_files import write_csv

TABLE, PROMPT = "images.csv", "prompt.txt"


def export_png(run: Run, out: Path) -> int:
    """Writes `<prompt_id>/<weight_index>.png` for every image, and `images.csv`; returns the number of images.

    The PNG files are those of the run, byte for byte. Each folder also has the prompt, as `prompt.txt`. If the run has
    several methods, the folders of each are in a folder of its name; if a prompt has several seeds, their number, from
    1, is added to `<prompt_id>`.

    The table has one row for each image: file, prompt_id, prompt, method, seed (that of the front), image_seed,
    weight_index, a column `weight_REWARD` for each guided reward, and a column for each reward.

    Raises:
        ReportError: no front is finished, or `out` has files already.
        OSError: a file cannot be read or written.
    """
    fronts, guided = fronts_of(run), run.config["rewards"]["guided"]
    new_folder(out)
    several, rows = len({front.method for front in fronts}) > 1, list[dict[str, Any]]()
    for front, images in read_fronts(run, fronts):
        name = f"{front.prompt_id}-{front.number + 1}" if front.several else front.prompt_id
        folder = out / front.method / name if several else out / name
        folder.mkdir(parents=True)
        (folder / PROMPT).write_text(front.prompt, encoding="utf-8", newline="")
        for image in images:
            file = folder / f"{image.weight_index}.png"
            file.write_bytes(image.png)
            weights = image.weights or (None,) * len(guided)
            rows.append({
                "file": file.relative_to(out).as_posix(), "prompt_id": front.prompt_id, "prompt": front.prompt,
                "method": front.method, "seed": front.seed, "image_seed": image.seed,
                "weight_index": image.weight_index,
                **{f"weight_{reward}": w for reward, w in zip(guided, weights, strict=True)}, **image.scores,
            })  # fmt: skip
    order = ["method", "prompt", "prompt_id", "seed", "weight_index"]
    write_csv(pd.DataFrame(rows).sort_values(order, kind="stable"), out / TABLE)
    return len(rows)
