"""Seeds derived from the purpose of a draw, never from a rank, a device or an order. Imports no torch."""

import hashlib


def derive_seed(*parts: object) -> int:
    """Return an integer in [0, 2^63) that depends on every part and on nothing else (SHA-256)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
