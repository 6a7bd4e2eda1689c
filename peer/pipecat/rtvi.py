"""RTVI: the messages of a voice agent and its client, on the data channel `chat`."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["LABEL", "PROTOCOL_VERSION", "RtviMessage", "parse_message", "signalling"]

LABEL: Final = "rtvi-ai"
PROTOCOL_VERSION: Final = "2.2.0"


class RtviMessage(BaseModel):
    """A message, such as `client-message` or `bot-output`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    label: str = LABEL
    type: str
    id: str | None = None
    """The same in a question and its answer; None where nothing is answered."""
    data: Any = None


def parse_message(text: str | bytes) -> RtviMessage | dict[str, Any] | None:
    """Return an RTVI message, what a `signalling` message carries, or None for anything else, such as `ping: …`."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    if fields.get("type") == "signalling":
        carried = fields.get("message")
        return carried if isinstance(carried, dict) else None
    if fields.get("label") != LABEL:
        return None
    try:
        return RtviMessage.model_validate(fields)
    except ValidationError:
        return None


def signalling(kind: str) -> str:
    """Return a message of the transport's own: `renegotiate` or `peerLeft`."""
    return json.dumps({"type": "signalling", "message": {"type": kind}})
