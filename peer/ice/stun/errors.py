"""Error codes of STUN, TURN and ICE, under one name each (RFC 8489 §14.8, RFC 8656 §19, RFC 8445 §16)."""

from __future__ import annotations

from typing import Final

TRY_ALTERNATE: Final = 300
BAD_REQUEST: Final = 400
UNAUTHENTICATED: Final = 401
FORBIDDEN: Final = 403
UNKNOWN_ATTRIBUTE: Final = 420
ALLOCATION_MISMATCH: Final = 437
"""The server does not know the allocation, or knows it as somebody else's."""
STALE_NONCE: Final = 438
ADDRESS_FAMILY_NOT_SUPPORTED: Final = 440
WRONG_CREDENTIALS: Final = 441
UNSUPPORTED_TRANSPORT: Final = 442
PEER_ADDRESS_FAMILY_MISMATCH: Final = 443
ALLOCATION_QUOTA_REACHED: Final = 486
ROLE_CONFLICT: Final = 487
INSUFFICIENT_CAPACITY: Final = 508
UNREACHABLE: Final = 701
"""No answer of any use: the W3C's own code (WebRTC 1.0 §4.8.1)."""
