"""What DTLS gives and gets: its packets, over whichever pair is selected, and meanwhile inside checks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from peer.ice.agent.pair import CandidatePair
from peer.ice.agent.piggyback import Piggyback
from peer.ice.generation import Path
from peer.ice.options import IceOptions

_EARLY_SENT: Final = 4
"""DTLS packets kept until there is a pair to send them on: one flight."""

_DTLS: Final = range(20, 64)
_SRTP: Final = range(128, 192)
"""First bytes of DTLS and of SRTP (RFC 7983)."""


class PayloadPath:
    """Moves datagrams that are not STUN. Nothing here raises before the end, whatever becomes of paths."""

    def __init__(self, options: IceOptions, time: Callable[[], float]) -> None:
        self._options = options
        self._time = time
        self._pair: CandidatePair | None = None
        self._closed = False
        self._queue: deque[tuple[bytes, Path]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._take_media: Callable[[bytes], bool] | None = None
        """Given SRTP as it comes, without a turn of the event loop; says whether it has taken it."""
        self._last_path: Path | None = None
        self._early_sent: deque[bytes] = deque(maxlen=_EARLY_SENT)
        self._piggyback = Piggyback() if options.dtls_in_stun else None
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.packets_discarded_on_send = 0
        """Payload for which there was no pair to send it on."""
        self.packets_discarded_on_receive = 0
        """Payload that nobody read in time."""

    # What DTLS does

    async def _recv(self) -> bytes:
        """The next datagram that is not STUN. Raises `ConnectionError` after `stop`, never before."""
        queue = self._queue
        while not queue:
            if self._closed:
                raise ConnectionError("the ICE transport is closed")
            reader = self._reader = asyncio.get_running_loop().create_future()
            try:
                await reader
            finally:
                self._reader = None
        data, self._last_path = queue.popleft()
        return data

    async def _send(self, data: bytes) -> None:
        """Send on the selected pair; without one the datagram is lost, as on any network.

        Raises `ConnectionError` after `stop`, never before.
        """
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

    def _carry(self, flight: Sequence[bytes]) -> None:
        """DTLS is about to send a handshake flight: until there is a pair, checks carry it."""
        self._early_sent.clear()
        if self._piggyback is not None:
            self._piggyback.carry(flight)
            if self._pair is None:
                self._prompt()

    def _handshake_done(self, *, last_flight_is_ours: bool) -> None:
        """Our side of the DTLS handshake is done."""
        if self._piggyback is not None:
            self._piggyback.finish(last_flight_is_ours=last_flight_is_ours)

    def _handshake_confirmed(self) -> None:
        """The peer's side is done, too."""
        if self._piggyback is not None:
            self._piggyback.confirm()

    def _heard(self) -> None:
        """What `_recv` gave last turned out to be authentic: a sign of life."""
        path = self._last_path
        if path is not None:
            path.generation.heard(path)

    def _prompt(self) -> None:
        """Let what looks for a pair carry the flight there is."""
        raise NotImplementedError

    # What JSEP does

    @property
    def carries_handshake(self) -> bool:
        """Whether DTLS may begin before there is a pair, inside the checks that look for one."""
        return self._piggyback is not None and self._piggyback.is_shaking_hands

    def forgo_handshake(self) -> None:
        """DTLS waits for a pair: the peer knows no other way, or the first handshake is over."""
        if self._piggyback is not None:
            self._piggyback.turn_off()

    # What generations tell

    def payload_received(self, data: bytes, path: Path) -> None:
        if self._piggyback is not None and data[0] in _DTLS:
            if self._piggyback.is_over:
                self._piggyback = None
            else:
                self._piggyback.received(data)
        self.packets_received += 1
        self.bytes_received += len(data)
        queue = self._queue
        if not queue and data[0] in _SRTP and self._take_media is not None:
            reading_from, self._last_path = self._last_path, path
            taken = self._take_media(data)
            self._last_path = reading_from
            if taken:
                return
        if len(queue) >= self._options.receive_queue:
            queue.popleft()
            self.packets_discarded_on_receive += 1
        queue.append((data, path))
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    # What happens to the pair

    def _use(self, pair: CandidatePair | None) -> None:
        """Send on another pair from now on, first what had to wait for one."""
        self._pair = pair
        if pair is not None:
            while self._early_sent:
                pair.base.send(self._early_sent.popleft(), pair.remote_address)

    def _end_payload(self) -> None:
        """Nothing is carried any more, and whoever reads is told."""
        self._closed = True
        self._pair = self._last_path = None
        self._queue.clear()
        self._early_sent.clear()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
