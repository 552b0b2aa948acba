"""`srsoup export --as released`: the image folders of the authors' released code.

Its layout, from EvaFlower/Sample-Reward-Soups-ICLR26 at commit 4b2242e: `scripts/inference_srsoup_sd1-5.py` and `_sd3`
write `<image_dir>/<repeat>/<prompt>_<w_1>.png`, and `scripts/inference_srsoup_3obj.py` writes
`<image_dir>/<prompt>_<[w_1 w_2 w_3]>.png`. There <prompt> is the first 50 characters of the prompt, with `_` for `/`,
and the weights are as NumPy prints them. `eval_scripts/eval_score.py` reads one such folder, and a file of prompts.
"""

from pathlib import Path

import numpy as np

from evaluation.errors import ReportError
from evaluation.exports.fronts import Front, fronts_of, new_folder, read_fronts
from evaluation.run import Run

LONGEST = 50


def export_released(run: Run, out: Path) -> int:
    """Writes the images in the layout of the released code, and `prompts.txt`; returns the number of images.

    The seeds of a prompt are the repeats, from 0. If the run has several guided methods, each has a folder of its own.
    Images of the model alone have no weights, which this layout needs in their names, so they are left out.

    Raises:
        ReportError: nothing is finished, the rewards are not two or three, two prompts have the same first 50
            characters, a prompt has several lines, or `out` has files already.
        OSError: a file cannot be read or written.
    """
    guided = run.config["rewards"]["guided"]
    if len(guided) not in (2, 3):
        raise ReportError(f"{run.folder}: the released layout is for two or three rewards, not {len(guided)}.")
    fronts = [front for front in fronts_of(run) if front.method != "unguided"]
    if not fronts:
        raise ReportError(f"{run.folder}: the run has unguided images only, and the released layout needs weights.")
    names = _names(run, fronts)
    new_folder(out)
    several, written = len({front.method for front in fronts}) > 1, 0
    for front, images in read_fronts(run, fronts):
        folder = out / front.method if several else out
        # With three rewards the released code has no folder for a repeat.
        folder = folder / str(front.number) if len(guided) == 2 or front.several else folder
        folder.mkdir(parents=True, exist_ok=True)
        for image in images:
            if image.weights is None:
                raise ReportError(f"{run.folder}: an image of {front.method} has no weights. `srsoup verify` it.")
            (folder / f"{names[front.prompt_id]}_{weights_name(image.weights)}.png").write_bytes(image.png)
            written += 1
    lines = dict.fromkeys(front.prompt for front in fronts)
    (out / "prompts.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return written


def weights_name(weights: tuple[float, ...]) -> str:
    """Returns weights as the released code names files: w_1 of two, or NumPy's text of the whole row."""
    # Rounded, as in the released code, because w_1 may be 0.6000000000000001.
    return str(np.array(weights)) if len(weights) > 2 else str(round(float(weights[0]), 12))


def _names(run: Run, fronts: list[Front]) -> dict[str, str]:
    names: dict[str, str] = {}
    owners: dict[str, Front] = {}
    for front in fronts:
        if "\n" in front.prompt or "\r" in front.prompt:
            raise ReportError(
                f"{run.folder}: the prompt {front.prompt!r:.80} has several lines, and the released code reads one "
                "prompt from each line. Export it with --as png."
            )
        name = front.prompt[:LONGEST].replace("/", "_")
        owner = owners.setdefault(name, front)
        if owner.prompt_id != front.prompt_id:
            raise ReportError(
                f"{run.folder}: the prompts {owner.prompt!r:.120} and {front.prompt!r:.120} would have the same files, "
                f"because the released code names them by {LONGEST} characters. Export them with --as png."
            )
        names[front.prompt_id] = name
    return names
