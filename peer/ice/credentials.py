"""The short-term credentials each generation of an ICE agent has (RFC 8445 §5.3)."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from typing import Final

# RFC 8839 §5.4: ice-char.
_ICE_CHARS: Final = string.ascii_letters + string.digits + "+/"


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """A username fragment of 4 to 256 and a password of 22 to 256 ice-chars.

    Raises `ValueError` for any other.
    """

    username_fragment: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value, least in (
            ("username fragment", self.username_fragment, 4),
            ("password", self.password, 22),
        ):
            if not least <= len(value) <= 256:
                raise ValueError(f"ICE {name} must have {least} to 256 characters, not {len(value)}")
            if not set(value) <= _ALLOWED:
                raise ValueError(f"ICE {name} may contain only letters, digits, '+' and '/'")

    @classmethod
    def generate(cls, rng: random.Random) -> IceCredentials:
        """New ones, of more than the 24 and 128 random bits asked for. Outside of tests, give a `SystemRandom`."""
        return cls(
            username_fragment="".join(rng.choices(_ICE_CHARS, k=8)),
            password="".join(rng.choices(_ICE_CHARS, k=24)),
        )


# Browsers and gateways have put '-', '_' and '=' into theirs; nothing is gained by refusing them.
_ALLOWED: Final = frozenset(_ICE_CHARS + "-_=.~")
