"""Our client and our routes together."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from peer import MediaStreamTrack
from peer.audio import AudioSink
from peer.pipecat import BotSession, PipecatEndpoints, PipecatError, connect
from tests.realtime.serving import voice
from tests.support.web import served


async def loud(track: MediaStreamTrack) -> None:
    """Wait until something is heard."""
    async with AudioSink(track, 16000) as sink:
        async for chunk in sink:
            if np.abs(chunk.samples).max() > 1000:
                return


async def helpful(session: BotSession) -> None:
    """Answer questions, refuse others, speak when spoken to, leave when told."""
    async with asyncio.TaskGroup() as working:
        listening = working.create_task(echo(session))
        async for message in session:
            match message.data:
                case {"t": "double", "d": number}:
                    session.send("server-response", {"t": "double", "d": 2 * number}, id=message.id)
                case {"t": "leave"}:
                    break
                case _:
                    session.send("error-response", {"error": "what?"}, id=message.id)
        listening.cancel()


async def echo(session: BotSession) -> None:
    async for track in session.tracks():
        if track.kind == "audio":
            await loud(track)
            await session.voice.write(voice(0.5))


async def test_a_bot_is_asked_hears_and_answers() -> None:
    endpoints = PipecatEndpoints(helpful)
    async with served(endpoints.routes) as url:
        async with connect(url, body={"name": "Ada"}) as call:
            assert call.bot["about"] == {"library": "webrtc-peer"}
            [session] = endpoints.sessions.values()
            assert session.data == {"name": "Ada"}
            assert await call.request("double", 21) == 42
            with pytest.raises(PipecatError, match=r"what\?"):
                await call.request("juggle")
            await call.microphone.write(voice(0.5))
            await asyncio.wait_for(loud(call.voice), 5)
        async with asyncio.timeout(5):
            while endpoints.sessions:
                await asyncio.sleep(0.01)
        await endpoints.close()


async def test_a_bot_that_leaves_ends_the_call() -> None:
    endpoints = PipecatEndpoints(helpful)
    async with served(endpoints.routes) as url, connect(f"{url}/api/offer", body=7) as call:
        [session] = endpoints.sessions.values()
        assert session.data == 7
        call.send("client-message", {"t": "leave"})
        async with asyncio.timeout(5):
            async for _ in call:
                pass
        with pytest.raises(PipecatError, match="over"):
            call.send("client-message", {"t": "leave"})
        await endpoints.close()


async def test_a_bot_may_ask_for_a_new_offer() -> None:
    endpoints = PipecatEndpoints(helpful)
    async with served(endpoints.routes) as url, connect(url) as call:
        [session] = endpoints.sessions.values()
        stable = asyncio.Event()
        session.pc.on(
            "signalingstatechange", lambda: stable.set() if session.pc.signalingState == "stable" else None
        )
        session.renegotiate()
        await asyncio.wait_for(stable.wait(), 5)
        assert await call.request("double", 1) == 2
        await endpoints.close()


async def test_a_server_that_refuses_or_is_not_there_is_an_error() -> None:
    endpoints = PipecatEndpoints(helpful, authorize=lambda request: False)
    async with served(endpoints.routes) as url:
        with pytest.raises(PipecatError, match="not allowed") as caught:
            async with connect(url):
                pass
        assert caught.value.status == 401
    with pytest.raises(PipecatError, match=r"127\.0\.0\.1:9"):
        async with connect("http://127.0.0.1:9"):
            pass
