"""A voice agent in a room: it hears when you speak, answers aloud, and stops as soon as you interrupt it.

python -m examples.voice_agent ws://localhost:8080/ws --room demo
python -m examples.voice_agent --demo

What makes an agent an agent is three small protocols: `SpeechToText`, `LanguageModel`, `TextToSpeech`. Those here run
offline, without an account: espeak-ng speaks, and what is "understood" is how long somebody spoke. Put your own in.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from aiortc import MediaStreamTrack

from examples.echo_bot import until_interrupted
from peer import Call, RemotePeer
from peer.audio import (
    AudioSink,
    AudioSource,
    SpeechDetector,
    SpeechEnded,
    SpeechError,
    SpeechStarted,
    SpokenPiece,
    VoiceActivityDetector,
    speak,
)
from peer.audio.blocks import with_channels
from peer.audio.opus import Pcm
from peer.audio.resampling import Resampler

HEARING_RATE = 16000
SPEAKING_RATE = 24000
MS_PER_LETTER = 65.0


class SpeechToText(Protocol):
    async def transcribe(self, samples: Pcm, sample_rate: int) -> str:
        """The words of one utterance; empty if there are none. `samples`: int16, shape (frames, 1)."""


@dataclass
class Turn:
    """What somebody said; for the agent's own words, how much of them was heard."""

    who: str
    text: str
    heard: float = 1.0
    """The share of it that had been played before the agent was interrupted, 0 to 1."""


class LanguageModel(Protocol):
    def reply(self, conversation: Sequence[Turn]) -> AsyncGenerator[str, None]:
        """The answer to the last turn, sentence by sentence. Closed early when the agent is interrupted."""


class TextToSpeech(Protocol):
    def synthesize(self, text: str) -> AsyncGenerator[SpokenPiece, None]:
        """The sound of a sentence, in pieces, as it is made."""


class CountSeconds:
    """A `SpeechToText` that needs no model: it tells how long somebody spoke."""

    async def transcribe(self, samples: Pcm, sample_rate: int) -> str:
        return f"{len(samples) / sample_rate:.1f} seconds of speech"


class SmallTalk:
    """A `LanguageModel` that needs no account: it repeats what it understood, and notices being interrupted."""

    async def reply(self, conversation: Sequence[Turn]) -> AsyncGenerator[str, None]:
        last = conversation[-1] if conversation else None
        if last is None:
            yield "Hello! I am a voice agent."
            yield "Say something, and interrupt me whenever you like."
            return
        before = conversation[-2] if len(conversation) > 1 else None
        if before is not None and before.who == "agent" and before.heard < 1.0:
            yield f"You interrupted me when I had said {before.heard:.0%} of it. That is fine."
        yield f"I heard {last.text}."
        yield "I could go on and on about this, for I have all the time in the world, until you interrupt me."


class Espeak:
    """A `TextToSpeech` by espeak-ng, or any program that reads text and writes WAV."""

    def __init__(self, *command: str) -> None:
        self.command = command or ("espeak-ng", "-s", "160", "--stdin", "--stdout")

    async def synthesize(self, text: str) -> AsyncGenerator[SpokenPiece, None]:
        async with aclosing(speak(text, self.command)) as pieces:
            async for piece in pieces:
                yield piece


@dataclass
class Interruption:
    """Somebody spoke while the agent did."""

    at: float
    """When it was noticed, by the event loop's clock."""
    played_ms: float
    """How much of the utterance had been played until then."""


