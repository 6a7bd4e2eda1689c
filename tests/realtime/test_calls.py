"""Our realtime client and our routes together."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import numpy as np
import pytest

from peer import MediaStreamTrack
from peer.audio import AudioSink
from peer.realtime import AgentCall, Realtime, RealtimeError
from peer.realtime.events import (
    InputCommitted,
    InputSpeechStarted,
    ItemTruncated,
    OutputAudioCleared,
    OutputAudioStarted,
    OutputAudioStopped,
    OutputTranscriptDelta,
    ResponseCreated,
    ResponseDone,
    ServerError,
    SessionCreated,
    SessionUpdated,
)
from tests.realtime.serving import KEY, Parrot, next_of, serving, voice


async def loud(track: MediaStreamTrack) -> None:
    """Wait until something is heard."""
    async with AudioSink(track, 16000) as sink:
        async for chunk in sink:
            if np.abs(chunk.samples).max() > 1000:
                return


async def test_a_question_in_writing_is_answered_aloud() -> None:
    parrot = Parrot(0.4)
    async with serving(parrot) as served, served.connect(session={"instructions": "be brief"}) as call:
        assert (await next_of(call, SessionCreated)).session["instructions"] == "be brief"
        heard = asyncio.create_task(loud(call.voice))
        await call.send_text("Hello?")
        created = await next_of(call, ResponseCreated)
        assert (await next_of(call, OutputAudioStarted)).response_id == created.response["id"]
        assert (await next_of(call, OutputTranscriptDelta)).delta == "one two three four"
        done = await next_of(call, ResponseDone)
        assert done.response["status"] == "completed"
        await next_of(call, OutputAudioStopped)
        await asyncio.wait_for(heard, 5)
        assert parrot.prompts[0].text == "Hello?"
        heard_ms, words, interrupted = await parrot.heard.get()
        assert (round(heard_ms), words, interrupted) == (400, "one two three four", False)
    await served.emptied()


async def test_what_is_said_becomes_a_turn() -> None:
    parrot = Parrot(0.2)
    async with serving(parrot) as served, served.connect() as call:
        await call.microphone.write(voice(0.6))
        started = await next_of(call, InputSpeechStarted)
        committed = await next_of(call, InputCommitted)
        assert committed.item_id == started.item_id
        await next_of(call, OutputAudioStopped)
        [prompt] = parrot.prompts
        assert prompt.item_id == committed.item_id
        assert prompt.speech is not None
        assert 0.5 < len(prompt.speech) / 16000 < 1.6


async def test_interrupting_tells_both_ends_what_was_heard() -> None:
    parrot = Parrot(5.0, "one two three four five six seven eight nine ten")
    async with serving(parrot) as served, served.connect() as call:
        await call.send_text("count")
        await next_of(call, OutputAudioStarted)
        async with asyncio.timeout(5):
            while call.heard_ms < 800:
                await asyncio.sleep(0.01)
        heard = await call.interrupt()
        assert (await next_of(call, ResponseDone)).response["status"] == "cancelled"
        await next_of(call, OutputAudioCleared)
        truncated = await next_of(call, ItemTruncated)
        theirs, words, interrupted = await parrot.heard.get()
        assert interrupted
        assert truncated.audio_end_ms == int(theirs)
        # What was played and what has arrived differ by what is on its way.
        assert 0 <= theirs - heard < 250
        assert words == "one two" or words == "one"
        [item] = [each for each in served.call.conversation.items.values() if each.get("role") == "assistant"]
        assert item["content"][0]["transcript"] == words
        assert call.heard_ms == 0


async def test_after_an_interruption_the_far_ear_hears_nothing() -> None:
    async with serving(Parrot(5.0)) as served, served.connect() as call:
        await call.send_text("speak")
        await loud(call.voice)
        async with AudioSink(call.voice, 16000) as sink:
            began = time.monotonic()
            await call.interrupt()
            async for chunk in sink:
                if np.abs(chunk.samples).max() < 30:
                    break
        assert time.monotonic() - began < 1.0


async def test_speaking_interrupts_the_agent() -> None:
    parrot = Parrot(5.0)
    async with serving(parrot) as served, served.connect() as call:
        await call.send_text("speak")
        await next_of(call, OutputAudioStarted)
        await call.microphone.write(voice(0.4))
        done = await next_of(call, ResponseDone)
        assert done.response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


async def test_a_function_is_called_and_its_result_comes_back() -> None:
    async def agent(call: AgentCall) -> None:
        async for prompt in call:
            async with call.respond() as response:
                if prompt.function_outputs:
                    [output] = prompt.function_outputs.values()
                    response.write_text(f"it is {output}")
                else:
                    response.call_function("weather", {"town": "Bonn"})

    async def weather(town: str) -> dict[str, str]:
        return {"sky": f"grey over {town}"}

    async with serving(agent) as served, served.connect(functions={"weather": weather}) as call:
        await call.send_text("weather?")
        await next_of(call, ResponseDone)
        text = (await next_of(call, ResponseDone)).response["output"][0]["content"][0]["text"]
        assert text == 'it is {"sky": "grey over Bonn"}'


async def test_a_function_that_fails_is_told_to_the_model() -> None:
    told = asyncio.Queue[str]()

    async def agent(call: AgentCall) -> None:
        async for prompt in call:
            for output in prompt.function_outputs.values():
                told.put_nowait(output)
            if not prompt.function_outputs:
                async with call.respond() as response:
                    response.call_function("divide", {"by": 0})

    def divide(by: int) -> float:
        return 1 / by

    async with serving(agent) as served, served.connect(functions={"divide": divide}) as call:
        await call.send_text("divide")
        reading = asyncio.create_task(next_of(call, ServerError))
        assert json.loads(await asyncio.wait_for(told.get(), 5)) == {"error": "division by zero"}
        reading.cancel()


async def test_a_secret_opens_a_call_with_its_own_session() -> None:
    async with serving(Parrot()) as served, httpx.AsyncClient() as http:
        minted = await http.post(
            f"{served.url}/v1/realtime/client_secrets",
            json={"session": {"type": "realtime", "instructions": "sealed"}},
            headers={"Authorization": f"Bearer {KEY}"},
        )

        async def key() -> str:
            return str(minted.json()["value"])

        async with served.connect(key=key, model=None) as call:
            assert (await next_of(call, SessionCreated)).session["instructions"] == "sealed"


async def test_a_key_that_is_not_accepted_is_an_error_that_says_so() -> None:
    async with serving(Parrot()) as served:
        with pytest.raises(RealtimeError, match="this key is not accepted") as caught:
            async with served.connect(key="wrong"):
                pass
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
        assert not served.endpoints.calls


async def test_a_channel_opened_without_asking_carries_events() -> None:
    async with serving(Parrot()) as served, served.connect(channel_id=4) as call:
        await next_of(call, SessionCreated)
        await call.send("session.update", session={"audio": {"output": {"voice": "low"}}})
        assert (await next_of(call, SessionUpdated)).session["audio"]["output"] == {"voice": "low"}


async def test_hanging_up_ends_the_call_at_both_ends() -> None:
    async with serving(Parrot()) as served, served.connect() as call, httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {KEY}"}
        url = f"{served.url}/v1/realtime/calls/{call.call_id}/hangup"
        assert (await http.post(url, headers=headers)).status_code == 200
        async with asyncio.timeout(5):
            async for _ in call:
                pass
        again = await http.post(url, headers=headers)
        assert (again.status_code, again.json()["error"]["code"]) == (404, "call_id_not_found")


async def test_without_turn_detection_the_client_commits() -> None:
    parrot = Parrot(0.1)
    session = {"audio": {"input": {"turn_detection": None}}}
    async with serving(parrot) as served, served.connect(session=session) as call:
        await call.microphone.write(voice(0.5))
        await call.microphone.wait_for_playout()
        await call.send("input_audio_buffer.commit")
        await next_of(call, InputCommitted)
        await call.send("response.create", response={"instructions": "now"})
        await next_of(call, OutputAudioStopped)
        [prompt] = parrot.prompts
        assert prompt.response == {"instructions": "now"}
        assert prompt.speech is not None
        assert np.abs(prompt.speech).max() > 1000


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"type": "session.update"}, "session is missing"),
        ({"type": "session.update", "session": {"audio": 3}}, "audio is a JSON object"),
        ({"type": "no.such"}, "'no.such' is no event of a client"),
        ({"type": "conversation.item.delete", "item_id": "x"}, "there is no item 'x'"),
        ({"type": "conversation.item.create", "item": {"type": "video"}}, "an item is a message"),
        ({"type": "input_audio_buffer.commit"}, "nothing was heard"),
    ],
)
async def test_an_event_that_cannot_be_obeyed_is_refused_and_the_call_goes_on(
    event: dict[str, object], reason: str
) -> None:
    call = AgentCall({})
    try:
        said = _Said()
        call.sidebands.add(said)
        call.receive(json.dumps({**event, "event_id": "mine"}))
        [refusal] = said.events
        assert refusal["type"] == "error"
        assert reason in refusal["error"]["message"]
        assert refusal["error"]["event_id"] == "mine"
    finally:
        await call.close()


class _Said:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def send(self, message: str) -> None:
        self.events.append(json.loads(message))


async def test_an_offer_that_cannot_be_used_is_refused_in_the_protocols_words() -> None:
    async with serving(Parrot()) as served, httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/sdp"}
        refused = await http.post(f"{served.url}/v1/realtime/calls", content=b"v=0", headers=headers)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"
        assert not served.endpoints.calls


async def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RealtimeError, match=r"127\.0\.0\.1:9"):
        async with Realtime.connect(key=KEY, base_url="http://127.0.0.1:9/v1"):
            pass
