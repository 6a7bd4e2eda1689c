"""A real TURN server for tests: coturn on loopback, on free ports, with credentials and a certificate of its own."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import ipaddress
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from peer.ice.servers import StunServer, TurnServer, parse_server
from tests.conftest import require_part

REALM = "calls.example"
USERNAME, CREDENTIAL = "alice", "wonderland"
SECRET = "north by northwest"
CLI_PASSWORD = "cli"
START_TIMEOUT = 15.0

Transport = Literal["udp", "tcp", "tls"]


@dataclass
class Coturn:
    """A running turnserver. Listens on 127.0.0.1 and ::1, relays from the same, and lets peers be on loopback."""

    directory: Path
    port: int
    tls_port: int
    cli_port: int
    process: subprocess.Popen[bytes]
    certificate: Path
    secret: str | None = None
    arguments: Sequence[str] = field(default_factory=tuple)

    def url(self, transport: Transport = "udp", host: str = "127.0.0.1") -> str:
        """A `turn:` or `turns:` URL; give host "[::1]" for IPv6."""
        if transport == "tls":
            return f"turns:{host}:{self.tls_port}?transport=tcp"
        return f"turn:{host}:{self.port}?transport={transport}"

    def server(self, transport: Transport = "udp", host: str = "127.0.0.1", **credentials: str) -> TurnServer:
        """The parsed server, with credentials it accepts unless others are given."""
        if not credentials:
            credentials = self.credentials()
        server = parse_server(self.url(transport, host), **credentials)
        assert isinstance(server, TurnServer)
        return server

    def stun_server(self, host: str = "127.0.0.1") -> StunServer:
        server = parse_server(f"stun:{host}:{self.port}")
        assert isinstance(server, StunServer)
        return server

    def credentials(self, ttl: float = 3600, user: str = "bob") -> dict[str, str]:
        """`username` and `credential`; with a shared secret, those of the TURN REST scheme, `ttl` seconds good."""
        if self.secret is None:
            return {"username": USERNAME, "credential": CREDENTIAL}
        username = f"{int(time.time() + ttl)}:{user}"
        mac = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
        return {"username": username, "credential": base64.b64encode(mac).decode()}

    def ice_server(self, transport: Transport = "udp", host: str = "127.0.0.1") -> dict[str, str]:
        """As in an `RTCConfiguration`: urls, username, credential."""
        return {"urls": self.url(transport, host), **self.credentials()}

    def tls_context(self) -> ssl.SSLContext:
        """A client's context that trusts this server's certificate, and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def allocations(self) -> list[str]:
        """The allocations that live now: "<protocol> to <relayed address> for <user>" each."""
        sessions = re.findall(
            r"^\s*\d+\) id=\d+, user <([^>]*)>.*?client protocol (\S+),.*?relay addr (\S+)",
            self.command("ps"),
            re.MULTILINE | re.DOTALL,
        )
        return [f"{protocol} to {relay} for {user}" for user, protocol, relay in sessions]

    def wait_for_allocations(self, count: int, timeout: float = 3.0) -> list[str]:
        """The allocations, once there are `count`; or those there are when the time is up."""
        deadline = time.monotonic() + timeout
        while len(found := self.allocations()) != count and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def command(self, command: str) -> str:
        """What the server's command line answers."""
        with socket.create_connection(("127.0.0.1", self.cli_port), timeout=20) as connection:
            self._read_until(connection, b"Enter password: \r\n")
            connection.sendall(CLI_PASSWORD.encode() + b"\r\n")
            self._read_until(connection, b"> ")
            connection.sendall(command.encode() + b"\r\n")
            return self._read_until(connection, b"> ").decode()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @staticmethod
    def _read_until(connection: socket.socket, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            part = connection.recv(65536)
            if not part:
                break
            data += part
        return data


@contextlib.contextmanager
def running_coturn(
    directory: Path,
    *arguments: str,
    secret: str | None = None,
    listening: Sequence[str] = ("127.0.0.1", "::1"),
    relaying: Sequence[str] = ("127.0.0.1", "::1"),
) -> Iterator[Coturn]:
    """Run a server for a while.

    `arguments` are turnserver's own; `secret` turns on the TURN REST scheme. Of the addresses it listens on and
    relays from, IPv6 ones are left out on a machine without IPv6.
    """
    program = require_part("coturn")
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = make_certificate(directory)
    port, tls_port, cli_port = _free_ports(3)
    if secret is None:
        authentication = ["--lt-cred-mech", f"--user={USERNAME}:{CREDENTIAL}"]
    else:
        authentication = ["--use-auth-secret", f"--static-auth-secret={secret}"]
    command = [
        program,
        "-n",
        *(f"--listening-ip={address}" for address in listening if ":" not in address or has_ipv6()),
        *(f"--relay-ip={address}" for address in relaying if ":" not in address or has_ipv6()),
        f"--listening-port={port}",
        f"--tls-listening-port={tls_port}",
        "--cli-ip=127.0.0.1",
        f"--cli-port={cli_port}",
        f"--cli-password={CLI_PASSWORD}",
        "--allow-loopback-peers",
        f"--realm={REALM}",
        *authentication,
        f"--cert={certificate}",
        f"--pkey={key}",
        "--no-dtls",
        "--no-rfc5780",
        "--relay-threads=1",
        "--simple-log",
        f"--log-file={directory / 'log'}",
        f"--pidfile={directory / 'pid'}",
        f"--db={directory / 'db'}",
        "--verbose",
        *arguments,
    ]
    with open(directory / "out", "wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=directory, start_new_session=True
        )
    server = Coturn(directory, port, tls_port, cli_port, process, certificate, secret, arguments)
    try:
        _wait_until_it_listens(server)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """A server with one long-term user."""
    with running_coturn(tmp_path_factory.mktemp("coturn")) as server:
        yield server


@pytest.fixture(scope="session")
def coturn_with_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """A server whose users come with time-limited credentials."""
    with running_coturn(tmp_path_factory.mktemp("coturn-secret"), secret=SECRET) as server:
        yield server


@pytest.fixture
def no_allocations_left(coturn: Coturn) -> Iterator[None]:
    """The server's own table shows no allocation after the test."""
    yield
    left = coturn.wait_for_allocations(0)
    assert not left, f"allocations left: {left}"


def _wait_until_it_listens(server: Coturn) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            # The command line is opened last.
            server.command("help")
        except OSError:
            time.sleep(0.02)
        else:
            return
    output = (server.directory / "out").read_text(errors="replace")
    pytest.fail(f"turnserver did not start (exit status {server.process.poll()}):\n{output[-4000:]}")


def _free_ports(count: int) -> list[int]:
    """Ports free for both UDP and TCP on loopback, a moment ago."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            tcp.bind(("127.0.0.1", 0))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            ports.append(tcp.getsockname()[1])
        return ports


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for loopback, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial_number = x509.random_serial_number()
    # One name for each server: OpenSSL finds the certificates it trusts by name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"coturn {serial_number % 10**9}")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "cert.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    os.chmod(key_file, 0o600)
    return certificate_file, key_file
