"""OpenAI's own client for pages, in Chromium, against our routes."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from peer.realtime import AgentCall
from tests.browser.conftest import chromium, page
from tests.realtime.serving import KEY, Parrot, serving, voice
from tests.support.npm import bundle

__all__ = ["chromium", "page"]

pytestmark = pytest.mark.real

SOURCE = """
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";

// How loud what is played to the user is, from 0 to 1, measured as it is heard.
async function listen(audioElement) {
    const context = new AudioContext();
    await context.resume();
    while (!audioElement.srcObject) await new Promise(soon => setTimeout(soon, 5));
    const analyser = context.createAnalyser();
    analyser.fftSize = 256;
    context.createMediaStreamSource(audioElement.srcObject).connect(analyser);
    const samples = new Float32Array(256);
    return () => {
        analyser.getFloatTimeDomainData(samples);
        return Math.max(...samples.map(Math.abs));
    };
}

window.until = async (condition, patience = 10000) => {
    const began = performance.now();
    while (!condition()) {
        if (performance.now() - began > patience) throw new Error(`not in time: ${condition}`);
        await new Promise(soon => setTimeout(soon, 2));
    }
    return performance.now() - began;
};

window.call = async (apiKey, { withTool = false } = {}) => {
    const audioElement = document.createElement("audio");
    document.body.append(audioElement);
    const baseUrl = location.origin + "/v1/realtime/calls";
    // A microphone that hears nothing: the browser's fake one beeps, which is speech to some.
    const quiet = new AudioContext().createMediaStreamDestination();
    const transport = new OpenAIRealtimeWebRTC(
        { baseUrl, audioElement, mediaStream: quiet.stream, useInsecureApiKey: true });
    const weather = tool({
        name: "weather", description: "The weather of a town.", strict: true,
        parameters: { type: "object", properties: { town: { type: "string" } },
                      required: ["town"], additionalProperties: false },
        execute: async ({ town }) => `grey over ${town}` });
    const agent = new RealtimeAgent({ name: "Guide", instructions: "be brief", tools: withTool ? [weather] : [] });
    const session = new RealtimeSession(agent, { transport, model: "local" });
    window.events = [];
    window.errors = [];
    transport.on("*", event => events.push(event));
    session.on("error", error => errors.push(String(error.error?.message ?? JSON.stringify(error))));
    await session.connect({ apiKey });
    window.loudness = await listen(audioElement);
    window.session = session;
    window.transport = transport;
    return transport.callId;
};
window.ready = true;
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Route:
    """The route of a page with the client in it."""
    code = bundle(tmp_path_factory.mktemp("agents"), ["@openai/agents-realtime@0.20"], SOURCE)

    async def answer(request: Request) -> Response:
        if request.url.path.endswith(".js"):
            return Response(code, media_type="text/javascript")
        return HTMLResponse('<!doctype html><body><script type="module" src="/page/call.js"></script>')

    return Route("/page/{file}", answer)


async def opened(page: Page, url: str) -> None:
    await page.goto(f"{url.replace('127.0.0.1', 'localhost')}/page/index.html")
    await page.wait_for_function("window.ready")


async def test_the_official_client_speaks_hears_and_interrupts(page: Page, script: Route) -> None:
    parrot = Parrot(6.0, "one two three four five six")
    async with serving(parrot, script) as served:
        await opened(page, served.url)
        assert await page.evaluate("key => call(key)", KEY) == served.call.id
        assert served.call.session["instructions"] == "be brief"
        await page.evaluate("session.sendMessage('Count.')")
        await page.evaluate("until(() => loudness() > 0.1)")
        silent_after = await page.evaluate("(session.interrupt(), until(() => loudness() < 0.01))")
        heard_ms, _, interrupted = await asyncio.wait_for(parrot.heard.get(), 5)
        assert interrupted
        assert 0 < heard_ms < 5000
        assert parrot.prompts[0].text == "Count."
        await page.evaluate("until(() => events.some(e => e.type === 'output_audio_buffer.cleared'))")
        assert await page.evaluate("errors") == []
        # What is on its way and in the browser's jitter buffer is still played.
        assert silent_after < 1000
        print(f"interrupt() to silence in the browser: {silent_after:.0f} ms")
        await page.evaluate("session.close()")
        await served.emptied()


async def test_a_tool_of_the_page_is_called(page: Page, script: Route) -> None:
    outputs = asyncio.Queue[str]()

    async def agent(call: AgentCall) -> None:
        async for prompt in call:
            for output in prompt.function_outputs.values():
                outputs.put_nowait(output)
            async with call.respond() as response:
                if prompt.text:
                    response.call_function("weather", {"town": "Bonn"})
                else:
                    await response.say(voice(0.2), "Grey.")

    async with serving(agent, script) as served:
        await opened(page, served.url)
        await page.evaluate("key => call(key, {withTool: true})", KEY)
        assert served.call.session["tools"][0]["name"] == "weather"
        await page.evaluate("session.sendMessage('Weather?')")
        assert "grey over Bonn" in await asyncio.wait_for(outputs.get(), 10)
        await page.evaluate("until(() => events.some(e => e.type === 'output_audio_buffer.stopped'))")
        assert await page.evaluate("errors") == []


async def test_a_refusal_reaches_the_page_in_words(page: Page, script: Route) -> None:
    async with serving(Parrot(), script) as served:
        await opened(page, served.url)
        said = await page.evaluate("call('wrong').then(() => '', error => String(error))")
        assert "401" in said
        assert "this key is not accepted" in said
