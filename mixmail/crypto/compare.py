"""Comparison of secrets."""

from __future__ import annotations

import hmac


def equal(a: bytes, b: bytes) -> bool:
    """Whether `a` and `b` are equal, in a time that depends only on their lengths."""
    return hmac.compare_digest(a, b)
