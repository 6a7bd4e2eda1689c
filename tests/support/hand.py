"""An agent held in the hand: its peer is the test, which writes and reads the messages itself."""

from __future__ import annotations

import random
from typing import Any

from peer.ice.agent.agent import IceAgent
from peer.ice.agent.events import IceEvent
from peer.ice.agent.piggyback import Piggyback
from peer.ice.agent.timings import IceTimings
from peer.ice.candidate import Candidate, CandidateType, TransportProtocol, candidate_priority
from peer.ice.credentials import IceCredentials
from peer.ice.network import Address, DatagramReceiver
from peer.ice.stun import message as stun
from peer.ice.stun.message import StunMessage

OURS = IceCredentials("ours", "our+password+of+22+letters")
THEIRS = IceCredentials("them", "their+password+of+22+letters")


class Base:
    """Only its identity matters to an agent."""

    receiver: DatagramReceiver | None = None

    def __init__(self, address: Address = ("10.0.0.1", 1000)) -> None:
        self.local_address = address

    def send(self, data: bytes, address: Address) -> None:
        raise AssertionError("an agent never sends by itself")

    def permit(self, addresses: object) -> None:
        raise AssertionError("an agent never calls its bases")

    def close(self) -> None:
        raise AssertionError("an agent never calls its bases")


def candidate(
    address: str,
    port: int,
    kind: CandidateType = "host",
    *,
    priority: int | None = None,
    foundation: str | None = None,
    protocol: TransportProtocol = "udp",
    **more: Any,
) -> Candidate:
    return Candidate(
        foundation=foundation or f"{kind}{address}".replace(".", "").replace(":", "")[:32],
        component=1,
        protocol=protocol,
        priority=candidate_priority(kind) if priority is None else priority,
        address=address,
        port=port,
        type=kind,
        **more,
    )


class Sent:
    """One datagram the agent wants sent."""

    def __init__(self, at: float, base: object, address: Address, data: bytes) -> None:
        self.at = at
        self.base = base
        self.address = address
        self.data = data
        self.message: StunMessage = stun.parse(data)

    @property
    def nominates(self) -> bool:
        return stun.USE_CANDIDATE in self.message.attributes


class Hand:
    """An agent with one host candidate at 10.0.0.1:1000, and a clock to turn."""

    def __init__(
        self,
        *,
        controlling: bool = True,
        started: bool = True,
        timings: IceTimings = IceTimings(),  # noqa: B008 - frozen
        piggyback: Piggyback | None = None,
    ) -> None:
        self.now = 0.0
        self.agent = IceAgent(
            controlling=controlling, local=OURS, rng=random.Random(1), timings=timings, piggyback=piggyback
        )
        self.base = Base()
        self.happened: list[IceEvent] = []
        self.requests: list[Sent] = []
        self.replies: list[Sent] = []
        self.agent.add_local_candidate(candidate("10.0.0.1", 1000), self.base, self.now)
        if started:
            self.agent.set_remote_credentials(THEIRS, self.now)
        self.take()

    def take(self) -> list[Sent]:
        """What the agent wants sent, sorted into requests and replies."""
        out = [Sent(self.now, *datagram) for datagram in self.agent.datagrams()]
        self.requests += [sent for sent in out if sent.message.type == stun.BINDING_REQUEST]
        self.replies += [sent for sent in out if sent.message.type != stun.BINDING_REQUEST]
        self.happened += self.agent.events()
        return out

    def remote(self, address: str, port: int = 2000, kind: CandidateType = "host", **more: Any) -> Address:
        """Signal a candidate of the peer's."""
        self.agent.add_remote_candidate(candidate(address, port, kind, **more), self.now)
        self.take()
        return address, port

    def run(self, seconds: float) -> None:
        """Let time pass, with the timer served on time."""
        until = self.now + seconds
        while (due := self.agent.timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.agent.handle_timer(self.now)
            self.take()
        self.now = until

    def checks_to(self, address: Address) -> list[Sent]:
        return [sent for sent in self.requests if sent.address == address]

    def answer(
        self,
        sent: Sent,
        *more: tuple[int, bytes],
        mapped: Address = ("10.0.0.1", 1000),
        source: Address | None = None,
    ) -> None:
        """The peer answers a check."""
        value = stun.encode_xor_address(mapped, sent.message.transaction_id)
        self.receive(
            stun.encode(
                stun.BINDING_RESPONSE,
                sent.message.transaction_id,
                [(stun.XOR_MAPPED_ADDRESS, value), *more],
                THEIRS.password.encode(),
            ),
            source or sent.address,
        )

    def refuse(self, sent: Sent, code: int) -> None:
        self.receive(
            stun.encode(
                stun.BINDING_ERROR,
                sent.message.transaction_id,
                [stun.encode_error(code, "no")],
                THEIRS.password.encode(),
            ),
            sent.address,
        )

    def check(
        self,
        source: Address,
        *more: tuple[int, bytes],
        use_candidate: bool = False,
        nomination: int = 0,
        controlling: bool | None = None,
        tie_breaker: int = 1,
        username: str = "ours:them",
        key: bytes | None = OURS.password.encode(),
        transaction_id: bytes | None = None,
        priority: int = 1845501695,
    ) -> Sent | None:
        """The peer checks us. What we reply, if anything."""
        if controlling is None:
            controlling = not self.agent.controlling
        attributes = [
            (stun.USERNAME, username.encode()),
            (stun.PRIORITY, priority.to_bytes(4, "big")),
            (stun.ICE_CONTROLLING if controlling else stun.ICE_CONTROLLED, tie_breaker.to_bytes(8, "big")),
            *more,
        ]
        if use_candidate:
            attributes.append((stun.USE_CANDIDATE, b""))
        if nomination:
            attributes.append((stun.NOMINATION, nomination.to_bytes(4, "big")))
        transaction_id = transaction_id or self.agent._context.rng.getrandbits(96).to_bytes(12, "big")
        before = len(self.replies)
        self.receive(stun.encode(stun.BINDING_REQUEST, transaction_id, attributes, key), source)
        return self.replies[before] if len(self.replies) > before else None

    def receive(self, data: bytes, source: Address) -> None:
        self.agent.receive(data, source, self.base, self.now)
        self.take()

    def make_valid(self, address: Address) -> None:
        """Answer the last check sent there."""
        self.answer(self.checks_to(address)[-1])

    @property
    def state(self) -> str:
        return self.agent.state

    @property
    def selected(self) -> Address | None:
        pair = self.agent.selected_pair
        return None if pair is None else pair.remote_address
