"""The official Python client against our routes: the HTTP side, and a sideband beside a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from peer import RTCPeerConnection
from peer.realtime.events import SessionCreated, SessionUpdated
from tests.realtime.serving import KEY, Parrot, ServedAgent, next_of, serving


@pytest_asyncio.fixture
async def served() -> AsyncIterator[ServedAgent]:
    async with serving(Parrot()) as served:
        yield served


@pytest_asyncio.fixture
async def client(served: ServedAgent) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=KEY, base_url=f"{served.url}/v1", max_retries=0) as client:
        yield client


async def test_a_call_made_by_the_official_client_is_answered(
    served: ServedAgent, client: AsyncOpenAI
) -> None:
    pc = RTCPeerConnection()
    try:
        pc.addTransceiver("audio")
        channel = pc.createDataChannel("oai-events")
        opened = asyncio.Event()
        channel.on("open", opened.set)
        await pc.setLocalDescription()
        await pc.gathering_complete()
        assert pc.localDescription is not None
        answer = await client.realtime.calls.create(
            sdp=pc.localDescription.sdp,
            session={"type": "realtime", "model": "gpt-realtime", "instructions": "be kind"},
        )
        await pc.setRemoteDescription({"type": "answer", "sdp": answer.text})
        await asyncio.wait_for(opened.wait(), 10)
        assert served.call.session["instructions"] == "be kind"
        await client.realtime.calls.hangup(served.call.id)
        await served.emptied()
    finally:
        await pc.close()


async def test_a_secret_made_by_the_official_client_opens_a_call(
    served: ServedAgent, client: AsyncOpenAI
) -> None:
    secret = await client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "instructions": "sealed"},
    )
    assert secret.value.startswith("ek_")
    async with served.connect(key=secret.value, model=None) as call:
        assert (await next_of(call, SessionCreated)).session["instructions"] == "sealed"


async def test_errors_are_the_official_clients_own(served: ServedAgent) -> None:
    async with AsyncOpenAI(api_key="wrong", base_url=f"{served.url}/v1", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError, match="this key is not accepted"):
            await client.realtime.client_secrets.create()


async def test_a_sideband_sees_the_call_and_changes_it(served: ServedAgent, client: AsyncOpenAI) -> None:
    async with served.connect() as call:
        assert call.call_id is not None
        async with client.realtime.connect(call_id=call.call_id) as sideband:
            assert (await sideband.recv()).type == "session.created"
            await sideband.session.update(session={"type": "realtime", "instructions": "from beside"})
            assert (await next_of(call, SessionUpdated)).session["instructions"] == "from beside"
            await sideband.response.create()
            async with asyncio.timeout(10):
                async for event in sideband:
                    if event.type == "output_audio_buffer.stopped":
                        break
