"""A bot that sends back what it hears and sees, and answers chat.

python -m examples.echo_bot ws://localhost:8080/ws --room demo
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections import deque
from typing import Any

import signaling
from peer import Call, MediaStreamError, MediaStreamTrack, RemotePeer


class EchoTrack(MediaStreamTrack):
    """Plays what it `hear`s. It is there before the remote's track is, so the bot can offer it at once.

    When sending is slower than receiving, the oldest frames go: an echo that lags would be worse than one with gaps.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._frames: deque[Any] = deque(maxlen=10 if kind == "audio" else 1)
        self._arrived = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    def hear(self, track: MediaStreamTrack) -> None:
        """Echo this track from now on, in place of any before."""
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.create_task(self._listen(track))

    async def recv(self) -> Any:
        while not self._frames:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    def stop(self) -> None:
        super().stop()
        if self._listening is not None:
            self._listening.cancel()
        self._arrived.set()

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                self._frames.append(await track.recv())
                self._arrived.set()


class EchoBot:
    """Gives every peer of a call an echo of its own."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._echoes: dict[RemotePeer, dict[str, EchoTrack]] = {}
        call.on("peer", self.welcome)
        call.on("track", self.hear)
        call.on("message", self.answer)
        call.on("left", self.forget)
        call.on("state", lambda state, peer: print(f"{peer.name or peer.id}: {state}", flush=True))

    def welcome(self, peer: RemotePeer) -> None:
        echoes = self._echoes[peer] = {kind: EchoTrack(kind) for kind in ("audio", "video")}
        for track in echoes.values():
            peer.publish(track)
        peer.send("Hello! I send back what I hear and see. Say something.")

    def hear(self, track: MediaStreamTrack, peer: RemotePeer) -> None:
        self._echoes[peer][track.kind].hear(track)

    def answer(self, text: str, peer: RemotePeer) -> None:
        peer.send(f"You said: {text}")

    def forget(self, peer: RemotePeer, reason: str) -> None:
        for track in self._echoes.pop(peer, {}).values():
            track.stop()


async def run(url: str, *, room: str, name: str = "Echo bot", **options: Any) -> None:
    """Be the bot until the call ends or this is cancelled."""
    call = Call.join(url, room=room, name=name, **options)
    EchoBot(call)
    async with call:
        print(f"{name} is in the room {room!r}. Ctrl-C to leave.", flush=True)
        print(f"The call is over: {await call.wait_ended()}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.echo_bot", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("url", help="the relay's WebSocket, such as ws://localhost:8080/ws")
    parser.add_argument("--room", default="demo")
    parser.add_argument("--name", default="Echo bot")
    parser.add_argument("--token", help="access token, where the relay asks for one")
    parser.add_argument(
        "--offer", choices=["newcomer", "always", "never"], default="newcomer", help="who offers first"
    )
    parser.add_argument(
        "--ice", action="append", default=[], metavar="URL", help="a STUN server (stun:host:port)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what the connection does")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    bot = run(
        options.url,
        room=options.room,
        name=options.name,
        token=options.token,
        offer=options.offer,
        ice_servers=[{"urls": options.ice}] if options.ice else None,
    )
    return until_interrupted(bot)


def until_interrupted(work: Any) -> int:
    """Run a coroutine until it ends, Ctrl-C or SIGTERM; everything it opened is closed either way."""

    async def supervised() -> int:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return 0
        except (signaling.SignalingError, OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    return asyncio.run(supervised())


if __name__ == "__main__":
    sys.exit(main())
