"""Offer and answer as operations of a connection (W3C WebRTC §4.4.1): their order, and what each step needs.

The rules are in `peer.jsep`, which holds values only. Here an operation waits for its turn, lets the session see what
the senders and the transports are like, has it judge and apply the description, and carries out what comes of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Protocol

from peer.aio.background import Background
from peer.aio.operations_chain import OperationsChain
from peer.aio.task_queue import TaskQueue, turns
from peer.aio.turns import in_turns
from peer.aiortc.behaviour import Behaviour
from peer.exceptions import InvalidStateError
from peer.ice.agent.piggyback import ICE_OPTIONS
from peer.jsep import bundle_head, trickle
from peer.jsep.apply import apply_local, apply_remote, plan_remote, rollback
from peer.jsep.describe import create_answer, create_offer
from peer.jsep.implied import name_as_offered, name_sections, share_transport
from peer.jsep.negotiation_needed import negotiation_needed
from peer.jsep.session import Session
from peer.jsep.settings import Settings
from peer.jsep.signalled import SignalledCandidate
from peer.jsep.state import SdpType, next_state
from peer.jsep.transport import Credentials
from peer.jsep.validate import check_description, check_own
from peer.rtp.encodings import ENCODINGS_MAX
from peer.sdp.parser import parse_in_steps

from .configuration import RTCConfiguration
from .effects import Effects
from .flows import start_flows
from .media import Media
from .session_description import RTCSessionDescription
from .transports import Transports


def settings_of(given: RTCConfiguration, transports: Transports, behaviour: Behaviour) -> Settings:
    """What negotiation needs to know of a configuration, of the transports' certificate, and of the behaviour."""
    return Settings(
        bundle_policy=given.bundlePolicy.value,
        data_first=given.alwaysNegotiateDataChannels,
        fingerprints=tuple(transports.fingerprints),
        handshake_options=ICE_OPTIONS if transports.options.dtls_in_stun else (),
        encodings_max=ENCODINGS_MAX,
        matches_any_transceiver=behaviour.matches_any_transceiver,
        offers_more_codecs=behaviour.offers_more_codecs,
        refuses_without_common_codec=behaviour.refuses_without_common_codec,
        shows_offered_transports=behaviour.shows_offered_transports,
        takes_unknown_in_bundle=behaviour.takes_unknown_in_bundle,
        gathers_for_every_section=behaviour.gathers_for_every_section,
        takes_peers_track_ids=behaviour.takes_peers_track_ids,
    )


class NegotiationOwner(Protocol):
    """What negotiation asks of the connection."""

    behaviour: Behaviour

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed."""

    def ready_to_gather(self) -> Awaitable[None]:
        """Wait until the ICE servers are known."""

    def update_states(self) -> None:
        """Bring the connection's states up to date."""

    def tell_signaling_state(self) -> None:
        """The signalling state is another."""

    def tell_negotiation_needed(self) -> Awaitable[None]:
        """Negotiation is needed. Handlers run in the task that waits for it."""


