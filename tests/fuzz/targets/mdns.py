"""mDNS: what any host on the link sends to port 5353."""

from __future__ import annotations

from peer.ice.system.mdns_message import addresses_in, answer, goodbye, is_answer, query, questions_in
from tests.fuzz.engine import Target

NAME = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"


class Message(Target):
    name = "mdns"
    inputs = 2000

    def seeds(self) -> list[bytes]:
        compressed = answer(NAME, "192.0.2.1", [1]) + b"\xc0\x0c\0\1\0\1\0\0\0\x78\0\4\xc0\0\2\1"
        return [
            query(NAME),
            answer(NAME, "192.0.2.1", [1]),
            answer(NAME, "2001:db8::1", [28]),
            goodbye(NAME, "192.0.2.1"),
            compressed,
            b"\0\0\x84\0\0\0\xff\xff\0\0\0\0" + b"\xc0\x0c" * 300,
        ]

    async def run(self, data: bytes) -> None:
        is_answer(data)
        assert all(isinstance(each, str) for each in addresses_in(data, NAME))
        questions_in(data)


TARGET = Message()
