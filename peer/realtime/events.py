"""The server's events, typed. Those of no class here are a `RealtimeEvent` with their fields as attributes."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = [
    "EVENTS",
    "FunctionCallArgumentsDone",
    "InputCommitted",
    "InputSpeechStarted",
    "InputSpeechStopped",
    "InputTranscriptionCompleted",
    "ItemDone",
    "ItemTruncated",
    "OutputAudioCleared",
    "OutputAudioStarted",
    "OutputAudioStopped",
    "OutputItemAdded",
    "OutputTextDelta",
    "OutputTranscriptDelta",
    "OutputTranscriptDone",
    "RealtimeEvent",
    "ResponseCreated",
    "ResponseDone",
    "ServerError",
    "SessionCreated",
    "SessionUpdated",
    "parse_event",
]


class RealtimeEvent(BaseModel):
    """An event of the channel `oai-events`. Fields that have no type here are kept, and are attributes, too."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """The event's name, such as `"response.done"`."""
    event_id: str | None = None


class SessionCreated(RealtimeEvent):
    """`session.created`: the server's first word."""

    session: dict[str, Any]


class SessionUpdated(RealtimeEvent):
    """`session.updated`: the settings as they are now."""

    session: dict[str, Any]


class ItemDone(RealtimeEvent):
    """`conversation.item.done`: an item of the conversation is complete."""

    item: dict[str, Any]
    previous_item_id: str | None = None


class ItemTruncated(RealtimeEvent):
    """`conversation.item.truncated`: what was not heard of an item is forgotten."""

    item_id: str
    content_index: int
    audio_end_ms: int


class InputSpeechStarted(RealtimeEvent):
    """`input_audio_buffer.speech_started`: the server hears the user speak."""

    audio_start_ms: int
    item_id: str


class InputSpeechStopped(RealtimeEvent):
    """`input_audio_buffer.speech_stopped`: the user is silent again."""

    audio_end_ms: int
    item_id: str


class InputCommitted(RealtimeEvent):
    """`input_audio_buffer.committed`: what was heard is an item of the conversation."""

    item_id: str
    previous_item_id: str | None = None


class InputTranscriptionCompleted(RealtimeEvent):
    """`conversation.item.input_audio_transcription.completed`: what the user said."""

    item_id: str
    content_index: int = 0
    transcript: str


class ResponseCreated(RealtimeEvent):
    """`response.created`: the model begins to answer."""

    response: dict[str, Any]


class ResponseDone(RealtimeEvent):
    """`response.done`: the answer is made, or was cancelled. It may still be playing."""

    response: dict[str, Any]


class OutputItemAdded(RealtimeEvent):
    """`response.output_item.added`: a message or a function call begins."""

    item: dict[str, Any]
    response_id: str
    output_index: int = 0


class OutputTextDelta(RealtimeEvent):
    """`response.output_text.delta`."""

    delta: str
    response_id: str
    item_id: str


class OutputTranscriptDelta(RealtimeEvent):
    """`response.output_audio_transcript.delta`: words of what is being said."""

    delta: str
    response_id: str
    item_id: str
    content_index: int = 0


class OutputTranscriptDone(RealtimeEvent):
    """`response.output_audio_transcript.done`: all words of what is being said."""

    transcript: str
    response_id: str
    item_id: str
    content_index: int = 0


class FunctionCallArgumentsDone(RealtimeEvent):
    """`response.function_call_arguments.done`: the model calls a function."""

    call_id: str
    name: str = ""
    arguments: str
    """JSON, as the model wrote it."""
    item_id: str = ""
    response_id: str = ""


class OutputAudioStarted(RealtimeEvent):
    """`output_audio_buffer.started`: the sound of a response begins."""

    response_id: str


class OutputAudioStopped(RealtimeEvent):
    """`output_audio_buffer.stopped`: the sound of a response has ended."""

    response_id: str


class OutputAudioCleared(RealtimeEvent):
    """`output_audio_buffer.cleared`: the rest of a response's sound is thrown away."""

    response_id: str | None = None


class ServerError(RealtimeEvent):
    """`error`: the server did not do what an event asked. The call goes on."""

    error: dict[str, Any]


EVENTS: Final[dict[str, type[RealtimeEvent]]] = {
    "session.created": SessionCreated,
    "session.updated": SessionUpdated,
    "conversation.item.done": ItemDone,
    "conversation.item.truncated": ItemTruncated,
    "conversation.item.input_audio_transcription.completed": InputTranscriptionCompleted,
    "input_audio_buffer.speech_started": InputSpeechStarted,
    "input_audio_buffer.speech_stopped": InputSpeechStopped,
    "input_audio_buffer.committed": InputCommitted,
    "output_audio_buffer.started": OutputAudioStarted,
    "output_audio_buffer.stopped": OutputAudioStopped,
    "output_audio_buffer.cleared": OutputAudioCleared,
    "response.created": ResponseCreated,
    "response.done": ResponseDone,
    "response.output_item.added": OutputItemAdded,
    "response.output_text.delta": OutputTextDelta,
    "response.output_audio_transcript.delta": OutputTranscriptDelta,
    "response.output_audio_transcript.done": OutputTranscriptDone,
    "response.function_call_arguments.done": FunctionCallArgumentsDone,
    "error": ServerError,
}
"""The class of each event that has one, by name."""


def parse_event(message: str | bytes) -> RealtimeEvent:
    """Read an event. One that lacks fields of its class is a plain `RealtimeEvent`.

    Raises `ValueError` for what is no event at all: no JSON object, or one without a `type`.
    """
    try:
        fields = json.loads(message)
    except RecursionError:
        raise ValueError("an event is nested too deeply") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ValueError("an event is a JSON object with a type")
    kind = EVENTS.get(fields["type"], RealtimeEvent)
    try:
        return kind.model_validate(fields)
    except ValidationError:
        return RealtimeEvent.model_validate({**fields, "event_id": None})
