"""One WebSocket of the relay: it enters a room, then carries its session's messages both ways.

The reader takes frames no faster than the connection's rate; the writer is the only one that sends. What
waits for the peer is in the session's outbox, so a connection holds nothing that an outage could lose.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from signaling.protocol.acknowledgements import Acknowledgements
from signaling.protocol.errors import ERROR_CODES, Close, Refused
from signaling.protocol.frames import MalformedMessage, forwarded, parse_client_message, to_json
from signaling.protocol.messages import (
    Ack,
    AppMessage,
    ClientMessage,
    ErrorMessage,
    GoingAway,
    Join,
    Leave,
    PeerMessage,
    Ping,
    Refresh,
    Refreshed,
    Resume,
    Update,
)
from signaling.tasks import until_one_ends

from .admission import Admission, check_metadata, join, refresh, resume
from .backplane import SendResult
from .intake import Intake, Receive
from .rooms import PeerSession
from .services import Services
from .writer import Send, Writer

__all__ = ["Connection"]

logger = logging.getLogger("signaling.connection")

BAD_FRAMES_BEFORE_JOIN = 10


class Connection:
    """Serves one WebSocket with a node's services. `run` returns when it is over; nothing of it is left then."""

    def __init__(
        self,
        services: Services,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str],
        address: str,
        on_joined: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_joined` is called once the peer is in a room."""
        self._services = services
        self.address = address
        self._on_joined = on_joined
        self._headers = headers
        self._session: PeerSession | None = None
        self._resuming = False
        """What follows a resume without waiting is of the session that may be over: then it is passed over."""
        self._writer = Writer(send, self._written)
        self._intake = Intake(services, receive, self._writer, error=self._error, too_large=self._too_large)
        self._acknowledgements = Acknowledgements(self._writer.say)
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._restart_timer: asyncio.TimerHandle | None = None

    # What the backplane calls

    def wake(self) -> None:
        """Send what is in the session's outbox."""
        self._writer.wake()

    def ended(self, code: str, close: int) -> None:
        """Tell the peer that its session is over, or elsewhere, and close."""
        self._session = None
        self._writer.detach()
        self._services.metrics.error(code)
        self._writer.say(to_json(ErrorMessage(code=code, message=ERROR_CODES[code])))
        self._writer.close(close, code)

    # What the relay calls

    async def run(self) -> None:
        """Serve until either side closes."""
        code = 1006

        async def read() -> None:
            nonlocal code
            code = await self._read()

        try:
            with contextlib.suppress(OSError):
                await until_one_ends(read(), self._writer.run())
        finally:
            self._acknowledgements.end()
            for timer in (self._expiry_timer, self._restart_timer):
                if timer is not None:
                    timer.cancel()
            await self._depart(code)

    def go_away(self, seconds: float) -> None:
        """Tell the peer to move, and close after that many seconds."""
        self._writer.say(to_json(GoingAway(seconds=seconds)))
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._restart_timer = asyncio.get_running_loop().call_later(
            seconds, self._writer.close, Close.SERVICE_RESTART, "the relay restarts"
        )

    # Reading

    async def _read(self) -> int:
        """Take frames until the peer is gone; returns the WebSocket's close code."""
        try:
            async with asyncio.timeout(self._services.settings.join_timeout):
                code = await self._enter()
        except TimeoutError:
            self._error("not-joined", "no join came in time")
            self._writer.close(Close.NO_JOIN, "no join came in time")
            code = None
        if code is not None:
            return code
        while True:
            event = await self._intake.next()
            if event["type"] == "websocket.disconnect":
                return int(event.get("code") or 1005)
            if self._writer.closing is not None:
                continue
            text = await self._intake.text_of(event)
            if text is not None:
                await self._take(text)

    async def _enter(self) -> int | None:
        """Read until the peer is in a room. Returns a close code if the connection ends before."""
        bad = 0
        while self._session is None and self._writer.closing is None:
            event = await self._intake.next()
            if event["type"] == "websocket.disconnect":
                return int(event.get("code") or 1005)
            text = await self._intake.text_of(event)
            if text is None:
                bad += 1
            else:
                try:
                    message = parse_client_message(text)
                    if self._resuming and message.seq is not None:
                        continue
                    if isinstance(message, Join):
                        self._attach(await join(self._services, message, self._headers))
                        continue
                    if isinstance(message, Resume):
                        self._resuming = True
                        self._attach(await resume(self._services, message, self._headers))
                        continue
                    self._error("not-joined")
                except MalformedMessage as error:
                    if self._resuming and error.seq is not None:
                        continue
                    self._error(error.code, str(error))
                except Refused as error:
                    self._error(error.code, str(error))
                    if error.close is not None:
                        self._writer.close(error.close, error.code)
                bad += 1
            if bad >= BAD_FRAMES_BEFORE_JOIN:
                self._writer.close(Close.NO_JOIN, "too many frames without a join")
        return None

    async def _too_large(self, text: str, limit: int) -> None:
        session = self._session
        counts = self._resuming if session is None else session.resumable
        try:
            seq = parse_client_message(text).seq if counts else None
        except MalformedMessage as error:
            seq = error.seq
        if session is None and seq is not None:
            return
        await self._refuse(seq, "too-large", f"the message is larger than {limit} bytes")

    async def _take(self, text: str) -> None:
        session = self._session
        if session is None:
            return
        try:
            message = parse_client_message(text)
        except MalformedMessage as error:
            await self._refuse(error.seq, error.code, str(error))
            return
        self._services.metrics.received(message.type)
        if isinstance(message, PeerMessage):
            await self._forward(session, message)
        elif isinstance(message, Ack):
            if not await self._services.backplane.acknowledge(session, message.seq):
                self._error("wrong-ack")
        else:
            await self._command(session, message)

    async def _forward(self, session: PeerSession, message: PeerMessage) -> None:
        number = await self._number(session, message.seq)
        if number is None:
            return
        to: str | None = getattr(message, "to", None)
        if isinstance(message, AppMessage):
            permission = "broadcast" if to is None else "message"
        else:
            permission = "signal"
        if session.permissions is not None and permission not in session.permissions:
            await self._refuse(message.seq, "not-allowed", f"the access token does not permit `{permission}`")
            return
        result = await self._services.backplane.send(session, number, to, forwarded(message, session.id))
        if result is SendResult.UNKNOWN_PEER:
            await self._refuse(message.seq, "unknown-peer", f"nobody in this room has the id {to!r}")
        else:
            self._settle(session, number, result)

    async def _command(self, session: PeerSession, message: ClientMessage) -> None:
        if isinstance(message, Leave):
            self._session = None
            self._writer.detach()
            logger.info("peer left", extra={"peer": session.id, "room": session.room})
            await self._services.backplane.leave(session, "left")
            self._writer.close(Close.NORMAL, "left")
        elif isinstance(message, Update):
            await self._update(session, message)
        elif isinstance(message, Ping):
            self._writer.say('{"type":"pong"}')
        elif isinstance(message, Refresh):
            await self._refresh(session, message)
        else:
            await self._refuse(message.seq, "already-joined")

    async def _number(self, session: PeerSession, seq: int | None) -> int | None:
        """The number of the message in its session; the relay counts for peers that do not."""
        if not session.resumable:
            return session.received + 1
        if seq is None:
            self._error("missing-seq")
        return seq

    def _settle(self, session: PeerSession, number: int, result: SendResult) -> None:
        if result is SendResult.GAP:
            self._error(
                "sequence-gap", f"after {session.received} came {number}; nothing was forwarded", ref=number
            )
        elif result is SendResult.GONE:
            if self._session is session:
                self.ended("session-lost", Close.SESSION_LOST)
        elif session.resumable:
            self._acknowledgements.received(session.received)

    async def _refuse(self, seq: int | None, code: str, text: str | None = None) -> None:
        """Say what was wrong with a message.

        In a resumable session the error takes the message's place in the order.
        """
        session = self._session
        if session is None or not session.resumable or seq is None:
            self._error(code, text)
            return
        self._services.metrics.error(code)
        frame = to_json(ErrorMessage(code=code, message=text or ERROR_CODES[code], ref=seq))
        self._settle(session, seq, await self._services.backplane.send(session, seq, session.id, frame))

    # Entering, changing

    def _attach(self, admission: Admission) -> None:
        session = admission.session
        self._writer.say(to_json(admission.welcome(self._services.backplane.limits)))
        self._acknowledgements.begin(session.received)
        self._session = session
        self._writer.attach(session, admission.sent)
        session.connection = self
        self._on_joined()
        self._watch_expiry()
        self._services.metrics.joined(resumed=admission.resumed)
        logger.info(
            "peer %s",
            "resumed" if admission.resumed else "joined",
            extra={
                "peer": session.id,
                "room": session.room,
                "address": self.address,
                "identity": session.identity,
            },
        )

    async def _update(self, session: PeerSession, message: Update) -> None:
        number = await self._number(session, message.seq)
        if number is None:
            return
        if session.permissions is not None and "update" not in session.permissions:
            await self._refuse(message.seq, "not-allowed", "the access token does not permit `update`")
            return
        if session.name_is_fixed and message.name is not None and message.name != session.name:
            await self._refuse(
                message.seq, "not-allowed", "the access token gives the name; it cannot be changed"
            )
            return
        try:
            check_metadata(self._services, message.metadata)
        except Refused as error:
            await self._refuse(message.seq, error.code, str(error))
            return
        result = await self._services.backplane.update(session, number, message.name, message.metadata)
        self._settle(session, number, result)

    async def _refresh(self, session: PeerSession, message: Refresh) -> None:
        try:
            expires = await refresh(self._services, session, message, self._headers)
        except Refused as error:
            self._error(error.code, str(error))
            return
        self._watch_expiry()
        self._writer.say(to_json(Refreshed(expires=expires)))

    def _watch_expiry(self) -> None:
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        session = self._session
        if session is not None and session.expires is not None:
            delay = max(0.0, session.expires + self._services.settings.leeway - time.time())
            # Further away than a day: look again then, loops dislike distant timers.
            self._expiry_timer = asyncio.get_running_loop().call_later(min(delay, 86_400.0), self._expire)

    def _expire(self) -> None:
        self._expiry_timer = None
        session = self._session
        if session is None or session.expires is None:
            return
        if not self._services.has_expired(session.expires):
            self._watch_expiry()
            return
        self.ended("token-expired", Close.TOKEN_EXPIRED)
        self._services.spawn(self._services.backplane.leave(session, "token-expired"))

    async def _depart(self, code: int) -> None:
        """The WebSocket is gone: the peer has left, or it will be back."""
        session, self._session = self._session, None
        if session is None or session.connection is not self:
            return
        session.connection = None
        left = code in (1000, 1001) and self._writer.closing is None
        logger.info(
            "connection of a peer ended", extra={"peer": session.id, "room": session.room, "code": code}
        )
        with contextlib.suppress(ConnectionError):
            if left:
                await self._services.backplane.leave(session, "left")
            else:
                await self._services.backplane.detach(session)

    # Writing

    async def _written(self, session: PeerSession, number: int) -> None:
        if not session.resumable:
            await self._services.backplane.acknowledge(session, number)
        self._services.metrics.forwarded.inc()

    def _error(self, code: str, text: str | None = None, *, ref: int | None = None) -> None:
        self._services.metrics.error(code)
        self._writer.say(to_json(ErrorMessage(code=code, message=text or ERROR_CODES[code], ref=ref)))
