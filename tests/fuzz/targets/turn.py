"""TURN: what a server, or whoever answers in its place, sends over UDP and on a stream."""

from __future__ import annotations

from contextlib import suppress
from struct import pack

from peer.ice.stun import message as stun
from peer.ice.stun.message import encode_error
from peer.ice.turn.framing import TurnStream, TurnStreamError
from peer.ice.turn.message import (
    Attribute,
    MessageClass,
    TurnMethod,
    encode_message,
    parse_data_indication,
    parse_message,
    peer_address,
)
from tests.fuzz.engine import Target
from tests.fuzz.targets.stun import looked_at, signed
from tests.ice.turn.turn_exchange import TurnExchange
from tests.ice.turn.turn_server import ALICE, REALM, RELAYED

PEER = ("192.0.2.1", 4000)
NUMBER = bytes(range(12))


def _answers() -> list[bytes]:
    success, error = MessageClass.SUCCESS, MessageClass.ERROR
    relayed = (Attribute.XOR_RELAYED_ADDRESS, stun.encode_xor_address(RELAYED, NUMBER))
    lifetime = (Attribute.LIFETIME, pack("!I", 600))
    realm, nonce = (Attribute.REALM, REALM.encode()), (Attribute.NONCE, b"nonce-2")
    indication = [peer_address(PEER, NUMBER), (Attribute.DATA, b"\x16\xfe\xfd dtls")]
    return [
        encode_message(TurnMethod.ALLOCATE, success, NUMBER, [relayed, lifetime]),
        encode_message(TurnMethod.ALLOCATE, error, NUMBER, [encode_error(401, "no"), realm, nonce]),
        encode_message(TurnMethod.ALLOCATE, error, NUMBER, [encode_error(438, "stale"), realm, nonce]),
        encode_message(TurnMethod.ALLOCATE, error, NUMBER, [encode_error(440, "family")]),
        encode_message(
            TurnMethod.ALLOCATE,
            error,
            NUMBER,
            [encode_error(300, "there"), (stun.ALTERNATE_SERVER, b"\0\1\x0d\x96\xc0\0\2\1")],
        ),
        encode_message(TurnMethod.REFRESH, success, NUMBER, [lifetime]),
        encode_message(TurnMethod.REFRESH, error, NUMBER, [encode_error(437, "mismatch")]),
        encode_message(TurnMethod.CREATE_PERMISSION, success, NUMBER, []),
        encode_message(TurnMethod.CREATE_PERMISSION, error, NUMBER, [encode_error(403, "forbidden")]),
        encode_message(TurnMethod.CHANNEL_BIND, success, NUMBER, []),
        encode_message(TurnMethod.DATA, MessageClass.INDICATION, NUMBER, indication),
    ]


class Client(Target):
    name = "turn"
    inputs = 2000

    def seeds(self) -> list[bytes]:
        return [*_answers(), b"\x40\0\0\4data", b"\x40\1\0\0", b"\x4f\xff\xff\xff"]

    async def run(self, data: bytes) -> None:
        message = parse_message(data)
        if message is not None:
            looked_at(message)
        parse_data_indication(data)
        for allocated in (False, True):
            exchange = TurnExchange()
            client = exchange.client
            if allocated:
                exchange.allocate()
                exchange.send(b"\x16 dtls", PEER)
            else:
                client.allocate(exchange.now)
            asked = [parse_message(each) for each in client.outgoing()]
            number = next((each.transaction_id for each in reversed(asked) if each is not None), NUMBER)
            for given in (data, signed(data, ALICE.key(REALM), number) if len(data) < 1500 else data):
                client.unwrap(given, exchange.now)
                client.events()
                assert len(list(client.outgoing())) <= 40
            exchange.run(2.0)


class Stream(Target):
    name = "turn-stream"
    inputs = 4000

    def seeds(self) -> list[bytes]:
        channel = b"\x40\0\0\5hello\0\0\0"
        return [b"".join(_answers()), channel * 3, _answers()[0] + channel, b"\x40\0\xff\xff" + bytes(100)]

    async def run(self, data: bytes) -> None:
        whole: list[bytes] = []
        with suppress(TurnStreamError):
            whole = TurnStream().feed(data)
        pieces, stream = list[bytes](), TurnStream()
        with suppress(TurnStreamError):
            for at in range(0, len(data), 7):
                pieces += stream.feed(data[at : at + 7])
        assert pieces[: len(whole)] == whole, "a stream cut differently is read differently"


TARGETS = [Client(), Stream()]
