"""Secrets taken out of what other code says, before it is written or printed."""

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

HIDDEN = "***"
# A variable with such a part in its name holds a secret, unless it names the place of one.
_SECRET = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD)(_|$)", re.IGNORECASE)
_A_PLACE = re.compile(r"_(PATH|FILE|DIR|URL)$", re.IGNORECASE)
# A shorter value is a word of ordinary text, such as KEY=yes.
SHORTEST = 6

# Of a longer text only the beginning is kept.
LONGEST = 50_000
# So much more is read, and then left out: a secret that the cut goes through is found, or is not shown even in part.
_MARGIN = 5_000

# Each shape is found in a time that grows with the length of the text alone. Where a part could begin at many places
# of one run of characters, it is tried at the first of them only: `++` and `(?>...)` never give back what they took.
_NAME = (
    r"(?:token|secret|password|passwd|signature|credential|(?:api|secret)[_-]?key|access[_-]?key(?:[_-]?id)?|"
    r"authorization)"
)
_QUOTE = r"""\\?+["']?+"""
# What is found by its shape: the group `kept` stays.
_SHAPES = (
    # scheme://user:password@host
    re.compile(r"(?P<kept>://)[^\s/@\"'<>]++(?=@)"),
    # A header, an entry of a dictionary, a parameter of a URL, an assignment; "Bearer" and its like stay.
    re.compile(
        rf"(?i)(?P<kept>{_NAME}{_QUOTE}\s*+[:=]\s*+{_QUOTE}(?:(?:bearer|basic|token)\s++)?)[^\s\"'&,;)\]}}\\]++"
    ),
    re.compile(r"(?i)(?P<kept>\bbearer\s++)[\w.~+/=-]{8,}+"),
    # Signed web tokens.
    re.compile(r"(?<![\w-])(?>(?P<kept>[\w-]*?\b)eyJ)[\w-]{10,}+\.[\w-]++\.[\w-]++"),
    # Hugging Face, OpenAI and its like, GitHub, AWS, Google, Slack.
    re.compile(
        r"(?P<kept>)\b(?:hf_\w{16,}+|sk-[\w-]{16,}+|gh[opsu]_\w{20,}+|github_pat_\w{20,}+|(?:AKIA|ASIA)[0-9A-Z]{16}|"
        r"AIza[\w-]{30,}+|xox[abp]-[\w-]{10,}+)"
    ),
    re.compile(
        r"(?P<kept>)-----BEGIN [A-Z ]*+(?<=PRIVATE KEY)-----.*?(?:-----END [A-Z ]*+(?<=PRIVATE KEY)-----|$)", re.DOTALL
    ),
)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text with *** for each secret in it: credentials in URLs and headers, values of names that say token, secret,
    password or key, keys in the forms of well-known services, and the values of the environment's secret variables.

    The time grows with the length of the text alone, whatever is in it. A text of more than `LONGEST` characters is
    cut to its beginning, and says how much is left out.

    Args:
        environment: whose secret variables are hidden wherever they stand; by default that of this process.
    """
    secrets = {
        value
        for name, value in (os.environ if environment is None else environment).items()
        if len(value) >= SHORTEST and _SECRET.search(name) and not _A_PLACE.search(name)
    }
    # The longest first: one may be a part of another.
    forms = sorted({form for secret in secrets for form in (secret, quote(secret, safe=""))}, key=len, reverse=True)
    if len(text) <= LONGEST:
        return _hidden(text, forms)
    margin = max([_MARGIN, *map(len, forms)])
    shown = _hidden(text[: LONGEST + margin], forms)[:-margin]
    return f"{shown}... (cut: the whole text has {len(text):,} characters)"


def _hidden(text: str, secrets: Sequence[str]) -> str:
    """The text without these secrets, and without what has the shape of a secret."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for shape in _SHAPES:
        text = shape.sub(rf"\g<kept>{HIDDEN}", text)
    return text
