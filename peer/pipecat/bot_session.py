"""A client's session with a bot: it outlives the connections that carry it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

from peer import (
    MediaStream,
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCError,
    RTCPeerConnection,
)
from peer.aio.background import Background
from peer.audio import AudioSource
from peer.whip.gathered import Gathered

from .requests import CandidatesRequest
from .rtvi import PROTOCOL_VERSION, RtviMessage, parse_message, signalling

__all__ = ["Bot", "BotSession"]

logger = logging.getLogger(__name__)

ABSENT: Final = 30.0
"""Seconds a session lives without a connection: its client makes a new one 5 s after it has lost one."""
MESSAGES_MAX: Final = 1000
"""Messages that wait for the bot, and those that wait for the channel. The oldest go."""
TRACKS_MAX: Final = 64
"""Tracks that wait for the bot."""
BACKLOG_MAX: Final = 4 * 1024 * 1024
"""Bytes that wait for a client that does not take them, after which its session ends."""


class BotSession:
    """A client that has come. Handed to the bot: iterate for its messages, `tracks()` for what it sends.

        async def bot(session: BotSession) -> None:
            async for message in session:
                if message.type == "send-text":
                    await session.voice.write(await synthesize(message.data["content"]))

    The session ends when the bot returns. When the client reconnects (`restart_pc`), `voice` goes on in the new
    connection and its tracks come anew.
    """

    def __init__(
        self,
        data: Any,
        *,
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        on_over: Callable[[BotSession], object] | None = None,
    ) -> None:
        self.data = data
        """What the client gave to `/start` as `body`, or with its offer as `requestData`."""
        self.voice = AudioSource(24000)
        """What the client hears."""
        self.enabled: dict[int, bool] = {}
        """Which of the client's tracks are on: 0 microphone, 1 camera, 2 screen."""
        self.client: dict[str, Any] = {}
        """What the client said of itself with `client-ready`: `version`, `about`."""
        self.pc_id = ""
        """Name of the present connection; whoever knows it may renegotiate."""
        self._pc: RTCPeerConnection | None = None
        self._configuration = configuration
        self._on_over = on_over
        self._channel: RTCDataChannel | None = None
        self._early: deque[str] = deque(maxlen=MESSAGES_MAX)
        self._messages: deque[RtviMessage] = deque(maxlen=MESSAGES_MAX)
        self._news = asyncio.Event()
        self._tracks: deque[MediaStreamTrack] = deque(maxlen=TRACKS_MAX)
        self._track_came = asyncio.Event()
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._absent: asyncio.TimerHandle | None = None
        self._negotiating = asyncio.Lock()
        self._ending: asyncio.Task[None] | None = None
        self._running = Background("pipecat session")

    def __repr__(self) -> str:
        state = self._pc.connectionState if self._pc is not None else "new"
        return f"<BotSession {self.pc_id[:8]} {state}>"

    # What the bot does

    @property
    def pc(self) -> RTCPeerConnection:
        """The present connection. Raises `RuntimeError` before the first."""
        if self._pc is None:
            raise RuntimeError("the session has no connection yet")
        return self._pc

    async def ready(self) -> None:
        """Wait until the client is ready to hear and see, or the session is over."""
        await self._ready.wait()

    async def __aiter__(self) -> AsyncIterator[RtviMessage]:
        """Yield the client's messages but for `client-ready`, which is answered, until the session is over."""
        while True:
            while self._messages:
                yield self._messages.popleft()
            if self._over.is_set():
                return
            self._news.clear()
            await self._news.wait()

    async def tracks(self) -> AsyncIterator[MediaStreamTrack]:
        """Yield the client's tracks as they come, also those of later connections, until the session is over."""
        while True:
            while self._tracks:
                yield self._tracks.popleft()
            if self._over.is_set():
                return
            self._track_came.clear()
            await self._track_came.wait()

    def send(self, type: str, data: Any = None, *, id: str | None = None) -> None:
        """Send an RTVI message; it waits until the channel is open. Nothing is sent once the session is over.

        `id` is that of the message this one answers.
        """
        message = RtviMessage(type=type, data=data, id=id)
        self._put(message.model_dump_json(exclude_none=True))

    def interrupt(self) -> float:
        """Fall silent within 20 ms and tell the client. Return the milliseconds of the utterance that were played."""
        heard = self.voice.clear()
        self.send("bot-interrupted")
        return heard

    def renegotiate(self) -> None:
        """Ask the client for a new offer, as after a change of tracks."""
        self._put(signalling("renegotiate"))

    async def closed(self) -> None:
        """Wait until the session is over."""
        await self._over.wait()

    def end(self) -> None:
        """End the session, without waiting for it."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())

    async def close(self) -> None:
        """Tell the client that the bot has left, and end the session. Idempotent."""
        self.end()
        assert self._ending is not None
        await asyncio.shield(self._ending)

    # What the routes do

    def run(self, bot: Bot) -> None:
        """Let the bot begin."""
        self._running.spawn(self._run(bot), "bot")

    async def connect(self, offer: str) -> str:
        """Answer an offer with a new connection, which takes the place of the one before under a new `pc_id`.

        Raises `ValueError` or `InvalidDescriptionError` for an offer that cannot be; the old connection stays then.
        """
        async with self._negotiating:
            pc = RTCPeerConnection(self._configuration)
            pc.on("track", self._track)
            pc.on("datachannel", self._channel_came)
            pc.on("connectionstatechange", lambda: self._watch(pc))
            try:
                answer = await self._answer(pc, offer)
            except BaseException:
                await pc.close()
                raise
            old, self._pc = self._pc, pc
            self.pc_id = secrets.token_hex(16)
            self._watch(pc)
            if old is not None:
                await old.close()
            return answer

    async def renegotiated(self, offer: str) -> str:
        """Answer a further offer of the present connection. Raises as `connect`."""
        async with self._negotiating:
            return await self._answer(self.pc, offer)

    async def candidates(self, request: CandidatesRequest) -> None:
        """Take candidates of the client. Those that cannot be used are dropped."""
        for each in request.candidates:
            candidate = {
                "candidate": each.candidate,
                "sdpMid": each.sdp_mid,
                "sdpMLineIndex": each.sdp_mline_index,
            }
            try:
                await self.pc.addIceCandidate(candidate)
            except (RTCError, ValueError, TypeError) as error:
                logger.info("%r: a candidate is dropped: %s", self, error)

    async def _answer(self, pc: RTCPeerConnection, offer: str) -> str:
        await pc.setRemoteDescription({"type": "offer", "sdp": offer})
        if not any(transceiver.kind == "audio" for transceiver in pc.getTransceivers()):
            raise ValueError("it has no audio")
        if not any(sender.track is self.voice for sender in pc.getSenders()):
            pc.addTrack(self.voice, MediaStream([self.voice]))
        # The protocol has no candidates of a server but those of the answer.
        gathered = Gathered(pc)
        await pc.setLocalDescription()
        await gathered.wait()
        assert pc.localDescription is not None
        return pc.localDescription.sdp

    # The connection

    def _track(self, track: MediaStreamTrack) -> None:
        self._tracks.append(track)
        self._track_came.set()

    def _channel_came(self, channel: RTCDataChannel) -> None:
        if channel.label != "chat":
            return
        self._channel = channel
        channel.on("message", self._receive)
        channel.on("open", lambda: self._flush(channel))
        self._flush(channel)

    def _flush(self, channel: RTCDataChannel) -> None:
        while channel is self._channel and channel.readyState == "open" and self._early:
            channel.send(self._early.popleft())

    def _put(self, text: str) -> None:
        channel = self._channel
        if self._over.is_set():
            return
        if channel is None or channel.readyState != "open":
            self._early.append(text)
        elif channel.bufferedAmount > BACKLOG_MAX:
            self.end()
        else:
            try:
                channel.send(text)
            except RTCError as error:
                logger.warning("%r: a message was not sent: %s", self, error)

    def _receive(self, text: str | bytes) -> None:
        message = parse_message(text)
        if isinstance(message, dict):
            index = message.get("receiver_index")
            if message.get("type") == "trackStatus" and index in (0, 1, 2):
                self.enabled[index] = bool(message.get("enabled"))
        elif message is None:
            return
        elif message.type == "client-ready":
            self.client = message.data if isinstance(message.data, dict) else {}
            self.send(
                "bot-ready",
                {"version": PROTOCOL_VERSION, "about": {"library": "webrtc-peer"}},
                id=message.id,
            )
            self._ready.set()
        elif message.type == "disconnect-bot":
            self.end()
        else:
            self._messages.append(message)
            self._news.set()

    def _watch(self, pc: RTCPeerConnection) -> None:
        if pc is not self._pc:
            return
        if self._absent is not None:
            self._absent.cancel()
            self._absent = None
        if pc.connectionState == "closed":
            self.end()
        elif pc.connectionState != "connected" and self._ending is None:
            self._absent = asyncio.get_running_loop().call_later(ABSENT, self.end)

    async def _run(self, bot: Bot) -> None:
        try:
            await bot(self)
        except Exception:  # the application's bot may raise anything
            if not self._over.is_set():
                logger.exception("%r: the bot failed", self)
                self.send("error", {"error": "the bot failed", "fatal": True})
        self.end()

    async def _end(self) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._put(signalling("peerLeft"))
        self._over.set()
        for waiting in (self._news, self._track_came, self._ready):
            waiting.set()
        if self._absent is not None:
            self._absent.cancel()
        if self._on_over is not None:
            self._on_over(self)
        self.voice.stop()
        await self._running.aclose(patience=1.0)
        async with self._negotiating:
            if self._pc is not None:
                await self._pc.close()


Bot: TypeAlias = Callable[[BotSession], Awaitable[object]]
"""What answers a client: a coroutine function that is given its session."""
