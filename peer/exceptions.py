"""The exceptions of the W3C interfaces, under the W3C's names.

Where aiortc has always raised something else for the same mistake, the exception is both, so that neither
a program written for the W3C's names nor one written for aiortc misses it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError

__all__ = [
    "InternalError",
    "InvalidAccessError",
    "InvalidArgumentError",
    "InvalidCandidateError",
    "InvalidCharacterError",
    "InvalidDescriptionError",
    "InvalidModificationError",
    "InvalidRangeError",
    "InvalidStateError",
    "NotSupportedError",
    "OperationError",
    "RTCError",
    "RTCErrorDetail",
    "SdpSyntaxError",
    "SyntaxError_",
]

RTCErrorDetail: TypeAlias = Literal[
    "data-channel-failure",
    "dtls-failure",
    "fingerprint-failure",
    "sctp-failure",
    "sdp-syntax-error",
    "hardware-encoder-not-available",
    "hardware-encoder-error",
]


class InvalidModificationError(Exception):
    """The object cannot be changed in this way (W3C `InvalidModificationError`)."""


class NotSupportedError(Exception):
    """The operation is not supported (W3C `NotSupportedError`)."""


class InvalidCharacterError(ValueError):
    """A string has a character that it may not have (W3C `InvalidCharacterError`)."""


class SyntaxError_(ValueError):
    """A string, such as a server's URL, does not match its grammar (W3C `SyntaxError`)."""


class InvalidArgumentError(InternalError, TypeError, ValueError):
    """An argument of the wrong type, or a string that is not a value of its enumeration (W3C `TypeError`)."""


class InvalidRangeError(ValueError):
    """A number outside its range (W3C `RangeError`)."""


class InvalidCandidateError(InvalidArgumentError):
    """A candidate that does not say which media section it belongs to (W3C `TypeError`)."""


class InvalidDescriptionError(InvalidAccessError, ValueError):
    """A description that is well formed and yet cannot be applied (RFC 9429 §5.8, W3C `InvalidAccessError`)."""


class RTCError(OperationError):
    """An error of the media stack (W3C WebRTC §11.2)."""

    def __init__(
        self,
        message: str = "",
        *,
        errorDetail: RTCErrorDetail,
        sdpLineNumber: int | None = None,
        sctpCauseCode: int | None = None,
        receivedAlert: int | None = None,
        sentAlert: int | None = None,
    ) -> None:
        super().__init__(message)
        self.errorDetail = errorDetail
        self.sdpLineNumber = sdpLineNumber
        self.sctpCauseCode = sctpCauseCode
        self.receivedAlert = receivedAlert
        self.sentAlert = sentAlert


class SdpSyntaxError(RTCError, ValueError):
    """A line of a session description cannot be parsed; `sdpLineNumber` says which, counted from 1."""

    def __init__(self, message: str, line_number: int) -> None:
        super().__init__(
            f"line {line_number}: {message}", errorDetail="sdp-syntax-error", sdpLineNumber=line_number
        )
