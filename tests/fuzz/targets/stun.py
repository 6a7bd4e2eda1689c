"""STUN: what strangers send, and what a peer sends that knows the passwords."""

from __future__ import annotations

import random
from contextlib import suppress

from peer.ice.agent.piggyback import Piggyback
from peer.ice.stun import message as stun
from tests.fuzz.engine import Target, damage
from tests.support.hand import OURS, THEIRS, Hand

PEER, STRANGER = ("10.0.0.2", 2000), ("198.51.100.66", 666)
RAW, REQUEST, ANSWER = range(3)
MESSAGES_MAX = 32


def looked_at(message: stun.StunMessage) -> None:
    """Ask a message everything that it may be asked."""
    message.username()
    message.error_code()
    message.error()
    message.mapped_address()
    message.unknown_required()
    message.is_authentic(b"key")
    message.xor_addresses(stun.XOR_MAPPED_ADDRESS)
    for kind in message.attributes:
        message.number(kind)


def signed(data: bytes, key: bytes, transaction_id: bytes | None = None) -> bytes:
    """The same message with a right MESSAGE-INTEGRITY and FINGERPRINT, as far as its attributes can be told apart."""
    kind, attributes, position = int.from_bytes(data[:2]) & 0x3FFF, list[tuple[int, bytes]](), 20
    while position + 4 <= len(data):
        attribute = int.from_bytes(data[position : position + 2])
        length = int.from_bytes(data[position + 2 : position + 4])
        if attribute not in (stun.MESSAGE_INTEGRITY, stun.FINGERPRINT):
            attributes.append((attribute, data[position + 4 : position + 4 + length]))
        position += 4 + length + -length % 4
    return stun.encode(kind, transaction_id or data[8:20].ljust(12, b"\0"), attributes, key)


class Binding(Target):
    """The first byte of a message says what is done with it: sent as it is, or signed as a check or an answer."""

    name = "stun"
    inputs = 2000

    def seeds(self) -> list[bytes]:
        number = bytes(range(12))
        check = [
            (stun.USERNAME, b"ours:them"),
            (stun.PRIORITY, (1845501695).to_bytes(4)),
            (stun.ICE_CONTROLLED, bytes(8)),
        ]
        mapped = (stun.XOR_MAPPED_ADDRESS, stun.encode_xor_address(("10.0.0.1", 1000), number))
        acknowledgement = (stun.META_DTLS_IN_STUN_ACKNOWLEDGEMENT, bytes(8))
        messages = [
            (REQUEST, stun.encode(stun.BINDING_REQUEST, number, check)),
            (REQUEST, stun.encode(stun.BINDING_REQUEST, number, [*check, (stun.USE_CANDIDATE, b"")])),
            (
                REQUEST,
                stun.encode(
                    stun.BINDING_REQUEST,
                    number,
                    [*check, (stun.META_DTLS_IN_STUN, b"\x16dtls"), (stun.NOMINATION, bytes(3) + b"\1")],
                ),
            ),
            (ANSWER, stun.encode(stun.BINDING_RESPONSE, number, [mapped])),
            (
                ANSWER,
                stun.encode(
                    stun.BINDING_RESPONSE,
                    number,
                    [mapped, acknowledgement],
                ),
            ),
            (ANSWER, stun.encode(stun.BINDING_ERROR, number, [stun.encode_error(487, "role conflict")])),
            (RAW, stun.encode(stun.BINDING_REQUEST, number, check, OURS.password.encode())),
            (RAW, stun.encode(0x0011, number, [])),
        ]
        return [*(_packed([message]) for message in messages), _packed(messages)]

    def parts(self, data: bytes) -> int:
        return len(_unpacked(data))

    def mutate(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        messages = _unpacked(data) or _unpacked(other)
        at = rng.randrange(len(messages))
        how, message = messages[at]
        accident = rng.randrange(4)
        if accident < 2:
            messages[at] = how, damage(rng, message, other)
        elif accident == 2:
            messages[at:at] = _unpacked(other)
        else:
            messages[at] = rng.randrange(3), message
        return _packed(messages[:MESSAGES_MAX])

    async def run(self, data: bytes) -> None:
        hand = Hand(controlling=len(data) % 2 == 0, piggyback=Piggyback())
        hand.remote(*PEER)
        hand.run(0.06)
        for how, message in _unpacked(data):
            if how == REQUEST:
                message = signed(message, OURS.password.encode())
            elif how == ANSWER and hand.requests:
                number = hand.requests[-1].message.transaction_id
                message = signed(message, THEIRS.password.encode(), number)
            with suppress(ValueError):
                looked_at(stun.parse(message, 65535))
            for source in (PEER, STRANGER):
                hand.receive(message, source)
            hand.run(0.05)
        assert len(hand.agent.pairs) <= 2 + 2 * MESSAGES_MAX
        assert len(hand.replies) <= 2 * MESSAGES_MAX
        assert len(hand.requests) <= 40 + 4 * MESSAGES_MAX


def _packed(messages: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([how]) + len(each).to_bytes(2) + each for how, each in messages)


def _unpacked(data: bytes) -> list[tuple[int, bytes]]:
    messages = []
    while len(data) >= 3:
        length = int.from_bytes(data[1:3])
        messages.append((data[0] % 3, data[3 : 3 + length]))
        data = data[3 + length :]
    return messages[:MESSAGES_MAX]


TARGET = Binding()
