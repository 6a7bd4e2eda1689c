"""The forms of H.264 that two sides may agree on (RFC 6184 §8.1 and §8.2.2): profile, level, packetization mode.

Profile and packetization mode are one format for both directions: they match or do not. The level is what each side
can take, where both allow that the two differ; otherwise it is the lower one.

What is sent is in Constrained Baseline, whose streams are in every profile here, so that any of them can be agreed on.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["H264Format", "H264Profile"]

Parameters = Mapping[str, int | str | None]

LEVEL: Final = 31
"""What we say that we take: 3.1, as browsers do. More is decoded too, up to the size of a receiver's pictures."""
DEFAULT: Final = "42e01f"
"""Of those who say nothing. Browsers take it for this, where RFC 6184 has level 1."""
LEVEL_1B: Final = 9
_CONSTRAINT_SET_3: Final = 0x10


class H264Profile(enum.Enum):
    """What a stream may use (H.264 Annex A.2). The value begins a `profile-level-id` that says so."""

    CONSTRAINED_BASELINE = "42e0"
    BASELINE = "4200"
    MAIN = "4d00"
    CONSTRAINED_HIGH = "640c"
    HIGH = "6400"


_PROFILES: Final = (
    # profile_idc, bits of the constraint flags that count, and what they are (RFC 6184 table 5)
    (0x42, 0x4F, 0x40, H264Profile.CONSTRAINED_BASELINE),
    (0x4D, 0x8F, 0x80, H264Profile.CONSTRAINED_BASELINE),
    (0x58, 0xCF, 0xC0, H264Profile.CONSTRAINED_BASELINE),
    (0x42, 0x4F, 0x00, H264Profile.BASELINE),
    (0x58, 0xCF, 0x80, H264Profile.BASELINE),
    (0x4D, 0xAF, 0x00, H264Profile.MAIN),
    (0x64, 0xFF, 0x0C, H264Profile.CONSTRAINED_HIGH),
    (0x64, 0xFF, 0x00, H264Profile.HIGH),
)


@dataclass(frozen=True, slots=True)
class H264Format:
    """A form of H.264, as the parameters of a description say it."""

    profile: H264Profile
    mode: int
    """0: one NAL unit in a packet; 1: aggregated and fragmented ones too."""
    level: int = LEVEL
    """As `level_idc`: ten times the level, and 9 for level 1b."""
    asymmetric: bool = True
    """Whether each side's level is its own affair."""

    @classmethod
    def of(cls, parameters: Parameters) -> H264Format:
        """Raises `ValueError` for parameters that are none, and for forms that are not known here."""
        told = str(parameters.get("profile-level-id", DEFAULT))
        if not re.fullmatch("[0-9A-Fa-f]{6}", told):
            raise ValueError(f"a profile-level-id has six hexadecimal digits, unlike {told!r:.20}")
        mode = str(parameters.get("packetization-mode", "0"))
        if mode not in ("0", "1"):
            raise ValueError(f"packetization-mode is 0 or 1 here, not {mode!r:.20}")
        idc, flags, level = bytes.fromhex(told)
        profile = next((p for i, mask, value, p in _PROFILES if i == idc and flags & mask == value), None)
        if profile is None:
            raise ValueError(f"the profile of {told} is not known")
        if level == 11 and flags & _CONSTRAINT_SET_3 and idc != 0x64:
            level = LEVEL_1B
        return cls(profile, int(mode), level, str(parameters.get("level-asymmetry-allowed", "0")) == "1")

    @property
    def key(self) -> tuple[H264Profile, int]:
        """What must be alike on both sides."""
        return self.profile, self.mode

    @property
    def parameters(self) -> dict[str, int | str | None]:
        """What a description says of it."""
        begin, level = self.profile.value, self.level
        if level == LEVEL_1B and not begin.startswith("64"):
            begin, level = f"{begin[:2]}{int(begin[2:], 16) | _CONSTRAINT_SET_3:02x}", 11
        return {
            "level-asymmetry-allowed": "1" if self.asymmetric else "0",
            "packetization-mode": str(self.mode),
            "profile-level-id": f"{begin}{level:02x}",
        }

    def agreed(self) -> H264Format:
        """Return our half of it, if this is what the peer says."""
        level = LEVEL if self.asymmetric else min(LEVEL, self.level, key=_order)
        return H264Format(self.profile, self.mode, level)


def _order(level: int) -> float:
    """1b is between 1 and 1.1."""
    return 10.5 if level == LEVEL_1B else level
