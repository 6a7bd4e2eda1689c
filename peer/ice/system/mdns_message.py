"""Multicast DNS messages about the addresses of one name (RFC 6762 §18, RFC 1035 §4)."""

from __future__ import annotations

import contextlib
import ipaddress
import struct
from collections.abc import Iterable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

A: Final = int(dns.rdatatype.A)
AAAA: Final = int(dns.rdatatype.AAAA)
ANY: Final = int(dns.rdatatype.ANY)

TTL: Final = 120
"""RFC 6762 §10: seconds a record about a host is good for."""

# RFC 6762 §10.2, §5.4: the topmost bit of the class says "the only one" in answers, "by unicast" in questions.
_TOP_BIT: Final = 0x8000
_UNIQUE = dns.rdataclass.RdataClass.make(dns.rdataclass.IN | _TOP_BIT)

_COUNTS: Final = struct.Struct("!4H")

_MESSAGE_MAX: Final = 9000
"""RFC 6762 §17."""

_RECORDS_MAX: Final = 128
"""Questions and records of a message. Reading them one by one costs time that a call would hear."""


def query(name: str) -> bytes:
    """Return the question which addresses, IPv4 and IPv6, a name has."""
    message = dns.message.make_query(_wire_name(name), dns.rdatatype.A)
    message.question.append(_rrset(name, dns.rdataclass.IN, dns.rdatatype.AAAA))
    message.id = 0
    message.flags = dns.flags.Flag(0)
    return message.to_wire()


def answer(name: str, address: str, asked: Iterable[int]) -> bytes:
    """The address of a name, and that it has no other (RFC 6762 §6.1: nobody need wait for one)."""
    rdata = _address_record(address)
    bitmap = _type_bitmap(rdata.rdtype)
    windows = _wire_name(name).to_digestable() + bytes((0, len(bitmap))) + bitmap
    nothing_else = dns.rdata.GenericRdata(_UNIQUE, dns.rdatatype.NSEC, windows)
    message = _response()
    if {int(rdata.rdtype), ANY} & set(asked):
        message.answer.append(dns.rrset.from_rdata(_wire_name(name), TTL, rdata))
        message.additional.append(dns.rrset.from_rdata(_wire_name(name), TTL, nothing_else))
    else:
        message.answer.append(dns.rrset.from_rdata(_wire_name(name), TTL, nothing_else))
    return message.to_wire()


def goodbye(name: str, address: str) -> bytes:
    """The name is no longer (RFC 6762 §10.1)."""
    message = _response()
    message.answer.append(dns.rrset.from_rdata(_wire_name(name), 0, _address_record(address)))
    return message.to_wire()


def is_answer(data: bytes) -> bool:
    """Whether a message answers a question (RFC 1035 §4.1.1, QR)."""
    return len(data) > 2 and bool(data[2] & 0x80)


def addresses_in(data: bytes, name: str) -> list[str]:
    """The addresses an answer has for a name; none if it is about others, or not well-formed."""
    message = _parse(data)
    if message is None:
        return []
    found: dict[str, None] = {}
    for rrset in (*message.answer, *message.additional):
        if rrset.name != _wire_name(name) or rrset.rdtype not in (A, AAAA) or rrset.ttl == 0:
            continue
        if rrset.rdclass & ~_TOP_BIT != dns.rdataclass.IN:
            continue
        for rdata in rrset:
            with contextlib.suppress(ValueError):
                found[str(ipaddress.ip_address(rdata.to_wire() or b""))] = None
    return list(found)


def questions_in(data: bytes) -> dict[str, frozenset[int]]:
    """The names a message asks for, in lower case and without the final dot, and the types of record."""
    message = _parse(data)
    asked: dict[str, frozenset[int]] = {}
    for question in message.question if message is not None else ():
        if question.rdclass & ~_TOP_BIT in (dns.rdataclass.IN, dns.rdataclass.ANY):
            name = question.name.to_text(omit_final_dot=True).lower()
            asked[name] = asked.get(name, frozenset()) | {int(question.rdtype)}
    return {name: kinds for name, kinds in asked.items() if kinds & {A, AAAA, ANY}}


def _parse(data: bytes) -> dns.message.Message | None:
    if len(data) > _MESSAGE_MAX or sum(_COUNTS.unpack_from(data.ljust(12, b"\0"), 4)) > _RECORDS_MAX:
        return None
    try:
        # A record that cannot be read must not take the others with it: Chromium compresses the name in its NSEC
        # records, as RFC 6762 §18.14 has it and dnspython does not.
        return dns.message.from_wire(data, ignore_trailing=True, continue_on_error=True)
    except (dns.exception.DNSException, ValueError):
        return None


def _response() -> dns.message.Message:
    message = dns.message.QueryMessage(id=0)
    message.flags = dns.flags.QR | dns.flags.AA
    return message


def _wire_name(name: str) -> dns.name.Name:
    return dns.name.from_text(name)


def _rrset(name: str, rdclass: dns.rdataclass.RdataClass, rdtype: dns.rdatatype.RdataType) -> dns.rrset.RRset:
    return dns.rrset.RRset(_wire_name(name), rdclass, rdtype)


def _address_record(address: str) -> dns.rdata.GenericRdata:
    packed = ipaddress.ip_address(address).packed
    rdtype = dns.rdatatype.A if len(packed) == 4 else dns.rdatatype.AAAA
    return dns.rdata.GenericRdata(_UNIQUE, rdtype, packed)


def _type_bitmap(rdtype: int) -> bytes:
    # RFC 4034 §4.1.2.
    bitmap = bytearray(rdtype // 8 + 1)
    bitmap[rdtype // 8] = 0x80 >> rdtype % 8
    return bytes(bitmap)
