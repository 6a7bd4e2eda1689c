"""The command line of the relay."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from pydantic import ValidationError

from signaling.protocol.schema import protocol_schema_text
from signaling.tasks import until_one_ends

from .auth import mint_token
from .logs import configure_logs
from .serve import RelayServer
from .settings import RelaySettings, misspelt

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    help="A signalling relay for WebRTC.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

logger = logging.getLogger("signaling.command")

LogFormat = Literal["text", "json"]


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    page: Annotated[Path | None, typer.Option(help="Directory of a static page to serve at /.")] = None,
    development: Annotated[
        bool,
        typer.Option(
            "--development", help="Let anybody in, without access tokens. Never on a public address."
        ),
    ] = False,
    development_anywhere: Annotated[
        bool, typer.Option("--development-anywhere", help="The same on an address others can reach.")
    ] = False,
    jwt_secret_file: Annotated[
        Path | None, typer.Option(help="File with the secret or public key of access tokens.")
    ] = None,
    jwt_algorithms: Annotated[
        str | None, typer.Option(help="Accepted algorithms, comma-separated [HS256].")
    ] = None,
    origins: Annotated[
        str | None,
        typer.Option(help="Web origins that may connect, comma-separated; * for any [this relay's own]."),
    ] = None,
    public_host: Annotated[
        str | None,
        typer.Option(help="Host names under which browsers reach this relay, comma-separated [--host]."),
    ] = None,
    redis: Annotated[
        str | None, typer.Option(envvar="SIGNALING_REDIS_URL", help="redis:// URL shared by several relays.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    forwarded_allow_ips: Annotated[
        str, typer.Option(help="Proxies whose X-Forwarded-For is believed, comma-separated.")
    ] = "",
    log_format: Annotated[str | None, typer.Option(help="text or json [text].")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
) -> None:
    """Run the relay. Every setting can also come from the environment as SIGNALING_<NAME>."""
    if context.invoked_subcommand is not None:
        return
    given: dict[str, Any] = {
        "page": page,
        "development": development or development_anywhere or None,
        "public_hosts": public_host if public_host is not None else (None if _is_address(host) else host),
        "jwt_key_file": jwt_secret_file,
        "jwt_algorithms": jwt_algorithms,
        "origins": origins,
        "redis_url": redis,
        "log_format": log_format,
    }
    if log_format is not None and log_format not in get_args(LogFormat):
        raise typer.BadParameter("text or json", param_hint="--log-format")
    if (tls_certificate is None) != (tls_key is None):
        raise typer.BadParameter("--tls-certificate and --tls-key go together")
    try:
        settings = RelaySettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
        raise typer.BadParameter("; ".join(line.replace("Value error, ", "") for line in lines)) from None
    if settings.development and not development_anywhere and not _is_loopback(host):
        raise typer.BadParameter(
            f"everybody who reaches {host} could come in: listen on 127.0.0.1, set access tokens, "
            "or say --development-anywhere",
            param_hint="--development",
        )
    configure_logs(settings.log_format, logging.DEBUG if verbose else logging.INFO)
    for name, meant in misspelt(os.environ).items():
        logger.warning("%s is no setting; is %s meant?", name, meant)
    try:
        server = RelayServer(
            settings,
            host=host,
            port=port,
            tls_certificate=str(tls_certificate) if tls_certificate else None,
            tls_key=str(tls_key) if tls_key else None,
            forwarded_allow_ips=forwarded_allow_ips,
        )
        asyncio.run(_serve(server))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


@app.command()
def schema() -> None:
    """Print the protocol as JSON Schema."""
    typer.echo(protocol_schema_text(), nl=False)


@app.command()
def token(
    identity: Annotated[str, typer.Option(help="Who its bearer is.")],
    secret_file: Annotated[Path, typer.Option(help="File with the shared secret of access tokens.")],
    room: Annotated[str, typer.Option(help="Room, or several separated by commas.")] = "",
    any_room: Annotated[bool, typer.Option("--any-room", help="A token for all rooms.")] = False,
    ttl: Annotated[float, typer.Option(min=1, help="Seconds it is valid.")] = 3600,
    permissions: Annotated[
        str | None, typer.Option(help="signal, message, broadcast, update, turn; comma-separated [all].")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name its bearer has in the room.")] = None,
) -> None:
    """Print an access token, signed with the relay's shared secret."""
    rooms = [part.strip() for part in room.split(",") if part.strip()]
    if any_room == bool(rooms):
        raise typer.BadParameter("name a room, or say --any-room", param_hint="--room")
    wanted = (
        None if permissions is None else [part.strip() for part in permissions.split(",") if part.strip()]
    )
    try:
        secret = secret_file.read_text().strip()
        minted = mint_token(
            secret, identity=identity, room=rooms, any_room=any_room, ttl=ttl, permissions=wanted, name=name
        )
        typer.echo(minted)
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


async def _serve(server: RelayServer) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # What has been imported stays: looking through it for garbage stops everybody for 50 ms now and then.
    gc.collect()
    gc.freeze()
    async with server:
        typer.echo(f"relay at {server.url}")
        if server.relay.settings.page is not None:
            typer.echo(f"page at {server.http_url}")
        await stop.wait()
        # A second signal does not wait for the clients to move.
        again = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            loop.add_signal_handler(number, again.set)
        await until_one_ends(server.drain(), again.wait())
