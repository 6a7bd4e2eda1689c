"""One call of a server with a client: what the agent behind it sees."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from peer import (
    InvalidDescriptionError,
    MediaStream,
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCError,
    RTCPeerConnection,
)
from peer.aio.background import Background
from peer.audio import AudioSource, VoiceActivityDetector
from peer.audio.opus import Pcm
from peer.whip.gathered import Gathered

from .conversation import Conversation, Prompt, new_id
from .errors import RealtimeError
from .hearing import Hearing
from .settings import merged
from .spoken_response import SpokenResponse

__all__ = ["Agent", "AgentCall", "Sideband"]

logger = logging.getLogger(__name__)

LABEL: Final = "oai-events"
ABSENT: Final = 30.0
"""Seconds a call lives that has no path to its client: none yet, or none any more."""
EARLY_MAX: Final = 500
"""Events that wait for the channel to open."""
PROMPTS_MAX: Final = 32
"""Prompts that wait for the agent; a client that asks for more is told so."""
BACKLOG_MAX: Final = 4 * 1024 * 1024
"""Bytes that wait for a client that does not take them, after which its call ends."""


class Sideband(Protocol):
    """Somebody else who sees the call's events."""

    def send(self, message: str) -> None:
        """Take an event of the server's."""


class AgentCall:
    """A client that has called. Handed to the agent: iterate for what it wants answered, and `respond`.

        async def agent(call: AgentCall) -> None:
            async for prompt in call:
                async with call.respond() as response:
                    await response.say(await synthesize(prompt), transcript="…")

    The call ends when the agent returns.
    """

    def __init__(
        self,
        session: Mapping[str, Any],
        *,
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        vad: Callable[[], VoiceActivityDetector] | None = None,
        on_over: Callable[[AgentCall], object] | None = None,
    ) -> None:
        self.id = new_id("rtc")
        """Name of the call in its URL and for sidebands."""
        self.session: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": new_id("sess"),
            **session,
        }
        """The session's settings as the client last wished them: `instructions`, `tools`, `audio`, …"""
        self.voice = AudioSource(24000)
        """What the client hears; `respond` writes to it."""
        self.microphone: MediaStreamTrack | None = None
        """What the client says, as a track, for agents that listen on their own."""
        self.conversation = Conversation()
        """The items so far."""
        self.pc = RTCPeerConnection(configuration)
        """The connection."""
        self.sidebands: set[Sideband] = set()
        self._hearing = Hearing(self, vad)
        self._hearing.configure(self._detection())
        self._channel: RTCDataChannel | None = None
        self._early: deque[str] = deque(maxlen=EARLY_MAX)
        self._prompts: asyncio.Queue[Prompt | None] = asyncio.Queue(PROMPTS_MAX)
        self._response: SpokenResponse | None = None
        self._speaking_item = ""
        self._over = asyncio.Event()
        self._on_over = on_over
        self._running = Background(f"realtime call {self.id}")
        self._listening: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._absent: asyncio.TimerHandle | None = None
        self.pc.on("track", self._track)
        self.pc.on("datachannel", self._channel_came)
        self.pc.on("connectionstatechange", self._watch)
        self._watch()

    def __repr__(self) -> str:
        return f"<AgentCall {self.id} {self.pc.connectionState}>"

    # What the agent does

    def __aiter__(self) -> AsyncIterator[Prompt]:
        return self._each_prompt()

    async def _each_prompt(self) -> AsyncIterator[Prompt]:
        while not self._over.is_set() and (prompt := await self._prompts.get()) is not None:
            yield prompt

    def respond(self) -> SpokenResponse:
        """Begin an answer. One that is still being given is interrupted by it."""
        return SpokenResponse(self)

    def interrupt(self, reason: str = "client_cancelled") -> None:
        """Stop the answer that is being given, if there is one."""
        if self._response is not None:
            self._response.interrupt(reason)

    def transcribed(self, prompt: Prompt, text: str) -> None:
        """Tell the client what the user was understood to say."""
        self.send(
            "conversation.item.input_audio_transcription.completed",
            item_id=prompt.item_id,
            content_index=0,
            transcript=text,
        )

    def send(self, type: str, **fields: Any) -> None:
        """Send an event to the client; it waits until the channel is open. Nothing is sent once the call is over."""
        message = json.dumps({"type": type, "event_id": new_id("event"), **fields})
        for sideband in tuple(self.sidebands):
            sideband.send(message)
        channel = self._channel
        if channel is None or channel.readyState == "connecting":
            self._early.append(message)
        elif channel.readyState == "open":
            if channel.bufferedAmount > BACKLOG_MAX:
                self.end()
                return
            try:
                channel.send(message)
            except RTCError as error:
                logger.warning("%r: %s was not sent: %s", self, type, error)

    async def closed(self) -> None:
        """Wait until the call is over."""
        await self._over.wait()

    def end(self) -> None:
        """End the call, without waiting for it."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())

    async def close(self) -> None:
        """End the call. Idempotent."""
        self.end()
        assert self._ending is not None
        await asyncio.shield(self._ending)

    # What the routes do

    async def answer(self, offer: str, channel_id: int | None, gathering: float | None) -> str:
        """Take an offer and return the answer with its candidates. Raises `RealtimeError` for one that cannot be."""
        try:
            await self.pc.setRemoteDescription({"type": "offer", "sdp": offer})
        except (InvalidDescriptionError, ValueError, TypeError) as error:
            raise RealtimeError(400, f"the offer cannot be used: {error}", code="invalid_offer") from None
        if self.microphone is None:
            raise RealtimeError(400, "the offer has no audio to receive", code="invalid_offer")
        self.pc.addTrack(self.voice, MediaStream([self.voice]))
        if channel_id is not None:
            self._use(self.pc.createDataChannel(LABEL, negotiated=True, id=channel_id))
        gathered = Gathered(self.pc)
        await self.pc.setLocalDescription()
        await (gathered.wait() if gathering is None else gathered.wait_for_all(gathering))
        assert self.pc.localDescription is not None
        return self.pc.localDescription.sdp

    def run(self, agent: Agent) -> None:
        """Let the agent begin."""
        self.send("session.created", session=self.session)
        assert self.microphone is not None
        self._listening = self._running.spawn(self._hearing.listen(self.microphone), "microphone")
        self._running.spawn(self._run(agent), "agent")

    def receive(self, message: str | bytes) -> None:
        """Take a client's event, from the channel or from a sideband."""
        event: Any = None
        try:
            event = json.loads(message)
            if not isinstance(event, dict) or not isinstance(event.get("type"), str):
                raise ValueError("an event is a JSON object with a type")
            self._obey(event)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            event_id = event.get("event_id") if isinstance(event, dict) else None
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            self._refuse(reason, event_id)

    # What a `Hearing` tells

    def speech_started(self, at_ms: int) -> None:
        """Stop an answer that is being given, unless the session forbids it."""
        self._speaking_item = new_id("item")
        self.send("input_audio_buffer.speech_started", audio_start_ms=at_ms, item_id=self._speaking_item)
        if self._detection_option("interrupt_response"):
            self.interrupt("turn_detected")

    def speech_ended(self, at_ms: int, samples: Pcm) -> None:
        """Make a prompt of what was said."""
        item_id = self._speaking_item or new_id("item")
        self.send("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item_id)
        self._commit(samples, item_id)
        if self._detection_option("create_response"):
            self._ask({})

    # What a `SpokenResponse` tells

    def begun(self, response: SpokenResponse) -> None:
        """Let an answer take the place of the one before."""
        self.interrupt()
        self._response = response

    def ended(self, response: SpokenResponse) -> None:
        """Forget an answer that cannot be interrupted any more."""
        if self._response is response:
            self._response = None

    # Events of the client

    def _obey(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self._update(event["session"])
            case "conversation.item.create":
                item, previous = self.conversation.add(event["item"])
                self.conversation.ask(item)
                self.send("conversation.item.added", item=item, previous_item_id=previous)
                self.send("conversation.item.done", item=item, previous_item_id=previous)
            case "conversation.item.retrieve":
                self.send("conversation.item.retrieved", item=self._item(event))
            case "conversation.item.delete":
                del self.conversation.items[self._item(event)["id"]]
                self.send("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.truncate":
                self._truncate(event)
            case "input_audio_buffer.commit":
                samples = self._hearing.commit()
                if samples is None:
                    raise ValueError("nothing was heard since the last commit")
                self._commit(samples, new_id("item"))
            case "input_audio_buffer.clear":
                self._hearing.clear()
                self.send("input_audio_buffer.cleared")
            case "response.create":
                self._ask(event.get("response") or {})
            case "response.cancel" | "output_audio_buffer.clear":
                self.interrupt()
            case unknown:
                raise ValueError(f"{unknown[:100]!r} is no event of a client on this channel")

    def _update(self, changes: Any) -> None:
        session = merged(self.session, changes)
        self._hearing.configure(self._detection(session))
        self.session = session
        self.send("session.updated", session=session)

    def _detection(self, session: Mapping[str, Any] | None = None) -> Any:
        audio = (self.session if session is None else session).get("audio") or {}
        return (audio.get("input") or {}).get("turn_detection", {"type": "server_vad"})

    def _detection_option(self, name: str) -> bool:
        detection = self._detection()
        return isinstance(detection, dict) and detection.get(name) is not False

    def _item(self, event: Mapping[str, Any]) -> dict[str, Any]:
        item = self.conversation.items.get(event["item_id"])
        if item is None:
            raise ValueError(f"there is no item {str(event['item_id'])[:100]!r}")
        return item

    def _truncate(self, event: Mapping[str, Any]) -> None:
        item, end = self._item(event), event["audio_end_ms"]
        if not isinstance(end, int) or end < 0:
            raise ValueError("audio_end_ms is a whole number of milliseconds")
        if self._response is not None:
            self.interrupt()
        # What the client says it has heard is kept beside what was played here.
        item["audio_end_ms"] = end
        self.send("conversation.item.truncated", item_id=item["id"], content_index=0, audio_end_ms=end)

    def _commit(self, samples: Pcm, item_id: str) -> None:
        previous = self.conversation.last_id
        content = [{"type": "input_audio", "transcript": None}]
        item, _ = self.conversation.add(
            {"type": "message", "role": "user", "id": item_id, "content": content}
        )
        self.conversation.hear(item_id, samples)
        self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self.send("conversation.item.added", item=item, previous_item_id=previous)
        self.send("conversation.item.done", item=item, previous_item_id=previous)

    def _ask(self, response: Mapping[str, Any]) -> None:
        if self._prompts.full():
            self._refuse("the agent is busy with earlier prompts", None)
            return
        self._prompts.put_nowait(self.conversation.prompt(response))

    def _refuse(self, reason: str, event_id: Any) -> None:
        error = {"type": "invalid_request_error", "code": "invalid_value", "message": reason, "param": None}
        self.send("error", error={**error, "event_id": event_id})

    # The connection

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self.microphone is None:
            self.microphone = track

    def _channel_came(self, channel: RTCDataChannel) -> None:
        if channel.label == LABEL and self._channel is None:
            self._use(channel)

    def _use(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self.receive)
        channel.on("open", self._flush)
        channel.on("close", self.end)
        self._flush()

    def _flush(self) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            while self._early:
                self._channel.send(self._early.popleft())

    def _watch(self) -> None:
        state = self.pc.connectionState
        if self._absent is not None:
            self._absent.cancel()
            self._absent = None
        if state in ("failed", "closed"):
            self.end()
        elif state != "connected" and self._ending is None:
            self._absent = asyncio.get_running_loop().call_later(ABSENT, self.end)

    async def _run(self, agent: Agent) -> None:
        try:
            await agent(self)
        except Exception:  # the application's agent may raise anything
            logger.exception("%r: the agent failed", self)
            error = {"type": "server_error", "code": None, "message": "the agent failed", "param": None}
            self.send("error", error=error)
        self.end()

    async def _end(self) -> None:
        self._over.set()
        if self._absent is not None:
            self._absent.cancel()
        if self._on_over is not None:
            self._on_over(self)
        if self._prompts.full():
            self._prompts.get_nowait()
        self._prompts.put_nowait(None)
        self.voice.stop()
        if self._listening is not None:
            self._listening.cancel()
        await self._running.aclose(patience=1.0)
        await self.pc.close()


Agent: TypeAlias = Callable[[AgentCall], Awaitable[object]]
"""What answers a call: a coroutine function that is given it."""
