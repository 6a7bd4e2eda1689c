"""Relays as processes of their own behind one address, so that they can be killed, stopped and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Balancer", "RelayProcess"]


class RelayProcess:
    """`python -m signaling` on a free port."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.log: Path | None = None
        """Where it logs to; nowhere without."""
        self._arguments = arguments
        self._environment = environment
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    async def start(self) -> Self:
        command = [sys.executable, "-m", "signaling", "--development", "--port", "0", *self._arguments]
        # Not asyncio's subprocesses: those are waited for in threads that end a moment after the test.
        with open(self.log or os.devnull, "wb") as log:  # noqa: ASYNC230
            self._process = process = subprocess.Popen(  # noqa: ASYNC220
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | self._environment,
            )
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise RuntimeError(f"{' '.join(command)} ended with status {process.wait()}")
        self.port = int(line.rpartition(":")[2].partition("/")[0])
        return self

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a word; nothing if it has ended."""
        assert self._process is not None
        self._process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end; its exit status."""
        assert self._process is not None
        status = await asyncio.to_thread(self._process.wait)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status


class Balancer:
    """One address in front of several relays: each connection goes to the next one that takes it."""

    def __init__(self, relays: list[RelayProcess]) -> None:
        self.relays = relays
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/ws"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        for _ in range(2):  # an aborted transport closes its socket a turn later
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also when the task is cancelled before it has done anything.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(len(self.relays)):
            self.connections += 1
            relay = self.relays[self.connections % len(self.relays)]
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", relay.port)
                break
            except OSError:
                continue
        else:
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, far_writer))
                tasks.create_task(_pump(far_reader, writer))
        except* OSError:
            pass
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
    # One end is gone: so is the connection.
    raise ConnectionResetError