class Negotiator:
    """Runs the operations of a connection that have to do with descriptions, one after the other."""

    def __init__(
        self,
        session: Session,
        transports: Transports,
        media: Media,
        effects: Effects,
        chain: OperationsChain,
        owner: NegotiationOwner,
    ) -> None:
        self._session = session
        self._transports = transports
        self._media = media
        self._effects = effects
        self._chain = chain
        self._owner = owner
        self._tasks = TaskQueue()
        self._checking = Background("negotiationneeded")
        self._needed = False
        """W3C [[NegotiationNeeded]]."""
        self._check_when_empty = False
        self._checks = 0
        """How often it has been asked whether negotiation is needed; only the last one counts."""

    def assert_open(self) -> None:
        """Raises `InvalidStateError` when the connection is closed."""
        if self._owner.is_closed:
            raise InvalidStateError("RTCPeerConnection is closed")

    def close(self) -> None:
        """Let what waits for its turn fail, and forget what has not been told."""
        self._chain.close()
        self._tasks.clear()

    async def settled(self) -> None:
        """Wait until no handler of `negotiationneeded` runs any more."""
        await self._checking.settled()

    # Creating descriptions

    async def create_offer(self, *, ice_restart: bool) -> RTCSessionDescription:
        """W3C `createOffer`, when it is its turn."""
        return await self._chain.run(lambda: self._create_offer(ice_restart))

    async def create_answer(self) -> RTCSessionDescription:
        """W3C `createAnswer`, when it is its turn."""
        return await self._chain.run(self._create_answer)

    async def _create_offer(self, ice_restart: bool) -> RTCSessionDescription:
        self.assert_open()
        session = self._session
        if session.signaling_state not in ("stable", "have-local-offer"):
            raise InvalidStateError(f'Cannot create offer in signaling state "{session.signaling_state}"')
        await self._in_parallel()
        if session.settings.data_first:
            self._media.create_sctp()
        session.session_version += 1
        session.last_offer = str(create_offer(session, ice_restart=ice_restart))
        return RTCSessionDescription(sdp=session.last_offer, type="offer")

    async def _create_answer(self) -> RTCSessionDescription:
        self.assert_open()
        session = self._session
        if session.signaling_state not in ("have-remote-offer", "have-local-pranswer"):
            raise InvalidStateError(f'Cannot create answer in signaling state "{session.signaling_state}"')
        await self._in_parallel()
        session.session_version += 1
        session.last_answer = str(create_answer(session))
        return RTCSessionDescription(sdp=session.last_answer, type="answer")

    # Setting descriptions

    async def set_local(self, description: RTCSessionDescription | None) -> None:
        """W3C `setLocalDescription`, when it is its turn."""
        await self._chain.run(lambda: self._set_local(description))

    async def set_remote(self, description: RTCSessionDescription) -> None:
        """W3C `setRemoteDescription`, when it is its turn."""
        await self._chain.run(lambda: self._set_remote(description))

    async def _set_local(self, description: RTCSessionDescription | None) -> None:
        self.assert_open()
        session = self._session
        if description is not None and description.type == "rollback":
            await self._roll_back("local")
            return
        await self._owner.ready_to_gather()
        self.assert_open()
        kind: SdpType
        if description is None:
            answering = session.signaling_state in ("have-remote-offer", "have-local-pranswer")
            kind = "answer" if answering else "offer"
        else:
            kind = description.type  # type: ignore[assignment]
        judged_first = kind == "pranswer" or self._owner.behaviour.judges_state_first
        if description is None or not description.sdp or judged_first:
            next_state(session.signaling_state, "local", kind)
        await self._in_parallel()
        text = await self._own_text(kind, description)
        sdp = await in_turns(parse_in_steps(text))
        self.assert_open()
        if kind != "offer" and session.pending_remote is not None:
            name_as_offered(sdp, session.pending_remote.sdp)
        next_state(session.signaling_state, "local", kind)
        if text != (session.last_offer if kind == "offer" else session.last_answer):
            check_own(session, kind, sdp)
        check_description(session, kind, sdp, local=True)
        self._effects.carry_out(apply_local(session, kind, sdp, _now()))
        await self.start_flows()

    async def _own_text(self, kind: SdpType, description: RTCSessionDescription | None) -> str:
        """The description that was given; or the last one created, or a new one where that is out of date."""
        if description is not None and description.sdp:
            return description.sdp
        session = self._session
        last = session.last_offer if kind == "offer" else session.last_answer
        if description is not None and last is not None:
            return last
        created = await (self._create_offer(False) if kind == "offer" else self._create_answer())
        if last is None or _without_origin(last) != _without_origin(created.sdp):
            return created.sdp
        if kind == "offer":
            session.last_offer = last
        else:
            session.last_answer = last
        return last

    async def _set_remote(self, description: RTCSessionDescription) -> None:
        self.assert_open()
        session = self._session
        if description.type == "rollback":
            await self._roll_back("remote")
            return
        kind: SdpType = description.type  # type: ignore[assignment]
        before = session.signaling_state
        glare = kind == "offer" and before == "have-local-offer" and self._owner.behaviour.rolls_back_in_glare
        next_state("stable" if glare else before, "remote", kind)
        await self._in_parallel()
        sdp = await in_turns(parse_in_steps(description.sdp))
        self.assert_open()
        self._observe()
        name_sections(session, kind, sdp)
        share_transport(sdp)
        check_description(session, kind, sdp, local=False)
        if glare:
            # Nothing below fails any more for an offer, so what is rolled back need not be brought back.
            self._effects.carry_out(rollback(session))
            await turns()
            self.assert_open()
            self._observe()
        plan = plan_remote(session, kind, sdp)
        self._effects.carry_out(apply_remote(session, kind, sdp, plan, _now(), description.sdp))
        await self.start_flows()

    async def _roll_back(self, side: str) -> None:
        next_state(self._session.signaling_state, "local" if side == "local" else "remote", "rollback")
        await self._in_parallel()
        self._effects.carry_out(rollback(self._session))

    async def start_flows(self) -> None:
        """Start, or bring up to date, what flows over transports that are connected."""
        for transport in self._transports.all:
            await start_flows(self._session, self._media, transport)

    # Candidates and restarts

    async def add_candidate(self, candidate: SignalledCandidate | None) -> None:
        """W3C `addIceCandidate`, when it is its turn."""

        async def add() -> None:
            self.assert_open()
            await self._in_parallel()
            self._effects.carry_out(trickle.add_remote(self._session, candidate))

        try:
            await self._chain.run(add)
        except InvalidStateError:
            if not self._owner.is_closed:
                raise
            # Closed meanwhile: nobody misses the candidate, and the W3C has nothing told either (§4.4.2).

    def restart_ice(self) -> None:
        """W3C `restartIce`: the credentials in use are to be replaced by the next offer."""
        session = self._session
        session.credentials_to_replace = {
            Credentials.of(section)
            for description in (session.current_local, session.pending_local)
            if description is not None
            for section in description.sdp.media
            if section.ice_ufrag is not None
        }
        self.check_needed()

    def secured_anew(self) -> bool:
        """Every DTLS association has been closed by the peer. False when that is the end of the connection."""
        outcome = bundle_head.closed(self._session, _now())
        if outcome == "wait":
            return True  # the answer that explains it is on its way
        if outcome == "over":
            return False
        self._effects.carry_out(outcome)
        self._owner.update_states()
        return True

    def peer_begins_again(self) -> bool:
        """Whether what the peer ends now is about to begin again."""
        return bundle_head.explains_end(self._session, _now())

    # Is negotiation needed?

    def tell_state(self, changed: bool, rolled_back: bool) -> None:
        """Descriptions have been applied: tell of the states."""
        if rolled_back:
            self._tasks.queue(self._owner.update_states)
        else:
            self._owner.update_states()
        if changed:
            if self._session.signaling_state == "stable":
                self._needed = False
                self.check_needed()
            self._owner.tell_signaling_state()

    def check_needed(self) -> None:
        """ "Update the negotiation-needed flag" (W3C WebRTC §4.7.3)."""
        if self._owner.is_closed or self._session.signaling_state != "stable":
            return  # it is asked again on the way back to stable
        if not self._chain.empty:
            self._check_when_empty = True
            return
        self._checks += 1
        # A task, because the handler runs in it: see tell_negotiation_needed.
        self._checking.spawn(self._check(self._checks))

    def chain_emptied(self) -> None:
        """No operation is under way: ask what was to be asked then."""
        if self._check_when_empty:
            self._check_when_empty = False
            self.check_needed()

    async def _check(self, check: int) -> None:
        await turns()
        if self._owner.is_closed or check != self._checks:
            return
        if not self._chain.empty:
            self._check_when_empty = True
            return
        if self._session.signaling_state != "stable":
            return
        self._observe()
        if not negotiation_needed(self._session):
            self._needed = False
        elif not self._needed:
            self._needed = True
            await self._owner.tell_negotiation_needed()

    async def _in_parallel(self) -> None:
        """Yield once, so that no effect is visible in the turn of the event loop that called (W3C: in parallel)."""
        await asyncio.sleep(0)
        self.assert_open()
        self._observe()

    def _observe(self) -> None:
        """Let the session see what its media and transports are like."""
        self._media.observe()
        for transport in self._transports.all:
            state = self._session.transports[transport.id]
            state.has_path = transport.has_path
            state.handshaking = transport.is_handshaking
            state.peers = transport.ice.peers


def _now() -> float:
    return asyncio.get_running_loop().time()


def _without_origin(sdp: str) -> str:
    return re.sub(r"^o=.*$", "", sdp, count=1, flags=re.MULTILINE)
