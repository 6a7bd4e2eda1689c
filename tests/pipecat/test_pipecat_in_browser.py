"""Pipecat's own client for pages, in Chromium, against our routes."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from playwright.async_api import Page
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from peer.audio import AudioSink
from peer.pipecat import BotSession, PipecatEndpoints, RtviMessage
from tests.browser.conftest import chromium, in_time, page
from tests.realtime.serving import voice
from tests.support.npm import bundle
from tests.support.web import served

__all__ = ["chromium", "page"]

pytestmark = pytest.mark.real

PACKAGES = ["@pipecat-ai/client-js@1.13", "@pipecat-ai/small-webrtc-transport@1.10"]
SOURCE = """
import { PipecatClient } from "@pipecat-ai/client-js";
import { SmallWebRTCTransport } from "@pipecat-ai/small-webrtc-transport";

window.until = async (condition, patience = 15000) => {
    const began = performance.now();
    while (!condition()) {
        if (performance.now() - began > patience) throw new Error(`not in time: ${condition}`);
        await new Promise(soon => setTimeout(soon, 2));
    }
    return performance.now() - began;
};

// The page's microphone, without devices to choose from: the browser's fake one, which beeps.
class Microphone {
    async initialize() {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
        this.track = stream.getAudioTracks()[0];
    }
    setUserAudioCallback() {}
    setClientOptions() {}
    async connect() {}
    async disconnect() { this.track?.stop(); }
    async userStartedSpeaking() {}
    bufferBotAudio() {}
    async getAllMics() { return []; }
    async getAllCams() { return []; }
    async getAllSpeakers() { return []; }
    enableMic(on) { this.track.enabled = on; }
    enableCam() {}
    enableScreenShare() {}
    get isMicEnabled() { return this.track?.enabled ?? false; }
    get isCamEnabled() { return false; }
    get isSharingScreen() { return false; }
    get supportsScreenShare() { return true; }
    tracks() { return { local: { audio: this.track } }; }
}

window.connections = [];
const Native = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Native {
    constructor(...all) { super(...all); connections.push(this); }
};

window.join = async (body) => {
    window.said = [];
    window.states = [];
    const transport = new SmallWebRTCTransport({ mediaManager: new Microphone() });
    window.client = new PipecatClient({
        transport, enableMic: true, enableCam: false,
        callbacks: {
            onTransportStateChanged: state => states.push(state),
            onServerMessage: data => said.push(["server-message", data]),
            onBotReady: data => said.push(["bot-ready", data]),
            onBotDisconnected: () => said.push(["bot-left"]),
            onTrackStarted: (track, who) => { if (!who?.local && track.kind === "audio") listen(track); },
        } });
    await client.startBotAndConnect({ endpoint: location.origin + "/start", requestData: { body } });
};

window.loudness = () => 0;
async function listen(track) {
    const audio = new Audio();
    audio.srcObject = new MediaStream([track]);
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    analyser.fftSize = 256;
    context.createMediaStreamSource(audio.srcObject).connect(analyser);
    const samples = new Float32Array(256);
    window.loudness = () => { analyser.getFloatTimeDomainData(samples); return Math.max(...samples.map(Math.abs)); };
}
window.ready = true;
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Route:
    """The route of a page with the client in it."""
    code = bundle(tmp_path_factory.mktemp("pipecat"), PACKAGES, SOURCE)

    async def answer(request: Request) -> Response:
        if request.url.path.endswith(".js"):
            return Response(code, media_type="text/javascript")
        return HTMLResponse('<!doctype html><body><script type="module" src="/page/join.js"></script>')

    return Route("/page/{file}", answer)


