"""One answer of the agent: its sound, its words, its function calls, and how much of it was heard."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

from peer import MediaStreamError
from peer.audio import AudioSource

from .conversation import Conversation, new_id

__all__ = ["ResponseOwner", "SpokenResponse"]


class ResponseOwner(Protocol):
    """The call an answer belongs to."""

    @property
    def voice(self) -> AudioSource:
        """What the client hears."""

    @property
    def conversation(self) -> Conversation:
        """The items so far."""

    def send(self, type: str, **fields: Any) -> None:
        """Send an event to the client."""

    def begun(self, response: SpokenResponse) -> None:
        """Note that this answer can be interrupted from now on."""

    def ended(self, response: SpokenResponse) -> None:
        """Note that it cannot any more."""


class SpokenResponse:
    """An answer that is being given: `async with call.respond() as response`.

    Leaving the block tells the client that the answer is complete, and waits until it has been played. When the user
    interrupts it, `say` returns False and `interrupted` is True: there is nothing more to do then.
    """

    def __init__(self, call: ResponseOwner) -> None:
        self.id = new_id("resp")
        """The answer's name in every event about it."""
        self.interrupted = False
        """Whether it was stopped before its end."""
        self.heard_ms = 0.0
        """How much of it had been played when it was over, in milliseconds."""
        self.first_sound_at: float | None = None
        """When its first sound was handed to be sent, by the event loop's clock."""
        self._call = call
        self._output: list[dict[str, Any]] = []
        self._message: dict[str, Any] | None = None
        self._written_ms = 0.0
        self._before_ms = 0.0
        self._pieces: list[tuple[str, float]] = []
        self._done = False
        self._over = False

    @property
    def transcript(self) -> str:
        """All words that were given to `say`."""
        return "".join(text for text, _ in self._pieces)

    @property
    def heard_transcript(self) -> str:
        """The words that were played: whole pieces, and of the last one as many words as its share of the time."""
        heard, begun = "", 0.0
        played = self.played_ms
        for text, end in self._pieces:
            if played >= end:
                heard += text
            elif played > begun:
                words = text.split(" ")
                heard += " ".join(words[: int(len(words) * (played - begun) / (end - begun))])
            begun = end
        return heard

    @property
    def played_ms(self) -> float:
        """How much has been played until now, in milliseconds."""
        if self._over:
            return self.heard_ms
        return (
            min(self._before_ms + self._call.voice.played_ms, self._written_ms) if self._written_ms else 0.0
        )

    async def say(self, pcm: bytes | NDArray[Any], transcript: str = "") -> bool:
        """Say a piece: its sound (24 kHz, mono; bytes of 16 bits, or an array of int16 or floats), and its words.

        Waits while more than a second is queued. Return False once the answer is interrupted.
        """
        if self.interrupted:
            return False
        voice = self._call.voice
        message = self._speaking()
        if not voice.queued_ms and self._written_ms > self._before_ms:
            # All of it was played: silence until now is no part of the answer.
            self._before_ms = self._written_ms
            voice.clear()
        frames = len(pcm) // 2 if isinstance(pcm, bytes) else len(pcm)
        self._written_ms += frames * 1000 / voice.sample_rate
        if self.first_sound_at is None and frames:
            self.first_sound_at = asyncio.get_running_loop().time()
            self._call.send("output_audio_buffer.started", response_id=self.id)
        if transcript:
            self._call.send(
                "response.output_audio_transcript.delta", delta=transcript, **self._place(message)
            )
        self._pieces.append((transcript, self._written_ms))
        try:
            return await voice.write(pcm) and not self.interrupted
        except MediaStreamError:  # the call is over
            self.interrupt()
            return False

    def write_text(self, text: str) -> bool:
        """Answer in writing only. Return False once the answer is interrupted."""
        if self.interrupted:
            return False
        item = self._begin_item({"type": "message", "role": "assistant", "content": []})
        part = {"type": "output_text", "text": text}
        place = self._place(item)
        self._call.send("response.content_part.added", part={**part, "text": ""}, **place)
        self._call.send("response.output_text.delta", delta=text, **place)
        self._call.send("response.output_text.done", text=text, **place)
        self._call.send("response.content_part.done", part=part, **place)
        item["content"] = [part]
        self._finish_item(item, "completed")
        return True

    def call_function(self, name: str, arguments: dict[str, Any]) -> str:
        """Ask the client to run a function. Return the call id, under which the result comes in a later prompt."""
        call_id, text = new_id("call"), json.dumps(arguments)
        item = self._begin_item({"type": "function_call", "call_id": call_id, "name": name, "arguments": ""})
        place = {key: value for key, value in self._place(item).items() if key != "content_index"}
        self._call.send("response.function_call_arguments.delta", call_id=call_id, delta=text, **place)
        self._call.send(
            "response.function_call_arguments.done", call_id=call_id, name=name, arguments=text, **place
        )
        item["arguments"] = text
        self._finish_item(item, "completed")
        return call_id

    def interrupt(self, reason: str = "client_cancelled") -> None:
        """Fall silent within a frame, and tell the client what it has heard. Idempotent.

        `reason` is the protocol's: `client_cancelled` or `turn_detected`.
        """
        if self._over:
            return
        played = self.played_ms
        self._call.voice.clear()
        self.heard_ms = played
        self.interrupted = self._over = True
        if not self._done:
            self._finish("cancelled", {"type": "cancelled", "reason": reason})
        if self.first_sound_at is not None:
            self._call.send("output_audio_buffer.cleared", response_id=self.id)
            self._truncate()
        self._call.ended(self)

    def _truncate(self) -> None:
        if self._message is not None:
            item_id = self._message["id"]
            self._message["content"] = [{"type": "output_audio", "transcript": self.heard_transcript}]
            self._call.send(
                "conversation.item.truncated",
                item_id=item_id,
                content_index=0,
                audio_end_ms=int(self.heard_ms),
            )

    async def __aenter__(self) -> SpokenResponse:
        self._call.begun(self)
        self._call.send("response.created", response=self._described("in_progress"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.interrupted:
            return
        if error is not None:
            self.interrupt()
            return
        self._finish("completed", None)
        if self.first_sound_at is not None:
            await self._call.voice.wait_for_playout()
        if not self.interrupted:
            self.heard_ms, self._over = self._written_ms, True
            if self.first_sound_at is not None:
                self._call.send("output_audio_buffer.stopped", response_id=self.id)
            self._call.ended(self)

    def _speaking(self) -> dict[str, Any]:
        if self._message is None:
            self._message = self._begin_item({"type": "message", "role": "assistant", "content": []})
            self._call.send(
                "response.content_part.added",
                part={"type": "audio", "transcript": ""},
                **self._place(self._message),
            )
            # A new utterance, whatever was played before.
            self._call.voice.clear()
        return self._message

    def _begin_item(self, item: dict[str, Any]) -> dict[str, Any]:
        kept, previous = self._call.conversation.add(item)
        kept["status"] = "in_progress"
        self._output.append(kept)
        place = {"response_id": self.id, "output_index": len(self._output) - 1}
        self._call.send("response.output_item.added", item=dict(kept), **place)
        self._call.send("conversation.item.added", item=dict(kept), previous_item_id=previous)
        return kept

    def _finish_item(self, item: dict[str, Any], status: str) -> None:
        item["status"] = status
        place = {"response_id": self.id, "output_index": self._output.index(item)}
        self._call.send("response.output_item.done", item=dict(item), **place)
        self._call.send("conversation.item.done", item=dict(item))

    def _place(self, item: dict[str, Any]) -> dict[str, Any]:
        index = self._output.index(item)
        return {"response_id": self.id, "item_id": item["id"], "output_index": index, "content_index": 0}

    def _finish(self, status: str, details: dict[str, Any] | None) -> None:
        self._done = True
        if self._message is not None:
            place, words = self._place(self._message), self.transcript
            self._call.send("response.output_audio.done", **place)
            self._call.send("response.output_audio_transcript.done", transcript=words, **place)
            self._call.send(
                "response.content_part.done", part={"type": "audio", "transcript": words}, **place
            )
            self._message["content"] = [{"type": "output_audio", "transcript": words}]
            self._finish_item(self._message, "completed" if status == "completed" else "incomplete")
        described = self._described(status)
        if details is not None:
            described["status_details"] = details
        self._call.send("response.done", response=described)

    def _described(self, status: str) -> dict[str, Any]:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": None,
            "output": [dict(item) for item in self._output],
            "output_modalities": ["audio"],
            "usage": None,
            "metadata": None,
        }
