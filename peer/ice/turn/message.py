"""What a TURN client and its server say to each other, as bytes (RFC 8489 §5, §14; RFC 8656 §12.4, §18).

The arithmetic is `peer.ice.stun`'s. Its messages keep one attribute of each kind and stay below 1500 bytes; in
TURN an attribute may come twice, and a Data indication on TCP may be as long as a datagram can.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import pack, unpack_from
from typing import Final, TypeAlias

from peer.ice.network import Address
from peer.ice.stun import message as stun
from peer.ice.stun.message import HEADER_LENGTH

CHANNEL_HEADER_LENGTH: Final = 4
CHANNEL_MIN: Final = 0x4000
CHANNEL_MAX: Final = 0x4FFF
"""RFC 8656 §12; what lies beyond was free in RFC 5766 and is reserved now."""

MISMATCH: Final = 437
"""The error code for an allocation the server does not know, or knows as somebody else's (RFC 8656 §19)."""


class Method(IntEnum):
    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class Class(IntEnum):
    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ALTERNATE_DOMAIN = 0x8003
    ALTERNATE_SERVER = 0x8023
    DRAFT_ADDITIONAL_ADDRESS_FAMILY = 0x8032
    """As coturn knows it. Optional to comprehend: other servers skip it."""


AttributeList: TypeAlias = Sequence[tuple[int, bytes]]

REQUESTED_UDP: Final = bytes([17, 0, 0, 0])
FAMILY: Final = {4: b"\x01\x00\x00\x00", 6: b"\x02\x00\x00\x00"}

_DATA_INDICATION = pack("!H", Method.DATA | Class.INDICATION)
_INTEGRITY_LENGTH = 24
_COOKIE = pack("!I", stun.MAGIC_COOKIE)


@dataclass(frozen=True, slots=True)
class StunMessage:
    """A message from a server. Attributes after MESSAGE-INTEGRITY are left out: nobody vouches for them."""

    method: int
    message_class: int
    transaction_id: bytes
    attributes: tuple[tuple[int, bytes], ...]
    signed: bytes | None
    """What MESSAGE-INTEGRITY covers; None without it."""

    def first(self, kind: int) -> bytes | None:
        """The value of the first attribute of this kind; others do not count (RFC 8489 §14)."""
        return next((value for attribute, value in self.attributes if attribute == kind), None)

    def addresses(self, kind: int) -> list[Address]:
        """Every XORed address of this kind, malformed ones left out."""
        values = (value for attribute, value in self.attributes if attribute == kind)
        addresses = (stun.decode_xor_address(value, self.transaction_id) for value in values)
        return [address for address in addresses if address is not None]

    @property
    def mapped_address(self) -> Address | None:
        """Where the server saw us: XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of old servers (RFC 8489 §14.1)."""
        for address in self.addresses(Attribute.XOR_MAPPED_ADDRESS):
            return address
        value = self.first(Attribute.MAPPED_ADDRESS)
        return None if value is None else parse_address(value)

    @property
    def lifetime(self) -> int | None:
        """LIFETIME in seconds."""
        value = self.first(Attribute.LIFETIME)
        if value is None or len(value) != 4:
            return None
        return int.from_bytes(value, "big")

    @property
    def error(self) -> tuple[int, str]:
        """ERROR-CODE: the number and the server's words; (0, …) when there is none worth the name."""
        value = self.first(Attribute.ERROR_CODE)
        if value is None or len(value) < 4:
            return 0, "an error without a code"
        code = (value[2] & 7) * 100 + value[3]
        words = value[4:].decode("utf-8", "replace")
        # It will be logged and shown: one line, of printable characters, of bearable length.
        return code, "".join(c for c in words if c.isprintable())[:128].strip()

    def is_signed_with(self, key: bytes) -> bool:
        mac = self.first(Attribute.MESSAGE_INTEGRITY)
        if mac is None or self.signed is None:
            return False
        length = len(self.signed) - HEADER_LENGTH + _INTEGRITY_LENGTH
        signed = self.signed[:2] + pack("!H", length) + self.signed[4:]
        return hmac.compare_digest(mac, hmac.digest(key, signed, "sha1"))


def parse_message(data: bytes) -> StunMessage | None:
    """A STUN message, or None if this is not a well-formed one."""
    if len(data) < HEADER_LENGTH or data[0] & 0xC0 or data[4:8] != _COOKIE:
        return None
    kind, length = unpack_from("!HH", data)
    if length & 3 or len(data) != HEADER_LENGTH + length:
        return None
    attributes: list[tuple[int, bytes]] = []
    signed: bytes | None = None
    position = HEADER_LENGTH
    while position < len(data):
        attribute, size = unpack_from("!HH", data, position)
        value = data[position + 4 : position + 4 + size]
        if len(value) != size:
            return None
        if signed is None:
            attributes.append((attribute, value))
            if attribute == Attribute.MESSAGE_INTEGRITY:
                signed = data[:position]
        position += 4 + (size + 3 & ~3)
    return StunMessage(kind & 0x3EEF, kind & 0x0110, data[8:20], tuple(attributes), signed)


def encode_message(
    method: int,
    message_class: int,
    transaction_id: bytes,
    attributes: AttributeList,
    key: bytes | None = None,
) -> bytes:
    """A message as bytes; with `key`, MESSAGE-INTEGRITY follows the attributes."""
    return stun.encode(method | message_class, transaction_id, attributes, key)


def parse_address(value: bytes) -> Address | None:
    """An address that is not XORed: MAPPED-ADDRESS, ALTERNATE-SERVER (RFC 8489 §14.1). None if malformed."""
    if len(value) != {1: 8, 2: 20}.get(value[1] if len(value) > 1 else 0):
        return None
    return str(ipaddress.ip_address(value[4:])), int.from_bytes(value[2:4], "big")


def peer_address(address: Address, transaction_id: bytes) -> tuple[int, bytes]:
    """XOR-PEER-ADDRESS."""
    return Attribute.XOR_PEER_ADDRESS, stun.encode_xor_address(address, transaction_id)


def send_indication(data: bytes, address: Address, transaction_id: bytes) -> bytes:
    """RFC 8656 §11.1."""
    attributes = (peer_address(address, transaction_id), (Attribute.DATA, data))
    return encode_message(Method.SEND, Class.INDICATION, transaction_id, attributes)


def is_data_indication(data: bytes) -> bool:
    return data[:2] == _DATA_INDICATION


def parse_data_indication(data: bytes) -> tuple[bytes, Address] | None:
    """The payload of a Data indication and the peer it came from (RFC 8656 §11.3), or None if it is none."""
    message = parse_message(data)
    if message is None:
        return None
    payload = message.first(Attribute.DATA)
    peer = message.first(Attribute.XOR_PEER_ADDRESS)
    if payload is None or peer is None:
        return None
    address = stun.decode_xor_address(peer, message.transaction_id)
    return None if address is None else (payload, address)
