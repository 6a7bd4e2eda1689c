"""What DTLS gives and gets: its packets, over whichever pair is selected, and meanwhile inside checks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from peer.ice.agent.pair import CandidatePair
from peer.ice.agent.piggyback import Piggyback

from .generation import Path
from .network import KnowsDatagramSize

_EARLY_SENT: Final = 4
"""DTLS packets kept until there is a pair to send them on: one flight."""

_DTLS: Final = range(20, 64)
"""First bytes of DTLS (RFC 7983)."""

Reader: TypeAlias = Callable[[bytes, Path], bool]
"""Given a datagram and where it came from, as it comes; says whether it has taken it."""


class DatagramPath(Protocol):
    """What DTLS needs of the ICE transport below it, and all that it may use."""

    reader: Reader | None
    """Called for each datagram in the turn of the event loop that brought it, if set."""

    @property
    def round_trip(self) -> float | None:
        """Seconds there and back on the selected pair; None while that is not known."""

    @property
    def is_open(self) -> bool:
        """Whether there is a selected pair to send on."""

    @property
    def is_agreed(self) -> bool:
        """Whether both sides have settled on the selected pair: it is nominated."""

    @property
    def switches(self) -> int:
        """How often another pair has been selected: with it everything known of the path may be over."""

    @property
    def largest_datagram(self) -> int | None:
        """The bytes a datagram may have on the selected pair, as far as the system knows; None when it does not."""

    def send(self, data: bytes) -> None:
        """Send a datagram; without a path it is lost. Raises `ConnectionError` once the transport is closed."""

    async def receive(self) -> tuple[bytes, Path]:
        """Wait for a datagram and say where it came from. Raises `ConnectionError` once the transport is closed."""

    def heard(self, origin: Path) -> None:
        """Take a sign of life: what came from `origin` turned out to be authentic."""

    def carry(self, flight: Sequence[bytes]) -> None:
        """Let connectivity checks carry this handshake flight until there is a path."""

    def handshake_done(self, *, last_flight_is_ours: bool) -> None:
        """Note that our side of the handshake is done."""

    def handshake_confirmed(self) -> None:
        """Note that the peer's side of the handshake is done, too."""


class PayloadPath:
    """Moves datagrams that are not STUN. Nothing here raises before the end, whatever becomes of paths."""

    def __init__(
        self,
        *,
        queue_max: int,
        piggyback: Piggyback | None,
        time: Callable[[], float],
        prompt: Callable[[], None],
    ) -> None:
        """`queue_max` bounds the datagrams that wait for a reader. `prompt` lets checks carry the flight there is."""
        self.queue_max = queue_max
        self.piggyback = piggyback
        self.reader: Reader | None = None
        self._time = time
        self._prompt = prompt
        self._pair: CandidatePair | None = None
        self._closed = False
        self._queue: deque[tuple[bytes, Path]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._early_sent: deque[bytes] = deque(maxlen=_EARLY_SENT)
        self.switches = 0
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.packets_discarded_on_send = 0
        """Payload for which there was no pair to send it on."""
        self.packets_discarded_on_receive = 0
        """Payload that nobody read in time."""

    # What DTLS does

    @property
    def pair(self) -> CandidatePair | None:
        """The pair that datagrams are sent on; None while there is none."""
        return self._pair

    @property
    def is_open(self) -> bool:
        """Whether there is a pair to send over."""
        return self._pair is not None

    @property
    def is_agreed(self) -> bool:
        """Whether both sides have agreed on the pair."""
        return self._pair is not None and self._pair.nominated

    @property
    def round_trip(self) -> float | None:
        """Seconds there and back over the pair; None while that is not known."""
        return self._pair.rtt if self._pair is not None else None

    @property
    def largest_datagram(self) -> int | None:
        pair = self._pair
        if pair is None or not isinstance(pair.base, KnowsDatagramSize):
            return None
        return pair.base.largest_datagram(pair.remote_address)

    async def receive(self) -> tuple[bytes, Path]:
        """Wait for the next datagram, and tell the path it came over. Raises `ConnectionError` at the end."""
        queue = self._queue
        while not queue:
            if self._closed:
                raise ConnectionError("the ICE transport is closed")
            reader = self._reader = asyncio.get_running_loop().create_future()
            try:
                await reader
            finally:
                self._reader = None
        return queue.popleft()

    def send(self, data: bytes) -> None:
        """Send over the selected pair. Without one DTLS waits for it, and anything else is lost."""
        pair = self._pair
        if pair is None:
            if self._closed:
                raise ConnectionError("the ICE transport is closed")
            if data and data[0] in _DTLS:
                self._early_sent.append(data)
            self.packets_discarded_on_send += 1
            return
        pair.base.send(data, pair.remote_address)
        size = len(data)
        pair.packets_sent += 1
        pair.bytes_sent += size
        pair.last_packet_sent = self._time()
        self.packets_sent += 1
        self.bytes_sent += size

    def carry(self, flight: Sequence[bytes]) -> None:
        """Let connectivity checks carry the datagrams of a DTLS flight."""
        self._early_sent.clear()
        if self.piggyback is not None:
            self.piggyback.carry(flight)
            if self._pair is None:
                self._prompt()

    def handshake_done(self, *, last_flight_is_ours: bool) -> None:
        """Take note that DTLS is done; who sent the last flight must be able to repeat it."""
        if self.piggyback is not None:
            self.piggyback.finish(last_flight_is_ours=last_flight_is_ours)

    def handshake_confirmed(self) -> None:
        """Take note that the peer has our last flight."""
        if self.piggyback is not None:
            self.piggyback.confirm()

    def heard(self, origin: Path) -> None:
        """Take note of authenticated payload, a sign of life."""
        origin.generation.heard(origin)

    # What the transport does

    def received(self, data: bytes, path: Path) -> None:
        """Take a datagram that is not STUN: to the reader at once, or into the queue."""
        if self.piggyback is not None and data[0] in _DTLS:
            if self.piggyback.is_over:
                self.piggyback = None
            else:
                self.piggyback.received(data)
        self.packets_received += 1
        self.bytes_received += len(data)
        queue = self._queue
        if not queue and self.reader is not None and self.reader(data, path):
            return
        if len(queue) >= self.queue_max:
            queue.popleft()
            self.packets_discarded_on_receive += 1
        queue.append((data, path))
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    def use(self, pair: CandidatePair | None) -> None:
        """Send on another pair from now on, first what had to wait for one."""
        self._pair = pair
        self.switches += 1
        if pair is not None:
            while self._early_sent:
                pair.base.send(self._early_sent.popleft(), pair.remote_address)

    def close(self) -> None:
        """Carry nothing any more, and tell whoever reads."""
        self._closed = True
        self._pair = None
        self._queue.clear()
        self._early_sent.clear()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
