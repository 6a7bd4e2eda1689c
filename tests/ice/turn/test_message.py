"""TURN's messages as bytes, checked against another codec and against garbage."""

from __future__ import annotations

import os

from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.stun.message import ERROR_CODE, decode_address
from peer.ice.turn.message import (
    Attribute,
    MessageClass,
    TurnMethod,
    encode_message,
    lifetime,
    parse_data_indication,
    parse_message,
    peer_address,
    send_indication,
)

TRANSACTION = bytes(range(12))
KEY = b"k" * 16
# An IPv4 address written as an IPv6 one is read as IPv4.
HOSTS = st.ip_addresses().filter(lambda address: not getattr(address, "ipv4_mapped", None)).map(str)
ADDRESSES = st.tuples(HOSTS, st.integers(0, 65535))


@given(st.lists(ADDRESSES, min_size=1, max_size=32), st.binary(min_size=12, max_size=12))
def test_several_peer_addresses_travel_in_one_request(
    addresses: list[tuple[str, int]], transaction_id: bytes
) -> None:
    attributes = [peer_address(address, transaction_id) for address in addresses]
    data = encode_message(TurnMethod.CREATE_PERMISSION, MessageClass.REQUEST, transaction_id, attributes, KEY)
    message = parse_message(data)
    assert message is not None
    assert message.xor_addresses(Attribute.XOR_PEER_ADDRESS) == addresses
    assert message.is_authentic(KEY)
    assert not message.is_authentic(b"another key")


def test_another_codec_reads_what_is_written() -> None:
    data = encode_message(
        TurnMethod.CHANNEL_BIND,
        MessageClass.REQUEST,
        TRANSACTION,
        [(Attribute.CHANNEL_NUMBER, b"\x40\x01\0\0"), peer_address(("2001:db8::7", 99), TRANSACTION)],
        KEY,
    )
    message = stun.parse_message(data)
    assert message.message_method == stun.Method.CHANNEL_BIND
    assert message.attributes["CHANNEL-NUMBER"] == 0x4001
    assert message.attributes["XOR-PEER-ADDRESS"] == ("2001:db8::7", 99)
    assert message.check_message_integrity(KEY)


def test_what_another_codec_writes_is_read() -> None:
    written = stun.Message(stun.Method.ALLOCATE, stun.Class.RESPONSE, TRANSACTION)
    written.attributes["XOR-RELAYED-ADDRESS"] = ("192.0.2.1", 5000)
    written.attributes["XOR-MAPPED-ADDRESS"] = ("2001:db8::1", 6000)
    written.attributes["LIFETIME"] = 600
    written.add_message_integrity(KEY)
    message = parse_message(bytes(written))
    assert message is not None
    assert message.xor_addresses(Attribute.XOR_RELAYED_ADDRESS) == [("192.0.2.1", 5000)]
    assert message.mapped_address() == ("2001:db8::1", 6000)
    assert lifetime(message) == 600
    assert message.is_authentic(KEY)


def test_attributes_after_the_signature_do_not_count() -> None:
    signed = encode_message(TurnMethod.ALLOCATE, MessageClass.SUCCESS, TRANSACTION, [], KEY)[:-8]
    smuggled = signed + b"\x00\x0d\x00\x04\x00\x00\x00\x01"
    data = smuggled[:2] + (len(smuggled) - 20).to_bytes(2, "big") + smuggled[4:]
    message = parse_message(data)
    assert message is not None
    assert message.is_authentic(KEY)
    assert lifetime(message) is None


@given(st.binary(max_size=200), ADDRESSES)
def test_an_indication_carries_its_payload(payload: bytes, address: tuple[str, int]) -> None:
    sent = parse_message(send_indication(payload, address, TRANSACTION))
    assert sent is not None
    attributes = list(sent.attributes.items())
    turned_round = encode_message(TurnMethod.DATA, MessageClass.INDICATION, TRANSACTION, attributes)
    assert parse_data_indication(turned_round) == (payload, address)


@given(st.binary(max_size=300))
def test_garbage_is_no_message(data: bytes) -> None:
    for candidate in (
        data,
        b"\x01\x13" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + data,
    ):
        message = parse_message(candidate)
        parse_data_indication(candidate)
        if message is not None:
            assert message.error()[0] < 800
            assert "\n" not in message.error()[1]
            assert (lifetime(message) or 0) >= 0
            message.xor_addresses(Attribute.XOR_PEER_ADDRESS)
            assert len(message.mapped_address() or "12") == 2


@given(st.binary(max_size=24))
def test_an_address_is_whole_or_none(value: bytes) -> None:
    address = decode_address(value)
    assert (address is not None) == (len(value) > 1 and len(value) == {1: 8, 2: 20}.get(value[1], -1))


def test_an_outsized_reason_is_cut_and_kept_on_one_line() -> None:
    reason = ("no\r\n" * 500).encode() + b"\xff\xfe"
    data = encode_message(
        TurnMethod.ALLOCATE,
        MessageClass.ERROR,
        TRANSACTION,
        [(ERROR_CODE, b"\0\0\x04\x56" + reason)],
    )
    message = parse_message(data)
    assert message is not None
    code, words = message.error()
    assert code == 486
    assert len(words) <= 128
    assert words.isprintable()


def test_random_bytes_are_rarely_a_message() -> None:
    assert all(parse_message(os.urandom(n)) is None for n in range(200))
