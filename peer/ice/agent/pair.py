"""Candidate pairs: their states, their worth, and what is counted on them (RFC 8445 §6.1.2, §6.1.4).

A pair is where a base meets a remote address. Its local candidate begins as the base's own and becomes the
candidate the peer really saw once a check succeeds (RFC 8445 §7.2.5.3.2); state and counters stay.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from peer.ice.candidate import Candidate
from peer.ice.network import Address, DatagramBase

from .consent import Consent
from .round_trip import RoundTrip

PairState: TypeAlias = Literal["frozen", "waiting", "in-progress", "succeeded", "failed"]
PairEvent: TypeAlias = Literal["unfreeze", "trigger", "check", "answer", "fail"]

TRANSITIONS: Final[dict[PairState, dict[PairEvent, PairState]]] = {
    # RFC 8445 §6.1.4.2: a turn comes, or a pair of the same foundation succeeded (§7.2.5.3.3).
    "frozen": {"unfreeze": "waiting", "trigger": "waiting", "answer": "succeeded", "fail": "failed"},
    "waiting": {"trigger": "waiting", "check": "in-progress", "answer": "succeeded", "fail": "failed"},
    # RFC 8445 §7.3.1.4: a triggered check takes the place of the one under way; its answer still counts.
    "in-progress": {"trigger": "waiting", "answer": "succeeded", "fail": "failed"},
    # Checks on a valid pair (nomination, consent) do not make it less valid; losing consent does.
    "succeeded": {"answer": "succeeded", "fail": "failed"},
    # RFC 8445 §7.3.1.4: the peer's check brings it back; so does an answer that was merely late.
    "failed": {"trigger": "waiting", "answer": "succeeded", "fail": "failed"},
}

PairKey: TypeAlias = tuple[DatagramBase, Address]
Foundation: TypeAlias = tuple[str, str]


def pair_priority(controlling: int, controlled: int) -> int:
    """RFC 8445 §6.1.2.3, from the priorities of the controlling and the controlled agent's candidates."""
    return (
        (min(controlling, controlled) << 32) + 2 * max(controlling, controlled) + (controlling > controlled)
    )


class CandidatePair:
    """One pair. Read it freely; only the agent changes it, except for the payload counters, which its driver keeps."""

    __slots__ = (
        "base",
        "bytes_received",
        "bytes_sent",
        "consent",
        "consent_requests_sent",
        "failed_at",
        "failures",
        "id",
        "last_packet_received",
        "last_packet_sent",
        "last_sent",
        "local",
        "nominated",
        "nomination",
        "packets_discarded_on_send",
        "packets_received",
        "packets_sent",
        "priority",
        "queued",
        "remote",
        "remote_address",
        "requests_received",
        "requests_sent",
        "responses_received",
        "responses_sent",
        "retransmissions_sent",
        "round_trip",
        "state",
    )

    def __init__(self, local: Candidate, remote: Candidate, base: DatagramBase, *, controlling: bool) -> None:
        self.local = local
        self.remote = remote
        self.base = base
        self.remote_address: Address = (remote.address, remote.port)
        """Where payload for the pair goes: `pair.base.send(data, pair.remote_address)`."""
        self.state: PairState = "frozen"
        self.nominated = False
        self.priority = 0
        self.rank(controlling)
        self.id = f"{local.foundation}/{local.address}:{local.port}-{remote.address}:{remote.port}"
        """Unlike that of any other pair of the same agent."""

        # What the agent notes on its pairs.
        self.consent: Consent | None = None
        """Since the pair became valid."""
        self.queued = False
        """In the triggered-check queue."""
        self.nomination: int | None = None
        """What the controlling peer nominated it by (zero: by no number) before our own check succeeded."""
        self.failed_at = 0.0
        self.failures = 0
        self.last_sent = float("-inf")

        # W3C RTCIceCandidatePairStats, times in seconds.
        self.round_trip = RoundTrip()
        self.requests_sent = 0
        self.requests_received = 0
        self.responses_sent = 0
        self.responses_received = 0
        self.retransmissions_sent = 0
        self.consent_requests_sent = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.packets_sent = 0
        self.packets_received = 0
        self.packets_discarded_on_send = 0
        self.last_packet_sent: float | None = None
        self.last_packet_received: float | None = None

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip in seconds; None before the first measurement."""
        return self.round_trip.smoothed

    @property
    def key(self) -> PairKey:
        """The base and the remote address, which make the pair."""
        return (self.base, self.remote_address)

    @property
    def foundation(self) -> Foundation:
        """The foundations of both candidates (RFC 8445 §6.1.2.6)."""
        return (self.local.foundation, self.remote.foundation)

    @property
    def is_relayed(self) -> bool:
        """Whether a relay carries it, as far as is known. An unsignalled relay shows in its priority only."""
        return any(
            side.type == "relay" or (side.type == "prflx" and side.priority >> 24 == 0)
            for side in (self.local, self.remote)
        )

    @property
    def tier(self) -> int:
        """Pairs of a higher tier are better whatever their round trip: direct, relayed, relayed by way of TCP."""
        if not self.is_relayed:
            return 3 if self.local.protocol == "udp" else 2
        return 1 if self.local.relay_protocol in (None, "udp") else 0

    def rank(self, controlling: bool) -> None:
        """Work out the priority again, after a change of candidate or role."""
        ours, theirs = self.local.priority, self.remote.priority
        self.priority = pair_priority(ours, theirs) if controlling else pair_priority(theirs, ours)

    def advance(self, event: PairEvent) -> None:
        """Follow `TRANSITIONS`. Raises `ValueError` for what a pair of this state cannot do."""
        try:
            self.state = TRANSITIONS[self.state][event]
        except KeyError:
            raise ValueError(f"a pair that is {self.state} cannot {event}") from None

    def __repr__(self) -> str:
        return (
            f"<CandidatePair {self.local.type}({self.local.address}:{self.local.port}) → "
            f"{self.remote.type}({self.remote.address}:{self.remote.port}) {self.state}"
            f"{' nominated' if self.nominated else ''}>"
        )
