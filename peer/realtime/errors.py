"""What a realtime server says when it does not do what was asked."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["RealtimeError"]

_ADVICE: Final = {
    401: "give the server's key, or an ephemeral secret that has not expired",
    403: "this key does not allow that",
    404: "check base_url: it ends before /realtime/calls",
    429: "the account has no quota left, or asks too often",
}
_SHOWN: Final = 500


class RealtimeError(ConnectionError):
    """A call could not be made, or the server reports an error. `status` is 0 where no answer came."""

    def __init__(
        self, status: int, message: str, *, type: str = "", code: str | None = None, param: str | None = None
    ) -> None:
        self.status = status
        """HTTP status; 0 where there was no answer."""
        self.message = message
        """The server's words."""
        self.type = type
        """The server's kind of error, such as `invalid_request_error`; empty if it named none."""
        self.code = code
        """The server's code, such as `call_id_not_found`."""
        self.param = param
        """The field the error is about."""
        advice = _ADVICE.get(status)
        text = f"{status} {message}" if status else message
        super().__init__(f"{text} ({advice})" if advice else text)

    @classmethod
    def of_body(cls, status: int, body: str) -> RealtimeError:
        """Read the error out of an answer's body: the protocol's JSON, or any text."""
        try:
            error: Any = json.loads(body)["error"]
            message = str(error["message"])
        except (ValueError, KeyError, TypeError):
            return cls(status, body[:_SHOWN].strip() or "the server gave no reason")
        return cls(
            status,
            message[:_SHOWN],
            type=str(error.get("type") or ""),
            code=_text(error.get("code")),
            param=_text(error.get("param")),
        )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
