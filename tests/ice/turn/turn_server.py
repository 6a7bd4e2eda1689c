"""A TURN server in memory, without sockets or clock, that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack, unpack

from peer.ice.network import Address
from peer.ice.stun.message import StunMessage, encode_error, encode_xor_address
from peer.ice.turn.message import (
    Attribute,
    MessageClass,
    TurnMethod,
    encode_message,
    lifetime,
    parse_message,
)
from peer.ice.turn.requests import TurnCredentials

REALM = "calls.example"
ALICE = TurnCredentials("alice", "wonderland")
RELAYED: Address = ("198.51.100.1", 50000)
RELAYED_6: Address = ("2001:db8::1", 50000)
CLIENT: Address = ("203.0.113.9", 1234)


@dataclass
class TurnServerModel:
    """Serves one client on one 5-tuple, as RFC 8656 says, unless `refuse` says otherwise."""

    users: list[TurnCredentials] = field(default_factory=lambda: [ALICE])
    relayed: tuple[Address, ...] = (RELAYED,)
    lifetime: int = 600
    nonce: bytes = b"nonce-1"
    refuse: Callable[[StunMessage, float], tuple[int, str] | None] = lambda message, now: None
    """An error for a request that is otherwise in order."""
    never_content: bool = False
    """Finds every nonce stale, those of its own making too."""
    signs: bool = True
    """Whether answers to signed requests are signed."""
    requests: list[StunMessage] = field(default_factory=list)
    relayed_out: list[tuple[bytes, Address]] = field(default_factory=list)
    """What it sent to peers."""
    owner: str | None = None
    expires: float = 0.0
    permissions: dict[str, float] = field(default_factory=dict)
    channels: dict[int, tuple[Address, float]] = field(default_factory=dict)

    def alive(self, now: float) -> bool:
        return self.owner is not None and now < self.expires

    def counted(self, method: TurnMethod) -> int:
        return sum(request.method == method for request in self.requests)

    def hear(self, data: bytes, now: float) -> list[bytes]:
        """What the server answers to a message from its client."""
        if data[0] & 0xC0 == 0x40:
            number, length = unpack("!HH", data[:4])
            address, expires = self.channels.get(number, (None, 0.0))
            if address is not None and now < expires and self.alive(now):
                self._relay(data[4 : 4 + length], address, now)
            return []
        message = parse_message(data)
        assert message is not None, "the client sent something that is not STUN"
        if message.message_class == MessageClass.INDICATION:
            payload = message.attributes.get(Attribute.DATA)
            assert payload is not None
            self._relay(payload, message.xor_addresses(Attribute.XOR_PEER_ADDRESS)[0], now)
            return []
        self.requests.append(message)
        return [self._answer(message, now)]

    def from_peer(self, data: bytes, address: Address, now: float) -> list[bytes]:
        """What the server sends its client when a peer sends to the relayed address."""
        if not self.alive(now) or self.permissions.get(address[0], 0.0) <= now:
            return []
        for number, (peer, expires) in self.channels.items():
            if peer == address and now < expires:
                return [pack("!HH", number, len(data)) + data]
        return [data_indication(data, address)]

    def _relay(self, data: bytes, address: Address, now: float) -> None:
        if self.alive(now) and now < self.permissions.get(address[0], 0.0):
            self.relayed_out.append((data, address))

    def _answer(self, message: StunMessage, now: float) -> bytes:
        username = message.attributes.get(Attribute.USERNAME)
        user = next((u for u in self.users if username == u.username.encode()), None)
        if user is None or not message.is_authentic(user.key(REALM)):
            return self._error(message, 401, "Unauthorized", challenge=True)
        if self.never_content or message.attributes.get(Attribute.NONCE) != self.nonce:
            return self._error(message, 438, "Stale Nonce", challenge=True)
        key = user.key(REALM) if self.signs else None
        refusal = self.refuse(message, now)
        if refusal is not None:
            return self._error(message, *refusal, key=key)
        if message.method != TurnMethod.ALLOCATE:
            if not self.alive(now):
                return self._error(message, 437, "Allocation Mismatch", key=key)
            if user.username != self.owner:
                return self._error(message, 441, "Wrong Credentials", key=key)
        attributes: list[tuple[int, bytes]] = []
        tid = message.transaction_id
        match message.method:
            case TurnMethod.ALLOCATE:
                self.owner, self.expires = user.username, now + self.lifetime
                attributes = [
                    (Attribute.XOR_RELAYED_ADDRESS, encode_xor_address(address, tid))
                    for address in self.relayed
                ]
                attributes.append((Attribute.XOR_MAPPED_ADDRESS, encode_xor_address(CLIENT, tid)))
                attributes.append((Attribute.LIFETIME, pack("!I", self.lifetime)))
            case TurnMethod.REFRESH:
                granted = self.lifetime if lifetime(message) else 0
                self.expires = now + granted
                attributes = [(Attribute.LIFETIME, pack("!I", granted))]
            case TurnMethod.CREATE_PERMISSION:
                for host, _ in message.xor_addresses(Attribute.XOR_PEER_ADDRESS):
                    self.permissions[host] = now + 300
            case TurnMethod.CHANNEL_BIND:
                value = message.attributes.get(Attribute.CHANNEL_NUMBER)
                assert value is not None
                (peer,) = message.xor_addresses(Attribute.XOR_PEER_ADDRESS)
                number = unpack("!H", value[:2])[0]
                assert self.channels.get(number, (peer, 0))[0] == peer, "a channel was given to another peer"
                self.channels[number] = (peer, now + 600)
                self.permissions[peer[0]] = now + 300
        return encode_message(message.method, MessageClass.SUCCESS, tid, attributes, key)

    def _error(
        self,
        message: StunMessage,
        code: int,
        reason: str,
        *,
        challenge: bool = False,
        key: bytes | None = None,
    ) -> bytes:
        attributes = [encode_error(code, reason)]
        if challenge:
            attributes += [(Attribute.REALM, REALM.encode()), (Attribute.NONCE, self.nonce)]
        return encode_message(message.method, MessageClass.ERROR, message.transaction_id, attributes, key)


def data_indication(data: bytes, address: Address, transaction_id: bytes = bytes(12)) -> bytes:
    """RFC 8656 §11.3."""
    attributes = (
        (Attribute.XOR_PEER_ADDRESS, encode_xor_address(address, transaction_id)),
        (Attribute.DATA, data),
    )
    return encode_message(TurnMethod.DATA, MessageClass.INDICATION, transaction_id, attributes)
