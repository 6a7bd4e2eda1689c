"""Programs of the lab, and the JSON lines they are spoken to with."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.netlab.namespaces import LabError

ROOT = Path(__file__).resolve().parents[2]
ANSWER_TIMEOUT = 10.0


class LabProcess:
    """A program of the lab, its output kept in a file. It is ended, by force if need be, with `close`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    @classmethod
    async def start(cls, name: str, command: list[str], log: Path) -> LabProcess:
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT
            )
        return cls(name, process, log)

    def said(self) -> str:
        text = self.log.read_text(errors="replace").strip()
        return f"; it said:\n{text[-4000:]}" if text else ""

    def kill(self) -> None:
        """End it without a chance to say goodbye. It must still be closed."""
        self.process.kill()

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        await _end(self.process)


class JsonProcess:
    """A program that answers JSON lines on its input with JSON lines on its output, matched by `id`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, name: str, command: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> JsonProcess:
        """`environment`: variables to add to our own."""
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                limit=2**28,
            )
        return cls(name, process, log)

    async def call(self, operation: str, *, timeout: float = ANSWER_TIMEOUT, **arguments: Any) -> Any:
        """Raises `LabError` with what the program said when it refuses, ends, or is silent for `timeout` seconds."""
        assert self.process.stdin is not None
        number = next(self._numbers)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        request = {"id": number, "op": operation, **arguments}
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(timeout):
                answer = await answered
        except TimeoutError:
            raise LabError(f"{self.name} did not answer {operation} in {timeout} s{self.said()}") from None
        except ConnectionError:
            raise LabError(f"{self.name} has ended before {operation}{self.said()}") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise LabError(f"{self.name}: {operation}: {answer['error']}{self.said()}")
        return answer.get("result")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            future = self._waiting.get(answer["id"])
            if future is not None and not future.done():
                future.set_result(answer)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError())

    def said(self) -> str:
        text = self.log.read_text(errors="replace").strip()
        return f"; it said:\n{text[-4000:]}" if text else ""

    async def close(self) -> None:
        """A program of this kind ends with its input; whoever does not is killed."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await _end(self.process)
        await self._reader


async def _end(process: asyncio.subprocess.Process, patience: float = 3.0) -> None:
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
    # The transport holds the pipes; left alone they are closed by the garbage collector, with a warning.
    process._transport.close()  # type: ignore[attr-defined]
