"""STUN messages (RFC 8489): of connectivity checks (RFC 8445 §7.1), of STUN servers, and under those of TURN.

`aioice.stun` drops what it does not know, so an unknown attribute can be neither refused (420) nor passed on;
it takes any magic cookie, and it decodes every attribute before the first cheap reason to refuse a message.
Here a message is walked once, attributes stay bytes until asked for, and integrity is checked by whoever has the key.
"""

from __future__ import annotations

import hmac
import ipaddress
import zlib
from collections.abc import Iterable
from struct import Struct
from typing import Final

from peer.ice.network import Address

BINDING_REQUEST: Final = 0x0001
BINDING_RESPONSE: Final = 0x0101
BINDING_ERROR: Final = 0x0111
BINDING_INDICATION: Final = 0x0011

MAPPED_ADDRESS: Final = 0x0001
USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
ERROR_CODE: Final = 0x0009
UNKNOWN_ATTRIBUTES: Final = 0x000A
XOR_MAPPED_ADDRESS: Final = 0x0020
PRIORITY: Final = 0x0024
USE_CANDIDATE: Final = 0x0025
ALTERNATE_SERVER: Final = 0x8023
FINGERPRINT: Final = 0x8028
ICE_CONTROLLED: Final = 0x8029
ICE_CONTROLLING: Final = 0x802A
NOMINATION: Final = 0xC001
"""draft-thatcher-ice-renomination: the higher value is the later nomination. Chromium and pion know it, too."""
META_DTLS_IN_STUN: Final = 0xC070
META_DTLS_IN_STUN_ACKNOWLEDGEMENT: Final = 0xC071

# Comprehension-required attributes that are understood, or may be ignored in a Binding message.
_UNDERSTOOD: Final = frozenset(
    {
        MAPPED_ADDRESS,
        USERNAME,
        MESSAGE_INTEGRITY,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        0x0014,
        0x0015,
        0x001C,
        0x001D,
        0x001E,
    }
    | {XOR_MAPPED_ADDRESS, PRIORITY, USE_CANDIDATE}
)

MAGIC_COOKIE: Final = 0x2112A442
HEADER_LENGTH: Final = 20
_COOKIE_BYTES: Final = MAGIC_COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR: Final = 0x5354554E
_HEADER: Final = Struct("!HHI12s")
_ATTRIBUTE: Final = Struct("!HH")
_INTEGRITY_LENGTH: Final = 24
_FINGERPRINT_LENGTH: Final = 8
BINDING_MAX: Final = 1500
"""Bytes of the longest Binding message: it fits a frame, and whatever is longer was not written by a peer."""


