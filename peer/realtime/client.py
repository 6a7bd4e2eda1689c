"""Our side of a call with a realtime model: audio both ways, and events on one data channel."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, TypeAlias

import httpx

from peer import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection
from peer.aio.background import Background
from peer.audio import AudioSource
from peer.whip.gathered import Gathered

from .errors import RealtimeError
from .events import (
    FunctionCallArgumentsDone,
    OutputAudioCleared,
    OutputAudioStarted,
    OutputAudioStopped,
    OutputItemAdded,
    RealtimeEvent,
    ResponseCreated,
    ResponseDone,
    SessionCreated,
    SessionUpdated,
    parse_event,
)
from .heard import Heard

__all__ = ["Realtime"]

logger = logging.getLogger(__name__)

Key: TypeAlias = str | Callable[[], Awaitable[str]]
Functions: TypeAlias = Mapping[str, Callable[..., Any]]

LABEL: Final = "oai-events"
EVENTS_MAX: Final = 2000
"""Events that wait for the application. A slow reader loses the oldest."""
FUNCTIONS_MAX: Final = 16
"""Function calls that run at the same time; the model is told of those beyond."""


class Realtime:
    """A call with a realtime model: `async with Realtime.connect(key=…, session={…}) as call`.

        await call.microphone.write(pcm)          # unless you gave a track of your own
        sink = AudioSink(call.voice)              # what the model says
        async for event in call:                  # typed, see `peer.realtime.events`
            …

    The model is heard in `voice`; `interrupt()` stops it. Function calls of the model are answered by `functions`, if
    given. Iteration ends when the call does; where that was a failure, it raises `RealtimeError`.
    """

    def __init__(
        self,
        *,
        model: str | None,
        key: Key,
        session: Mapping[str, Any] | None,
        base_url: str,
        microphone: MediaStreamTrack | None,
        functions: Functions | None,
        channel_id: int | None,
        configuration: RTCConfiguration | dict[str, Any] | None,
        headers: Mapping[str, str] | None,
        http: httpx.AsyncClient | None,
        timeout: float,
    ) -> None:
        """See `connect` for the arguments."""
        self.call_id: str | None = None
        """The server's name for the call, with which a sideband can be opened."""
        self.session: dict[str, Any] = {}
        """The session as the server last told it."""
        self._wanted = dict(session) if session is not None else None
        if model is not None:
            self._wanted = {"type": "realtime", **(self._wanted or {}), "model": model}
        self._key = key
        self._url = f"{base_url.rstrip('/')}/realtime/calls"
        self._source = microphone if microphone is not None else AudioSource(24000)
        self._own_source = microphone is None
        self._functions = dict(functions or {})
        self._channel_id = channel_id
        self._configuration = configuration
        self._headers = dict(headers or {})
        self._http = http
        self._timeout = timeout
        self._pc: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._voice: MediaStreamTrack | None = None
        self._heard: Heard | None = None
        self._events: deque[RealtimeEvent] = deque(maxlen=EVENTS_MAX)
        self._news = asyncio.Event()
        self._opened = asyncio.Event()
        self._over = False
        self._failure: RealtimeError | None = None
        self._response: str | None = None
        self._sounding: str | None = None
        self._items: dict[str, str] = {}
        self._running = Background("realtime call")

    @classmethod
    def connect(
        cls,
        *,
        key: Key,
        model: str | None = None,
        session: Mapping[str, Any] | None = None,
        base_url: str = "https://api.openai.com/v1",
        microphone: MediaStreamTrack | None = None,
        functions: Functions | None = None,
        channel_id: int | None = None,
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        http: httpx.AsyncClient | None = None,
        timeout: float = 15.0,
    ) -> Realtime:
        """Prepare a call; entering it connects.

        - `key`: the server's key or an ephemeral secret, or a coroutine function that fetches one.
        - `model`, `session`: sent with the offer. Without both, as with an ephemeral secret that has a session already,
          the offer goes alone.
        - `base_url`: of any server of this protocol, up to and without `/realtime/calls`.
        - `microphone`: the track the model hears; None makes an `AudioSource` of 24 kHz, to be written to.
        - `functions`: by name, what answers the model's function calls: called with the arguments by keyword, plain or
          coroutine functions, whose result is sent as JSON (a string as it is). Their exceptions are told to the model.
        - `channel_id`: 0 to 65534 opens the channel without asking (`?dcid=`), which saves a round trip where the
          server knows it.
        - `headers`: further ones for the request, such as `OpenAI-Safety-Identifier`.
        - `http`: a client of yours, which is left open. `timeout` in seconds, for connecting.

        Entering raises `RealtimeError`; leaving closes the call.
        """
        if channel_id is not None and not 0 <= channel_id <= 65534:
            raise ValueError(f"channel_id must be 0 to 65534, not {channel_id}")
        return cls(
            model=model,
            key=key,
            session=session,
            base_url=base_url,
            microphone=microphone,
            functions=functions,
            channel_id=channel_id,
            configuration=configuration,
            headers=headers,
            http=http,
            timeout=timeout,
        )

    @property
    def pc(self) -> RTCPeerConnection:
        """The connection. Raises `RuntimeError` before the call is entered."""
        if self._pc is None:
            raise RuntimeError("the call has not been entered: use `async with`")
        return self._pc

    @property
    def microphone(self) -> AudioSource:
        """What the model hears, to be written to. Raises `RuntimeError` where a track was given instead."""
        if not self._own_source or not isinstance(self._source, AudioSource):
            raise RuntimeError("the call was given a microphone: write to that")
        return self._source

    @property
    def voice(self) -> MediaStreamTrack:
        """What the model says. Raises `RuntimeError` before the call is entered."""
        if self._voice is None:
            raise RuntimeError("the call has not been entered: use `async with`")
        return self._voice

    @property
    def heard_ms(self) -> float:
        """How much of the response that sounds now has come out of `voice`, in milliseconds; 0 while none does."""
        return self._heard.ms if self._heard is not None else 0.0

    async def send(self, type: str, **fields: Any) -> None:
        """Send an event. Raises `RealtimeError` when the call is over."""
        if self._channel is None or self._over:
            raise RealtimeError(0, "the call is over, or has not been entered")
        self._channel.send(json.dumps({"type": type, **fields}))

    async def interrupt(self) -> float:
        """Stop the model's answer, and tell the server how much of it was heard. Return that, in milliseconds.

        Sends `response.cancel` if a response is being made, and, if one sounds, `output_audio_buffer.clear` and
        `conversation.item.truncate`, so that the model knows what its listener has missed.
        """
        heard = self.heard_ms
        if self._response is not None:
            await self.send("response.cancel", response_id=self._response)
        if self._sounding is not None:
            await self.send("output_audio_buffer.clear")
            item = self._items.get(self._sounding)
            if item is not None:
                await self.send(
                    "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=int(heard)
                )
            self._silent()
        return heard

    async def send_text(self, text: str) -> None:
        """Say something to the model in writing, and ask for an answer."""
        content = [{"type": "input_text", "text": text}]
        await self.send(
            "conversation.item.create", item={"type": "message", "role": "user", "content": content}
        )
        await self.send("response.create")

    async def send_function_output(self, call_id: str, output: str) -> None:
        """Give the result of a function call, and ask the model to go on."""
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    def __aiter__(self) -> Realtime:
        return self

    async def __anext__(self) -> RealtimeEvent:
        while not self._events:
            if self._over:
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def __aenter__(self) -> Realtime:
        if self._pc is not None:
            raise RuntimeError("a call is entered once: make another")
        self._pc = RTCPeerConnection(self._configuration)
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect(self._pc)
        except TimeoutError:
            await self.close()
            raise RealtimeError(0, f"{self._url}: no call within {self._timeout:g} s") from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the call. Idempotent."""
        self._end(None)
        await self._running.aclose()
        if self._pc is not None:
            await self._pc.close()
        if self._heard is not None:
            await self._heard.close()
        if self._own_source:
            self._source.stop()

    # Connecting

    async def _connect(self, pc: RTCPeerConnection) -> None:
        pc.on("track", self._track)
        pc.on("connectionstatechange", self._state_changed)
        pc.addTrack(self._source)
        # The channel must be in the offer: nothing can be negotiated later.
        if self._channel_id is None:
            channel = pc.createDataChannel(LABEL)
        else:
            channel = pc.createDataChannel(LABEL, negotiated=True, id=self._channel_id)
        self._channel = channel
        channel.on("open", self._opened.set)
        channel.on("message", self._message)
        channel.on("close", lambda: self._end(None))
        gathered = Gathered(pc)
        await pc.setLocalDescription()
        await gathered.wait()
        assert pc.localDescription is not None
        answer = await self._post(pc.localDescription.sdp)
        await pc.setRemoteDescription({"type": "answer", "sdp": answer})
        if self._voice is None:
            raise RealtimeError(0, f"{self._url}: the server's answer has no audio")
        await self._opened.wait()
        if self._failure is not None:
            raise self._failure

    async def _post(self, offer: str) -> str:
        key = self._key if isinstance(self._key, str) else await self._key()
        headers = {**self._headers, "Authorization": f"Bearer {key}"}
        parameters = {} if self._channel_id is None else {"dcid": str(self._channel_id)}
        what: dict[str, Any]
        if self._wanted is None:
            headers["Content-Type"] = "application/sdp"
            what = {"content": offer.encode()}
        else:
            session = json.dumps(self._wanted)
            what = {
                "files": [
                    ("sdp", (None, offer.encode(), "application/sdp")),
                    ("session", (None, session.encode(), "application/json")),
                ]
            }
        http = self._http or httpx.AsyncClient()
        try:
            response = await http.post(
                self._url, params=parameters, headers=headers, timeout=self._timeout, **what
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RealtimeError(0, f"{self._url}: {error or type(error).__name__}") from error
        finally:
            if self._http is None:
                await http.aclose()
        if response.status_code not in (200, 201):
            raise RealtimeError.of_body(response.status_code, response.text)
        self.call_id = response.headers.get("location", "").partition("?")[0].rpartition("/")[2] or None
        return response.text

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._voice is None:
            self._voice = track
            self._heard = Heard(track)

    def _state_changed(self) -> None:
        if self._pc is not None and self._pc.connectionState == "failed":
            self._end(RealtimeError(0, "the connection to the server is lost"))

    def _end(self, failure: RealtimeError | None) -> None:
        if not self._over:
            self._over = True
            self._failure = failure
        self._opened.set()
        self._news.set()

    # What the server says

    def _message(self, message: str | bytes) -> None:
        try:
            event = parse_event(message)
        except ValueError as error:
            logger.warning("the server sent something else than an event: %s", error)
            return
        self._follow(event)
        self._events.append(event)
        self._news.set()

    def _follow(self, event: RealtimeEvent) -> None:
        match event:
            case SessionCreated() | SessionUpdated():
                self.session = event.session
            case ResponseCreated():
                self._response = str(event.response.get("id"))
            case ResponseDone():
                self._response = None
                self._forget(str(event.response.get("id")))
            case OutputItemAdded() if event.item.get("type") == "message":
                self._items[event.response_id] = str(event.item.get("id"))
            case OutputAudioStarted():
                self._sounding = event.response_id
                if self._heard is not None:
                    self._heard.begin()
            case OutputAudioStopped() | OutputAudioCleared():
                self._silent()
            case FunctionCallArgumentsDone() if event.name in self._functions:
                self._running.spawn(self._call(event), event.name)
            case _:
                pass

    def _silent(self) -> None:
        sounding, self._sounding = self._sounding, None
        if self._heard is not None:
            self._heard.end()
        if sounding is not None:
            self._items.pop(sounding, None)

    def _forget(self, response: str) -> None:
        # What still sounds can still be interrupted; its item is needed until then.
        for old in [each for each in self._items if each not in (response, self._sounding)]:
            del self._items[old]

    async def _call(self, event: FunctionCallArgumentsDone) -> None:
        try:
            if len(self._running) > FUNCTIONS_MAX:
                raise RuntimeError("too many functions are running")
            result = self._functions[event.name](**json.loads(event.arguments or "{}"))
            if inspect.isawaitable(result):
                result = await result
            output = result if isinstance(result, str) else json.dumps(result)
        except Exception as error:  # the application's function may raise anything: the model should know
            logger.exception("the function %s failed", event.name)
            output = json.dumps({"error": str(error) or type(error).__name__})
        if not self._over:
            await self.send_function_output(event.call_id, output)
