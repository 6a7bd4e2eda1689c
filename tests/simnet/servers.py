"""STUN and TURN servers on virtual hosts, speaking the real protocols over UDP and TCP (RFC 8489, RFC 8656).

Both read and write messages with `aioice.stun`, which is not what the peers under test use for their checks.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5

from aioice import stun

from peer.ice.network import Address
from tests.simnet.clock import Timer
from tests.simnet.streams import SimStream, listen
from tests.simnet.world import Nic, UdpSocket

_UDP_TRANSPORT = 0x11000000


class StunServer:
    """Answers Binding requests on one interface, over UDP and TCP."""

    def __init__(self, nic: Nic, port: int = 3478) -> None:
        self.requests = 0
        self._nic = nic
        self._socket = nic.bind(port)
        self._socket.received = lambda data, source: self._answer(
            data, source, lambda reply: self._socket.send(reply, source)
        )
        self.address: Address = self._socket.address
        listen(nic, port, self._accepted)

    def _accepted(self, stream: SimStream) -> None:
        read = _FramedReader(lambda data: self._answer(data, stream.remote_address, stream.write))
        stream.received = read.feed

    def _answer(self, data: bytes, source: Address, reply: Callable[[bytes], object]) -> None:
        try:
            request = stun.parse_message(data)
        except ValueError:
            return
        if request.message_method != stun.Method.BINDING or request.message_class != stun.Class.REQUEST:
            return
        self.requests += 1
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = source
        answer.add_fingerprint()
        reply(bytes(answer))

    def close(self) -> None:
        self._socket.close()
        self._nic.listeners.pop(self.address[1], None)


class _FramedReader:
    """Cuts a stream into STUN messages and ChannelData (RFC 8656 §12.5: padded to four bytes on streams)."""

    def __init__(self, taken: Callable[[bytes], None]) -> None:
        self._taken = taken
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            kind, length = struct.unpack_from("!HH", self._buffer)
            size = 20 + length if kind < 0x4000 else 4 + length
            padded = size + (-size % 4)
            if len(self._buffer) < padded:
                return
            message, self._buffer = self._buffer[:size], self._buffer[padded:]
            self._taken(message)


@dataclass(slots=True)
class Allocation:
    client: Address
    relay: UdpSocket
    reply: Callable[[bytes], object]
    stream: bool
    transaction_id: bytes
    """Of the request that made it."""
    expires: Timer | None = None
    permissions: dict[str, float] = field(default_factory=dict)
    channels: dict[int, Address] = field(default_factory=dict)
    by_peer: dict[Address, int] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        return self.relay.address


class TurnServer:
    """Allocations for one user, with long-term credentials, permissions, channels and lifetimes.

    `allocations` is its table: empty when everybody has cleaned up after themselves.
    """

    permission_lifetime = 300.0

    def __init__(
        self,
        nic: Nic,
        port: int = 3478,
        *,
        username: str = "user",
        password: str = "secret",
        realm: str = "simnet",
        relay_nic: Nic | None = None,
        max_lifetime: float = 3600.0,
    ) -> None:
        self.username = username
        self.password = password
        self.realm = realm
        self.nonce = b"nonce-1"
        self.max_lifetime = max_lifetime
        self.allocations: dict[tuple[bool, Address], Allocation] = {}
        self.allocated = 0
        """How many there have ever been."""
        self.methods: list[str] = []
        """The method of every request received, in order."""
        self.relayed_packets = 0
        self.refuse_with: int | None = None
        """Answer Allocate requests with this error code."""
        self.refuse_both_with: int | None = None
        """Answer Allocate requests for both IP versions with this error code, as coturn with one external address."""
        self._made_by: set[bytes] = set()
        self._nic = nic
        self._relay_nic = relay_nic or nic
        self._key = b""
        self.let_in(username, password)
        self._socket = nic.bind(port)
        self._socket.received = self._datagram
        self.address: Address = self._socket.address
        listen(nic, port, self._accepted)

    def let_in(self, username: str, password: str) -> None:
        """These are the credentials now, and no others."""
        self.username = username
        self._key = md5(f"{username}:{self.realm}:{password}".encode()).digest()

    def also_listen(self, port: int) -> None:
        """Take TCP connections on another port too, as in 443."""
        listen(self._nic, port, self._accepted)

    def rotate_nonce(self) -> None:
        """Requests with the nonce of before get 438 Stale Nonce."""
        self.nonce = f"nonce-{self._nic.world.rng.getrandbits(32)}".encode()

    def drop_allocations(self) -> None:
        """A restart of the server: all is forgotten and nobody is told."""
        for key in list(self.allocations):
            self._remove(key)

    def close(self) -> None:
        self.drop_allocations()
        self._socket.close()
        self._nic.listeners.clear()

    def _datagram(self, data: bytes, source: Address) -> None:
        self._message(data, source, lambda reply: self._socket.send(reply, source), stream=False)

    def _accepted(self, stream: SimStream) -> None:
        source = stream.remote_address

        def write(reply: bytes) -> None:
            stream.write(reply + bytes(-len(reply) % 4))

        stream.received = _FramedReader(lambda data: self._message(data, source, write, stream=True)).feed
        # RFC 8656 §7: an allocation lives no longer than the connection it was made on.
        stream.lost = lambda _: self._remove((True, source))

    def _message(
        self, data: bytes, source: Address, reply: Callable[[bytes], object], *, stream: bool
    ) -> None:
        if len(data) < 4:
            return
        if data[0] & 0xC0 == 0x40:
            self._channel_data(data, self.allocations.get((stream, source)))
            return
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        if message.message_class == stun.Class.INDICATION:
            self._indication(message, self.allocations.get((stream, source)))
        elif message.message_class == stun.Class.REQUEST:
            self.methods.append(message.message_method.name)
            reply(bytes(self._request(message, source, reply, stream)))

    def _request(
        self, message: stun.Message, source: Address, reply: Callable[[bytes], object], stream: bool
    ) -> stun.Message:
        if message.message_method == stun.Method.BINDING:
            answer = stun.Message(message.message_method, stun.Class.RESPONSE, message.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = source
            return answer
        attributes = message.attributes
        if "MESSAGE-INTEGRITY" not in attributes:
            return self._refuse(message, 401, "Unauthorized", challenge=True)
        if attributes.get("USERNAME") != self.username or not message.check_message_integrity(self._key):
            return self._refuse(message, 401, "Unauthorized", challenge=True)
        if attributes.get("NONCE") != self.nonce:
            return self._refuse(message, 438, "Stale Nonce", challenge=True)
        key = (stream, source)
        if message.message_method == stun.Method.ALLOCATE:
            return self._allocate(message, key, reply)
        allocation = self.allocations.get(key)
        if allocation is None:
            return self._refuse(message, 437, "Allocation Mismatch")
        if message.message_method == stun.Method.REFRESH:
            return self._refresh(message, key, allocation)
        peer = attributes.get("XOR-PEER-ADDRESS")
        if peer is None:
            return self._refuse(message, 400, "Bad Request")
        if ipaddress.ip_address(peer[0]).version != ipaddress.ip_address(allocation.address[0]).version:
            return self._refuse(message, 443, "Peer Address Family Mismatch")
        now = self._nic.world.clock.time()
        if message.message_method == stun.Method.CREATE_PERMISSION:
            # `aioice.stun` shows one XOR-PEER-ADDRESS only; there may be many.
            for address in _peer_addresses(message):
                allocation.permissions[address[0]] = now + self.permission_lifetime
            return self._accept(message)
        if message.message_method == stun.Method.CHANNEL_BIND:
            number = attributes.get("CHANNEL-NUMBER", 0)
            bound = allocation.channels.get(number)
            if not 0x4000 <= number <= 0x4FFF or (bound or peer) != peer:
                return self._refuse(message, 400, "Bad Request")
            if allocation.by_peer.get(peer, number) != number:
                return self._refuse(message, 400, "Bad Request")
            allocation.channels[number] = peer
            allocation.by_peer[peer] = number
            allocation.permissions[peer[0]] = now + self.permission_lifetime
            return self._accept(message)
        return self._refuse(message, 400, "Bad Request")

    def _allocate(
        self, message: stun.Message, key: tuple[bool, Address], reply: Callable[[bytes], object]
    ) -> stun.Message:
        if self.refuse_with is not None:
            return self._refuse(message, self.refuse_with, "TurnRefused")
        if self.refuse_both_with is not None and (_values(message, 0x8000) or _values(message, 0x8032)):
            return self._refuse(message, self.refuse_both_with, "TurnRefused")
        present = self.allocations.get(key)
        # The same request again gets the same answer, for its first copy may have been lost, and does nothing
        # again, for it may come late (RFC 8489 §6.3.1).
        known = message.transaction_id in self._made_by
        if known if present is None else present.transaction_id != message.transaction_id:
            return self._refuse(message, 437, "Allocation Mismatch")
        if message.attributes.get("REQUESTED-TRANSPORT") != _UDP_TRANSPORT:
            return self._refuse(message, 442, "Unsupported Transport Protocol")
        if present is None:
            allocation = Allocation(key[1], self._relay_nic.bind(), reply, key[0], message.transaction_id)
            allocation.relay.received = lambda data, peer: self._from_peer(allocation, data, peer)
            self.allocations[key] = allocation
            self._made_by.add(message.transaction_id)
            self.allocated += 1
        else:
            allocation = present
        lifetime = self._live(message, key, allocation)
        answer = self._answer(message, stun.Class.RESPONSE)
        answer.attributes["XOR-RELAYED-ADDRESS"] = allocation.address
        answer.attributes["XOR-MAPPED-ADDRESS"] = key[1]
        answer.attributes["LIFETIME"] = int(lifetime)
        answer.add_message_integrity(self._key)
        return answer

    def _refresh(
        self, message: stun.Message, key: tuple[bool, Address], allocation: Allocation
    ) -> stun.Message:
        lifetime = self._live(message, key, allocation)
        answer = self._answer(message, stun.Class.RESPONSE)
        answer.attributes["LIFETIME"] = int(lifetime)
        answer.add_message_integrity(self._key)
        return answer

    def _live(self, message: stun.Message, key: tuple[bool, Address], allocation: Allocation) -> float:
        lifetime = min(float(message.attributes.get("LIFETIME", 600)), self.max_lifetime)
        if allocation.expires is not None:
            allocation.expires.cancel()
        clock = self._nic.world.clock
        if lifetime:
            allocation.expires = clock.call_at(clock.time() + lifetime, lambda: self._remove(key))
        else:
            self._remove(key)
        return lifetime

    def _remove(self, key: tuple[bool, Address]) -> None:
        allocation = self.allocations.pop(key, None)
        if allocation is not None:
            allocation.relay.close()
            if allocation.expires is not None:
                allocation.expires.cancel()

    def _may(self, allocation: Allocation, peer: Address) -> bool:
        return allocation.permissions.get(peer[0], float("-inf")) > self._nic.world.clock.time()

    def _indication(self, message: stun.Message, allocation: Allocation | None) -> None:
        peer, data = message.attributes.get("XOR-PEER-ADDRESS"), message.attributes.get("DATA")
        if allocation is None or peer is None or data is None or message.message_method != stun.Method.SEND:
            return
        if self._may(allocation, peer):
            self.relayed_packets += 1
            allocation.relay.send(data, peer)

    def _channel_data(self, data: bytes, allocation: Allocation | None) -> None:
        number, length = struct.unpack_from("!HH", data)
        peer = allocation.channels.get(number) if allocation is not None else None
        if allocation is not None and peer is not None and self._may(allocation, peer):
            self.relayed_packets += 1
            allocation.relay.send(data[4 : 4 + length], peer)

    def _from_peer(self, allocation: Allocation, data: bytes, peer: Address) -> None:
        if not self._may(allocation, peer):
            return
        self.relayed_packets += 1
        number = allocation.by_peer.get(peer)
        if number is not None:
            allocation.reply(struct.pack("!HH", number, len(data)) + data)
            return
        indication = stun.Message(stun.Method.DATA, stun.Class.INDICATION)
        indication.attributes["XOR-PEER-ADDRESS"] = peer
        indication.attributes["DATA"] = data
        allocation.reply(bytes(indication))

    def _answer(self, message: stun.Message, kind: stun.Class) -> stun.Message:
        return stun.Message(message.message_method, kind, message.transaction_id)

    def _accept(self, message: stun.Message) -> stun.Message:
        answer = self._answer(message, stun.Class.RESPONSE)
        answer.add_message_integrity(self._key)
        return answer

    def _refuse(
        self, message: stun.Message, code: int, reason: str, *, challenge: bool = False
    ) -> stun.Message:
        answer = self._answer(message, stun.Class.ERROR)
        answer.attributes["ERROR-CODE"] = (code, reason)
        if challenge:
            answer.attributes["REALM"] = self.realm
            answer.attributes["NONCE"] = self.nonce
        elif "MESSAGE-INTEGRITY" in message.attributes:
            answer.add_message_integrity(self._key)
        return answer


def _peer_addresses(message: stun.Message) -> list[Address]:
    if message._integrity_data is None:
        return [message.attributes["XOR-PEER-ADDRESS"]]
    return [stun.unpack_xor_address(value, message.transaction_id) for value in _values(message, 0x0012)]


def _values(message: stun.Message, wanted: int) -> list[bytes]:
    """Every value of an attribute, of those `aioice.stun` does not show too."""
    covered = message._integrity_data or b""
    found = []
    position = 20
    while position + 4 <= len(covered):
        kind, length = struct.unpack_from("!HH", covered, position)
        if kind == wanted:
            found.append(covered[position + 4 : position + 4 + length])
        position += 4 + length + (-length % 4)
    return found
