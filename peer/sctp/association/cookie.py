"""State cookies: what is kept by the peer instead of here until it proves that it hears us (RFC 9260 §5.1.3)."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final

from .chunks import Init

LIFETIME: Final = 60.0
"""Seconds (RFC 9260 §16)."""

_DIGEST: Final = 32
_TIME: Final = struct.Struct("!d")


def write(secret: bytes, peer: bytes, now: float) -> bytes:
    """Return a cookie that holds the body of the peer's INIT."""
    content = _TIME.pack(now) + peer
    return hmac.digest(secret, content, hashlib.sha256) + content


def read(secret: bytes, cookie: bytes, now: float) -> Init | None:
    """Return the peer's INIT out of a cookie; None when it is not one of ours, or too old."""
    digest, content = cookie[:_DIGEST], cookie[_DIGEST:]
    if not hmac.compare_digest(digest, hmac.digest(secret, content, hashlib.sha256)):
        return None
    (written,) = _TIME.unpack_from(content)
    return Init.parse(content[_TIME.size :]) if 0 <= now - written <= LIFETIME else None
