"""TCP, as far as a virtual network needs it: ordered, whole, and late when the line is bad."""

from __future__ import annotations

from collections.abc import Callable

from peer.ice.network import Address
from tests.simnet.world import Nic, World

_MAX_QUEUED = 256 * 1024


class SimStream:
    """One end of a connection; a `peer.ice.network.StreamConnection`."""

    def __init__(self, nic: Nic, local: Address, remote: Address) -> None:
        self.received: Callable[[bytes], None] | None = None
        self.lost: Callable[[Exception | None], None] | None = None
        self.nic = nic
        self.local_address = local
        self.remote_address = remote
        self.far_end: SimStream | None = None
        self.closed = False
        self._early: list[bytes] = []
        self._arrives_at = 0.0
        self._queued = 0
        nic.streams.add(self)

    @property
    def world(self) -> World:
        return self.nic.world

    def write(self, data: bytes) -> bool:
        far_end = self.far_end
        if self.closed or far_end is None or not self.nic.link.up or self._queued + len(data) > _MAX_QUEUED:
            return False
        copy = bytes(data)
        self._queued += len(copy)

        def arrive() -> None:
            self._queued -= len(copy)
            far_end._arrive(copy)

        self._after_transit(arrive)
        return True

    def _after_transit(self, callback: Callable[[], None]) -> None:
        assert self.far_end is not None
        rng = self.world.rng
        delay = self.nic.link.reliable_delay(rng) + self.far_end.nic.link.reliable_delay(rng)
        # Nothing overtakes what was written before.
        self._arrives_at = max(self._arrives_at, self.world.clock.time() + delay)
        self.world.clock.call_at(self._arrives_at, callback)

    def _arrive(self, data: bytes) -> None:
        if self.closed:
            return
        if self.received is None:
            self._early.append(data)
        else:
            for early in self._early:
                self.received(early)
            self._early.clear()
            self.received(data)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.nic.streams.discard(self)
        if self.far_end is not None:
            self._after_transit(self.far_end._closed_by_peer)

    def _closed_by_peer(self) -> None:
        if not self.closed:
            self.break_off(None)

    def break_off(self, error: Exception | None) -> None:
        """It is over, and this end is told why."""
        if self.closed:
            return
        self.closed = True
        self.nic.streams.discard(self)
        if self.lost is not None:
            self.lost(error)


def listen(nic: Nic, port: int, accepted: Callable[[SimStream], None]) -> None:
    """Take connections on a port of an interface."""

    def accept(remote: Address) -> SimStream:
        stream = SimStream(nic, (nic.address, port), remote)
        accepted(stream)
        return stream

    nic.listeners[port] = accept


def connect(nic: Nic, destination: Address, done: Callable[[SimStream | None], None]) -> None:
    """Open a connection; `done` gets it after a round trip, or None if it is refused or nobody is there."""
    world = nic.world
    ports = nic.firewall.outgoing_tcp_ports
    source = (nic.address, world.rng.randrange(49152, 65536))
    end = None
    if nic.link.up and (ports is None or destination[1] in ports):
        end = nic.realm.connect(source, destination)
    if end is None:
        world.later(2 * nic.link.delay, lambda: done(None))
        return
    far_nic, seen_as = end
    near = SimStream(nic, source, destination)

    def established() -> None:
        accept = far_nic.listeners.get(destination[1])
        if accept is None:
            done(None)
            return
        far = accept(seen_as)
        assert isinstance(far, SimStream)
        near.far_end, far.far_end = far, near
        done(near)

    world.later(2 * (nic.link.delay + far_nic.link.delay), established)
