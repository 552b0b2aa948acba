"""Secrets taken out of what other code says, before it is written or printed."""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote

HIDDEN = "***"
# A variable with such a part in its name holds a secret, unless it names the place of one.
_SECRET = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD)(_|$)", re.IGNORECASE)
_A_PLACE = re.compile(r"_(PATH|FILE|DIR|URL)$", re.IGNORECASE)
# A shorter value is a word of ordinary text, such as KEY=yes.
SHORTEST = 6

_NAME = (
    r"[\w-]*(?:token|secret|password|passwd|signature|credential|(?:api|secret)[_-]?key|access[_-]?key(?:[_-]?id)?|"
    r"authorization)"
)
_QUOTE = r"""\\?["']?"""
# What is found by its shape: the group `kept` stays.
_SHAPES = (
    # scheme://user:password@host
    re.compile(r"(?P<kept>://)[^\s/@\"'<>]+(?=@)"),
    # A header, an entry of a dictionary, a parameter of a URL, an assignment; "Bearer" and its like stay.
    re.compile(rf"(?i)(?P<kept>\b{_NAME}{_QUOTE}\s*[:=]\s*{_QUOTE}(?:(?:bearer|basic|token)\s+)?)[^\s\"'&,;)\]}}\\]+"),
    re.compile(r"(?i)(?P<kept>\bbearer\s+)[\w.~+/=-]{8,}"),
    # Hugging Face, OpenAI and its like, GitHub, AWS, Google, Slack, and signed web tokens.
    re.compile(
        r"(?P<kept>)\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[opsu]_\w{20,}|github_pat_\w{20,}|(?:AKIA|ASIA)[0-9A-Z]{16}|"
        r"AIza[\w-]{30,}|xox[abp]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+)"
    ),
    re.compile(r"(?P<kept>)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text with *** for each secret in it: credentials in URLs and headers, values of names that say token, secret,
    password or key, keys in the forms of well-known services, and the values of the environment's secret variables.

    Args:
        environment: whose secret variables are hidden wherever they stand; by default that of this process.
    """
    secrets = {
        value
        for name, value in (os.environ if environment is None else environment).items()
        if len(value) >= SHORTEST and _SECRET.search(name) and not _A_PLACE.search(name)
    }
    # The longest first: one may be a part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, HIDDEN)
    for shape in _SHAPES:
        text = shape.sub(rf"\g<kept>{HIDDEN}", text)
    return text
