"""The tokens of open_clip's SimpleTokenizer, which cleans a text before its byte-pair encoding. HPSv2 is trained on it.

transformers' CLIPTokenizer, with which OpenAI's CLIP and PickScore are used, does not clean. The two differ in texts
with curly quotes, HTML entities, ligatures, full-width letters and the like.
"""

import html
from collections.abc import Mapping, Sequence

import ftfy
import regex
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

# Words by which a text may name the tokens of its beginning and its end; open_clip takes them so.
_MARKS = ("<start_of_text>", "<end_of_text>")
_PIECES = regex.compile(
    "|".join(_MARKS) + r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


class OpenClipTokenizer:
    """A tokenizer with OpenAI's byte-pair encoding and open_clip's cleaning.

    Args:
        vocabulary: tokens and their numbers; the last two mark the beginning and the end of a text.
        merges: pairs of tokens in the order in which they are merged.
        context: length of the result.
    """

    def __init__(self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], context: int) -> None:
        self._begin, self._end, self._context = len(vocabulary) - 2, len(vocabulary) - 1, context
        self._pairs = BPE(vocab=dict(vocabulary), merges=list(merges), end_of_word_suffix="</w>")
        self._bytes = ByteLevel(add_prefix_space=False, use_regex=False)

    def __call__(self, text: str) -> list[int]:
        """Return the tokens of a text, cut to the context, or filled up with the token of the end."""
        tokens = [self._begin]
        for piece in _PIECES.findall(cleaned(text)):
            tokens += self._tokens_of(piece)
        tokens = tokens[: self._context - 1]
        return tokens + [self._end] * (self._context - len(tokens))

    def _tokens_of(self, piece: str) -> list[int]:
        if piece in _MARKS:
            return [self._begin + _MARKS.index(piece)]
        ((letters, _),) = self._bytes.pre_tokenize_str(piece)
        return [token.id for token in self._pairs.tokenize(letters)]


def cleaned(text: str) -> str:
    """Return a text as open_clip cleans it: damaged Unicode repaired, entities resolved, one kind of space, lower case.

    Source: basic_clean and whitespace_clean in hpsv2/src/open_clip/tokenizer.py of the package hpsv2 1.2.0.
    """
    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    one_space: str = regex.sub(r"\s+", " ", repaired.strip())
    return one_space.strip().lower()
