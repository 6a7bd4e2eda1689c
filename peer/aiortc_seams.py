"""The private names of aiortc that this package stands on, in one place and checked when it is imported.

aiortc changes its insides with every minor release, which is why the dependency is pinned to one. Should one of
these names be gone all the same, importing `peer` says which, instead of a call failing in its middle.
"""

from __future__ import annotations

from typing import Final

import aiortc
import aiortc.codecs
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

PINNED: Final = "1.16"


class AiortcSeamError(ImportError):
    """The installed aiortc is not the one this package was written for."""


_METHODS: Final[dict[type, tuple[str, ...]]] = {
    aiortc.RTCRtpTransceiver: ("_setCurrentDirection", "_set_mid", "_get_mline_index", "_set_mline_index"),
    aiortc.RTCDtlsTransport: (
        "_recv_next",
        "_set_role",
        "_write_ssl",
    ),
}

_FUNCTIONS: Final = (
    (aiortc.codecs, "CODECS"),
    (aiortc.codecs, "HEADER_EXTENSIONS"),
    (aiortc.codecs, "is_rtx"),
)


def check() -> None:
    """Raises `AiortcSeamError` naming what is missing."""
    missing = [
        f"{cls.__name__}.{name}"
        for cls, names in _METHODS.items()
        for name in names
        if not hasattr(cls, name)
    ]
    missing += [f"{module.__name__}.{name}" for module, name in _FUNCTIONS if not hasattr(module, name)]
    if missing:
        raise AiortcSeamError(
            f"aiortc {aiortc.__version__} lacks {', '.join(missing)}, which this package relies on: "
            f"install aiortc {PINNED}.*"
        )


check()

is_rtx: Final = aiortc.codecs.is_rtx


def codecs_of(kind: str) -> list[RTCRtpCodecParameters]:
    """The codecs aiortc can encode and decode, in its order of preference."""
    return list(aiortc.codecs.CODECS[kind])
