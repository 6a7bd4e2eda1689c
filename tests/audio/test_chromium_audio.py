"""A browser hears the agent, and the agent the browser's microphone, through loss."""

from __future__ import annotations

import asyncio
import random
import threading
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from peer import RTCPeerConnection, RTCSessionDescription
from peer.audio import AudioSink, ToneTrack
from tests.audio.signals import frequency, loudness, tone
from tests.conftest import require_part
from tests.support.peer_pair import gathered

pytestmark = pytest.mark.real

MICROPHONE_HZ, AGENT_HZ = 700.0, 440.0
WE_HEAR: Any = pytest.approx(MICROPHONE_HZ, abs=3), pytest.approx(loudness(tone(1.0)), rel=0.3)
THE_BROWSER_HEARS: Any = pytest.approx(AGENT_HZ, abs=4), pytest.approx(-15, abs=2)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]
CALL = """
window.call = async ({ sdp }) => {
  const pc = (window.pc = new RTCPeerConnection());
  const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
  pc.ontrack = ({ track }) => {
    window.heard = new MediaStream([track]);
    // Without an element to play it, Chromium decodes nothing.
    const sound = (window.sound = new Audio());
    sound.srcObject = window.heard;
    sound.play();
    const context = (window.context = new AudioContext({ sampleRate: 48000 }));
    window.analyser = context.createAnalyser();
    window.analyser.fftSize = 16384;
    window.analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(window.heard).connect(window.analyser);
  };
  await pc.setRemoteDescription({ type: "offer", sdp });
  pc.addTrack(stream.getTracks()[0], stream);
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") await new Promise((done) => setTimeout(done, 20));
  return pc.localDescription.sdp;
};
window.hear = () => {
  const bins = new Float32Array(window.analyser.frequencyBinCount);
  window.analyser.getFloatFrequencyData(bins);
  const peak = bins.reduce((best, value, i) => (value > bins[best] ? i : best), 0);
  const samples = new Float32Array(window.analyser.fftSize);
  window.analyser.getFloatTimeDomainData(samples);
  const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
  return [(peak * 48000) / window.analyser.fftSize, 10 * Math.log10(power + 1e-12)];
};
"""


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    microphone = tmp_path / "microphone.wav"
    with wave.open(str(microphone), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(tone(10.0, 48000, MICROPHONE_HZ).tobytes())
    program = require_part("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
        )
        try:
            page = await browser.new_page()
            await page.route(
                "http://localhost/",
                lambda route: route.fulfill(
                    content_type="text/html", body="<!doctype html><title>call</title>"
                ),
            )
            await page.goto("http://localhost/")
            await page.add_script_tag(content=CALL)
            yield page
        finally:
            await browser.close()
    # asyncio waits for the browser's process in threads, which end a moment after it.
    while any(thread.name.startswith("asyncio-waitpid") for thread in threading.enumerate()):
        await asyncio.sleep(0.01)


def lose(pc: RTCPeerConnection, share: float) -> None:
    """Lose this share of the media in both directions, between SRTP and the network."""
    chance = random.Random(1)
    path: Any = pc.getTransceivers()[0].sender.transport.transport._engine.payload
    send, take = path.send, path.reader

    def is_lost(data: bytes) -> bool:
        return 127 < data[0] < 192 and not 192 <= data[1] <= 223 and chance.random() < share

    def lossy_send(data: bytes) -> None:
        if not is_lost(data):
            send(data)

    path.send, path.reader = lossy_send, lambda data, origin: is_lost(data) or take(data, origin)


async def what_we_hear(track: Any) -> tuple[float, float]:
    """Pitch and loudness of the third second, or of the first thereafter that is right: a busy machine skips."""
    async with AudioSink(track, 48000, frame_ms=1000) as sink:
        async for chunk in sink:
            heard = frequency(chunk.samples, 48000), loudness(chunk.samples)
            if (heard == WE_HEAR and chunk.time >= 2) or chunk.time >= 12:
                break
    return heard


async def what_the_browser_hears(page: Page) -> tuple[float, float]:
    """Pitch and level (dB) of the first third of a second that is right, or after ten seconds."""
    for _ in range(100):
        pitch, level = await page.evaluate("hear()")
        if (pitch, level) == THE_BROWSER_HEARS:
            break
        await asyncio.sleep(0.1)
    return pitch, level


@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_browser_and_agent_hear_each_other_at_the_right_pitch_and_level(
    page: Page, loss: float
) -> None:
    pc = RTCPeerConnection()
    voice = ToneTrack(AGENT_HZ, level_db=-12)
    try:
        arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        pc.on("track", arrived.set_result)
        pc.addTrack(voice)
        await pc.setLocalDescription()
        await gathered(pc)
        assert pc.localDescription is not None
        answer = await page.evaluate("offer => call(offer)", {"sdp": pc.localDescription.sdp})
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        track = await arrived
        lose(pc, loss)
        assert await what_we_hear(track) == WE_HEAR
        assert await what_the_browser_hears(page) == THE_BROWSER_HEARS
    finally:
        await pc.close()
        voice.stop()
