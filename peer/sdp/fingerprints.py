"""Fingerprints of certificates in descriptions (RFC 8122)."""

from __future__ import annotations

from typing import Final

from peer.exceptions import OperationError

from .section import MediaSection

_DIGEST: Final = {"sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_HEX: Final = frozenset("0123456789ABCDEFabcdef:")


def usable_fingerprints(section: MediaSection) -> tuple[tuple[str, str], ...]:
    """Algorithm and value of those that can be verified. Raises `OperationError` when there are none."""
    found = tuple(
        (algorithm, value)
        for algorithm, value in section.fingerprints
        if len(value) == _DIGEST.get(algorithm, 0) * 3 - 1 and set(value) <= _HEX
    )
    if not found:
        raise OperationError(
            "the description has no fingerprint of a kind that can be verified (sha-224 to sha-512)"
        )
    return found