class Listener:
    """A bot that hears, keeps its messages, and speaks when it is told to."""

    def __init__(self) -> None:
        self.sessions: list[BotSession] = []
        self.messages: list[RtviMessage] = []
        self.heard = 0
        self.tracks = 0

    async def __call__(self, session: BotSession) -> None:
        self.sessions.append(session)
        async with asyncio.TaskGroup() as working:
            listening = working.create_task(self.listen(session))
            await session.ready()
            async for message in session:
                self.messages.append(message)
                if message.type == "client-message" and message.data["t"] == "speak":
                    working.create_task(session.voice.write(voice(message.data["d"])))
                elif message.type == "client-message" and message.data["t"] == "leave":
                    break
                elif message.type == "client-message":
                    session.send("server-response", {"t": "pong", "d": message.data["d"]}, id=message.id)
            listening.cancel()

    async def listen(self, session: BotSession) -> None:
        async with asyncio.TaskGroup() as hearing:
            async for track in session.tracks():
                self.tracks += 1
                if track.kind == "audio":
                    hearing.create_task(self.hear(AudioSink(track, 16000)))

    async def hear(self, sink: AudioSink) -> None:
        async with sink:
            async for chunk in sink:
                self.heard += int(np.abs(chunk.samples).max() > 500)


async def opened(page: Page, url: str) -> None:
    await page.goto(f"{url.replace('127.0.0.1', 'localhost')}/page/index.html")
    await page.wait_for_function("window.ready")


async def test_the_official_client_joins_speaks_hears_and_is_left(page: Page, script: Route) -> None:
    bot = Listener()
    endpoints = PipecatEndpoints(bot)
    async with served([script, *endpoints.routes]) as url:
        try:
            await opened(page, url)
            await page.evaluate("join({language: 'de'})")
            await page.evaluate("until(() => said.some(([what]) => what === 'bot-ready'))")
            assert (await page.evaluate("states"))[-1] == "ready"
            [session] = bot.sessions
            assert session.data == {"language": "de"}
            assert session.client["about"]["library"] == "@pipecat-ai/client-js"
            await in_time(lambda: session.enabled == {0: True, 1: False, 2: False}, "the state of the tracks")

            assert await page.evaluate("client.sendClientRequest('ping', 7)") == 7
            await in_time(lambda: bot.heard > 3, "the page's microphone")

            await page.evaluate("client.sendClientMessage('speak', 0.9)")
            await page.evaluate("until(() => loudness() > 0.1)")
            session.interrupt()
            silent_after = await page.evaluate("until(() => loudness() < 0.01)")
            print(f"interrupt to silence in the browser: {silent_after:.0f} ms")

            await page.evaluate("client.sendClientMessage('leave')")
            await page.evaluate("until(() => said.some(([what]) => what === 'bot-left'))")
            await in_time(lambda: not endpoints.sessions, "the session's end")
        finally:
            await endpoints.close()


async def test_a_client_that_lost_its_connection_comes_back_to_the_same_session(
    page: Page, script: Route
) -> None:
    bot = Listener()
    endpoints = PipecatEndpoints(bot)
    async with served([script, *endpoints.routes]) as url:
        try:
            await opened(page, url)
            await page.evaluate("join({})")
            await in_time(lambda: bot.sessions and bot.sessions[0].client, "client-ready")
            [session] = bot.sessions
            before, tracks = session.pc_id, bot.tracks
            await page.evaluate("client.transport.attemptReconnection(true)")
            await in_time(lambda: session.pc_id != before, "a new connection")
            await in_time(lambda: session.pc.connectionState == "connected", "the new connection's state")
            assert await page.evaluate("client.sendClientRequest('ping', 8)") == 8
            assert bot.sessions == [session]
            assert bot.tracks == 2 * tracks
            assert await page.evaluate("connections.length") == 2
        finally:
            await endpoints.close()


async def test_a_bot_asks_for_a_new_offer_of_the_same_connection(page: Page, script: Route) -> None:
    bot = Listener()
    endpoints = PipecatEndpoints(bot)
    async with served([script, *endpoints.routes]) as url:
        try:
            await opened(page, url)
            await page.evaluate("join({})")
            await in_time(lambda: bot.sessions and bot.sessions[0].client, "client-ready")
            [session] = bot.sessions
            before, pc = session.pc_id, session.pc
            stable: list[str] = []
            pc.on("signalingstatechange", lambda: stable.append(pc.signalingState))
            session.renegotiate()
            await in_time(lambda: stable[-1:] == ["stable"], "the renegotiation")
            assert (session.pc_id, session.pc) == (before, pc)
            assert await page.evaluate("connections.length") == 1
        finally:
            await endpoints.close()
