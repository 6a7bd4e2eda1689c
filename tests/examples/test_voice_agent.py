"""The example's agent, over a wire in virtual time, with a voice that needs no program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.voice_agent import Conversation, CountSeconds, SmallTalk, Turn
from peer.audio import AudioSource, SpokenPiece
from peer.audio.blocks import AudioBlock
from peer.audio.opus import Pcm
from tests.audio.pipe import OneWayCall
from tests.audio.signals import loudness, tone, voice
from tests.simnet.loop import in_virtual_time


class Hum:
    """A voice: 60 ms of tone for each letter, made faster than it is played."""

    async def synthesize(self, text: str) -> AsyncGenerator[SpokenPiece, None]:
        for _ in text:
            yield SpokenPiece(tone(0.060, 16000, 300), 16000)


class LoudIsSpeech:
    def is_speech(self, samples: NDArray[np.int16], sample_rate: int) -> bool:
        return loudness(samples) > 300


class Reply:
    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        self.asked: list[Sequence[Turn]] = []

    async def reply(self, conversation: Sequence[Turn]) -> AsyncGenerator[str, None]:
        self.asked.append(conversation)
        for sentence in self.sentences:
            yield sentence


class Mouth:
    """When the agent's voice was loud, as it left for the network."""

    def __init__(self) -> None:
        self.loud: list[float] = []

    def block(self, block: AudioBlock) -> None:
        # A block that fades out is loud only in its beginning.
        for begin in range(0, len(block.samples), 48):
            if loudness(block.samples[begin : begin + 48]) > 200:
                self.loud.append(asyncio.get_running_loop().time() + begin / block.sample_rate)

    def ended(self) -> None:
        pass


async def write(source: AudioSource, samples: Pcm) -> float:
    """Say something; returns when it began."""
    begin = asyncio.get_running_loop().time()
    await source.write(samples)
    return begin


@in_virtual_time
async def test_the_agent_answers_when_one_has_finished_speaking() -> None:
    human, model, mouth = AudioSource(16000), Reply("Yes, indeed."), Mouth()
    agent = Conversation(CountSeconds(), model, Hum(), LoudIsSpeech())
    agent.voice.listen(mouth)
    async with OneWayCall(human) as call:
        listening = asyncio.create_task(agent.listen(call.track))
        await asyncio.sleep(0.5)
        await write(human, voice(0.9, 16000))
        await asyncio.sleep(4.0)
        assert [turn.who for turn in agent.turns] == ["human", "agent"]
        assert agent.turns[0].text.endswith("seconds of speech")
        assert agent.turns[1] == Turn("agent", "Yes, indeed.", 1.0)
        assert len(mouth.loud) > 350
        human.stop()
        await call.receiver.stop()
        await listening
    await agent.close()


@in_virtual_time
async def test_an_interrupted_agent_is_silent_within_a_frame_and_knows_what_was_heard() -> None:
    human, mouth = AudioSource(16000), Mouth()
    agent = Conversation(CountSeconds(), Reply("a" * 100), Hum(), LoudIsSpeech())
    agent.voice.listen(mouth)
    async with OneWayCall(human) as call:
        heard_at: list[float] = []
        ear = type("Ear", (), {})()
        ear.block = lambda block: (
            heard_at.append(asyncio.get_running_loop().time()) if loudness(block.samples) > 300 else None
        )
        ear.ended = lambda: None
        listening = asyncio.create_task(agent.listen(call.track))
        await asyncio.sleep(0.5)
        agent.answer(None)
        await asyncio.sleep(2.0)
        call.track.listen(ear)
        await write(human, voice(0.5, 16000))
        await asyncio.sleep(0.5)
        (interruption,) = agent.interruptions
        # Two blocks to be sure that somebody speaks; up to one until the agent's next, which fades out in 8 ms.
        assert interruption.at - heard_at[0] <= 0.041
        assert mouth.loud[-1] - interruption.at <= 0.028
        played = interruption.played_ms / 1000
        assert played == pytest.approx(mouth.loud[-1] - mouth.loud[0], abs=0.030)
        turn = next(turn for turn in agent.turns if turn.who == "agent")
        assert turn.heard == pytest.approx(played / 6.2, abs=0.03)
        human.stop()
        await call.receiver.stop()
        await listening
    await agent.close()


@in_virtual_time
async def test_small_talk_greets_and_notices_interruptions() -> None:
    talk = SmallTalk()
    greeting = [sentence async for sentence in talk.reply(())]
    assert greeting[0].startswith("Hello")
    turns = (Turn("agent", "Hello!", 0.25), Turn("human", "2.0 seconds of speech"))
    answer = " ".join([sentence async for sentence in talk.reply(turns)])
    assert "25%" in answer
    assert "2.0 seconds of speech" in answer
