"""aiortc's example servers, with nothing but their import changed, and their own pages in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import chromium, page
from tests.interop.aiortc_program import PATIENCE, Program, running, seen, with_our_import, write_film

__all__ = ["chromium", "page"]

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

# What has arrived: pictures, and energy of sound.
RECEIVED = """async wanted => {
    for (;;) {
        const found = {video: 0, audio: 0};
        for (const each of (await pc.getStats()).values())
            if (each.type == "inbound-rtp")
                found[each.kind] = (each.kind == "video" ? each.framesDecoded : each.totalAudioEnergy) || 0;
        if (found.video >= wanted.video && found.audio >= wanted.audio) return;
        await new Promise(done => setTimeout(done, 20));
    }
}"""


async def arrives(page: Page, *, video: int, audio: float) -> None:
    await asyncio.wait_for(page.evaluate(RECEIVED, {"video": video, "audio": audio}), PATIENCE)


@asynccontextmanager
async def serving(program: Path, page: Page, *arguments: str) -> AsyncIterator[Program]:
    """The server, with its page open."""
    async with running(program, "--host", "127.0.0.1", "--port", "0", *arguments) as server:
        address = await server.says(r"http://127\.0\.0\.1:[1-9]\d*")
        await page.goto(address)
        yield server
        said = await server.interrupt()
        assert "Traceback" not in said, said


async def test_server(source: Path, tmp_path: Path, page: Page) -> None:
    program = with_our_import(source / "examples/server/server.py", tmp_path)
    recorded = tmp_path / "recorded.mp4"
    alerts: list[Any] = []
    page.on("dialog", lambda dialog: alerts.append(dialog.message))
    async with serving(program, page, "--record-to", str(recorded)) as server:
        await page.check("#use-video")
        await page.select_option("#video-resolution", "320x240")
        await page.select_option("#video-transform", "edges")
        await page.click("#start")
        await page.wait_for_function("document.getElementById('data-channel').textContent.includes('RTT')")
        await arrives(page, video=10, audio=1e-4)
        await page.wait_for_function("document.getElementById('video').videoWidth == 320")
        assert "< pong" in await page.inner_text("#data-channel")
        assert "have-local-offer -> stable" in await page.inner_text("#signaling-state")
        await page.click("#stop")
        await server.says("Track video ended")
        await server.says("Track audio ended")
        assert "Connection state is connected" in server.output
    pictures, loudness = seen(recorded)
    assert pictures > 5
    assert loudness > 0.001  # the browser's camera beeps
    assert alerts == []


async def test_webcam(source: Path, tmp_path: Path, page: Page) -> None:
    program = with_our_import(source / "examples/webcam/webcam.py", tmp_path)
    film = write_film(tmp_path / "film.mp4")
    async with serving(program, page, "--play-from", str(film)):
        await page.click("#start")
        await arrives(page, video=10, audio=1e-4)
        await page.wait_for_function("document.getElementById('video').videoWidth == 160")
        await page.click("#stop")


async def test_webcam_without_decoding(source: Path, tmp_path: Path, page: Page) -> None:
    program = with_our_import(source / "examples/webcam/webcam.py", tmp_path)
    film = write_film(tmp_path / "film.ts", audio=False)
    plays = ("--play-from", str(film), "--play-without-decoding", "--video-codec", "video/H264")
    async with serving(program, page, *plays):
        await page.click("#start")
        await arrives(page, video=10, audio=0)
        await page.wait_for_function("document.getElementById('video').videoWidth == 160")
        await page.click("#stop")
