"""Checks that the tokenizers of a model load, with the vocabulary that its text encoders know."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from diffusion.checks.json_file import MOST_BYTES, read_json
from diffusion.checks.tensor_file import check_no_pointer
from diffusion.errors import ModelError
from diffusion.families import Family

# The files of a vocabulary: one of these sets must be whole, because transformers makes up what is missing.
_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
_FIX = "save the pipeline again with save_pretrained, or download the tokenizer again"


def check_tokenizers(folder: Path, family: Family, absent: Collection[str]) -> None:
    """Check every tokenizer of a model.

    Raises:
        ModelError: a tokenizer has no vocabulary, cannot be loaded, or gives tokens that its text encoder lacks.
    """
    for part in family.texts:
        if part.startswith("tokenizer") and part not in absent:
            encoder = read_json(folder / part.replace("tokenizer", "text_encoder") / "config.json")
            limited = family.tokens is not None and part == family.tokens[0]
            tokenizer = _load(folder, part)
            _check(folder / part, tokenizer, encoder, limited)
            if family.chat and not tokenizer.chat_template:
                raise ModelError(
                    f"{folder / part} has no chat_template",
                    "the template of a chat, which the text encoder reads",
                    _FIX,
                )


def has_vocabulary(folder: Path) -> bool:
    """Return whether a tokenizer has all files of a vocabulary."""
    return any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES)


def _load(folder: Path, part: str) -> Any:
    import transformers

    entry = read_json(folder / "model_index.json").get(part)
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    owner = getattr(transformers, name, None) if isinstance(name, str) and "Tokenizer" in name else None
    if not isinstance(owner, type):
        raise ModelError(
            f"{folder / 'model_index.json'} gives {entry} as the {part}",
            'a tokenizer of transformers, such as ["transformers", "CLIPTokenizer"]', _FIX,
        )  # fmt: skip
    names = {path.name for path in (folder / part).glob("*") if path.is_file()}
    for name in sorted(names):
        check_no_pointer(folder / part / name)
        if (folder / part / name).stat().st_size > MOST_BYTES:
            raise ModelError(f"{folder / part / name} is longer than {MOST_BYTES} bytes", "a tokenizer's file", _FIX)
    if not has_vocabulary(folder / part):
        raise ModelError(
            f"{folder / part} has no vocabulary", " or ".join(" and ".join(files) for files in _VOCABULARIES), _FIX
        )
    tokenizer: Any = owner
    try:
        return tokenizer.from_pretrained(folder / part, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{folder / part} cannot be loaded as a {owner.__name__}: {str(error)[:200]}", "a whole tokenizer", _FIX
        ) from error


def _check(path: Path, tokenizer: Any, encoder: dict[str, Any], limited: bool) -> None:
    """Check a tokenizer; `limited` says that the pipeline limits its tokens, whatever its files say."""
    known, longest = encoder.get("vocab_size"), encoder.get("max_position_embeddings")
    if isinstance(known, int) and len(tokenizer) > known:
        raise ModelError(
            f"{path} has {len(tokenizer)} tokens, and its text encoder knows {known}",
            f"at most {known} tokens", "use the tokenizer that the text encoder was trained with",
        )  # fmt: skip
    most = tokenizer.model_max_length
    if not limited and isinstance(longest, int) and not (type(most) is int and 2 < most <= longest):
        raise ModelError(
            f"{path} has the model_max_length {str(most)[:100]}, and its text encoder has {longest} places",
            f"3..{longest}", f"set model_max_length in {path / 'tokenizer_config.json'} to {longest}",
        )  # fmt: skip
    if tokenizer.pad_token is None:
        raise ModelError(f"{path} has no pad_token", "a token that fills short prompts", _FIX)
