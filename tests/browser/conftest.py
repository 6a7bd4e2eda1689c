"""A headless Chromium with a fake camera and microphone, and the demo to call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import require_part

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
ALLOW_MEDIA = "--use-fake-ui-for-media-stream"
PATIENCE = 30.0
"""Seconds. Only what never comes takes as long: a busy machine is no reason to fail."""


@pytest_asyncio.fixture
async def chromium(request: pytest.FixtureRequest) -> AsyncIterator[Browser]:
    """Parametrize indirectly with a list of flags to replace `ALLOW_MEDIA`."""
    program = require_part("chromium")
    flags = getattr(request, "param", [ALLOW_MEDIA])
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS + flags)
        try:
            yield browser
        finally:
            await browser.close()
    # asyncio waits for the browser's process in threads, which end a moment after it.
    while any(thread.name.startswith("asyncio-waitpid") for thread in threading.enumerate()):
        await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page whose uncaught errors fail the test."""
    page = await chromium.new_page()
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    assert not errors, f"uncaught in the page: {errors}"


async def in_time(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> float:
    """Wait until the condition holds; returns how many seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            pytest.fail(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def state_is(page: Page, state: str) -> None:
    await page.wait_for_function(
        "wanted => document.getElementById('state').textContent === wanted", arg=state
    )
