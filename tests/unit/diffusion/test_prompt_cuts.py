"""The prompts that tokenizers cut, counted from their files as the loaded model counts them, without weights."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from diffusion.base import Loading, load_model
from diffusion.errors import ModelError, NotHereError
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.prompt_cuts import PromptCut, _clip, prompt_cuts
from diffusion.source import Source, local_folder
from tests.support import tiny

ODD = ["", "é" * 40, "e\u0301" * 40, "👩\u200d🚀" * 9, "a  b\tc\n" * 12, "don't we'll I'd" * 5, "123456" * 9,
       "<|endoftext|>" * 20, "ＡＢＣ" * 20, "ﬁne print, ½ of it; …" * 4, "x" * 300]  # fmt: skip


def texts() -> list[str]:
    """Prompts of every length around the limits, and odd ones."""
    draw = random.Random(0)
    words = ["snail", "fox", "an", "owl,", "It's", "NIGHT", "42", "(blue)", "über", "—"]
    return [*ODD, *(" ".join(draw.choices(words, k=n)) for n in (*range(1, 120), *range(120, 400, 9)))]


def by_model(folder: Path, prompts: list[str]) -> dict[str, int]:
    model = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    found = {}
    for name, limit in model._token_limits().items():
        tokenizer = getattr(model._pipe, name)
        lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in prompts]
        found[name] = sum(n > limit - tokenizer.num_special_tokens_to_add() for n in lengths)
    return found


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_count_is_that_of_the_loaded_model(tmp_path: Path, family: str) -> None:
    folder, prompts = tiny.save_model(family, tmp_path / family), texts()
    cuts = prompt_cuts(Source(str(folder)), prompts)
    assert {cut.tokenizer: cut.prompts for cut in cuts} == by_model(folder, prompts)
    assert {cut.tokenizer: cut.limit for cut in cuts}["tokenizer"] == {
        "pixart": 300,
        "sana": 299,
        "qwen": 512,
        "zimage": 509,
    }.get(family, 77)
    assert any(0 < cut.prompts < len(prompts) for cut in cuts)


def test_the_embedded_model() -> None:
    prompts = texts() * 2
    (cut,) = prompt_cuts(Source("mini"), prompts)
    assert {cut.tokenizer: cut.prompts} == by_model(local_folder("mini"), prompts) and cut.limit == 16


def test_clips_tokenizer_of_two_files_is_that_of_transformers(tmp_path: Path) -> None:
    """Stable Diffusion's own folders have no tokenizer.json."""
    model = json.loads((local_folder("mini") / "tokenizer" / "tokenizer.json").read_text())["model"]
    added = {"<|startoftext|>": len(model["vocab"]), "<|endoftext|>": len(model["vocab"]) + 1}
    (tmp_path / "vocab.json").write_text(json.dumps(added | model["vocab"]))
    pairs = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}')
    theirs, ours = CLIPTokenizer.from_pretrained(tmp_path), _clip(tmp_path / "vocab.json", tmp_path / "merges.txt")
    for text in texts():
        assert ours.encode(text).ids == theirs(text)["input_ids"], text
    assert ours.num_special_tokens_to_add(False) == theirs.num_special_tokens_to_add() == 2


def test_what_is_not_here_or_damaged_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotHereError):
        prompt_cuts(Source("a/b", "0" * 40), ["a fox"])
    folder = tiny.save_model("sd", tmp_path / "sd")
    (folder / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        prompt_cuts(Source(str(folder)), ["a fox"])
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(NotHereError):
        prompt_cuts(Source(str(folder)), ["a fox"])


def test_no_torch_and_no_transformers_is_imported() -> None:
    code = (
        "import sys; from diffusion.prompt_cuts import prompt_cuts; from diffusion.source import Source\n"
        "print(prompt_cuts(Source('mini'), ['a fox']))\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr((PromptCut("tokenizer", 16, 0),))
