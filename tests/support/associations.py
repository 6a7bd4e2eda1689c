"""Two SCTP associations and a network between them, in virtual time and without an event loop."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from peer.sctp.association import chunks
from peer.sctp.association.association import Association
from peer.sctp.association.events import Event
from peer.sctp.association.outgoing import OutgoingMessage
from peer.sctp.association.reassembly import UserMessage

BINARY = 53


@dataclass
class Network:
    """What becomes of a packet. Delays in seconds, `rate` in bytes per second, `queue` in seconds."""

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate: float | None = None
    queue: float = 0.2


@dataclass(order=True)
class _Arrival:
    at: float
    number: int
    to: int = field(compare=False)
    packet: bytes = field(compare=False)


class Associations:
    """Both ends, as a list of two; what each was told; and the time."""

    def __init__(
        self, network: Network | None = None, *, seed: int = 0, snap: bool = False, interleaving: bool = True
    ) -> None:
        """`snap`: both know the other's INIT beforehand. `interleaving`: both know I-DATA."""
        self.network = network or Network()
        self.rng = random.Random(seed)
        self.ends = [Association(random.Random(self.rng.random())) for _ in range(2)]
        if not interleaving:
            for end in self.ends:
                extensions = bytes([chunks.RE_CONFIG, chunks.FORWARD_TSN])
                end.local_init = replace(end.local_init, extensions=extensions)
        self.now = 100.0
        self.events: list[list[Event]] = [[], []]
        self.messages: list[list[UserMessage]] = [[], []]
        self.told_at: list[list[float]] = [[], []]
        """When each of the messages was delivered."""
        self.packets: list[list[bytes]] = [[], []]
        """What each has sent, lost or not."""
        self.passes: Callable[[int, bytes], bool] = lambda sender, packet: True
        """Says of each packet whether the network takes it."""
        self._arrivals: list[_Arrival] = []
        self._count = 0
        self._free_at = [0.0, 0.0]
        if snap:
            self.ends[0].peer_init, self.ends[1].peer_init = self.ends[1].local_init, self.ends[0].local_init

    def connect(self, *which: int) -> None:
        """Begin at one end, or at both."""
        for number in which or (0, 1):
            self.ends[number].connect(self.now)
        self.exchange()

    def send(self, sender: int, data: bytes, stream: int = 0, **options: object) -> OutgoingMessage:
        """Queue a message; `exchange` or `run` sends it."""
        message = OutgoingMessage(stream, BINARY, data, counted=len(data), **options)  # type: ignore[arg-type]
        self.ends[sender].send(message)
        return message

    def exchange(self) -> None:
        """Let both ends send what they have to send now, and tell what they have to tell."""
        for number, end in enumerate(self.ends):
            while True:
                for packet in end.datagrams(self.now):
                    self._carry(number, packet)
                if not end.has_more:
                    break
            for event in end.events():
                if isinstance(event, UserMessage):
                    self.messages[number].append(event)
                    self.told_at[number].append(self.now)
                else:
                    self.events[number].append(event)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, until something is so or the time is over. Returns whether it was so."""
        end_of_run = self.now + seconds
        self.exchange()
        while not until():
            due = [at for at in (each.timer() for each in self.ends) if at is not None]
            if self._arrivals:
                due.append(self._arrivals[0].at)
            if not due or min(due) > end_of_run:
                self.now = end_of_run
                return until()
            self.now = max(self.now, min(due))
            while self._arrivals and self._arrivals[0].at <= self.now:
                arrival = heapq.heappop(self._arrivals)
                self.ends[arrival.to].receive(arrival.packet, self.now)
            for each in self.ends:
                timer = each.timer()
                if timer is not None and timer <= self.now:
                    each.handle_timer(self.now)
            self.exchange()
        return True

    def _carry(self, sender: int, packet: bytes) -> None:
        self.packets[sender].append(packet)
        network, rng = self.network, self.rng
        if not self.passes(sender, packet) or rng.random() < network.loss:
            return
        at = self.now
        if network.rate is not None:
            if self._free_at[sender] - at > network.queue:
                return
            self._free_at[sender] = at = max(at, self._free_at[sender]) + len(packet) / network.rate
        for _ in range(2 if rng.random() < network.duplicate else 1):
            self._count += 1
            given = bytearray(packet)
            if rng.random() < network.corrupt:
                given[rng.randrange(len(given))] ^= 1 << rng.randrange(8)
            delay = network.delay + rng.random() * network.jitter
            heapq.heappush(self._arrivals, _Arrival(at + delay, self._count, 1 - sender, bytes(given)))
