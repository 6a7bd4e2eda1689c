"""Calls of a script that share their round trips."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis.asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from signaling.relay.backplane.script_calls import ScriptCalls
from tests.signaling.redis_server import RedisServer

pytestmark = pytest.mark.real

COUNT = "redis.call('INCR', KEYS[1] or 'calls'); if ARGV[1] == 'fail' then return {err='ERR no'} end; return ARGV[1]"


@pytest_asyncio.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.Redis]:
    client = redis.Redis.from_url(redis_server.url, decode_responses=True)
    await client.delete("calls")
    yield client
    await client.aclose()


async def test_calls_made_together_go_out_together_and_are_answered_apart(client: redis.Redis) -> None:
    calls = ScriptCalls(client, COUNT)
    before = (await client.info("stats"))["total_connections_received"]
    answers = await asyncio.gather(*(calls.call(number) for number in range(500)))
    assert answers == [str(number) for number in range(500)]
    assert (await client.info("stats"))["total_connections_received"] - before <= 1
    assert await client.get("calls") == "500"


async def test_a_call_that_fails_fails_alone(client: redis.Redis) -> None:
    calls = ScriptCalls(client, COUNT)
    together = (calls.call("a"), calls.call("fail"), calls.call("b"))
    answers: list[object] = await asyncio.gather(*together, return_exceptions=True)
    assert (answers[0], answers[2]) == ("a", "b")
    assert isinstance(answers[1], ResponseError)


async def test_a_script_that_redis_has_forgotten_is_loaded_again_and_runs_once(client: redis.Redis) -> None:
    calls = ScriptCalls(client, COUNT)
    await calls.call("first")
    await client.script_flush()
    assert await asyncio.gather(*(calls.call(number) for number in range(10))) == [str(n) for n in range(10)]
    assert await client.get("calls") == "11"


async def test_who_no_longer_waits_leaves_the_others_alone(client: redis.Redis) -> None:
    calls = ScriptCalls(client, COUNT)
    impatient = asyncio.create_task(calls.call("impatient"))
    patient = asyncio.create_task(calls.call("patient"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == "patient"
    # The next call finds the sender at its end or gone; either way it is answered.
    assert await calls.call("later") == "later"


async def test_an_unreachable_redis_is_every_callers_error() -> None:
    client = redis.Redis.from_url("unix:///nowhere/redis.sock")
    calls = ScriptCalls(client, COUNT)
    errors = await asyncio.gather(*(calls.call(number) for number in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [RedisConnectionError] * 3
    await client.aclose()
