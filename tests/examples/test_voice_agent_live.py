"""The example's agent in a room over the real relay, loopback and espeak-ng: heard, interrupted, answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from examples.voice_agent import VoiceAgent
from peer.audio import AudioSink, AudioSource, level_db, speak
from peer.audio.resampling import Resampler
from peer.call.call import Call
from signaling import RelayServer, RelaySettings

pytestmark = pytest.mark.real


@pytest_asyncio.fixture(autouse=True)
async def programs_are_waited_for() -> AsyncIterator[None]:
    yield
    # asyncio waits for a program in a thread, which ends a moment after it.
    while any(thread.name.startswith("asyncio-waitpid") for thread in threading.enumerate()):
        await asyncio.sleep(0.01)


class Ear:
    """How loud the agent is, and when it last was."""

    def __init__(self) -> None:
        self.loud_at = float("-inf")
        self.loud_chunks = 0

    async def listen(self, sink: AudioSink) -> None:
        async for chunk in sink:
            if level_db(chunk.samples) > -45:
                self.loud_at = asyncio.get_running_loop().time()
                self.loud_chunks += 1


async def spoken(text: str) -> np.ndarray:
    pieces = [piece async for piece in speak(text)]
    resampler = Resampler(pieces[0].sample_rate, 24000)
    return np.concatenate([*(resampler.push(piece.samples) for piece in pieces), resampler.flush()])


async def test_the_agent_greets_falls_silent_when_interrupted_and_answers() -> None:
    words = await spoken("Excuse me, I would like to ask you something else now, if you do not mind.")
    loop = asyncio.get_running_loop()
    async with RelayServer(RelaySettings(development=True), host="127.0.0.1", port=0) as server:
        call = Call.join(server.url, room="talk", name="agent", receive=("audio",))
        agent = VoiceAgent(call)
        voice, ear = AudioSource(24000), Ear()
        async with call, Call.join(server.url, room="talk", name="human") as human:
            human.publish(voice)
            track, _ = await asyncio.wait_for(anext(human.tracks()), 20)
            sink = AudioSink(track, 16000)
            listening = asyncio.create_task(ear.listen(sink))
            async with asyncio.timeout(20):
                while ear.loud_chunks < 20:  # the agent is greeting
                    await asyncio.sleep(0.02)
            (conversation,) = agent.conversations.values()
            first_word = int(np.flatnonzero(np.abs(words[:, 0]) > 300)[0]) / 24000
            begun = loop.time() + first_word
            await voice.write(words)
            await voice.wait_for_playout()
            assert len(conversation.interruptions) == 1
            # What the human notices: both ways through encoder, network and jitter buffer, and 40 ms of detection.
            noticed = conversation.interruptions[0].at - begun
            assert 0 < noticed < 0.35
            assert conversation.interruptions[0].played_ms > 300
            async with asyncio.timeout(20):
                while ear.loud_at < loop.time() - 0.3 or len(conversation.turns) < 3:
                    await asyncio.sleep(0.02)
            greeting, question, answer = conversation.turns[:3]
            assert greeting.who == answer.who == "agent"
            assert 0 < greeting.heard < 1
            assert "seconds of speech" in question.text
            assert "interrupted" in answer.text
            sink.close()
            await listening
        await agent.close()
        voice.stop()
