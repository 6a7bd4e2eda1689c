"""Descriptions and candidates, as the signalling of anybody brings them."""

from __future__ import annotations

import random

import peer
from peer.ice.candidate import Candidate
from peer.sdp.parser import parse_description
from tests.fuzz.engine import Target, damage
from tests.support.corpus import names, text

NUISANCES = [
    "",
    "0",
    "-1",
    "65536",
    "9" * 40,
    "ü",
    "\0",
    " ",
    ":",
    "a=",
    "m=",
    "x" * 3000,
    "\u2028",
    "٣",
    "1e9",
    "::ffff:1.2.3.4",
]


def mangled(rng: random.Random, given: bytes, other: bytes, end: str) -> bytes:
    """Lines and words that are lost, doubled, moved, replaced or of another text."""
    lines, foreign = (text.decode(errors="replace").split(end) for text in (given, other))
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        accident = rng.randrange(6)
        if accident == 0 and len(lines) > 1:
            del lines[at]
        elif accident == 1:
            lines[at:at] = [rng.choice(lines)] * rng.choice((1, 1, 20, 500))
        elif accident == 2:
            lines[at] = rng.choice(lines)
        elif accident == 3:
            begin = rng.randrange(len(foreign))
            lines[at:at] = foreign[begin : begin + rng.randrange(1, 12)]
        else:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = rng.choice(NUISANCES)
            lines[at] = " ".join(words)
    return end.join(lines)[:100_000].encode(errors="replace")


class Description(Target):
    name = "sdp"
    inputs = 600

    def seeds(self) -> list[bytes]:
        return [
            text(kind, name).encode() for kind in ("offers", "answers", "refused") for name in names(kind)
        ]

    def mutate(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        if rng.random() < 0.2:
            return damage(rng, data, other)
        return mangled(rng, data, other, "\r\n")

    async def run(self, data: bytes) -> None:
        try:
            parsed = parse_description(data.decode(errors="replace"))
        except peer.SdpSyntaxError:
            return
        assert parse_description(str(parsed)) == parsed, "what is written is not what was read"


class CandidateLine(Target):
    name = "candidate"
    inputs = 4000

    def seeds(self) -> list[bytes]:
        return [
            b"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host generation 0 ufrag abcd network-id 1",
            b"candidate:2 1 udp 1694498815 198.51.100.1 6000 typ srflx raddr 192.0.2.1 rport 5000",
            b"candidate:3 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
            b"candidate:4 1 udp 1 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 5000 typ host",
            b"candidate:5 1 udp 41885439 203.0.113.1 7000 typ relay raddr 0.0.0.0 rport 0",
            b"candidate:6 1 udp 1 fe80::1%eth0 5000 typ host",
        ]

    def mutate(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        if rng.random() < 0.3:
            return damage(rng, data, other)
        return mangled(rng, data, other, " ")

    async def run(self, data: bytes) -> None:
        line = data.decode(errors="replace")
        try:
            candidate = Candidate.from_sdp(line)
        except ValueError:
            pass
        else:
            assert Candidate.from_sdp(candidate.to_sdp()) == candidate, "what is written is not what was read"
        try:
            shown = peer.RTCIceCandidate({"candidate": line, "sdpMid": "0"})
        except (ValueError, TypeError, peer.InvalidAccessError):
            return
        shown.toJSON()


TARGETS = [Description(), CandidateLine()]
