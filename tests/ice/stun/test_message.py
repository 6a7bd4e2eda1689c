"""Binding messages on the wire, held against another implementation's."""

from __future__ import annotations

import ipaddress

import aioice.stun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.stun import message as stun

TRANSACTION = bytes(range(12))
KEY = b"a password of theirs"

addresses = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))


@given(username=st.text(st.characters(codec="ascii"), max_size=100), number=st.integers(0, 2**64 - 1))
def test_what_is_written_here_is_read_there(username: str, number: int) -> None:
    data = stun.encode(
        stun.BINDING_REQUEST,
        TRANSACTION,
        [
            (stun.USERNAME, username.encode()),
            (stun.PRIORITY, (number >> 32).to_bytes(4, "big")),
            (stun.ICE_CONTROLLING, number.to_bytes(8, "big")),
            (stun.USE_CANDIDATE, b""),
        ],
        KEY,
    )
    message = aioice.stun.parse_message(data)
    assert message.transaction_id == TRANSACTION
    assert message.attributes["USERNAME"] == username
    assert message.attributes["PRIORITY"] == number >> 32
    assert message.attributes["ICE-CONTROLLING"] == number
    assert "USE-CANDIDATE" in message.attributes
    assert message.check_message_integrity(KEY)


def mapped_to_ipv4(address: tuple[str, int]) -> tuple[str, int]:
    parsed = ipaddress.ip_address(address[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed), address[1]


@given(address=addresses, key=st.none() | st.binary(min_size=1, max_size=64))
def test_what_is_written_there_is_read_here(address: tuple[str, int], key: bytes | None) -> None:
    theirs = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.RESPONSE, TRANSACTION)
    theirs.attributes["XOR-MAPPED-ADDRESS"] = address
    if key is not None:
        theirs.add_message_integrity(key)
    message = stun.parse(bytes(theirs))
    assert message.type == stun.BINDING_RESPONSE
    assert message.mapped_address() == mapped_to_ipv4(address)
    assert message.is_authentic(key or b"?") == (key is not None)


@given(address=addresses)
def test_addresses_survive_the_exclusive_or(address: tuple[str, int]) -> None:
    value = stun.encode_xor_address(address, TRANSACTION)
    assert stun.decode_xor_address(value, TRANSACTION) == mapped_to_ipv4(address)


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"\0\1\0\0", b"\0\2" + bytes(6), b"\0\1" + bytes(18), b"\0\3" + bytes(6)]
)
def test_a_malformed_address_is_none(value: bytes) -> None:
    assert stun.decode_xor_address(value, TRANSACTION) is None


def request(*attributes: tuple[int, bytes], key: bytes | None = KEY) -> bytes:
    return stun.encode(stun.BINDING_REQUEST, TRANSACTION, attributes, key)


def test_integrity_is_right_under_one_key_only() -> None:
    message = stun.parse(request((stun.USERNAME, b"a:b")))
    assert message.is_authentic(KEY)
    assert not message.is_authentic(b"another")
    assert not stun.parse(request(key=None)).is_authentic(KEY)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_changes_nothing_that_is_believed(position: int, bit: int) -> None:
    data = bytearray(request((stun.USERNAME, b"abcd:efgh"), (stun.PRIORITY, bytes(4))))
    data[position % len(data)] ^= 1 << bit
    try:
        message = stun.parse(bytes(data))
    except ValueError:
        return
    if message.is_authentic(KEY):
        # It was in the fingerprint attribute: nothing that is believed has changed.
        original = stun.parse(request((stun.USERNAME, b"abcd:efgh"), (stun.PRIORITY, bytes(4))))
        assert message.attributes == original.attributes
        assert message.type == original.type


def test_what_follows_the_integrity_attribute_is_not_believed() -> None:
    data = request((stun.USERNAME, b"a:b"))
    body = data[20:-8] + bytes.fromhex("00250000")
    forged = data[:2] + len(body).to_bytes(2, "big") + data[4:20] + body
    message = stun.parse(forged)
    assert message.is_authentic(KEY)
    assert stun.USE_CANDIDATE not in message.attributes


def test_of_two_attributes_of_one_type_the_first_counts() -> None:
    message = stun.parse(request((stun.USERNAME, b"first"), (stun.USERNAME, b"second")))
    assert message.username() == "first"


def test_unknown_attributes_are_kept_and_only_the_required_ones_reported() -> None:
    message = stun.parse(request((0x0031, b"!"), (0xC057, b"\0\1\0\2"), (0xC070, b"dtls")))
    assert message.unknown_required() == [0x0031]
    assert message.attributes[0xC070] == b"dtls"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too short"),
        (b"\0\1\0\0" + bytes(16), "magic cookie"),
        (b"\x80" + request()[1:], "not a STUN message"),
        (request() + b"\0", "length"),
        (request()[:-4], "length"),
        (request()[:2] + b"\0\x05" + request()[4:25], "length"),
        (request((0x0031, bytes(1600))), "too long"),
        (request()[:-1] + b"?", "fingerprint"),
        (b"\0\1\0\4\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0\x09", "runs over"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        stun.parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(garbage: bytes) -> None:
    for data in (
        garbage,
        b"\0\1" + len(garbage).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + garbage,
    ):
        try:
            message = stun.parse(data)
        except ValueError:
            continue
        message.username()
        message.number(stun.PRIORITY)
        message.error_code()
        message.mapped_address()
        message.unknown_required()
        assert not message.is_authentic(KEY)


def test_an_ipv4_address_written_as_an_ipv6_one_is_ipv4() -> None:
    packed = ipaddress.ip_address("::ffff:192.0.2.7").packed
    assert stun.decode_address(b"\x00\x02\x10\x00" + packed) == ("192.0.2.7", 0x1000)
    transaction_id = bytes(range(12))
    pad = bytes.fromhex("2112a442") + transaction_id
    xored = bytes(one ^ other for one, other in zip(packed, pad, strict=True))
    value = b"\x00\x02" + (0x1000 ^ 0x2112).to_bytes(2, "big") + xored
    assert stun.decode_xor_address(value, transaction_id) == ("192.0.2.7", 0x1000)
