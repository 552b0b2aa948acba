"""Removes secrets from messages of other code before they are written or printed."""

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

MASK = "***"
# A variable whose name has one of these words holds a secret, unless the end of its name says that it holds a path.
_SECRET_NAME = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD)(_|$)", re.IGNORECASE)
_PATH_NAME = re.compile(r"_(PATH|FILE|DIR|URL)$", re.IGNORECASE)
# A shorter value may be a word of ordinary text, as in KEY=yes, and is not hidden.
MIN_SECRET_LENGTH = 6

# Only the beginning of a longer text is kept.
MAX_LENGTH = 50_000
# These further characters are searched too and then left out, so that no part of a secret at the cut is shown.
_MARGIN = 5_000

# The time of each pattern grows linearly with the length of the text. If a match could begin at many places of one run
# of characters, only the first is tried, because `++` and `(?>...)` never backtrack.
_NAME = (
    r"(?:token|secret|password|passwd|signature|credential|(?:api|secret)[_-]?key|access[_-]?key(?:[_-]?id)?|"
    r"authorization)"
)
_QUOTE = r"""\\?+["']?+"""
# Forms of text that hold a secret. The group `kept` stays, and the rest of the match is replaced.
_PATTERNS = (
    # scheme://user:password@host
    re.compile(r"(?P<kept>://)[^\s/@\"'<>]++(?=@)"),
    # A header, an entry of a dictionary, a parameter of a URL, an assignment; a scheme such as "Bearer" stays.
    re.compile(
        rf"(?i)(?P<kept>{_NAME}{_QUOTE}\s*+[:=]\s*+{_QUOTE}(?:(?:bearer|basic|token)\s++)?)[^\s\"'&,;)\]}}\\]++"
    ),
    re.compile(r"(?i)(?P<kept>\bbearer\s++)[\w.~+/=-]{8,}+"),
    # JSON web tokens.
    re.compile(r"(?<![\w-])(?>(?P<kept>[\w-]*?\b)eyJ)[\w-]{10,}+\.[\w-]++\.[\w-]++"),
    # Keys of Hugging Face, OpenAI and services with the same form, GitHub, AWS, Google, Slack.
    re.compile(
        r"(?P<kept>)\b(?:hf_\w{16,}+|sk-[\w-]{16,}+|gh[opsu]_\w{20,}+|github_pat_\w{20,}+|(?:AKIA|ASIA)[0-9A-Z]{16}|"
        r"AIza[\w-]{30,}+|xox[abp]-[\w-]{10,}+)"
    ),
    re.compile(
        r"(?P<kept>)-----BEGIN [A-Z ]*+(?<=PRIVATE KEY)-----.*?(?:-----END [A-Z ]*+(?<=PRIVATE KEY)-----|$)", re.DOTALL
    ),
)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text in which each secret is replaced by ***.

    Secrets are: credentials in URLs and headers; the values of names that contain token, secret, password or key; keys
    in the forms of well-known services; and the values of the environment's secret variables.

    The time grows linearly with the length of the text. A text of more than `MAX_LENGTH` characters is cut to its
    beginning, and says how long it was.

    Args:
        environment: the environment whose secret variables are hidden; by default that of this process.
    """
    secrets = {
        value
        for name, value in (os.environ if environment is None else environment).items()
        if len(value) >= MIN_SECRET_LENGTH and _SECRET_NAME.search(name) and not _PATH_NAME.search(name)
    }
    # The longest comes first, because one secret may be a part of another.
    forms = sorted({form for secret in secrets for form in (secret, quote(secret, safe=""))}, key=len, reverse=True)
    if len(text) <= MAX_LENGTH:
        return _hidden(text, forms)
    margin = max([_MARGIN, *map(len, forms)])
    shown = _hidden(text[: MAX_LENGTH + margin], forms)[:-margin]
    return f"{shown}... (cut: the whole text has {len(text):,} characters)"


def _hidden(text: str, secrets: Sequence[str]) -> str:
    """Return a text in which these secrets, and everything in the form of a secret, are replaced by ***."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<kept>{MASK}", text)
    return text