@dataclass
class Conversation:
    """One remote's conversation with the agent: it hears by `listen`, and speaks through `voice`."""

    speech_to_text: SpeechToText
    language_model: LanguageModel
    text_to_speech: TextToSpeech
    vad: VoiceActivityDetector | None = None
    turns: list[Turn] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)
    voice: AudioSource = field(default_factory=lambda: AudioSource(SPEAKING_RATE))
    _answering: asyncio.Task[None] | None = None
    _played_ms: float = 0.0
    _whole_ms: float = 0.0

    async def listen(self, track: MediaStreamTrack) -> None:
        """Hear a track until it ends: answer when speech ends, fall silent when it starts."""
        detector = SpeechDetector(self.vad, sample_rate=HEARING_RATE)
        async with AudioSink(track, HEARING_RATE) as sink:
            async for chunk in sink:
                for event in detector.push(chunk.samples):
                    if isinstance(event, SpeechStarted):
                        self.interrupt()
                    elif isinstance(event, SpeechEnded):
                        self.answer(event)

    def interrupt(self) -> None:
        """Fall silent within a frame, and remember how much of what was being said has been heard."""
        if self._answering is None or self._answering.done():
            return
        self._cut()
        self.interruptions.append(Interruption(asyncio.get_running_loop().time(), self._played_ms))

    def answer(self, speech: SpeechEnded | None) -> None:
        """Reply to what was said; to nothing, with a greeting."""
        self._cut()
        self._answering = asyncio.create_task(self._answer(speech), name="voice agent: answer")

    def _cut(self) -> None:
        if self._answering is not None and not self._answering.done():
            self._played_ms = self.voice.clear()
            self._answering.cancel()

    async def _answer(self, speech: SpeechEnded | None) -> None:
        if speech is not None:
            text = await self.speech_to_text.transcribe(speech.samples, HEARING_RATE)
            if not text:
                return
            self.turns.append(Turn("human", text))
        turn = Turn("agent", "")
        self._whole_ms = 0.0
        try:
            async with aclosing(self.language_model.reply(tuple(self.turns))) as sentences:
                async for sentence in sentences:
                    if not turn.text:
                        self.turns.append(turn)
                    turn.text = f"{turn.text} {sentence}".strip()
                    await self._say(sentence)
            await self.voice.wait_for_playout()
        except asyncio.CancelledError:
            turn.heard = min(self._played_ms / self._whole_ms, 1.0) if self._whole_ms else 0.0
            raise
        except SpeechError as error:
            logging.error("the agent cannot speak: %s", error)

    async def _say(self, sentence: str) -> None:
        """Queue a sentence. While it is being made its length is a guess, from the number of its letters."""
        before_ms = self._whole_ms
        guess_ms = len(sentence) * MS_PER_LETTER
        self._whole_ms = before_ms + guess_ms
        frames = 0
        resampler: Resampler | None = None
        async with aclosing(self.text_to_speech.synthesize(sentence)) as pieces:
            async for piece in pieces:
                if resampler is None:
                    resampler = Resampler(piece.sample_rate, SPEAKING_RATE)
                samples = resampler.push(with_channels(piece.samples, 1))
                frames += len(samples)
                self._whole_ms = before_ms + max(frames * 1000 / SPEAKING_RATE, guess_ms)
                await self.voice.write(samples)
        pause = np.zeros((SPEAKING_RATE // 5, 1), np.int16)
        rest = np.concatenate((resampler.flush(), pause)) if resampler is not None else pause
        self._whole_ms = before_ms + (frames + len(rest)) * 1000 / SPEAKING_RATE
        await self.voice.write(rest)

    async def close(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)
        self.voice.stop()


class VoiceAgent:
    """Talks with every peer of a call, each in a conversation of its own."""

    def __init__(
        self,
        call: Call,
        speech_to_text: SpeechToText | None = None,
        language_model: LanguageModel | None = None,
        text_to_speech: TextToSpeech | None = None,
    ) -> None:
        self.call = call
        self.conversations: dict[RemotePeer, Conversation] = {}
        self._stt = speech_to_text or CountSeconds()
        self._llm = language_model or SmallTalk()
        self._tts = text_to_speech or Espeak()
        self._tasks: set[asyncio.Task[Any]] = set()
        call.on("peer", self.welcome)
        call.on("track", self.hear)
        call.on("left", self.forget)

    def welcome(self, peer: RemotePeer) -> None:
        conversation = self.conversations[peer] = Conversation(self._stt, self._llm, self._tts)
        peer.publish(conversation.voice)

    def hear(self, track: MediaStreamTrack, peer: RemotePeer) -> None:
        conversation = self.conversations.get(peer)
        if track.kind == "audio" and conversation is not None:
            self._start(conversation.listen(track))
            if not conversation.turns:
                conversation.answer(None)

    def forget(self, peer: RemotePeer, reason: str) -> None:
        conversation = self.conversations.pop(peer, None)
        if conversation is not None:
            self._start(conversation.close())

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for peer in tuple(self.conversations):
            self.forget(peer, "closed")
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def run(url: str, *, room: str, name: str = "Voice agent", **options: Any) -> None:
    """Be the agent until the call ends or this is cancelled."""
    call = Call.join(url, room=room, name=name, receive=("audio",), **options)
    agent = VoiceAgent(call)
    try:
        async with call:
            print(f"{name} is in the room {room!r}. Ctrl-C to leave.", flush=True)
            print(f"The call is over: {await call.wait_ended()}", flush=True)
    finally:
        await agent.close()


async def demo(host: str, port: int, room: str) -> None:
    """The relay with its page, and the agent in a room of it."""
    from examples.demo import PAGE
    from signaling import RelayServer, RelaySettings

    async with RelayServer(RelaySettings(development=True, page=PAGE), host=host, port=port) as server:
        address = server.http_url.replace("//127.0.0.1:", "//localhost:")
        print(
            f"\n  Open {address} and press Join, then speak to the agent.\n"
            f"  Interrupt it: it stops at once, and knows how much you heard.\n\n"
            f"  Ctrl-C ends it.\n",
            flush=True,
        )
        await run(server.url, room=room)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.voice_agent", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("url", nargs="?", help="the relay's WebSocket, such as ws://localhost:8080/ws")
    parser.add_argument("--demo", action="store_true", help="bring a relay and a page for the browser along")
    parser.add_argument("--host", default="127.0.0.1", help="of the demo (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="of the demo; 0 takes a free one")
    parser.add_argument("--room", default="demo")
    parser.add_argument("--token", help="access token, where the relay asks for one")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what the connections do")
    options = parser.parse_args()
    if bool(options.url) == options.demo:
        parser.error("give the relay's address, or --demo")
    # The demo's relay lets anybody in, and would warn of it: on one's own machine that is the point.
    quiet = logging.ERROR if options.demo else logging.WARNING
    logging.basicConfig(level=logging.INFO if options.verbose else quiet)
    if options.demo:
        return until_interrupted(demo(options.host, options.port, options.room))
    return until_interrupted(run(options.url, room=options.room, token=options.token))


if __name__ == "__main__":
    sys.exit(main())
