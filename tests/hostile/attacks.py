"""What hostile members and strangers do, one attack for each class of findings. Each goes on until it is cancelled.

An attack goes at the pace given here: what one member can send on an ordinary line, and not so fast that the kernel's
sharing of the processor between processes is what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import peer
from signaling import AppMessage, SignalingClient
from tests.fuzz.targets.sctp import Packets, unpacked
from tests.hostile.member import CONFIGURATION, Member, Pace
from tests.support.raw_sctp import chunk, data, open_message, sack

Attack: TypeAlias = Callable[[str, str], Awaitable[None]]
"""Takes the relay's URL and the bot's id."""

ATTACKS: Final[dict[str, Attack]] = {}

PACKETS: Final = 500
"""Packets a second."""
MESSAGES: Final = 100
"""Messages of signalling a second: what the relay lets through."""

SSRC = 0x1234


def _attack(name: str) -> Callable[[Attack], Attack]:
    def add(attack: Attack) -> Attack:
        ATTACKS[name] = attack
        return attack

    return add


def _member(name: str) -> Callable[[Callable[[Member, Pace], Awaitable[None]]], Attack]:
    """An attack of a member that has shaken hands: called again and again, and it connects anew when it has to."""

    def add(once: Callable[[Member, Pace], Awaitable[None]]) -> Attack:
        async def attack(url: str, bot: str) -> None:
            member = await Member.join(url, bot)
            try:
                await member.stay_connected()
                pace = Pace(PACKETS)
                while True:
                    await once(member, pace)
                    if not member.is_connected:
                        await member.stay_connected()
                        pace = Pace(PACKETS)
            finally:
                await member.close()

        return _attack(name)(attack)

    return add


def _payload_type(member: Member, codec: str) -> int:
    sdp = member.pc.remoteDescription.sdp
    found = re.search(rf"a=rtpmap:(\d+) {codec}/", sdp)
    assert found is not None
    return int(found[1])


@_attack("nothing")
async def nothing(url: str, bot: str) -> None:
    """An ordinary member: what the others are compared with."""
    member = await Member.join(url, bot)
    try:
        await member.stay_connected()
        await asyncio.Event().wait()
    finally:
        await member.close()


# SCTP


@_member("sctp-malformed")
async def sctp_malformed(member: Member, pace: Pace) -> None:
    rng = random.Random()
    target = Packets()
    for chunks in unpacked(target.mutate(rng, rng.choice(target.seeds()), rng.choice(target.seeds()))):
        await pace.turn()
        await member.sctp(chunks)
    # A parameter whose length is none (C1).
    await member.sctp(chunk(4, b"\0\1\0\0"))
    await pace.turn()


@_member("sctp-dear-chunks")
async def sctp_dear_chunks(member: Member, pace: Pace) -> None:
    """FORWARD TSNs and SACKs that make much work of few bytes (H4)."""
    tsn = member.next_tsn
    for stream in range(0, 65536, 280):
        streams = b"".join(struct.pack("!HH", each % 65536, 1) for each in range(stream, stream + 280))
        await member.sctp(chunk(192, struct.pack("!L", (tsn + 1) % 2**32) + streams))
        await member.sctp(sack(tsn, [(0, 65535)] * 280))
        await member.sctp(*(chunk(192, struct.pack("!L", (tsn + n) % 2**32)) for n in range(140)))
        await pace.turn()
        if not member.is_connected:
            return


@_member("channel-flood")
async def channel_flood(member: Member, pace: Pace) -> None:
    """Channels without end, with long labels (H6)."""
    tsn = member.next_tsn
    for stream in range(65536):
        label = "😀".encode() * 200
        await member.sctp(data(tsn + stream, stream, 50, open_message(label)))
        await pace.turn()
        if not member.is_connected:
            return


@_member("message-without-end")
async def message_without_end(member: Member, pace: Pace) -> None:
    """Fragments of a message that never ends, each a kilobyte (H6)."""
    tsn = member.next_tsn
    for number in itertools.count():
        flags = 0x02 if number == 0 else 0
        await member.sctp(data(tsn + number, 0, 53, bytes(1100), 0, flags))
        await pace.turn()
        if not member.is_connected:
            return


# RTP and RTCP


@_member("ssrc-flood")
async def ssrc_flood(member: Member, pace: Pace) -> None:
    """Each packet of another source (H2)."""
    audio, video = _payload_type(member, "opus"), _payload_type(member, "VP8")
    for ssrc in range(1, 2**24):
        member.rtp(audio, 1, 960, ssrc, b"\xfc\xff\xfe")
        member.rtp(video, 1, 3000, ssrc + 2**25, b"\x10\x10\x00\x00\x9d\x01\x2a\x40\x00\x30\x00")
        await pace.turn()
        if not member.is_connected:
            return


@_member("picture-bomb")
async def picture_bomb(member: Member, pace: Pace) -> None:
    """Key frames that say they are 16383 x 16383, or that are as large as allowed (H1)."""
    video = _payload_type(member, "VP8")
    for number in itertools.count(1):
        size = b"\xff\x3f\xff\x3f" if number % 2 else b"\x80\x07\x38\x04"
        header = struct.pack("!BBHLL", 0x80, 0x80 | video, number & 0xFFFF, number * 3000 % 2**32, SSRC)
        member.rtcp(header + b"\x10" + b"\x10\x00\x00\x9d\x01\x2a" + size + bytes(40))
        await pace.turn()
        if not member.is_connected:
            return


@_member("sequence-jumps")
async def sequence_jumps(member: Member, pace: Pace) -> None:
    """Numbers that leap, so that everything between seems lost (H4)."""
    video = _payload_type(member, "VP8")
    for number in itertools.count():
        member.rtp(video, number * 32767, number * 3000, SSRC, b"\x10\x01")
        await pace.turn()
        if not member.is_connected:
            return


@_member("rtcp-flood")
async def rtcp_flood(member: Member, pace: Pace) -> None:
    """NACKs that name packets 280 times, reports on thousands in ten bytes, pleas, REMBs that lie (H5, L2)."""
    sdp = member.pc.remoteDescription.sdp
    ssrcs = [int(each) for each in re.findall(r"a=ssrc:(\d+) ", sdp)] or [1]
    numbers = struct.pack("!HH", 1000, 0xFFFF) * 280
    for ssrc in itertools.cycle(ssrcs):
        head = struct.pack("!LL", SSRC, ssrc)
        member.rtcp(struct.pack("!BBH", 0x81, 205, 2 + 280) + head + numbers)
        member.rtcp(struct.pack("!BBH", 0x81, 206, 2) + head)
        remb = b"REMB" + struct.pack("!BBH", 255, 0xFF, 0xFFFF)
        member.rtcp(struct.pack("!BBH", 0x8F, 206, 4) + struct.pack("!LL", SSRC, 0) + remb)
        member.rtcp(struct.pack("!BBH", 0x9F, 201, 1) + struct.pack("!L", SSRC))
        report = struct.pack("!LLHHLHH", SSRC, ssrc, 1, 8192, 0, 0x1FFF, 1)
        member.rtcp((struct.pack("!BBH", 0x8F, 205, len(report) // 4) + report) * 40)
        await pace.turn()
        if not member.is_connected:
            return


# Signalling from one member to another


async def _description(**kinds: int) -> str:
    pc: Any = peer.RTCPeerConnection(CONFIGURATION)
    pc.createDataChannel("chat")
    for kind, count in kinds.items():
        for _ in range(count):
            pc.addTransceiver(kind)
    await pc.setLocalDescription()
    await pc.gathering_complete()
    sdp = str(pc.localDescription.sdp)
    await pc.close()
    return sdp


def _of_another_session(sdp: str) -> str:
    return re.sub(r"o=- \d+", f"o=- {random.getrandbits(62)}", sdp, count=1)


async def _says(url: str, bot: str, per_second: float, say: Callable[[Member], Awaitable[object]]) -> None:
    member = await Member.join(url, bot)
    try:
        pace = Pace(per_second)
        while True:
            await say(member)
            await pace.turn()
    finally:
        await member.close()


@_attack("offer-storm")
async def offer_storm(url: str, bot: str) -> None:
    """Offers, each of a connection of its own (M12)."""
    sdp = await _description(audio=1, video=1)
    await _says(url, bot, MESSAGES, lambda member: member.offer(_of_another_session(sdp)))


@_attack("many-sections")
async def many_sections(url: str, bot: str) -> None:
    """One offer with as many sections of video as a message holds (M10)."""
    sdp = await _description(video=60)
    await _says(url, bot, 4, lambda member: member.offer(_of_another_session(sdp)))


@_attack("huge-descriptions")
async def huge_descriptions(url: str, bot: str) -> None:
    """A quarter megabyte of attributes, payload types and candidates."""
    sdp = await _description(audio=1)
    lines = ["a=fmtp:111 x=" + "y" * 200] * 300 + ["a=candidate:1 1 udp 1 192.0.2.1 1 typ host"] * 2500
    huge = (sdp + "\r\n".join(lines) + "\r\n")[:250_000]
    await _says(url, bot, 4, lambda member: member.offer(_of_another_session(huge)))


@_attack("candidate-storm")
async def candidate_storm(url: str, bot: str) -> None:
    """Candidates of third parties, of names, and of TCP ports on the bot's own host (M5)."""
    member = await Member.join(url, bot)
    try:
        await member.connect()
        pace = Pace(MESSAGES)
        for number in itertools.count():
            address = f"198.51.{number // 250 % 256}.{number % 250 + 1}"
            kind = number % 4
            line = f"candidate:{number} 1 udp {2**31 - number} {address} 9 typ host"
            if kind == 1:
                line = f"candidate:{number} 1 udp 1 {number:032x}.local 9 typ host"
            elif kind == 2:
                line = f"candidate:{number} 1 udp 1 spy{number}.example 9 typ host"
            elif kind == 3:
                line = f"candidate:{number} 1 tcp 1 127.0.0.1 {1 + number % 65535} typ host tcptype passive"
            await member.candidate(line)
            await pace.turn()
    finally:
        await member.close()


