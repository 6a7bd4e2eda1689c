"""The other end of pipecat's protocol: a program of ours joins a bot, as a page would."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final

import httpx

from peer import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCError,
    RTCIceCandidate,
    RTCPeerConnection,
)
from peer.aio.background import Background
from peer.audio import AudioSource
from peer.whip.gathered import Gathered

from .errors import PipecatError
from .rtvi import RtviMessage, parse_message

__all__ = ["BotCall", "connect"]

logger = logging.getLogger(__name__)

CLIENT_VERSION: Final = "2.1.0"
PING_SECONDS: Final = 1.0
"""The server takes a client that is silent for three seconds for gone."""
PATCH_SECONDS: Final = 0.2
MESSAGES_MAX: Final = 1000
"""Messages that wait for the application. The oldest go."""
ANSWERS: Final = ("server-response", "error-response")


class BotCall:
    """A call with a bot behind pipecat's routes. See `connect`."""

    def __init__(
        self,
        url: str,
        *,
        body: Any,
        microphone: MediaStreamTrack | None,
        camera: MediaStreamTrack | None,
        configuration: RTCConfiguration | dict[str, Any] | None,
        headers: Mapping[str, str] | None,
        http: httpx.AsyncClient | None,
        timeout: float,
    ) -> None:
        """See `connect` for the arguments."""
        self.bot: dict[str, Any] = {}
        """What the bot said of itself with `bot-ready`: `version`, `about`, `capabilities`."""
        self.pc_id = ""
        """The server's name for the connection."""
        self._url = url.rstrip("/")
        self._offer_url = self._url
        self._body = body
        self._source = microphone if microphone is not None else AudioSource(24000)
        self._own_source = microphone is None
        self._camera = camera
        self._configuration = configuration
        self._headers = dict(headers or {})
        self._own_http = http is None
        self._http = http
        self._timeout = timeout
        self._pc: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._voice: MediaStreamTrack | None = None
        self._tracks: deque[MediaStreamTrack] = deque(maxlen=16)
        self._messages: deque[RtviMessage] = deque(maxlen=MESSAGES_MAX)
        self._asked: dict[str, asyncio.Future[RtviMessage]] = {}
        self._trickled: list[RTCIceCandidate] = []
        self._news = asyncio.Event()
        self._opened = asyncio.Event()
        self._ready = asyncio.Event()
        self._over = False
        self._failure: PipecatError | None = None
        self._running = Background("pipecat call")

    @property
    def pc(self) -> RTCPeerConnection:
        """The connection. Raises `RuntimeError` before the call is entered."""
        if self._pc is None:
            raise RuntimeError("the call has not been entered: use `async with`")
        return self._pc

    @property
    def microphone(self) -> AudioSource:
        """What the bot hears, to be written to. Raises `RuntimeError` where a track was given instead."""
        if not self._own_source or not isinstance(self._source, AudioSource):
            raise RuntimeError("the call was given a microphone: write to that")
        return self._source

    @property
    def voice(self) -> MediaStreamTrack:
        """What the bot says. Raises `RuntimeError` before the call is entered."""
        if self._voice is None:
            raise RuntimeError("the call has not been entered: use `async with`")
        return self._voice

    def send(self, type: str, data: Any = None, *, id: str | None = None) -> None:
        """Send an RTVI message. Raises `PipecatError` when the call is over."""
        if self._channel is None or self._over:
            raise PipecatError(0, "the call is over, or has not been entered")
        message = RtviMessage(type=type, data=data, id=id or secrets.token_hex(4))
        self._channel.send(message.model_dump_json(exclude_none=True))

    async def request(self, kind: str, data: Any = None, *, timeout: float = 10.0) -> Any:
        """Send a `client-message` of this kind, and return the data of its answer.

        Raises `PipecatError` where the bot answers with an error, or when the call ends; `TimeoutError` after
        `timeout` seconds.
        """
        id = secrets.token_hex(4)
        answer = self._asked[id] = asyncio.get_running_loop().create_future()
        try:
            self.send("client-message", {"t": kind, "d": data}, id=id)
            async with asyncio.timeout(timeout):
                message = await answer
        finally:
            del self._asked[id]
        fields = message.data if isinstance(message.data, dict) else {}
        if message.type == "error-response":
            raise PipecatError(0, str(fields.get("error", "the bot answers with an error")))
        return fields.get("d")

    async def __aiter__(self) -> AsyncIterator[RtviMessage]:
        """Yield the bot's messages until the call is over. Raises `PipecatError` where that was a failure."""
        while True:
            while self._messages:
                yield self._messages.popleft()
            if self._over:
                if self._failure is not None:
                    raise self._failure
                return
            self._news.clear()
            await self._news.wait()

    async def __aenter__(self) -> BotCall:
        if self._pc is not None:
            raise RuntimeError("a call is entered once: make another")
        if self._http is None:
            self._http = httpx.AsyncClient()
        self._pc = RTCPeerConnection(self._configuration)
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect(self._pc)
        except TimeoutError:
            await self.close()
            raise PipecatError(0, f"{self._url}: no bot within {self._timeout:g} s") from None
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
        if self._own_source:
            self._source.stop()
        if self._own_http and self._http is not None:
            await self._http.aclose()

    # Connecting

    async def _connect(self, pc: RTCPeerConnection) -> None:
        await self._start()
        pc.on("track", self._track)
        pc.on("connectionstatechange", self._state_changed)
        # The order is the protocol's: microphone, camera, screen.
        pc.addTransceiver(self._source, direction="sendrecv")
        pc.addTransceiver(self._camera or "video", direction="sendrecv" if self._camera else "recvonly")
        self._channel = channel = pc.createDataChannel("chat")
        channel.on("open", self._open)
        channel.on("message", self._message)
        channel.on("close", lambda: self._end(None))
        gathered = Gathered(pc)
        pc.on("icecandidate", self._candidate)
        await pc.setLocalDescription()
        await gathered.wait()
        assert pc.localDescription is not None
        # Those of the offer need not be sent again.
        self._trickled.clear()
        offer = {"sdp": pc.localDescription.sdp, "type": "offer", "pc_id": None, "restart_pc": False}
        if self._body is not None and self._offer_url == self._url:
            offer["requestData"] = self._body
        answer = await self._exchange("POST", self._offer_url, offer)
        try:
            self.pc_id = str(answer["pc_id"])
            await pc.setRemoteDescription({"type": "answer", "sdp": answer["sdp"]})
        except (KeyError, ValueError, TypeError, RTCError) as error:
            raise PipecatError(0, f"{self._offer_url}: the answer cannot be used: {error}") from None
        if self._voice is None:
            raise PipecatError(0, f"{self._offer_url}: the bot's answer has no audio")
        self._running.spawn(self._trickle(), "candidates")
        await self._opened.wait()
        self.send("client-ready", {"version": CLIENT_VERSION, "about": {"library": "webrtc-peer"}})
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        if self._url.endswith("/api/offer"):
            return
        started = await self._exchange(
            "POST", f"{self._url}/start", {"transport": "webrtc", "body": self._body}
        )
        session = started.get("sessionId")
        self._offer_url = f"{self._url}/sessions/{session}/api/offer" if session else f"{self._url}/api/offer"

    async def _exchange(self, method: str, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert self._http is not None
        try:
            response = await self._http.request(
                method, url, json=body, headers=self._headers, timeout=self._timeout
            )
            if response.status_code != 200:
                raise PipecatError(response.status_code, f"{url}: {response.text[:500].strip()}")
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PipecatError(0, f"{url}: {error or type(error).__name__}") from error
        except ValueError:
            raise PipecatError(0, f"{url}: the answer is not JSON") from None
        if not isinstance(answer, dict):
            raise PipecatError(0, f"{url}: the answer is no JSON object")
        return answer

    def _candidate(self, candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            self._trickled.append(candidate)

    async def _trickle(self) -> None:
        while not self._over and (self._trickled or self.pc.iceGatheringState != "complete"):
            await asyncio.sleep(PATCH_SECONDS)
            found, self._trickled = self._trickled, []
            if not found:
                continue
            candidates = [
                {"candidate": each.candidate, "sdp_mid": each.sdpMid, "sdp_mline_index": each.sdpMLineIndex}
                for each in found
            ]
            try:
                await self._exchange(
                    "PATCH", self._offer_url, {"pc_id": self.pc_id, "candidates": candidates}
                )
            except PipecatError as error:
                logger.warning("candidates were not taken: %s", error)

    # The connection

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._voice is None:
            self._voice = track

    def _open(self) -> None:
        for index, enabled in enumerate((True, self._camera is not None)):
            self._signal({"type": "trackStatus", "receiver_index": index, "enabled": enabled})
        self._running.spawn(self._ping(), "ping")
        self._opened.set()

    def _signal(self, message: Mapping[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(json.dumps({"type": "signalling", "message": message}))

    async def _ping(self) -> None:
        while self._channel is not None and self._channel.readyState == "open":
            self._channel.send(f"ping: {time.time() * 1000:.0f}")
            await asyncio.sleep(PING_SECONDS)

    def _message(self, text: str | bytes) -> None:
        message = parse_message(text)
        if isinstance(message, dict):
            if message.get("type") == "peerLeft":
                self._end(None)
            elif message.get("type") == "renegotiate":
                self._running.spawn(self._renegotiate(), "renegotiation")
        elif message is not None:
            if message.type == "bot-ready":
                self.bot = message.data if isinstance(message.data, dict) else {}
                self._ready.set()
            elif message.type in ANSWERS and message.id in self._asked:
                if not self._asked[message.id].done():
                    self._asked[message.id].set_result(message)
                return
            self._messages.append(message)
            self._news.set()

    async def _renegotiate(self) -> None:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        assert self.pc.localDescription is not None
        offer = {
            "sdp": self.pc.localDescription.sdp,
            "type": "offer",
            "pc_id": self.pc_id,
            "restart_pc": False,
        }
        try:
            answer = await self._exchange("POST", self._offer_url, offer)
            await self.pc.setRemoteDescription({"type": "answer", "sdp": answer["sdp"]})
        except (PipecatError, KeyError, ValueError, TypeError, RTCError) as error:
            logger.warning("the bot wished a new offer and did not take it: %s", error)

    def _state_changed(self) -> None:
        if self._pc is not None and self._pc.connectionState == "failed":
            self._end(PipecatError(0, "the connection to the bot is lost"))

    def _end(self, failure: PipecatError | None) -> None:
        if self._over:
            return
        self._over = True
        # Before the bot was ready, an end is a failure whoever wished it.
        if failure is None and not self._ready.is_set():
            failure = PipecatError(0, "the bot has left before it was ready")
        self._failure = failure
        for waiting in (self._opened, self._ready, self._news):
            waiting.set()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(failure or PipecatError(0, "the call is over"))


def connect(
    url: str,
    *,
    body: Any = None,
    microphone: MediaStreamTrack | None = None,
    camera: MediaStreamTrack | None = None,
    configuration: RTCConfiguration | dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    http: httpx.AsyncClient | None = None,
    timeout: float = 15.0,
) -> BotCall:
    """Prepare a call with a pipecat bot: `async with pipecat.connect("http://localhost:7860") as call`.

    - `url`: the server's, of which `/start` is asked for a session; or one that ends in `/api/offer`, taken as it is.
    - `body`: any JSON for the bot.
    - `microphone`, `camera`: the tracks to send. Without a microphone, `call.microphone` is an `AudioSource` of 24 kHz.
    - `headers`: for every request, such as `Authorization`.
    - `http`: a client of yours, which is left open. `timeout` in seconds, until the bot is ready.

    Entering waits for `bot-ready` and raises `PipecatError`; leaving ends the call.
    """
    return BotCall(
        url,
        body=body,
        microphone=microphone,
        camera=camera,
        configuration=configuration,
        headers=headers,
        http=http,
        timeout=timeout,
    )
