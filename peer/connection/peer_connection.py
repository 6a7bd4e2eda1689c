"""RTCPeerConnection (W3C WebRTC §4.4): offer and answer. The rules of both are in `peer.jsep`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from peer.aio.task_queue import turns
from peer.exceptions import InvalidArgumentError, InvalidStateError
from peer.jsep.apply import apply_local, apply_remote, check_own, plan_remote, rollback
from peer.jsep.changes import Changes
from peer.jsep.describe import create_answer, create_offer
from peer.jsep.implied import name_as_offered, name_sections, share_transport
from peer.jsep.state import SdpType, next_state
from peer.jsep.validate import check_description
from peer.sdp.direction import make_direction, receives
from peer.sdp.parser import parse_description

from .ice_candidate import ice_candidate
from .media import ConnectionMedia
from .session_description import RTCSessionDescription, session_description
from .trickle import add_early, add_remote


class RTCPeerConnection(ConnectionMedia):
    """A connection to a remote peer.

    `configuration` is an `RTCConfiguration`, a dictionary with its members, or None; `network` is for tests.
    Raises what `RTCConfiguration` raises.

    Events (handlers get what stands in brackets): `icecandidate` (`RTCIceCandidate`, or None at the end of
    gathering), `icecandidateerror` (its members are those of RTCPeerConnectionIceErrorEvent), `track`
    (the track, with `receiver`, `streams` and `transceiver`), `trackevent` (`RTCTrackEvent`), `datachannel`
    (`RTCDataChannel`), `negotiationneeded`, and without argument `connectionstatechange`,
    `iceconnectionstatechange`, `icegatheringstatechange`, `signalingstatechange`, and `networkchange` when this
    host's addresses came or went (not the W3C's; `Recovery` listens to it).
    """

    async def createOffer(
        self, options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> RTCSessionDescription:
        """An offer of everything this side wants to send and receive.

        Options, as a dictionary or by keyword: `iceRestart` (new ICE credentials), and the legacy
        `offerToReceiveAudio` and `offerToReceiveVideo`. Raises `InvalidStateError` when closed.
        """
        self._assert_open()
        given = {**(options or {}), **kwargs}
        for kind in ("audio", "video"):
            self._offer_to_receive(kind, given.get(f"offerToReceive{kind.capitalize()}"))
        return await self._chain.run(lambda: self._create_offer(bool(given.get("iceRestart"))))

    async def createAnswer(self, options: Mapping[str, Any] | None = None) -> RTCSessionDescription:
        """The answer to the pending remote offer. Raises `InvalidStateError` when there is none, or when closed."""
        self._assert_open()
        return await self._chain.run(self._create_answer)

    async def setLocalDescription(self, sessionDescription: Any = None) -> None:
        """Put an offer or answer of ours in force, and start gathering. Returns without waiting for candidates:
        they come as `icecandidate` events, and `gathering_complete()` waits for them.

        Without an argument it creates the offer or answer that is due. `{"type": "rollback"}` takes back an offer.
        Raises `InvalidStateError` where the type is not allowed, `InvalidModificationError` for a description that
        is not the last one created here, `SdpSyntaxError` for one that can not be parsed; nothing has changed then.
        """
        self._assert_open()
        description = None
        if isinstance(sessionDescription, Mapping) and "type" not in sessionDescription:
            sessionDescription = None
        if sessionDescription is not None:
            description = session_description(sessionDescription)
        await self._chain.run(lambda: self._set_local(description))
        if self._configuration.aiortc_compat:
            await self.gathering_complete()

    async def setRemoteDescription(self, sessionDescription: Any) -> None:
        """Put the peer's offer or answer in force.

        Takes an `RTCSessionDescription` (aiortc's too) or the dictionary a browser sends. An offer that comes while
        ours is pending rolls ours back first (perfect negotiation). Raises `InvalidStateError`, `SdpSyntaxError`,
        `InvalidDescriptionError` or `OperationError`; nothing has changed then.
        """
        description = session_description(sessionDescription)
        self._assert_open()
        await self._chain.run(lambda: self._set_remote(description))

    async def addIceCandidate(self, candidate: Any = None) -> None:
        """A candidate of the peer's: an `RTCIceCandidate` (aiortc's too), or the dictionary a browser sends.

        `None`, or an empty `candidate`, is the end of candidates. Candidates that come before the remote description
        are kept, 200 at most. Raises `InvalidArgumentError` (a `TypeError`) for what is no candidate, `OperationError`
        for one that is malformed or of a section or generation that is not there, `InvalidStateError` when closed.
        """
        parsed = ice_candidate(candidate)
        if parsed is not None and parsed.candidate and parsed.sdpMid is None and parsed.sdpMLineIndex is None:
            raise InvalidArgumentError("Candidate must have either sdpMid or sdpMLineIndex")
        self._assert_open()

        async def add() -> None:
            self._assert_open()
            await self._in_parallel()
            add_remote(self._session, parsed)

        try:
            await self._chain.run(add)
        except InvalidStateError:
            if self._closing is None:
                raise
            # Closed meanwhile: nobody misses the candidate, and the W3C has nothing told either (§4.4.2).

    def restartIce(self) -> None:
        """Ask for new ICE credentials: `negotiationneeded` will fire, and the next offer carries them."""
        if self._closing is not None:
            return
        session = self._session
        session.credentials_to_replace = {
            (section.ice_ufrag, section.ice_pwd)
            for description in (session.current_local, session.pending_local)
            if description is not None
            for section in description.sdp.media
            if section.ice_ufrag is not None
        }
        self._update_negotiation_needed()

    def _offer_to_receive(self, kind: str, wanted: Any) -> None:
        transceivers = [t for t in self._session.transceivers if t.kind == kind and not t.stopped]
        if wanted is None:
            return
        if not wanted:
            for transceiver in transceivers:
                if transceiver.direction in ("sendrecv", "recvonly"):
                    transceiver._direction = make_direction(transceiver.direction == "sendrecv", False)
        elif not any(receives(t.direction) for t in transceivers):
            self.addTransceiver(kind, direction="recvonly")

    async def _create_offer(self, ice_restart: bool) -> RTCSessionDescription:
        self._assert_open()
        session = self._session
        if session.signaling_state not in ("stable", "have-local-offer"):
            raise InvalidStateError(f'Cannot create offer in signaling state "{session.signaling_state}"')
        await self._in_parallel()
        session.session_version += 1
        sdp = str(create_offer(session, ice_restart=ice_restart))
        session.last_offer = sdp
        return RTCSessionDescription(sdp=sdp, type="offer")

    async def _create_answer(self) -> RTCSessionDescription:
        self._assert_open()
        session = self._session
        if session.signaling_state not in ("have-remote-offer", "have-local-pranswer"):
            raise InvalidStateError(f'Cannot create answer in signaling state "{session.signaling_state}"')
        await self._in_parallel()
        session.session_version += 1
        sdp = str(create_answer(session))
        session.last_answer = sdp
        return RTCSessionDescription(sdp=sdp, type="answer")

    async def _set_local(self, description: RTCSessionDescription | None) -> None:
        self._assert_open()
        session = self._session
        if description is not None and description.type == "rollback":
            before = session.signaling_state
            next_state(before, "local", "rollback")
            await self._in_parallel()
            self._told(rollback(session), before, rolled_back=True)
            return
        if self._fresh_ice_servers is not None:
            await self._fresh_ice_servers.ready()
            self._assert_open()
        kind: SdpType
        if description is None:
            answering = session.signaling_state in ("have-remote-offer", "have-local-pranswer")
            kind = "answer" if answering else "offer"
        else:
            kind = description.type  # type: ignore[assignment]
        compat = self._configuration.aiortc_compat
        if description is None or not description.sdp or kind == "pranswer" or compat:
            next_state(session.signaling_state, "local", kind)
        await self._in_parallel()
        text = description.sdp if description is not None else ""
        if not text:
            last = session.last_offer if kind == "offer" else session.last_answer
            if last is None or description is None:
                created = await (self._create_offer(False) if kind == "offer" else self._create_answer())
                if last is None or _without_origin(last) != _without_origin(created.sdp):
                    last = created.sdp
                elif kind == "offer":
                    session.last_offer = last
                else:
                    session.last_answer = last
            text = last
        sdp = parse_description(text)
        if kind != "offer" and session.pending_remote is not None:
            name_as_offered(sdp, session.pending_remote.sdp)
        next_state(session.signaling_state, "local", kind)
        check_own(session, kind, sdp)
        check_description(session, kind, sdp, local=True)
        before = session.signaling_state
        self._told(apply_local(session, kind, sdp), before)
        await self._start_all_flows()

    async def _set_remote(self, description: RTCSessionDescription) -> None:
        self._assert_open()
        session = self._session
        before = session.signaling_state
        if description.type == "rollback":
            next_state(before, "remote", "rollback")
            await self._in_parallel()
            self._told(rollback(session), before, rolled_back=True)
            return
        kind: SdpType = description.type  # type: ignore[assignment]
        glare = kind == "offer" and before == "have-local-offer" and not self._configuration.aiortc_compat
        next_state("stable" if glare else before, "remote", kind)
        await self._in_parallel()
        sdp = parse_description(description.sdp)
        name_sections(session, kind, sdp)
        share_transport(sdp)
        check_description(session, kind, sdp, local=False)
        if glare:
            # Nothing below fails any more for an offer, so what is rolled back need not be brought back.
            self._told(rollback(session), before, rolled_back=True)
            before = session.signaling_state
            await turns()
            self._assert_open()
        plan = plan_remote(session, kind, sdp)
        changes = apply_remote(session, kind, sdp, plan, description.sdp)
        self._can_trickle = sdp.trickle
        add_early(session)
        self._told(changes, before)
        await self._start_all_flows()

    async def _in_parallel(self) -> None:
        """Nothing of an operation shows in the turn of the event loop that called it."""
        await asyncio.sleep(0)
        self._assert_open()

    def _told(self, changes: Changes, before: str, *, rolled_back: bool = False) -> None:
        """Tell the application what a description brought about."""
        session = self._session
        for transceiver in changes.stopped:
            self._background.spawn(transceiver._release())
        if rolled_back:
            self._tasks.queue(self._update_states)
        else:
            self._update_states()
        if session.signaling_state != before:
            if session.signaling_state == "stable":
                self._negotiation_needed = False
                self._update_negotiation_needed()
            self.emit("signalingstatechange")
        changes.announce_streams()
        for event in changes.tracks:
            self.emit("track", event.track)
            self.emit("trackevent", event)


def _without_origin(sdp: str) -> str:
    return re.sub(r"^o=.*$", "", sdp, count=1, flags=re.MULTILINE)
