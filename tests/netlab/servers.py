"""What runs in the middle of the lab: TURN servers (coturn) and a signalling server, each with its own address."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.netlab.namespaces import LabError, program
from tests.netlab.process import LabProcess
from tests.netlab.setns import entered
from tests.netlab.topology import Host

if TYPE_CHECKING:
    from tests.netlab.lab import Lab

STARTUP = 10.0
REALM = "lab"
DEAD_ADDRESS = "198.18.250.1"
"""Packets to it vanish: no site has it."""


@dataclass(frozen=True)
class Certificates:
    """A certificate authority of the lab's own (`authority`, a PEM file) and a server's certificate under it."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path, *addresses: str) -> Certificates:
        now = datetime.datetime.now(datetime.UTC)
        paths = cls(directory / "authority.pem", directory / "server.pem", directory / "server.key")
        issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab authority")])

        def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(issuer)
                .public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=7))
            )

        authority = (
            builder(issuer, issuer_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(issuer_key, hashes.SHA256())
        )
        names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate = (
            builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "turn")]), key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        paths.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        paths.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


class TurnServer:
    """A coturn on one host: STUN and TURN over UDP and TCP on 3478, over TLS on 5349 and 443.

    `username` and `credential` are good for ever; `secret` mints those that expire (`tests` use
    `base64(HMAC-SHA1(secret, "<unix expiry>:<user>"))`), when the server was started with one.
    """

    username, credential = "lab", "lab-password"

    def __init__(self, host: Host, addresses: Sequence[str], process: LabProcess) -> None:
        self.host, self.addresses, self.process = host, addresses, process

    @property
    def address(self) -> str:
        return self.addresses[0]

    @classmethod
    async def start(
        cls,
        lab: Lab,
        host: Host,
        address: str,
        *more: str,
        secret: str | None = None,
        lifetime: int = 600,
        external: str | None = None,
    ) -> TurnServer:
        """`lifetime`: the longest an allocation may live without a refresh, in seconds. `external`: the address that a
        static NAT gives it."""
        certificates = Certificates.make(
            lab.directory, *(a for u in host.uplinks.values() for a in u.addresses)
        )
        log = lab.log(f"coturn-{address}")
        configuration: dict[str, object] = {
            "listening-port": 3478,
            "tls-listening-port": 5349,
            "cert": certificates.certificate,
            "pkey": certificates.key,
            "realm": REALM,
            "max-allocate-lifetime": lifetime,
            "cli-password": "none",
            "log-file": "stdout",
            "pidfile": lab.directory / f"coturn-{address}.pid",
            "userdb": lab.directory / f"coturn-{address}.sqlite",
            "relay-threads": 1,
        }
        if secret is None:
            configuration["user"] = f"{cls.username}:{cls.credential}"
        else:
            configuration["static-auth-secret"] = secret
        flags = ["no-cli", "simple-log", "verbose", "no-rfc5780"]
        flags.append("lt-cred-mech" if secret is None else "use-auth-secret")
        if external is not None:
            configuration["external-ip"] = external
        path = lab.directory / f"coturn-{address}.conf"
        lines = [f"{key}={value}" for key, value in configuration.items()]
        lines += [f"{kind}-ip={own}" for own in (address, *more) for kind in ("listening", "relay")]
        path.write_text("\n".join([*lines, *flags, ""]))
        await host.namespace.nft(
            "table ip turn { chain prerouting { type nat hook prerouting priority -100; "
            f"ip daddr {address} tcp dport 443 redirect to :5349; }}\n}}\n"
        )
        process = await LabProcess.start(
            f"coturn on {address}", host.namespace.command(program("turnserver"), "-c", str(path)), log
        )
        server = cls(host, (address, *more), process)
        await lab.add(server)
        await listening(host, address, 5349, process)
        return server

    def ice_servers(self, *kinds: str, ipv6: bool = False) -> list[dict[str, Any]]:
        """W3C dictionaries for some of `stun`, `udp`, `tcp`, `tls` (all by default; TLS on 443, over IPv6 on 5349)."""
        host = f"[{self.addresses[-1]}]" if ipv6 else self.address
        urls = {
            "stun": f"stun:{host}:3478",
            "udp": f"turn:{host}:3478?transport=udp",
            "tcp": f"turn:{host}:3478?transport=tcp",
            "tls": f"turns:{host}:{5349 if ipv6 else 443}?transport=tcp",
        }
        chosen = kinds or tuple(urls)
        servers: list[dict[str, Any]] = [{"urls": [urls["stun"]]}] if "stun" in chosen else []
        turn = [urls[kind] for kind in chosen if kind != "stun"]
        if turn:
            servers.append({"urls": turn, "username": self.username, "credential": self.credential})
        return servers

    def allocations(self) -> int:
        """How many allocations live now, by the server's own log."""
        log = self.process.log.read_text(errors="replace")
        made = set(re.findall(r"session (\d+): .*ALLOCATE processed, success", log))
        gone = set(re.findall(r"session (\d+): (?:closed|delete|refreshed, .*lifetime=0)", log))
        return len(made - gone)

    async def released(self, patience: float = 3.0) -> None:
        """Wait until no allocation is left. Raises `LabError` when some stay."""
        for _ in range(int(patience / 0.05)):
            if not self.allocations():
                return
            await asyncio.sleep(0.05)
        raise LabError(f"{self.allocations()} allocations are left on {self.address}{self.process.said()}")

    async def vanish(self) -> None:
        """Nothing gets to it or from it any more."""
        await self.host.namespace.nft(
            f"table ip gone {{ chain input {{ type filter hook input priority 0; ip daddr {self.address} drop; }}\n"
            f"chain output {{ type filter hook output priority 0; ip saddr {self.address} drop; }}\n}}\n"
        )

    async def close(self) -> None:
        await self.process.close()


async def listening(
    host: Host, address: str, port: int, process: LabProcess, patience: float = STARTUP
) -> None:
    """Wait until somebody accepts TCP connections there. Raises `LabError` when that takes too long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        with entered(host.namespace.name):
            probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        with probe:
            probe.setblocking(False)
            try:
                async with asyncio.timeout_at(deadline):
                    await loop.sock_connect(probe, (address, port))
                return
            except OSError:
                if loop.time() > deadline or process.process.returncode is not None:
                    raise LabError(f"{process.name} does not listen{process.said()}") from None
        await asyncio.sleep(0.02)


class SignallingServer:
    """A relay on port 443 of its own addresses, plain WebSocket: `url` and `url6` are what clients connect to."""

    def __init__(self, url: str, url6: str, process: LabProcess) -> None:
        self.url, self.url6, self.process = url, url6, process

    @classmethod
    async def start(cls, lab: Lab, host: Host, *addresses: str) -> SignallingServer:
        command = host.namespace.command(sys.executable, "-m", "tests.netlab.forwarder", "443", *addresses)
        process = await LabProcess.start("signalling", command, lab.log("signalling"))
        urls = [f"ws://[{a}]:443/ws" if ":" in a else f"ws://{a}:443/ws" for a in addresses]
        server = cls(urls[0], urls[-1], process)
        await lab.add(server)
        for address in addresses:
            await listening(host, address, 443, process)
        return server

    async def close(self) -> None:
        await self.process.close()
