"""What can go wrong between a client and its server."""

from __future__ import annotations

from typing import Final

__all__ = ["CounterOffer", "ServiceUnavailable", "Unauthorized", "WhipError"]

_ADVICE: Final = {
    400: "the server could not read the offer",
    401: "the server wants a token: give token=…",
    403: "the server does not accept this token",
    404: "there is no such endpoint, or the session has ended",
    405: "the server does not do this",
    406: "the server does not accept this offer",
    409: "somebody publishes here already",
    412: "the session has changed meanwhile",
    415: "the server does not take this content type",
    422: "the server does not accept what is in the offer",
    503: "the server is busy",
}
_BODY_SHOWN: Final = 500


class WhipError(ConnectionError):
    """The server did not do what was asked. `status` is 0 where there was no answer at all."""

    def __init__(self, status: int, reason: str, body: str = "", url: str = "") -> None:
        self.status = status
        """HTTP status of the answer; 0 where there was none."""
        self.reason = reason
        """The server's words, or what kept an answer away."""
        self.body = body[:_BODY_SHOWN]
        """Beginning of the answer's body."""
        self.url = url
        shown = f"{status} {reason}" if status else reason
        advice = _ADVICE.get(status)
        text = f"{url}: {shown}" + (f" ({advice})" if advice else "")
        super().__init__(text + (f": {self.body.strip()}" if self.body.strip() else ""))


class Unauthorized(WhipError):
    """The token is missing, or not accepted (401, 403)."""


class CounterOffer(WhipError):
    """The server will not have this offer and sent one of its own (406). `sdp` has it."""

    def __init__(self, status: int, reason: str, body: str = "", url: str = "", *, sdp: str = "") -> None:
        super().__init__(status, reason, body, url)
        self.sdp = sdp


class ServiceUnavailable(WhipError):
    """The server is busy (503). `retry_after` is in seconds, None where the server named no time."""

    def __init__(
        self, status: int, reason: str, body: str = "", url: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(status, reason, body, url)
        self.retry_after = retry_after
