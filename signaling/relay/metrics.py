"""What the relay counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["Metrics"]


class Metrics:
    """Counters of one relay, in a registry of its own so that several relays may live in one process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.connections = Gauge("signaling_connections", "WebSockets open on this node.", registry=registry)
        self.rooms = Gauge("signaling_rooms", "Rooms on all nodes.", registry=registry)
        self.sessions = Gauge("signaling_sessions", "Peers in rooms on all nodes.", registry=registry)
        self._received = Counter(
            "signaling_messages_received", "Messages from peers.", ["type"], registry=registry
        )
        self.forwarded = Counter(
            "signaling_messages_forwarded", "Messages written to peers.", registry=registry
        )
        self._errors = Counter("signaling_errors", "Errors told to peers.", ["code"], registry=registry)
        self._joins = Counter("signaling_joins", "Peers that entered.", ["kind"], registry=registry)
        self.throttled = Counter(
            "signaling_throttled", "Messages read late for their rate.", registry=registry
        )
        self.refused = Counter(
            "signaling_refused_connections", "Turned away before a join.", ["why"], registry=registry
        )
        self.credentials = Counter(
            "signaling_turn_credentials", "TURN credentials given out.", registry=registry
        )
        self._by_type: dict[str, Callable[[], None]] = {}

    def received(self, kind: str) -> None:
        """Count a message of a peer, by its type."""
        count = self._by_type.get(kind)
        if count is None:
            count = self._by_type[kind] = self._received.labels(kind).inc
        count()

    def error(self, code: str) -> None:
        """Count an error, by its code."""
        self._errors.labels(code).inc()

    def joined(self, *, resumed: bool) -> None:
        """Count a peer that came in, anew or into its session."""
        self._joins.labels("resume" if resumed else "join").inc()

    def exposition(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self.registry)
