"""Handlers that raise, whichever object they listen to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiortc
import pytest
from pyee.base import EventEmitter as Emitter

import peer
from peer.aio.emitter import EventEmitter, GuardedHandlers

MISTAKES = [
    RuntimeError,
    AttributeError,
    KeyError,
    ValueError,
    AssertionError,
    ConnectionError,
    asyncio.CancelledError,
]


@pytest.fixture
def reported() -> list[Any]:
    """What the event loop's exception handler is told."""
    return []


def listen_to_the_loop(reported: list[Any]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))


def raises(error: type[BaseException]) -> Callable[..., None]:
    def handler(*_: object) -> None:
        raise error("the application's own")

    return handler


@pytest.mark.parametrize("error", MISTAKES)
async def test_what_a_handler_raises_goes_to_the_loop_and_the_other_handlers_run(
    reported: list[Any], error: type[BaseException]
) -> None:
    listen_to_the_loop(reported)
    emitter, heard = EventEmitter(), list[str]()
    emitter.on("event", raises(error))
    emitter.on("event", heard.append)
    emitter.emit("event", "value")
    assert heard == ["value"]
    assert [type(each) for each in reported] == [error]


async def test_a_coroutine_among_the_handlers_is_reported_like_the_others(reported: list[Any]) -> None:
    listen_to_the_loop(reported)

    async def handler() -> None:
        raise LookupError("the application's own")

    emitter = EventEmitter()
    emitter.on("event", handler)
    emitter.emit("event")
    await emitter.wait_for_complete()
    assert [type(each) for each in reported] == [LookupError]


def test_without_a_loop_a_handler_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    track = peer.AudioStreamTrack()
    assert not isinstance(track, GuardedHandlers)
    emitter = EventEmitter()
    emitter.on("event", raises(RuntimeError))
    emitter.emit("event")
    assert "the application's own" in caplog.text


def test_every_object_of_ours_with_handlers_guards_them() -> None:
    unguarded = {
        name
        for name in peer.__all__
        if isinstance(thing := getattr(peer, name), type)
        and issubclass(thing, Emitter)
        and not issubclass(thing, GuardedHandlers)
        and not thing.__module__.startswith("aiortc.")
    }
    assert unguarded == set()
    assert issubclass(peer.RTCDataChannel, aiortc.RTCDataChannel)
