"""The transports of a connection: an ICE and a DTLS transport for each bundle of media sections."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aiortc import RTCDtlsFingerprint, RTCDtlsParameters, RTCIceParameters

from peer.aio.background import Background
from peer.aio.step import step
from peer.aio.task_queue import TaskQueue
from peer.dtls.certificate import RTCCertificate
from peer.dtls.transport import RTCDtlsTransport
from peer.exceptions import OperationError
from peer.ice.agent.pair import CandidatePair
from peer.ice.candidate import Candidate
from peer.ice.credentials import IceCredentials
from peer.ice.network import Network
from peer.ice.options import IceOptions
from peer.ice.transport import IceRole, IceTransport
from peer.sdp.description import MediaSection

from .ice_transport import RTCIceTransport

logger = logging.getLogger("peer.bundle")

_DIGEST: Final = {"sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_HEX: Final = frozenset("0123456789ABCDEFabcdef:")
_ICE_CHARS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def new_ice_parameters() -> RTCIceParameters:
    """Fresh credentials: 8 characters (48 bits) of username fragment, 24 (144 bits) of password (RFC 8445 §5.3)."""
    return RTCIceParameters(
        usernameFragment="".join(secrets.choice(_ICE_CHARS) for _ in range(8)),
        password="".join(secrets.choice(_ICE_CHARS) for _ in range(24)),
    )


@dataclass(eq=False)
class Transport:
    """One ICE transport with its DTLS, and the sections that go over it."""

    ice: IceTransport
    shown: RTCIceTransport
    """What the application sees of `ice`."""
    dtls: RTCDtlsTransport
    stats_id: str = "T"
    local: RTCIceParameters = field(default_factory=new_ice_parameters)
    """What the last local description said, or the next one will."""
    restart_offer: RTCIceParameters | None = None
    """What the next offer that restarts ICE will say."""
    restart_answer: RTCIceParameters | None = None
    """What the answer to the pending offer will say, which restarts ICE."""
    gathered: list[str] = field(default_factory=list)
    """The username fragments `ice.gather` was called with and that were not rolled back."""
    candidates: dict[str, list[Candidate]] = field(default_factory=dict)
    """Local candidates by username fragment, in the order they came."""
    complete: set[str] = field(default_factory=set)
    """The username fragments whose gathering is done."""
    remote: RTCIceParameters | None = None
    """The peer's credentials ICE was last started with."""
    started_with: str | None = None
    """Our username fragment then."""
    has_role: bool = False
    remote_dtls: RTCDtlsParameters | None = None
    connecting: asyncio.Task[None] | None = None
    has_path: bool = False
    """ICE has, or had, a pair for what DTLS protects. DTLS may be there first."""
    left_behind: CandidatePair | None = None
    """The pair that leads to the peer before this one."""

    def gather(self, parameters: RTCIceParameters) -> None:
        """The description with these credentials is in force: gather for it."""
        assert parameters.usernameFragment is not None
        if parameters.usernameFragment not in self.gathered:
            self.gathered.append(parameters.usernameFragment)
        self.local = parameters
        self.restart_offer = self.restart_answer = None
        self.ice.gather(_credentials(parameters))

    def rollback(self, local: RTCIceParameters, generations: int) -> None:
        """Forget what was gathered for descriptions that have been rolled back."""
        self.restart_offer = self.restart_answer = None
        self.local = local
        while len(self.gathered) > generations:
            username_fragment = self.gathered.pop()
            self.candidates.pop(username_fragment, None)
            self.complete.discard(username_fragment)
            self.ice.rollback()

    def local_candidates(self, username_fragment: str | None) -> list[Candidate]:
        return self.candidates.get(username_fragment or "", [])

    def start(self, remote: RTCIceParameters) -> bool:
        """The peer's credentials are agreed on. False, and nothing done, when they are those in use."""
        if self.remote == remote:
            return False
        if self.remote is not None and self.started_with == self.local.usernameFragment:
            self.ice.forget_peer()
            self.candidates.pop(self.started_with or "", None)
            self.complete.discard(self.started_with or "")
            self.ice.gather(_credentials(self.local))
        self.remote = remote
        self.started_with = self.local.usernameFragment
        self.ice.start(_credentials(remote), lite=remote.iceLite)
        return True

    def restarts(self, section: MediaSection) -> bool:
        """Whether a description has other credentials than ICE was started with (RFC 8839 §4.4.1.1.1)."""
        known = self.remote
        return known is not None and (known.usernameFragment, known.password) != (
            section.ice_ufrag,
            section.ice_pwd,
        )

    def is_other_peer(self, section: MediaSection) -> bool:
        """Whether a description is of somebody with another certificate than DTLS was started with."""
        known = self.remote_dtls
        if known is None or not section.fingerprints:
            return False
        before = {(each.algorithm, each.value) for each in known.fingerprints}
        return not before & set(section.fingerprints)

    def set_role(self, role: IceRole) -> None:
        """Once, from the first description (RFC 8445 §6.1.1); afterwards only ICE itself changes it."""
        if not self.has_role:
            self.has_role = True
            self.ice.set_role(role)


