"""One session of a client with a WHIP or WHEP server: connect, trickle, restart, leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urljoin

import httpx

from peer import (
    MediaStream,
    MediaStreamTrack,
    Recovery,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
)

from .errors import CounterOffer, ServiceUnavailable, WhipError
from .exchange import Exchange, error_of
from .fragment import CONTENT_TYPE, FragmentCandidate, IceFragment, credentials_of, fragment_of, with_fragment
from .gathered import Gathered
from .links import ice_servers_from_links

__all__ = ["ClientSession"]

logger = logging.getLogger(__name__)

TRICKLE_SPACING: Final = 0.05
"""Seconds between two PATCHes: what comes in between shares one."""
TRICKLE_TIMEOUT: Final = 5.0
"""Seconds a PATCH of candidates may take; some servers never answer one."""
NO_TRICKLE: Final = frozenset({404, 405, 415, 422, 428, 501})
"""Answers after which no further candidates are sent. The connection needs none: the server's checks find the rest."""
GOODBYE_TIMEOUT: Final = 2.0
BUSY_TRIES: Final = 3
BUSY_WAIT_MAX: Final = 30.0


class ClientSession:
    """A session with a server, to be entered with `async with`: it is connected inside the block, and deleted after.

    Made by `peer.whip.publish` and `peer.whep.play`.
    """

    def __init__(
        self,
        url: str,
        *,
        send: Iterable[MediaStreamTrack] = (),
        receive: Iterable[Literal["audio", "video"]] = (),
        token: str | None = None,
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        http: httpx.AsyncClient | None = None,
        timeout: float = 15.0,
        recovery: bool = True,
    ) -> None:
        self.endpoint = url
        """URL of the endpoint, as the application gave it."""
        self.url: str | None = None
        """URL of the session; None before the server has made one."""
        self.pc = RTCPeerConnection(configuration)
        """The connection; what it sends is its transceivers' affair."""
        self._timeout = timeout
        self._exchange = Exchange(token, http, timeout)
        self._recovers = recovery
        self._recovery: Recovery | None = None
        self._etag: str | None = None
        self._trickles = True
        self._found: list[RTCIceCandidate] = []
        self._ended = False
        self._wake = asyncio.Event()
        self._exchanging = asyncio.Lock()
        self._trickling: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._tracks: asyncio.Queue[MediaStreamTrack | None] = asyncio.Queue()
        self._over = asyncio.Event()
        self._settled = asyncio.Event()
        self.pc.on("icecandidate", self._candidate)
        self.pc.on("track", self._tracks.put_nowait)
        self.pc.on("connectionstatechange", self._state_changed)
        stream = MediaStream()
        for track in send:
            self.pc.addTransceiver(track, direction="sendonly", streams=[stream])
        for kind in receive:
            self.pc.addTransceiver(kind, direction="recvonly")

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect()
                await self._settled.wait()
        except TimeoutError:
            await self._leave()
            raise WhipError(0, f"not connected within {self._timeout:g} s", url=self.endpoint) from None
        except BaseException:
            await self._leave()
            raise
        if self.pc.connectionState != "connected":
            state = self.pc.connectionState
            await self._leave()
            raise WhipError(0, f"the connection is {state}", url=self.endpoint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def closed(self) -> None:
        """Wait until the session is over: the server has ended it, or the block has been left."""
        await self._over.wait()

    async def tracks(self) -> AsyncIterator[MediaStreamTrack]:
        """Yield the server's tracks as they come, until the session is over."""
        while (track := await self._tracks.get()) is not None:
            yield track
        self._tracks.put_nowait(None)  # for whoever iterates after us

    async def restart(self) -> None:
        """Restart ICE (RFC 9725 §4.3.3). The old path carries media until the new one works.

        Where the server cannot, a new session takes the place of this one. Raises `WhipError` when neither works;
        the old path goes on being used.
        """
        self.pc.restartIce()
        await self._restart()

    # Connecting

    async def _connect(self) -> None:
        gathered = Gathered(self.pc)
        await self.pc.setLocalDescription()
        await gathered.wait()
        response, url = await self._post()
        try:
            if response.status_code != 201:
                raise error_of(response, url)
            await self.pc.setRemoteDescription({"type": "answer", "sdp": response.text})
        except CounterOffer as counter:
            await self._take_counter_offer(counter, response, url)
        self._begin(response, url)

    def _begin(self, response: httpx.Response, url: str) -> None:
        if "location" not in response.headers:
            raise WhipError(response.status_code, "the server's answer has no Location", url=url)
        self.url = urljoin(url, response.headers["location"])
        # "E-Tag" is what an older server of wide use sends.
        self._etag = response.headers.get("etag") or response.headers.get("e-tag")
        servers = ice_servers_from_links(response.headers.get_list("link"))
        if servers:
            # They serve what is gathered from now on (W3C WebRTC §4.4.1.6): a restart, if this does not connect.
            configuration = self.pc.getConfiguration()
            configuration.iceServers = [
                *_listed(configuration.iceServers),
                *(RTCIceServer(**each) for each in servers),
            ]
            self.pc.setConfiguration(configuration)
        if self._trickling is None:
            self._trickling = asyncio.create_task(self._trickle(), name="WHIP: candidates")
            self.pc.on("negotiationneeded", self._negotiate)
            if self._recovers:
                self._recovery = Recovery(self.pc)

    async def _post(self) -> tuple[httpx.Response, str]:
        """POST the offer there is; a server that is busy and says for how long is asked again."""
        assert self.pc.localDescription is not None
        sdp = self.pc.localDescription.sdp
        for attempt in range(1, BUSY_TRIES + 1):
            response, url = await self._exchange.post(self.endpoint, sdp)
            error = error_of(response, url)
            if not isinstance(error, ServiceUnavailable) or error.retry_after is None:
                return response, url
            if attempt == BUSY_TRIES or error.retry_after > min(BUSY_WAIT_MAX, self._timeout):
                raise error
            await asyncio.sleep(error.retry_after)
        raise AssertionError("unreachable")

    async def _take_counter_offer(self, counter: CounterOffer, response: httpx.Response, url: str) -> None:
        """Answer the server's own offer (draft-ietf-wish-whep §4.2.2)."""
        if "location" not in response.headers:
            raise counter
        await self.pc.setLocalDescription({"type": "rollback"})
        await self.pc.setRemoteDescription({"type": "offer", "sdp": counter.sdp})
        gathered = Gathered(self.pc)
        await self.pc.setLocalDescription()
        await gathered.wait()
        assert self.pc.localDescription is not None
        session = urljoin(url, response.headers["location"])
        answered = await self._exchange.send(
            "PATCH", session, self.pc.localDescription.sdp, {"Content-Type": "application/sdp"}
        )
        if not answered.is_success:
            raise error_of(answered, session)

    # Trickling: never on the way to a connection

    def _candidate(self, candidate: RTCIceCandidate | None) -> None:
        if candidate is None:
            self._ended = True
        else:
            self._found.append(candidate)
        self._wake.set()

    async def _trickle(self) -> None:
        while self._trickles:
            await self._wake.wait()
            await asyncio.sleep(TRICKLE_SPACING)
            async with self._exchanging:
                self._wake.clear()
                found, self._found = self._found, []
                ended, self._ended = self._ended, False
                fragment = self._fragment(found, ended)
                if fragment is None or self.url is None or self.pc.signalingState != "stable":
                    continue
                headers = {"Content-Type": CONTENT_TYPE}
                if self._etag is not None:
                    headers["If-Match"] = self._etag
                try:
                    response = await self._exchange.send(
                        "PATCH", self.url, str(fragment), headers, TRICKLE_TIMEOUT
                    )
                except WhipError as error:
                    logger.info("candidates were not sent: %s", error)
                    continue
                if response.status_code in NO_TRICKLE:
                    logger.info("%s takes no candidates (%d)", self.url, response.status_code)
                    self._trickles = False

    def _fragment(self, found: list[RTCIceCandidate], ended: bool) -> IceFragment | None:
        description = self.pc.localDescription
        if description is None or not (found or ended):
            return None
        ufrag, pwd = credentials_of(description.sdp)
        # Everything is bundled: the candidates of the first section are those of all.
        candidates = tuple(
            FragmentCandidate(each.candidate, each.sdpMid)
            for each in found
            if each.usernameFragment in (None, ufrag) and each.sdpMLineIndex in (None, 0)
        )
        if not candidates and not ended:
            return None
        return IceFragment(ufrag, pwd, candidates, ended)

    # Restarting

    def _negotiate(self) -> None:
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.create_task(self._try_to_restart(), name="WHIP: ICE restart")

    async def _try_to_restart(self) -> None:
        try:
            await self._restart()
        except WhipError as error:
            logger.warning("ICE restart: %s", error)

    async def _restart(self) -> None:
        async with self._exchanging:
            if self.url is None or self.pc.signalingState != "stable" or self._over.is_set():
                return
            before = self.pc.localDescription
            gathered = Gathered(self.pc)
            await self.pc.setLocalDescription()
            offer = self.pc.localDescription
            assert before is not None
            assert offer is not None
            if credentials_of(before.sdp) == credentials_of(offer.sdp):
                # Something else asked for negotiation; there is no way to have it here (RFC 9725 §4.4).
                await self._roll_back()
                return
            await gathered.wait()
            self._found.clear()
            try:
                if self._etag is None or not await self._patch_restart():
                    await self._start_over()
            except BaseException:
                await self._roll_back()
                raise

    async def _patch_restart(self) -> bool:
        """Ask for a restart. False: this server does not do that."""
        assert self.url is not None
        assert self.pc.localDescription is not None
        assert self.pc.currentRemoteDescription is not None
        headers = {"Content-Type": CONTENT_TYPE, "If-Match": "*"}
        fragment = fragment_of(self.pc.localDescription.sdp)
        response = await self._exchange.send("PATCH", self.url, str(fragment), headers)
        if response.status_code != 200 or not response.text.strip():
            logger.info("%s does not restart ICE (%d)", self.url, response.status_code)
            return False
        try:
            answered = IceFragment.parse(response.text)
        except ValueError as error:
            raise WhipError(200, f"the restart's answer cannot be read: {error}", url=self.url) from None
        if answered.ufrag is None or answered.pwd is None:
            raise WhipError(200, "the restart's answer has no ICE credentials", url=self.url)
        self._etag = response.headers.get("etag", self._etag)
        sdp = with_fragment(self.pc.currentRemoteDescription.sdp, answered)
        await self.pc.setRemoteDescription({"type": "answer", "sdp": sdp})
        return True

    async def _start_over(self) -> None:
        """Put a new session in the place of this one, under the same connection and with the offer there is."""
        former, self.url = self.url, None
        if former is not None:
            await self._delete(former)
        response, url = await self._post()
        if response.status_code != 201:
            raise error_of(response, url)
        await self.pc.setRemoteDescription({"type": "answer", "sdp": response.text})
        self._trickles = True
        self._begin(response, url)

    async def _roll_back(self) -> None:
        if self.pc.signalingState == "have-local-offer":
            await self.pc.setLocalDescription({"type": "rollback"})

    # The end

    def _state_changed(self) -> None:
        if self.pc.connectionState in ("connected", "failed", "closed"):
            self._settled.set()
        if self.pc.connectionState == "closed":
            self._finish()

    def _finish(self) -> None:
        self._over.set()
        self._tracks.put_nowait(None)

    async def _leave(self) -> None:
        """Delete the session at the server and close the connection, also when cancelled in the middle of it."""
        goodbye = asyncio.ensure_future(self._say_goodbye())
        try:
            await asyncio.shield(goodbye)
        except asyncio.CancelledError:
            await goodbye
            raise

    async def _say_goodbye(self) -> None:
        if self._recovery is not None:
            self._recovery.close()
        working = [task for task in (self._trickling, self._restarting) if task is not None]
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        deleted = asyncio.create_task(self._delete(self.url)) if self.url is not None else None
        self.url = None
        await self.pc.close()
        if deleted is not None:
            await deleted
        await self._exchange.close()
        self._finish()

    async def _delete(self, url: str) -> None:
        try:
            response = await self._exchange.send("DELETE", url, timeout=GOODBYE_TIMEOUT)
        except WhipError as error:
            logger.info("the session was not deleted: %s", error)
        else:
            if not response.is_success and response.status_code != 404:
                logger.info(
                    "the session was not deleted: %d %s", response.status_code, response.reason_phrase
                )


def _listed(servers: Any) -> list[RTCIceServer]:
    return list(servers) if isinstance(servers, list) else []
