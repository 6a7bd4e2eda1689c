"""Calls of one script, many at a time: what is asked for while Redis answers goes out together afterwards."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import redis.asyncio as redis
from redis.exceptions import NoScriptError, RedisError

from signaling.tasks import Tasks

__all__ = ["UNREACHABLE", "ScriptCalls"]

UNREACHABLE = (RedisError, OSError, TimeoutError)
"""What is raised when Redis cannot be reached, or does not answer as it should."""

LARGEST_BATCH = 128


class ScriptCalls:
    """Sends the calls of a Lua script down one connection, in the order they were made.

    A round trip and its overhead are shared by all calls that wait; with nothing waiting a call goes out at once.
    """

    def __init__(self, client: redis.Redis, script: str) -> None:
        self._client = client
        self._script = script
        self._sha = hashlib.sha1(script.encode()).hexdigest()
        self._waiting: list[tuple[list[Any], asyncio.Future[Any]]] = []
        self._sending = False
        self._tasks = Tasks("calls to Redis")

    async def call(self, *arguments: Any) -> Any:
        """What the script answers. Raises what redis raises; then it may have run or not."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(arguments), future))
        if not self._sending:
            self._sending = True
            self._tasks.spawn(self._send())
        return await future

    async def aclose(self) -> None:
        """Give up on calls that wait."""
        await self._tasks.aclose()

    async def _send(self) -> None:
        batch: list[tuple[list[Any], asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
                try:
                    answers = await self._run([arguments for arguments, _ in batch])
                except Exception as error:  # whatever it is, it is the callers' to know
                    answers = [error] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():
                        continue
                    if isinstance(answer, BaseException):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
                batch = []
        finally:
            # In the same turn as the look at what waits, so that no call is left behind.
            self._sending = False
            for _, future in (*batch, *self._waiting):
                future.cancel()
            self._waiting = []

    async def _run(self, calls: list[list[Any]]) -> list[Any]:
        answers = await self._pipelined(calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            # Redis has restarted: none of these have run, and those that follow must not overtake them.
            await self._client.script_load(self._script)
            missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = await self._pipelined([calls[index] for index in missing])
            for index, answer in zip(missing, again, strict=True):
                answers[index] = answer
        return answers

    async def _pipelined(self, calls: list[list[Any]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for arguments in calls:
                pipeline.evalsha(self._sha, 0, *arguments)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers
