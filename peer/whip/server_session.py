"""One session of a server with a publisher or a player."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from peer import InvalidDescriptionError, MediaStreamTrack, RTCConfiguration, RTCPeerConnection

from .fragment import IceFragment, credentials_of, fragment_of, with_fragment
from .gathered import Gathered
from .preconditions import SessionTag, judge_patch

__all__ = ["Reject", "ServerSession", "SessionHandler"]

logger = logging.getLogger(__name__)

ABSENT: Final = 30.0
"""Seconds a session lives that has no path to its client: none yet, or none any more."""
HANDLER_TIMEOUT: Final = 5.0
"""Seconds the application's handler has before it must let the offer be answered."""


class Reject(Exception):
    """Raised by a handler or an `authorize` to refuse a request with this status and reason."""

    def __init__(self, status: int, reason: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


class ServerSession:
    """A publisher or player that has come. Handed to the application's handler, which runs beside it."""

    def __init__(
        self,
        action: Literal["publish", "play"],
        path: str,
        token: str | None,
        address: str,
        configuration: RTCConfiguration | dict[str, Any] | None,
        on_over: Callable[[ServerSession], None],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        """Name of the session in its URL: 128 random bits."""
        self.action = action
        """`"publish"` or `"play"`."""
        self.path = path
        """What stands behind the endpoint in the URL: the name of a stream, for example."""
        self.token = token
        """The Bearer token of the request; None without one."""
        self.address = address
        """The client's address."""
        self.pc = RTCPeerConnection(configuration)
        """The connection. A handler for players adds its tracks here, before the offer is answered."""
        self.etag = secrets.token_urlsafe(6)
        self._former: set[str] = set()
        self._accepted = asyncio.Event()
        self._over = asyncio.Event()
        self._on_over = on_over
        self._tracks: asyncio.Queue[MediaStreamTrack | None] = asyncio.Queue()
        self._absent: asyncio.TimerHandle | None = None
        self._patching = asyncio.Lock()
        self._ending: asyncio.Task[None] | None = None
        self.pc.on("track", self._tracks.put_nowait)
        self.pc.on("connectionstatechange", self._state_changed)
        self._watch()

    def __repr__(self) -> str:
        return f"<ServerSession {self.id} {self.action} {self.path!r} {self.pc.connectionState}>"

    # What the application does

    def accept(self) -> None:
        """Let the offer be answered. `tracks()`, `closed()` and the end of the handler do that, too."""
        self._accepted.set()

    async def tracks(self) -> AsyncIterator[MediaStreamTrack]:
        """Yield the client's tracks as they come, until the session is over."""
        self.accept()
        while (track := await self._tracks.get()) is not None:
            yield track
        self._tracks.put_nowait(None)  # for whoever iterates after us

    async def closed(self) -> None:
        """Wait until the session is over: deleted, closed, or gone without a word for 30 s."""
        self.accept()
        await self._over.wait()

    async def close(self) -> None:
        """End the session. Idempotent."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    # What the endpoint does

    async def answer(self, offer: str, handler: SessionHandler, gathering: float | None) -> str:
        """Take an offer, let the handler begin, and return the answer with the candidates there are.

        `gathering` is how many seconds to wait for all candidates; None for those that come at once. Raises `Reject`.
        """
        try:
            await self.pc.setRemoteDescription({"type": "offer", "sdp": offer})
        except InvalidDescriptionError as error:
            raise Reject(422, str(error)) from None
        except (ValueError, TypeError) as error:
            raise Reject(400, str(error)) from None
        for transceiver in self.pc.getTransceivers():
            transceiver.direction = "recvonly" if self.action == "publish" else "sendonly"
        await self._begin(handler)
        gathered = Gathered(self.pc)
        await self.pc.setLocalDescription()
        if gathering is None:
            await gathered.wait()
        else:
            await gathered.wait_for_all(gathering)
        assert self.pc.localDescription is not None
        return self.pc.localDescription.sdp

    async def patch(
        self, text: str, if_match: str | None, *, one_candidate: bool = False
    ) -> tuple[int, str, str | None]:
        """Take a fragment. Return the status, the body, and a new entity tag or None. Raises `Reject`."""
        try:
            fragment = IceFragment.parse(text)
        except ValueError as error:
            raise Reject(400, str(error)) from None
        async with self._patching:
            remote = self.pc.currentRemoteDescription
            if remote is None:
                raise Reject(409, "the session has no description yet")
            known = SessionTag(self.etag, *credentials_of(remote.sdp), frozenset(self._former))
            lenient = self.action == "play"
            match judge_patch(fragment, if_match, known, lenient=lenient):
                case "precondition-required":
                    raise Reject(428, "If-Match is missing: send the ETag of the session")
                case "precondition-failed":
                    raise Reject(412, "If-Match names another state of the session")
                case "stale":
                    return 204, "", None
                case "trickle":
                    await self._take_candidates(fragment, known.ufrag)
                    return 204, "", None
                case "restart":
                    return 200, await self._restart(remote.sdp, fragment, one_candidate), self.etag
        raise AssertionError("unreachable")

    async def _begin(self, handler: SessionHandler) -> None:
        running = asyncio.ensure_future(handler(self))
        accepted = asyncio.ensure_future(self._accepted.wait())
        try:
            await asyncio.wait(
                (running, accepted), timeout=HANDLER_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            accepted.cancel()
        if running.done():
            if (error := running.exception()) is not None:
                raise error
            return
        if not self._accepted.is_set():
            running.cancel()
            raise Reject(503, "the application took too long", {"Retry-After": "5"})
        self._handler = running
        running.add_done_callback(self._handler_ended)

    def _handler_ended(self, handler: asyncio.Future[None]) -> None:
        if not handler.cancelled() and (error := handler.exception()) is not None:
            handler.get_loop().call_exception_handler(
                {"message": f"the handler of {self!r} failed", "exception": error}
            )
            if self._ending is None:
                self._ending = asyncio.ensure_future(self._end())

    async def _take_candidates(self, fragment: IceFragment, ufrag: str) -> None:
        for each in fragment.candidates:
            candidate = {
                "candidate": each.candidate,
                "sdpMid": each.mid,
                "sdpMLineIndex": None if each.mid else 0,
            }
            try:
                await self.pc.addIceCandidate({**candidate, "usernameFragment": fragment.ufrag or ufrag})
            except (ValueError, TypeError, RuntimeError) as error:
                # RFC 9725 §4.3.2: what cannot be used is dropped, and says nothing of the others.
                logger.debug("a candidate was dropped: %s", error)
            except Exception as error:
                logger.debug("a candidate was dropped: %s", error)
        if fragment.end_of_candidates:
            await self.pc.addIceCandidate(None)

    async def _restart(self, offer: str, fragment: IceFragment, one_candidate: bool) -> str:
        former = credentials_of(offer)[0]
        try:
            await self.pc.setRemoteDescription({"type": "offer", "sdp": with_fragment(offer, fragment)})
            gathered = Gathered(self.pc)
            await self.pc.setLocalDescription()
        except Exception as error:
            # RFC 9725 §4.3.3: a restart that fails leaves the session as it was.
            if self.pc.signalingState == "have-remote-offer":
                await self.pc.setRemoteDescription({"type": "rollback", "sdp": ""})
            raise Reject(422, f"ICE cannot be restarted like this: {error}") from None
        await gathered.wait()
        self._former.add(former)
        self.etag = secrets.token_urlsafe(6)
        self._watch()
        assert self.pc.localDescription is not None
        return str(fragment_of(self.pc.localDescription.sdp, most=1 if one_candidate else None))

    # The life of the session

    def _state_changed(self) -> None:
        state = self.pc.connectionState
        if state == "connected":
            self._unwatch()
        elif state in ("disconnected", "failed"):
            self._watch()
        elif state == "closed" and self._ending is None:
            self._ending = asyncio.ensure_future(self._end())

    def _watch(self) -> None:
        if self._absent is None and self.pc.connectionState != "connected":
            self._absent = asyncio.get_running_loop().call_later(ABSENT, self._vanished)

    def _unwatch(self) -> None:
        if self._absent is not None:
            self._absent.cancel()
            self._absent = None

    def _vanished(self) -> None:
        self._absent = None
        logger.info("%r has had no path for %g s", self, ABSENT)
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        self._unwatch()
        self._over.set()
        self._accepted.set()
        self._tracks.put_nowait(None)
        self._on_over(self)
        await self.pc.close()


SessionHandler: TypeAlias = Callable[[ServerSession], Awaitable[None]]