@_attack("chat-flood")
async def chat_flood(url: str, bot: str) -> None:
    """Messages of 64 kB to everybody in the room."""
    await _says(url, bot, 1000, lambda member: member.client.send(AppMessage(data="x" * 65_000)))


# Strangers and members at the relay


@_attack("joins")
async def joins(url: str, bot: str) -> None:
    """Members that come and go (M9)."""
    pace = Pace(20)
    while True:
        with contextlib.suppress(Exception):
            async with SignalingClient(url, room="room", name="in and out"):
                pass
        await pace.turn()


async def _raw_websocket(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _floods(writer: asyncio.StreamWriter) -> None:
    pace = Pace(PACKETS)
    ping, empty = b"\x89\xfd" + bytes(4) + bytes(125), b"\x00\x80" + bytes(4)
    while True:
        writer.write(ping * 50 + b"\x01\x80" + bytes(4) + empty * 50)
        await writer.drain()
        await pace.turn()


@_attack("pings")
async def pings(url: str, bot: str) -> None:
    """Pings whose pongs nobody reads, and empty fragments (M7)."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            _, writer = await _raw_websocket(url)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            try:
                await asyncio.wait_for(_floods(writer), 5)
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.1)


@_attack("half-open")
async def half_open(url: str, bot: str) -> None:
    """Three hundred connections that say nothing, or a byte now and then (H7)."""
    parts = urlsplit(url)
    open_ones: list[asyncio.StreamWriter] = []
    try:
        for number in itertools.count():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port)
                open_ones.append(writer)
                if number % 3 == 0:
                    writer.write(b"G")
            if len(open_ones) > 300:
                open_ones.pop(0).transport.abort()
            await asyncio.sleep(0.005)
    finally:
        for writer in open_ones:
            writer.transport.abort()


# Strangers at the ports of the call


class _Sender(asyncio.DatagramProtocol):
    """Sends only."""


@_attack("strangers-datagrams")
async def strangers_datagrams(url: str, bot: str) -> None:
    """STUN, DTLS, RTP and noise at the port that the bot has told a member."""
    member = await Member.join(url, bot)
    try:
        await member.stay_connected()
        pair = member.dtls.transport.getSelectedCandidatePair()
        target = (pair.remote.address, pair.remote.port)
        loop = asyncio.get_running_loop()
        transport: Any
        transport, _ = await loop.create_datagram_endpoint(_Sender, remote_addr=target)
        try:
            pace = Pace(10 * PACKETS)
            rng = random.Random()
            heads = (
                b"\0\1\0\0\x21\x12\xa4\x42",
                b"\x16\xfe\xff\0\0",
                b"\x80\x60",
                b"\x80\xc8",
                b"\x17\xfe\xfd",
                b"",
            )
            while True:
                transport.sendto(rng.choice(heads) + rng.randbytes(rng.choice((20, 200, 1200))))
                await pace.turn()
        finally:
            transport.close()
    finally:
        await member.close()
