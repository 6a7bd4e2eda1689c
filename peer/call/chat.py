"""Chat with one peer: plain text over a data channel, whichever connection carries it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Chat", "ChatBacklogFull"]

BACKLOG: Final = 50


class ChatBacklogFull(Exception):
    """Too many messages wait for a peer's chat to open: wait until it is connected, or send less."""


class Chat:
    """Keeps what is said before a channel is open, at most 50 messages, and says it in order once one is."""

    def __init__(self, name: str, heard: Callable[[str], object]) -> None:
        self._name = name
        self._heard = heard
        self._channel: Any = None
        self._backlog: deque[str] = deque()

    def say(self, text: str) -> None:
        """Raises `TypeError` for what is not text, and `ChatBacklogFull`."""
        if not isinstance(text, str):
            raise TypeError(f"chat takes text, not {type(text).__name__}: open a data channel for bytes")
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(text)
        elif len(self._backlog) < BACKLOG:
            self._backlog.append(text)
        else:
            raise ChatBacklogFull(f"{BACKLOG} messages already wait for {self._name} to be connected")

    def use(self, channel: Any) -> None:
        """Talk over this channel as soon as it is open, and listen to it."""

        def opened() -> None:
            self._channel = channel
            while self._backlog and channel.readyState == "open":
                channel.send(self._backlog.popleft())

        def received(text: str | bytes) -> None:
            self._heard(text if isinstance(text, str) else text.decode(errors="replace"))

        channel.on("open", opened)
        channel.on("message", received)
        if channel.readyState == "open":
            opened()

    def hold(self) -> None:
        """Wait for another channel."""
        self._channel = None
