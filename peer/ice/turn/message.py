"""What a TURN client and its server say to each other, as bytes (RFC 8489 §5, §14; RFC 8656 §12.4, §18).

The codec is `peer.ice.stun`'s; here are the words that only TURN has.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import pack
from typing import Final, TypeAlias

from peer.ice.network import Address
from peer.ice.stun import message as stun
from peer.ice.stun.message import HEADER_LENGTH, StunMessage

CHANNEL_HEADER_LENGTH: Final = 4
CHANNEL_MIN: Final = 0x4000
CHANNEL_MAX: Final = 0x4FFF
"""RFC 8656 §12; what lies beyond was free in RFC 5766 and is reserved now."""

MESSAGE_MAX: Final = 0xFFFF + HEADER_LENGTH
"""Bytes of the longest message: over TCP, a Data indication may hold the longest datagram."""


class TurnMethod(IntEnum):
    """Methods of STUN and TURN (RFC 8489 §18.2, RFC 8656 §17)."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class MessageClass(IntEnum):
    """Classes of STUN messages (RFC 8489 §5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
    """Types of attributes (RFC 8489 §18.3, RFC 8656 §18)."""

    USERNAME = 0x0006
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
    DRAFT_ADDITIONAL_ADDRESS_FAMILY = 0x8032
    """As coturn knows it. Optional to comprehend: other servers skip it."""


AttributeList: TypeAlias = Sequence[tuple[int, bytes]]

REQUESTED_UDP: Final = bytes([17, 0, 0, 0])
FAMILY: Final = {4: b"\x01\x00\x00\x00", 6: b"\x02\x00\x00\x00"}

_DATA_INDICATION = pack("!H", TurnMethod.DATA | MessageClass.INDICATION)


def parse_message(data: bytes) -> StunMessage | None:
    """A message of TURN, which may be as long as a datagram can; None if this is not a well-formed one."""
    try:
        return stun.parse(data, MESSAGE_MAX)
    except ValueError:
        return None


def lifetime(message: StunMessage) -> int | None:
    """LIFETIME in seconds; None if it is missing or malformed."""
    return message.number(Attribute.LIFETIME)


def encode_message(
    method: int,
    message_class: int,
    transaction_id: bytes,
    attributes: AttributeList,
    key: bytes | None = None,
) -> bytes:
    """A message as bytes; with `key`, MESSAGE-INTEGRITY follows the attributes."""
    return stun.encode(method | message_class, transaction_id, attributes, key)


def peer_address(address: Address, transaction_id: bytes) -> tuple[int, bytes]:
    """XOR-PEER-ADDRESS."""
    return Attribute.XOR_PEER_ADDRESS, stun.encode_xor_address(address, transaction_id)


def send_indication(data: bytes, address: Address, transaction_id: bytes) -> bytes:
    """RFC 8656 §11.1."""
    attributes = (peer_address(address, transaction_id), (Attribute.DATA, data))
    return encode_message(TurnMethod.SEND, MessageClass.INDICATION, transaction_id, attributes)


def is_data_indication(data: bytes) -> bool:
    """Whether a datagram begins as a Data indication does (RFC 8656 §11.4)."""
    return data[:2] == _DATA_INDICATION


def parse_data_indication(data: bytes) -> tuple[bytes, Address] | None:
    """The payload of a Data indication and the peer it came from (RFC 8656 §11.3), or None if it is none."""
    message = parse_message(data)
    if message is None:
        return None
    payload = message.attributes.get(Attribute.DATA)
    peer = message.attributes.get(Attribute.XOR_PEER_ADDRESS)
    if payload is None or peer is None:
        return None
    address = stun.decode_xor_address(peer, message.transaction_id)
    return None if address is None else (payload, address)
