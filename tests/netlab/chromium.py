"""A headless Chromium inside a host's namespace, driven through a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import Browser, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.netlab.namespaces import LabError, program
from tests.netlab.topology import Host

if TYPE_CHECKING:
    from tests.netlab.lab import Lab

PAGE = Path(__file__).with_name("page.js")
HANDSHAKE_TRIALS = "WebRTC-IceHandshakeDtls/Enabled/WebRTC-Sctp-Snap/Enabled/"
"""Chromium's own short cuts: DTLS inside STUN checks, and the SCTP handshake inside the descriptions."""

ARGUMENTS = [
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
    "--ignore-certificate-errors",
    # The lab resolves no names, its hosts have nothing to hide, and its addresses count as local.
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebRTC",
]


class Chromium:
    """`page` is a page with the commands of `page.js`, in a secure context; others can be opened in `browser`."""

    def __init__(self, playwright: Playwright, browser: Browser, page: Page) -> None:
        self.playwright, self.browser, self.page = playwright, browser, page

    @classmethod
    async def start(cls, lab: Lab, host: Host, *, trials: str = "", undisturbed: bool = False) -> Chromium:
        """`trials`: field trials. `undisturbed`: runs before whatever else this machine computes, where allowed."""
        wrapper = lab.directory / f"chromium-in-{host.name}"
        words = host.namespace.command(program("chromium"))
        if undisturbed and os.geteuid() == 0 and shutil.which("chrt"):
            words = ["chrt", "--rr", "1", *words]
        command = " ".join(words)
        wrapper.write_text(f'#!/bin/sh\nexec {command} "$@" 2>>{lab.log(f"chromium-{host.name}")}\n')
        wrapper.chmod(0o755)
        playwright = await async_playwright().start()
        try:
            browser = await playwright.chromium.launch(
                executable_path=str(wrapper),
                args=[*ARGUMENTS, *([f"--force-fieldtrials={trials}"] if trials else [])],
            )
            page = await browser.new_page()
            # localhost is a secure context that may still use a plain WebSocket; nothing is fetched.
            await page.route(
                "http://localhost/",
                lambda route: route.fulfill(
                    content_type="text/html", body="<!doctype html><title>lab</title>"
                ),
            )
            await page.goto("http://localhost/")
            await page.add_script_tag(content=PAGE.read_text() + "\nwindow.lab = lab;")
        except BaseException:
            await playwright.stop()
            raise
        chromium = cls(playwright, browser, page)
        await lab.add(chromium)
        return chromium

    async def call(self, operation: str, *, timeout: float = 10.0, **arguments: Any) -> Any:
        try:
            async with asyncio.timeout(timeout):
                answer = await self.page.evaluate(
                    "async ([operation, given]) => JSON.stringify((await lab[operation](given)) ?? null)",
                    [operation, arguments],
                )
        except TimeoutError:
            raise LabError(f"Chromium did not answer {operation} in {timeout} s") from None
        except PlaywrightError as error:
            raise LabError(f"Chromium: {operation}: {error}") from error
        return json.loads(answer)

    async def close(self) -> None:
        try:
            await self.browser.close()
        except Exception as error:
            raise LabError(f"Chromium did not close: {error}") from error
        finally:
            await self.playwright.stop()