class Transports:
    """All the transports of a connection, and what happens on any of them."""

    def __init__(
        self,
        options: IceOptions,
        certificate: RTCCertificate,
        network: Network | None,
        *,
        on_candidate: Callable[[Transport, Candidate | None], None],
        on_candidate_error: Callable[[Any], None],
        on_change: Callable[[], None],
        on_connected: Callable[[Transport], Any],
        on_network_change: Callable[[], object],
    ) -> None:
        self.options = options
        self.certificate = certificate
        self.fingerprints = [(each.algorithm, each.value.upper()) for each in certificate.getFingerprints()]
        """What our descriptions say of the certificate: algorithm and value."""
        self._network = network
        self._on_candidate = on_candidate
        self._on_candidate_error = on_candidate_error
        self._on_change = on_change
        self._on_connected = on_connected
        self._on_network_change = on_network_change
        self.all: list[Transport] = []
        self._created = 0
        self._connecting = Background("connecting")
        self._stopping = Background("the end of transports")

    def create(self) -> Transport:
        ice = IceTransport(self.options, self._network)
        tasks = TaskQueue()
        shown = RTCIceTransport(ice, tasks)
        self._created += 1
        transport = Transport(ice, shown, self._create_dtls(ice, shown), f"T{self._created}")
        self.all.append(transport)

        def candidate(found: Candidate | None) -> None:
            # In a queued task, as `shown` tells of its states: in the order of what happened.
            tasks.queue(partial(self._on_candidate, transport, found))

        def changed(*_: object) -> None:
            if transport in self.all:
                self._on_change()

        ice.on("icecandidate", candidate)
        ice.on("icecandidateerror", self._on_candidate_error)
        shown.on("statechange", changed)
        shown.on("gatheringstatechange", changed)
        ice.on("networkchange", self._on_network_change)
        return transport

    def set_options(self, options: IceOptions) -> None:
        """For what is gathered from now on."""
        self.options = options
        for transport in self.all:
            transport.ice.set_options(options)

    def connect(self, transport: Transport, remote: RTCDtlsParameters, role: str) -> None:
        """Shake hands as soon as ICE has a path, or while it looks for one. `role` is ours: client or server."""
        if transport.connecting is not None:
            return
        transport.remote_dtls = remote
        transport.dtls._set_role(role)
        transport.connecting = self._connecting.spawn(self._connect(transport, remote))

    async def _connect(self, transport: Transport, remote: RTCDtlsParameters) -> None:
        ice, dtls = transport.ice, transport.dtls
        reachable = asyncio.Event()

        def changed(*_: object) -> None:
            pair = ice.selected_pair
            if ice.state in ("connected", "completed") and pair is not transport.left_behind:
                dtls.path_found()
                reachable.set()

        ice.on("statechange", changed)
        ice.on("selectedcandidatepairchange", changed)
        changed()
        try:
            if not ice.carries_handshake:
                await reachable.wait()
            try:
                await dtls.start(remote)
            except Exception:
                dtls.fail("the handshake ended in an error of this library")
                raise
            if dtls.state == "connected":
                await reachable.wait()
                transport.has_path = True
        finally:
            for event in ("statechange", "selectedcandidatepairchange"):
                if changed in ice.listeners(event):
                    ice.remove_listener(event, changed)
        if dtls.state == "connected":
            await self._on_connected(transport)

    def hand_over(self, transport: Transport) -> None:
        """DTLS begins anew, with another peer, on the path that ICE is about to find."""
        old = transport.dtls
        old.remove_all_listeners()
        if transport.connecting is not None:
            transport.connecting.cancel()
        transport.connecting = None
        transport.has_path = False
        transport.remote_dtls = None
        transport.ice.forgo_handshake()
        transport.left_behind = transport.ice.selected_pair
        transport.dtls = self._create_dtls(transport.ice, transport.shown)
        self._stopping.spawn(self._forget(old))

    @staticmethod
    async def _forget(dtls: RTCDtlsTransport) -> None:
        # A goodbye would go to the new peer, who knows nothing of this association.
        await dtls.stop(goodbye=False)

    def _create_dtls(self, ice: IceTransport, shown: RTCIceTransport) -> RTCDtlsTransport:
        dtls = RTCDtlsTransport(shown, ice.payload, [self.certificate])
        dtls.on("statechange", lambda *_: self._on_change())
        return dtls

    def discard(self, transport: Transport) -> None:
        """A transport that no section uses any more."""
        if transport in self.all:
            self.all.remove(transport)
            transport.dtls.give_up()
            # Without a goodbye: to a peer that has not discarded its own yet, that would be the end of the call.
            self._stopping.spawn(self._stop(transport, silent=True))

    async def _stop(self, transport: Transport, *, silent: bool = False) -> None:
        if transport.connecting is not None:
            transport.connecting.cancel()
            await step("connecting", asyncio.wait([transport.connecting]))
        if silent:
            await transport.ice.stop()
        await step("DTLS", transport.dtls.stop())
        await transport.ice.stop()

    async def stop(self) -> None:
        """Close all of them, whatever a part of one does. Idempotent."""
        for transport in self.all:
            self._stopping.spawn(self._stop(transport))
        await self._stopping.settled()


def _credentials(parameters: RTCIceParameters) -> IceCredentials:
    return IceCredentials(parameters.usernameFragment or "", parameters.password or "")


def dtls_parameters(section: MediaSection) -> RTCDtlsParameters:
    """The peer's fingerprints, as aiortc takes them. Raises `OperationError` when none can be verified."""
    fingerprints = [
        RTCDtlsFingerprint(algorithm=algorithm, value=value)
        for algorithm, value in section.fingerprints
        if len(value) == _DIGEST.get(algorithm, 0) * 3 - 1 and set(value) <= _HEX
    ]
    if not fingerprints:
        raise OperationError(
            "the description has no fingerprint of a kind that can be verified (sha-224 to sha-512)"
        )
    role = {"active": "client", "passive": "server"}.get(section.setup or "", "auto")
    return RTCDtlsParameters(fingerprints=fingerprints, role=role)
