"""How much of a description is taken, so that a large one costs no more than its size."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ATTRIBUTES_MAX",
    "CANDIDATES_MAX",
    "FEW_MAX",
    "FORMATS_MAX",
    "LATE_MAX",
    "LINES_MAX",
    "LINES_PER_STEP",
    "SECTIONS_MAX",
    "SIZE_MAX",
]

SIZE_MAX: Final = 1024 * 1024
"""Characters. Real descriptions of large conferences stay well below."""
LINES_MAX: Final = 32768
LINES_PER_STEP: Final = 512
"""A few milliseconds' worth."""
SECTIONS_MAX: Final = 256
"""Each becomes a transceiver, with all that belongs to one."""
CANDIDATES_MAX: Final = 200
"""Candidates read from one section; more would only make work."""
FORMATS_MAX: Final = 256
LATE_MAX: Final = 2048
"""Lines of `a=fmtp` and `a=rtcp-fb` of one section."""
ATTRIBUTES_MAX: Final = 512
"""Attributes not known that are kept of a section, or of the session."""
FEW_MAX: Final = 64
"""Of what a section, or the session, has a few of: fingerprints, ICE options, streams, header extensions, groups.
More are ignored, so that a large description costs no more than its size."""
