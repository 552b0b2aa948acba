"""Seeds derived from what they are for: never from rank, device or order of arrival. Imports no torch."""

import hashlib


def derive_seed(*parts: object) -> int:
    """An integer in [0, 2^63) that depends on every part and on nothing else (SHA-256)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
