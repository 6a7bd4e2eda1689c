"""The items of a conversation as the server keeps them, and what the client asks an answer to."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from peer.audio.opus import Pcm

__all__ = ["Conversation", "Prompt", "new_id"]

ITEMS_MAX: Final = 1000
"""Items that are kept; the oldest goes."""


def new_id(kind: str) -> str:
    """Return an id as the protocol has them: `item_…`, `resp_…`, `event_…`."""
    return f"{kind}_{secrets.token_hex(12)}"


@dataclass
class Prompt:
    """What the client wants an answer to: everything that came since the last one."""

    speech: Pcm | None = None
    """What was said, 16 kHz, int16, shape (frames, 1); None where nothing was."""
    item_id: str = ""
    """The item of `speech`, for its transcription."""
    text: str = ""
    """What was written."""
    function_outputs: dict[str, str] = field(default_factory=dict)
    """Results of function calls, by call id."""
    response: dict[str, Any] = field(default_factory=dict)
    """The settings that came with `response.create`, such as `instructions` for this answer."""


class Conversation:
    """Items in their order, by id."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        """The items, oldest first."""
        self._pending = Prompt()

    @property
    def last_id(self) -> str | None:
        """The newest item's id."""
        return next(reversed(self.items), None)

    def add(self, item: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Append an item. Return it with its id, and the id of the one before. Raises `ValueError` for no item."""
        kind = item.get("type")
        if kind not in ("message", "function_call", "function_call_output"):
            raise ValueError(f"an item is a message, function_call or function_call_output, not {kind!r}")
        kept = {"object": "realtime.item", "status": "completed", **item}
        kept["id"] = str(item.get("id") or new_id("item"))
        if kept["id"] in self.items:
            raise ValueError(f"there is an item {kept['id']!r} already")
        previous = self.last_id
        if len(self.items) >= ITEMS_MAX:
            del self.items[next(iter(self.items))]
        self.items[kept["id"]] = kept
        return kept, previous

    def ask(self, item: Mapping[str, Any]) -> None:
        """Let an item the client made be part of the next prompt."""
        if item["type"] == "function_call_output":
            self._pending.function_outputs[str(item.get("call_id"))] = str(item.get("output", ""))
        elif item["type"] == "message" and item.get("role") == "user":
            content = item.get("content")
            parts = content if isinstance(content, list) else []
            written = [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]
            self._pending.text = "\n".join(filter(None, [self._pending.text, *written]))

    def hear(self, item_id: str, speech: Pcm) -> None:
        """Let speech be part of the next prompt."""
        self._pending.speech, self._pending.item_id = speech, item_id

    def prompt(self, response: Mapping[str, Any]) -> Prompt:
        """Return what came since the last prompt."""
        prompt, self._pending = self._pending, Prompt()
        prompt.response = dict(response)
        return prompt
