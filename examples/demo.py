"""Everything for a first call in one process: the relay, the page it serves, and a bot that echoes.

python -m examples.demo --port 8080
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from examples.echo_bot import EchoBot, until_interrupted
from peer import Call
from signaling import RelayServer, RelaySettings

PAGE = Path(__file__).parent / "browser_call"


@contextlib.asynccontextmanager
async def demo(
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    room: str = "demo",
    tls: tuple[str, str] | None = None,
    public_hosts: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[tuple[RelayServer, Call]]:
    """The relay with its page, and the bot in `room`. Port 0 takes a free one: see `server.http_url`.

    `public_hosts` are names under which browsers reach the page, beside addresses and localhost.
    `options` are the bot's, as for `Call`. Raises `OSError` when the address is taken.
    """
    certificate, key = tls or (None, None)
    # Development: anybody may join, which is what a demo on one's own machine is for.
    settings = RelaySettings(development=True, page=PAGE, public_hosts=list(public_hosts))
    async with RelayServer(
        settings, host=host, port=port, tls_certificate=certificate, tls_key=key
    ) as server:
        inside = server.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        trust = None
        if certificate is not None:
            # The bot trusts the demo's own certificate, under whichever name it was made.
            trust = ssl.create_default_context(cafile=certificate)
            trust.check_hostname = False
        call = Call.join(inside, room=room, name="Echo bot", ssl=trust, **options)
        EchoBot(call)
        async with call:
            yield server, call


async def serve(host: str, port: int, **options: Any) -> None:
    async with demo(host, port, **options) as (server, call):
        address = server.http_url.replace("//127.0.0.1:", "//localhost:").replace(
            "//0.0.0.0:", "//localhost:"
        )
        print(
            f"\n  Open {address} and press Join: the echo bot is waiting.\n"
            f"  Open it in a second window too: then there are three of you.\n\n"
            f"  Ctrl-C ends it.\n",
            flush=True,
        )
        if host not in ("127.0.0.1", "localhost", "::1") and not server.secure:
            print(
                "  Browsers give camera and microphone only to https or localhost: for other machines use\n"
                "  --certificate and --key, or the page will join without them.\n",
                flush=True,
            )
        await call.wait_ended()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen; 0.0.0.0 for every interface (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--room", default="demo")
    parser.add_argument(
        "--offer", choices=["newcomer", "always", "never"], default="newcomer", help="whether the bot offers"
    )
    parser.add_argument("--certificate", help="PEM file, for https; with --key")
    parser.add_argument("--key", help="PEM file")
    parser.add_argument("--public-host", action="append", default=[], help="a name by which browsers come")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what the connections do")
    options = parser.parse_args()
    if bool(options.certificate) != bool(options.key):
        parser.error("--certificate and --key go together")
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR)
    tls = (options.certificate, options.key) if options.certificate else None
    return until_interrupted(
        serve(
            options.host,
            options.port,
            room=options.room,
            tls=tls,
            public_hosts=options.public_host,
            offer=options.offer,
        )
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except asyncio.CancelledError:
        sys.exit(0)
