"""The association on an event loop: its packets go through DTLS, its timer is the loop's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL

from peer.aio.seldom_log import SeldomLog

from .association.association import Association
from .association.events import Event

ETHERNET_BYTES: Final = 1380
"""Bytes of a packet that passes where IPv6 over Ethernet does, with DTLS around it."""

logger = logging.getLogger("peer.sctp")


class AssociationDriver:
    """Carries what an association sends and hears, for as long as it lives.

    What is sent in one turn of the event loop leaves at its end, in as few packets as hold it.
    """

    def __init__(
        self, association: Association, transport: Any, on_events: Callable[[list[Event]], None]
    ) -> None:
        """`transport`: a DTLS transport that is connected. `on_events` hears what the association tells."""
        self.association = association
        self._transport = transport
        self._on_events = on_events
        self._loop = asyncio.get_running_loop()
        self._log = SeldomLog(logger)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._flush: asyncio.Handle | None = None
        self._stopped = False
        self._switches = -1
        self._drops = 0
        self.faults = 0
        """Packets whose handling ended in an error of this library."""

    def start(self) -> None:
        """Begin the association."""
        self._transport.register_data_reader(self.receive)
        self.association.connect(self._loop.time())
        self.flush()

    def receive(self, packet: bytes) -> None:
        """Take a packet from DTLS."""
        if self._stopped:
            return
        association = self.association
        try:
            association.receive(packet, self._loop.time())
        except Exception as exc:
            self.faults += 1
            self._log.warning("an SCTP packet could not be handled to its end", error=exc)
        if association.packets_dropped != self._drops:
            self._drops = association.packets_dropped
            self._log.warning("an SCTP packet was dropped: %s", association.drop_reason)
        self._tell()
        self.wake()

    def wake(self) -> None:
        """Send what there is to send at the end of this turn of the event loop."""
        if self._flush is None and not self._stopped:
            self._flush = self._loop.call_soon(self._flushed)

    def flush(self) -> None:
        """Send what there is to send now."""
        if self._stopped:
            return
        association, now = self.association, self._loop.time()
        if self._switches != self._transport.path_switches:
            self._learn_path()
        try:
            self._transport.send_data(association.datagrams(now))
        except (ConnectionError, SSL.Error) as exc:
            # DTLS is closing, and whoever closed it tells everybody: what is sent meanwhile is lost, as on any network.
            logger.debug("SCTP packets were not sent: %r", exc)
        self._tell()
        if association.has_more:
            self.wake()
        self._set_timer()

    def stop(self, *, flush: bool = True) -> None:
        """Send what there still is, unless told otherwise, and nothing after it."""
        if self._stopped:
            return
        if flush:
            self.flush()
        self._stopped = True
        self._transport.unregister_data_reader(self.receive)
        for handle in (self._timer, self._flush):
            if handle is not None:
                handle.cancel()

    def _learn_path(self) -> None:
        self._switches = self._transport.path_switches
        largest = self._transport.largest_packet
        self.association.use_path([] if largest is None else [largest, min(largest, ETHERNET_BYTES)])

    def _flushed(self) -> None:
        self._flush = None
        self.flush()

    def _tell(self) -> None:
        events = self.association.events()
        if events or self.association.outbound.taken:
            self._on_events(events)

    def _set_timer(self) -> None:
        due = self.association.timer()
        if due is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        if self._timer is not None:
            if self._timer_at <= due:
                return  # it looks again when it fires: most are moved on many times before
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._expired)

    def _expired(self) -> None:
        self._timer = None
        now = self._loop.time()
        due = self.association.timer()
        if due is not None and due <= now:
            ice = getattr(self._transport, "iceTransport", None)
            # While ICE has no path, or looks for another, nobody could have answered.
            reachable = ice is None or ice.state in ("connected", "completed")
            self.association.handle_timer(now, reachable=reachable)
            self._tell()
        self.flush()
