"""TURN over TCP and TLS: where one message ends and the next begins (RFC 8489 §6.2.2, RFC 8656 §12.5)."""

from __future__ import annotations

from peer.ice.stun.message import HEADER_LENGTH

from .message import CHANNEL_HEADER_LENGTH, CHANNEL_MIN

_COOKIE = b"\x21\x12\xa4\x42"


class TurnStreamError(ValueError):
    """The bytes are not TURN's, so no later message can be found among them either."""


class TurnStream:
    """Cuts a stream of bytes into STUN messages and ChannelData messages.

    Holds at most one unfinished message (64 KiB) beside what it was just given.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages these bytes complete, ChannelData without its padding.

        Raises `TurnStreamError` when what follows is neither; the connection is of no more use then.
        """
        if self._rest:
            self._rest += data
            buffer: bytes | bytearray = self._rest
        else:
            buffer = data
        messages: list[bytes] = []
        position = 0
        available = len(buffer)
        while available - position >= CHANNEL_HEADER_LENGTH:
            length = buffer[position + 2] << 8 | buffer[position + 3]
            first = buffer[position]
            if first >> 4 == CHANNEL_MIN >> 12:
                end = position + CHANNEL_HEADER_LENGTH + length
                following = end + (-length % 4)
            elif first < 0x40 and length % 4 == 0:
                if available - position >= 8 and buffer[position + 4 : position + 8] != _COOKIE:
                    raise TurnStreamError("a STUN message without the magic cookie")
                end = following = position + HEADER_LENGTH + length
            else:
                raise TurnStreamError(
                    f"neither STUN nor ChannelData: {bytes(buffer[position : position + 4]).hex()}"
                )
            if following > available:
                break
            messages.append(bytes(buffer[position:end]))
            position = following
        if buffer is self._rest:
            del self._rest[:position]
        else:
            self._rest += memoryview(data)[position:]
        return messages


def pad(message: bytes) -> bytes:
    """A message as it goes onto a stream: a multiple of four bytes (RFC 8656 §12.5)."""
    return message + bytes(-len(message) % 4) if len(message) & 3 else message
