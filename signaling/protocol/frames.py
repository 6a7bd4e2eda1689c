"""Messages as the text of a WebSocket frame, and back."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from .messages import ClientMessage, PeerMessage, RelayMessage

__all__ = ["MalformedMessage", "forwarded", "parse_client_message", "parse_relay_message", "to_json"]


class MalformedMessage(ValueError):
    """A frame that is not a message of the protocol.

    `code` is `invalid-json`, `unknown-type` or `invalid-message`; the text says which field is wrong and how.
    """

    def __init__(self, code: str, text: str, *, seq: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.seq = seq


@lru_cache(maxsize=1)
def client_message_adapter() -> TypeAdapter[ClientMessage]:
    """Return what reads the messages of a client."""
    return TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


@lru_cache(maxsize=1)
def relay_message_adapter() -> TypeAdapter[RelayMessage]:
    """Return what reads the messages of a relay."""
    return TypeAdapter(Annotated[RelayMessage, Field(discriminator="type")])


def parse_client_message(text: str | bytes) -> ClientMessage:
    """The message in a frame from a client. Raises MalformedMessage."""
    try:
        return client_message_adapter().validate_json(text, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _malformed(error, text) from None


def parse_relay_message(text: str | bytes) -> RelayMessage:
    """The message in a frame from the relay. Raises MalformedMessage."""
    try:
        return relay_message_adapter().validate_json(text, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _malformed(error, text) from None


def to_json(message: BaseModel) -> str:
    """The frame for a message: `from` for `sender`, absent fields left out, no NaN (JSON has none)."""
    return message.__pydantic_serializer__.to_json(message, by_alias=True, exclude_none=True).decode()


def forwarded(message: PeerMessage, sender: str) -> str:
    """Return the frame for the recipient of a message.

    It is what the sender wrote, with `from` set and the sender's own numbering taken out.
    """
    message.sender = sender
    message.model_fields_set.discard("seq")
    return message.__pydantic_serializer__.to_json(message, by_alias=True, exclude_unset=True).decode()


def _malformed(error: ValidationError, text: str | bytes) -> MalformedMessage:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    kind = first["type"]
    if kind == "json_invalid":
        return MalformedMessage("invalid-json", f"a frame must be one JSON object: {first['msg']}")
    seq = _sequence_of(text)
    if kind == "union_tag_invalid":
        return MalformedMessage("unknown-type", f"no message has this type: {first['msg'][:200]}", seq=seq)
    if kind == "union_tag_not_found" or not first["loc"]:
        return MalformedMessage("unknown-type", "a message must be a JSON object with a `type`", seq=seq)
    tag, *path = first["loc"]
    where = ".".join(str(part) for part in path) or "message"
    return MalformedMessage("invalid-message", f"{tag}: `{where}` is wrong: {first['msg'][:200]}", seq=seq)


def _sequence_of(text: str | bytes) -> int | None:
    """The `seq` of a message that is wrong otherwise, so that its number is used up by the error about it."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    seq = given.get("seq") if isinstance(given, dict) else None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and 1 <= seq < 2**53 else None