class StunMessage:
    """A parsed message. `attributes` maps types to raw values; the first of each type counts (RFC 8489 §14).

    Nothing is kept of what follows MESSAGE-INTEGRITY: nobody vouches for that.
    """

    __slots__ = ("_covered", "_repeated", "attributes", "transaction_id", "type")

    def __init__(
        self,
        kind: int,
        transaction_id: bytes,
        attributes: dict[int, bytes],
        covered: bytes | None,
        repeated: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.type = kind
        self.transaction_id = transaction_id
        self.attributes = attributes
        # What MESSAGE-INTEGRITY covers, its length field already adjusted.
        self._covered = covered
        self._repeated = repeated

    @property
    def method(self) -> int:
        """TurnMethod of the message, such as 0x001 for Binding (RFC 8489 §5)."""
        return self.type & 0x3EEF

    @property
    def message_class(self) -> int:
        """MessageClass of the message: 0 for a request, 0x010 an indication, 0x100 a success, 0x110 an error."""
        return self.type & 0x0110

    def is_authentic(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and right under `key` (RFC 8489 §9.1.3)."""
        if self._covered is None:
            return False
        expected = hmac.digest(key, self._covered, "sha1")
        return hmac.compare_digest(expected, self.attributes[MESSAGE_INTEGRITY])

    def unknown_required(self) -> list[int]:
        """Comprehension-required attributes nobody here understands (RFC 8489 §6.3.1)."""
        return [kind for kind in self.attributes if kind < 0x8000 and kind not in _UNDERSTOOD]

    def username(self) -> str | None:
        """USERNAME, or None if it is missing or no text."""
        raw = self.attributes.get(USERNAME)
        if raw is None or len(raw) > 513:
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return None

    def number(self, kind: int) -> int | None:
        """A 32- or 64-bit attribute, or None if it is missing or of another size."""
        raw = self.attributes.get(kind)
        size = 8 if kind in (ICE_CONTROLLED, ICE_CONTROLLING) else 4
        return int.from_bytes(raw, "big") if raw is not None and len(raw) == size else None

    def error_code(self) -> int | None:
        """ERROR-CODE's number, or None if it is missing."""
        raw = self.attributes.get(ERROR_CODE)
        return (raw[2] & 7) * 100 + raw[3] if raw is not None and len(raw) >= 4 else None

    def error(self) -> tuple[int, str]:
        """ERROR-CODE: its number and the sender's words; (0, …) when there is none worth the name."""
        code = self.error_code()
        if code is None:
            return 0, "an error without a code"
        words = self.attributes[ERROR_CODE][4:].decode("utf-8", "replace")
        # It will be logged and shown: one line, of printable characters, of bearable length.
        return code, "".join(c for c in words if c.isprintable())[:128].strip()

    def mapped_address(self) -> Address | None:
        """Where the sender saw us: XOR-MAPPED-ADDRESS, or the MAPPED-ADDRESS of RFC 3489; None without either."""
        raw = self.attributes.get(XOR_MAPPED_ADDRESS)
        address = None if raw is None else decode_xor_address(raw, self.transaction_id)
        if address is None and (raw := self.attributes.get(MAPPED_ADDRESS)) is not None:
            address = decode_address(raw)
        return address

    def xor_addresses(self, kind: int) -> list[Address]:
        """Every XORed address of this type, in their order, malformed ones left out."""
        values = [self.attributes[kind]] if kind in self.attributes else []
        values += [value for attribute, value in self._repeated if attribute == kind]
        addresses = (decode_xor_address(value, self.transaction_id) for value in values)
        return [address for address in addresses if address is not None]


def is_stun(data: bytes) -> bool:
    """The cheap test: length, first two bits and magic cookie (RFC 8489 §6, RFC 7983)."""
    return len(data) >= HEADER_LENGTH and data[0] < 4 and data[4:8] == _COOKIE_BYTES


def parse(data: bytes, longest: int = BINDING_MAX) -> StunMessage:
    """Parse one message of at most `longest` bytes. Raises `ValueError` saying what is wrong with it."""
    if not is_stun(data):
        raise ValueError("not a STUN message: too short, or the magic cookie is missing")
    if len(data) > longest:
        raise ValueError(f"STUN message of {len(data)} bytes is too long")
    kind, length, _, transaction_id = _HEADER.unpack_from(data)
    end = HEADER_LENGTH + length
    if end != len(data) or length % 4:
        raise ValueError("STUN message length does not match its header")
    attributes: dict[int, bytes] = {}
    repeated: list[tuple[int, bytes]] = []
    covered: bytes | None = None
    position = HEADER_LENGTH
    while position < end:
        # `length` is a multiple of 4 and so is every step: four bytes are always there.
        attribute, size = _ATTRIBUTE.unpack_from(data, position)
        value_end = position + 4 + size
        if value_end > end:
            raise ValueError(f"STUN attribute {attribute:#06x} runs over the end of its message")
        if attribute == FINGERPRINT:
            expected = zlib.crc32(_with_length(data[:position], _FINGERPRINT_LENGTH)) ^ _FINGERPRINT_XOR
            if data[position + 4 : value_end] != expected.to_bytes(4, "big"):
                raise ValueError("STUN fingerprint does not match")
            # Nothing may follow it (RFC 8489 §14.7).
            break
        # Nor is anything authenticated that follows MESSAGE-INTEGRITY (RFC 8489 §14.5).
        if covered is None and attribute in attributes:
            repeated.append((attribute, data[position + 4 : value_end]))
        elif covered is None:
            attributes[attribute] = data[position + 4 : value_end]
            if attribute == MESSAGE_INTEGRITY:
                covered = _with_length(data[:position], _INTEGRITY_LENGTH)
        position = value_end + (-size % 4)
    return StunMessage(kind, transaction_id, attributes, covered, tuple(repeated))


def encode(
    kind: int, transaction_id: bytes, attributes: Iterable[tuple[int, bytes]] = (), key: bytes | None = None
) -> bytes:
    """A message with these attributes, then MESSAGE-INTEGRITY if there is a key, then FINGERPRINT."""
    body = b"".join(
        _ATTRIBUTE.pack(attribute, len(value)) + value + bytes(-len(value) % 4)
        for attribute, value in attributes
    )
    message = _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body
    if key is not None:
        message = _with_length(message, _INTEGRITY_LENGTH)
        message += _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + hmac.digest(key, message, "sha1")
    message = _with_length(message, _FINGERPRINT_LENGTH)
    fingerprint = zlib.crc32(message) ^ _FINGERPRINT_XOR
    return message + _ATTRIBUTE.pack(FINGERPRINT, 4) + fingerprint.to_bytes(4, "big")


def _with_length(message: bytes, following: int) -> bytes:
    """The message with the length it will have once an attribute of `following` bytes is added."""
    length = len(message) - HEADER_LENGTH + following
    return message[:2] + length.to_bytes(2, "big") + message[4:]


def encode_error(code: int, reason: str) -> tuple[int, bytes]:
    """An ERROR-CODE attribute (RFC 8489 §14.8)."""
    return ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + reason.encode()


def encode_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (RFC 8489 §14.2)."""
    packed = ipaddress.ip_address(address[0]).packed
    return (
        bytes((0, 1 if len(packed) == 4 else 2))
        + (address[1] ^ (MAGIC_COOKIE >> 16)).to_bytes(2, "big")
        + _xor(packed, transaction_id)
    )


def decode_xor_address(value: bytes, transaction_id: bytes) -> Address | None:
    """The reverse; None if it is malformed."""
    if len(value) != {1: 8, 2: 20}.get(value[1] if len(value) > 1 else 0):
        return None
    port = int.from_bytes(value[2:4], "big") ^ (MAGIC_COOKIE >> 16)
    return _host(_xor(value[4:], transaction_id)), port


def decode_address(value: bytes) -> Address | None:
    """An address that is not XORed: MAPPED-ADDRESS, ALTERNATE-SERVER (RFC 8489 §14.1). None if it is malformed."""
    if len(value) != {1: 8, 2: 20}.get(value[1] if len(value) > 1 else 0):
        return None
    return _host(value[4:]), int.from_bytes(value[2:4], "big")


def _host(packed: bytes) -> str:
    """A server on a socket for both IP versions may write `::ffff:a.b.c.d`, and means IPv4 (RFC 4291 §2.5.5.2)."""
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _xor(packed: bytes, transaction_id: bytes) -> bytes:
    pad = (_COOKIE_BYTES + transaction_id)[: len(packed)]
    return (int.from_bytes(packed, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(packed), "big")
