"""Where the time goes: one connection, packet by packet, as the core saw it, among what the two ends noted.

    python -m tests.netlab.timeline --network cone --subject ours

A line is a packet: when it left its site and when it reached the other (ms after createOffer), from where to where,
and what it is. Lines with `·` are what an end noted at that moment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tests.netlab.lab import Lab

STUN_METHODS = {
    1: "Binding",
    3: "Allocate",
    4: "Refresh",
    6: "Send",
    7: "Data",
    8: "CreatePermission",
    9: "ChannelBind",
}
STUN_CLASSES = ("request", "indication", "success", "error")
STUN_FLAGS = {
    0x25: "USE-CANDIDATE",
    0x8029: "controlled",
    0x802A: "controlling",
    0xC001: "nomination",
    0xC070: "DTLS",
}
DATA = 0x0013
DTLS_RECORDS = {20: "ChangeCipherSpec", 21: "Alert", 22: "Handshake", 23: "ApplicationData"}
HANDSHAKES = {
    0: "HelloRequest",
    1: "ClientHello",
    2: "ServerHello",
    3: "HelloVerifyRequest",
    4: "NewSessionTicket",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
    20: "Finished",
}


@dataclass(frozen=True)
class Packet:
    """A packet that passed the core. `arrived` is None if it was lost; times are the machine's monotonic seconds."""

    left: float
    arrived: float | None
    source: str
    target: str | None
    length: int
    what: str

    @classmethod
    def of(cls, record: Sequence[Any]) -> Packet:
        """From a record of `Lab.trace`."""
        left, arrived, source, target, length, snapshot = record
        return cls(left, arrived, source, target, length, describe_ip(bytes.fromhex(snapshot)))


def describe_ip(packet: bytes) -> str:
    if packet[0] >> 4 == 4:
        header, protocol = (packet[0] & 15) * 4, packet[9]
        hosts = [str(ipaddress.ip_address(packet[at : at + 4])) for at in (12, 16)]
    else:
        header, protocol = 40, packet[6]
        hosts = [f"[{ipaddress.ip_address(packet[at : at + 16])}]" for at in (8, 24)]
    if protocol not in (6, 17):
        return f"{hosts[0]} → {hosts[1]} protocol {protocol}"
    ports = struct.unpack_from("!HH", packet, header)
    ends = f"{hosts[0]}:{ports[0]} → {hosts[1]}:{ports[1]}"
    if protocol == 6:
        payload = packet[header + (packet[header + 12] >> 4) * 4 :]
        flags = packet[header + 13]
        names = "".join(name for bit, name in ((2, "SYN "), (1, "FIN "), (4, "RST ")) if flags & bit)
        # Only what TURN over TCP looks like; anything else is a stream of somebody else's.
        framed = payload and (payload[0] < 4 or 64 <= payload[0] < 80)
        return f"{ends} TCP {names}{describe_payload(payload) if framed else ''}".rstrip()
    if 53 in ports:
        return f"{ends} DNS"
    return f"{ends} {describe_payload(packet[header + 8 :])}"


def describe_payload(data: bytes) -> str:
    """By the first byte (RFC 7983)."""
    if not data:
        return "empty"
    first = data[0]
    if first < 4 and len(data) >= 20 and data[4:8] == b"\x21\x12\xa4\x42":
        return _describe_stun(data)
    if 20 <= first < 64:
        return _describe_dtls(data)
    if 64 <= first < 80:
        return f"ChannelData({describe_payload(data[4:])})"
    if 128 <= first < 192:
        return "RTCP" if 192 <= data[1] < 224 else "RTP"
    return f"{len(data)} bytes"


def _describe_stun(data: bytes) -> str:
    kind = struct.unpack_from("!H", data)[0]
    method = (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
    name = f"{STUN_METHODS.get(method, method)} {STUN_CLASSES[(kind & 0x0010) >> 4 | (kind & 0x0100) >> 7]}"
    notes, at = [], 20
    while at + 4 <= len(data):
        attribute, length = struct.unpack_from("!HH", data, at)
        if attribute == DATA:
            notes.append(describe_payload(data[at + 4 : at + 4 + length]))
        elif attribute in STUN_FLAGS:
            notes.append(STUN_FLAGS[attribute])
        elif attribute == 0x0009 and at + 8 <= len(data):
            notes.append(str(data[at + 6] * 100 + data[at + 7]))
        at += 4 + length + (-length % 4)
    return f"{name} {data[8:11].hex()}" + (f" ({', '.join(notes)})" if notes else "")


def _describe_dtls(data: bytes) -> str:
    found, at = [], 0
    while at + 13 <= len(data):
        kind, epoch, length = data[at], *struct.unpack_from("!HxxxxxxH", data, at + 3)
        if kind == 22 and epoch == 0 and at + 14 <= len(data):
            found.append(HANDSHAKES.get(data[at + 13], f"handshake {data[at + 13]}"))
        else:
            found.append(DTLS_RECORDS.get(kind, f"record {kind}") + (f" (epoch {epoch})" if epoch else ""))
        at += 13 + length
    return f"DTLS {', '.join(found) or 'fragment'}"


def render(
    packets: Iterable[Packet], logs: dict[str, list[tuple[float, str, Any]]], started: float
) -> list[str]:
    lines = []
    for packet in packets:
        arrived = "lost" if packet.arrived is None else f"{(packet.arrived - started) * 1000:.0f}"
        way = f"{packet.source} → {packet.target or 'nowhere'}"
        left = (packet.left - started) * 1000
        lines.append((packet.left, f"{left:6.0f} {arrived:>6}  {way:22} {packet.length:5}  {packet.what}"))
    for name, log in logs.items():
        for when, what, value in log:
            lines.append(
                (when, f"{(when - started) * 1000:6.0f}         · {name}: {what} {str(value)[:110]}")
            )
    return [text for when, text in sorted(lines) if when >= started - 0.001]


async def record(network: str, subject: str) -> list[str]:
    from tests.bench.connect import NETWORKS

    kind = NETWORKS[network]
    async with Lab() as lab:
        server = await lab.server()
        sites = [
            await lab.site(name, nat=end.nat, firewall=end.firewall, loss=end.loss)
            for name, end in (("offerer", kind.offerer), ("answerer", kind.answerer))
        ]
        hosts = [await lab.host(site.name, site) for site in sites]
        parties = await asyncio.gather(*(lab.party(host, subject) for host in hosts))
        for number in range(2):
            for party in parties:
                await party.configure(server.turn.ice_servers("stun", "udp", "tcp"))
            await asyncio.gather(*(party.join(server.signalling.url, f"{number}") for party in parties))
            await lab.trace(True)
            connected = await parties[0].call()
            await asyncio.sleep(0.2)
            records = await lab.trace(False)
            logs = {site.name: await party.log() for site, party in zip(sites, parties, strict=True)}
            await asyncio.gather(*(party.leave() for party in parties))
        return render(map(Packet.of, records or []), logs, connected.started)


def main(
    network: Annotated[str, typer.Option(help="One of the networks of tests.bench.connect.")] = "cone",
    subject: Annotated[str, typer.Option(help="ours or aiortc (a browser's clock is its own).")] = "ours",
    signalling: Annotated[
        bool, typer.Option(help="Show the packets of the signalling connection too.")
    ] = False,
) -> None:
    """One connection, packet by packet."""
    for line in asyncio.run(record(network, subject)):
        if signalling or ":443 " not in line:
            print(line)


if __name__ == "__main__":
    typer.run(main)
