"""The transports of a connection: an ICE and a DTLS transport for each bundle of media sections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiortc import RTCDtlsFingerprint, RTCDtlsParameters

from peer.aio.background import Background
from peer.aio.step import step
from peer.aio.task_queue import TaskQueue
from peer.dtls.certificate import RTCCertificate
from peer.dtls.transport import RTCDtlsTransport
from peer.ice.agent.pair import CandidatePair
from peer.ice.candidate import Candidate
from peer.ice.network import Network
from peer.ice.options import IceOptions
from peer.ice.transport import IceTransport
from peer.rtp.bandwidth import Bandwidth
from peer.rtp.congestion import BandwidthEstimate, CongestionControl

from .ice_transport import RTCIceTransport

logger = logging.getLogger("peer.bundle")


@dataclass(eq=False)
class Transport:
    """One ICE transport with its DTLS. What negotiation knows of it is in the `TransportState` of the same id."""

    id: str
    ice: IceTransport
    shown: RTCIceTransport
    """What the application sees of `ice`."""
    dtls: RTCDtlsTransport
    connecting: asyncio.Task[None] | None = None
    has_path: bool = False
    """ICE has, or had, a pair for what DTLS protects. DTLS may be there first."""
    left_behind: CandidatePair | None = None
    """The pair that leads to the peer before this one."""
    path_noted: CandidatePair | None = None
    """The path in use when the negotiation under way began."""
    path_before: CandidatePair | None = None
    """The path in use when the last finished negotiation began."""

    @property
    def is_handshaking(self) -> bool:
        """True until the DTLS handshake has come to an end, good or bad."""
        return self.dtls.state in ("new", "connecting")


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
        on_bandwidth: Callable[[BandwidthEstimate], object] = lambda estimate: None,
        bandwidth: Bandwidth | None = None,
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
        self._on_bandwidth = on_bandwidth
        self._bandwidth = bandwidth
        self._by_id: dict[str, Transport] = {}
        self._connecting = Background("connecting")
        self._stopping = Background("the end of transports")

    @property
    def all(self) -> list[Transport]:
        """Those that sections go over, or may go over, in the order in which they were opened."""
        return list(self._by_id.values())

    def __getitem__(self, id: str) -> Transport:
        return self._by_id[id]

    def get(self, id: str | None) -> Transport | None:
        """The transport of an id, if it is open."""
        return None if id is None else self._by_id.get(id)

    def open(self, id: str) -> None:
        """Make an ICE transport, and a DTLS transport over it."""
        ice = IceTransport(self.options, self._network)
        tasks = TaskQueue()
        shown = RTCIceTransport(ice, tasks)
        transport = self._by_id[id] = Transport(id, ice, shown, self._create_dtls(ice, shown))

        def candidate(found: Candidate | None) -> None:
            # In a queued task, as `shown` tells of its states: in the order of what happened.
            tasks.queue(partial(self._on_candidate, transport, found))

        def changed(*_: object) -> None:
            if id in self._by_id:
                self._on_change()

        ice.on("icecandidate", candidate)
        ice.on("icecandidateerror", self._on_candidate_error)
        shown.on("statechange", changed)
        shown.on("gatheringstatechange", changed)
        ice.on("networkchange", self._on_network_change)

    def set_options(self, options: IceOptions) -> None:
        """For what is gathered from now on."""
        self.options = options
        for transport in self.all:
            transport.ice.set_options(options)

    def connect(self, id: str, fingerprints: Iterable[tuple[str, str]], role: str) -> None:
        """Shake hands as soon as ICE has a path, or while it looks for one. `role` is ours: client or server."""
        transport = self._by_id[id]
        remote = RTCDtlsParameters(
            [RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints]
        )
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

    def renew_dtls(self, id: str, *, path_before: bool) -> None:
        """Begin DTLS anew, on the path that ICE is about to find.

        `path_before`: on any path but that from before the last negotiation, which ICE may have found already.
        """
        transport = self._by_id[id]
        old = transport.dtls
        old.remove_all_listeners()
        if transport.connecting is not None:
            transport.connecting.cancel()
        transport.connecting = None
        transport.has_path = False
        transport.ice.forgo_handshake()
        transport.left_behind = transport.path_before if path_before else transport.ice.selected_pair
        transport.dtls = self._create_dtls(transport.ice, transport.shown)
        self._stopping.spawn(self._forget(old))

    @staticmethod
    async def _forget(dtls: RTCDtlsTransport) -> None:
        # A goodbye would go to the new peer, who knows nothing of this association.
        await dtls.stop(goodbye=False)

    def _create_dtls(self, ice: IceTransport, shown: RTCIceTransport) -> RTCDtlsTransport:
        dtls = RTCDtlsTransport(
            shown,
            ice.payload,
            [self.certificate],
            CongestionControl(self._bandwidth, self._on_bandwidth),
        )
        dtls.on("statechange", lambda *_: self._on_change())
        return dtls

    def discard(self, id: str) -> None:
        """End a transport that no section uses any more."""
        transport = self._by_id.pop(id)
        transport.dtls.give_up()
        # Without a goodbye: to a peer that has not discarded its own yet, that would be the end of the call.
        self._stopping.spawn(self._stop(transport, silent=True))

    def note_paths(self, *, settled: bool) -> None:
        """Note the paths in use as a negotiation begins; `settled`: it has ended, and they are the ones before it."""
        for transport in self.all:
            if settled:
                transport.path_before, transport.path_noted = transport.path_noted, None
            else:
                transport.path_noted = transport.ice.selected_pair

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
