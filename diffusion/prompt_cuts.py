"""Counts the prompts whose ends a model's tokenizers cut off. Reads the tokenizers' files, and imports no torch."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion.checks.json_file import read_json
from diffusion.errors import ModelError, NotHereError
from diffusion.families import FAMILIES
from diffusion.folder import absent_parts, pipeline_class
from diffusion.source import Source, metadata_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BATCH = 1000
# The words of CLIP's tokenizer, which transformers has in its code and not in the files of a model.
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# The same of Qwen's.
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CLIP_START, _CLIP_END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class PromptCut:
    """The prompts that one tokenizer cuts.

    Attributes:
        tokenizer: the name of the tokenizer, which is its folder in the model.
        limit: the number of tokens that it returns at most, with the special ones.
        prompts: the number of prompts that have more.
    """

    tokenizer: str
    limit: int
    prompts: int


def prompt_cuts(source: Source, prompts: Sequence[str]) -> tuple[PromptCut, ...]:
    """Return how many of these prompts each tokenizer of a model cuts. Nothing is downloaded.

    Raises:
        NotHereError: the files of a tokenizer are not on this machine.
        ModelError: there is no such model, its family is not supported, or a tokenizer's files cannot be read.
    """
    folder = metadata_folder(source, fetch=False)
    family, absent = FAMILIES[pipeline_class(folder)], absent_parts(folder)
    names = [name for name in family.texts if name.startswith("tokenizer") and name not in absent]
    times = Counter(prompts)
    own = family.token_limits(read_json(folder / family.denoiser / "config.json"))
    return tuple(_cut(folder / name, times, own.get(name)) for name in names)


def _cut(folder: Path, times: Counter[str], limit: int | None) -> PromptCut:
    try:
        tokenizer, limit = _tokenizer(folder), _limit(folder) if limit is None else limit
    except NotHereError:
        raise
    # The package tokenizers raises nothing more special.
    except Exception as error:
        problem = f"the tokenizer in {folder} cannot be read: {error}"
        raise ModelError(problem, "the files that save_pretrained writes", "save the model again") from error
    allowed = limit - tokenizer.num_special_tokens_to_add(False)
    texts, prompts = list(times), 0
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        for text, encoding in zip(batch, tokenizer.encode_batch_fast(batch, add_special_tokens=False), strict=True):
            prompts += times[text] * (len(encoding) > allowed)
    return PromptCut(folder.name, limit, prompts)


def _limit(folder: Path) -> int:
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return int(config.get("model_max_length", sys.maxsize))


def _tokenizer(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    whole, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if whole.is_file():
        tokenizer = Tokenizer.from_file(str(whole))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    if vocabulary.is_file() and merges.is_file():
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return (_qwen if "Qwen" in str(config.get("tokenizer_class")) else _clip)(vocabulary, merges)
    raise NotHereError(str(folder))


def _qwen(vocabulary: Path, merges: Path) -> "Tokenizer":
    """Return Qwen's tokenizer, as `transformers.Qwen2Tokenizer` makes it from these files, without special tokens."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    tokenizer.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, whole])
    return tokenizer


def _clip(vocabulary: Path, merges: Path) -> "Tokenizer":
    """Return CLIP's tokenizer, as `transformers.CLIPTokenizer` makes it from these files."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    model = models.BPE.from_file(
        str(vocabulary), str(merges), unk_token=_CLIP_END, continuing_subword_prefix="", end_of_word_suffix="</w>"
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([_CLIP_START, _CLIP_END])
    ids = [tokenizer.token_to_id(token) or 0 for token in (_CLIP_END, _CLIP_START)]
    tokenizer.post_processor = processors.RobertaProcessing((_CLIP_END, ids[0]), (_CLIP_START, ids[1]))
    return tokenizer
