"""The same call between two Chromiums, so that the table shows what a browser does of it.

Web Audio plays the sweep into a track and records what comes out of the other end's. A sample's age is counted from
its rendering to its recording, so the buffers of the browser's (null) devices and the 20 ms that fill a packet are in
it, which for the Python ends, who hand over whole frames, are not.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.audio_sound import FRAME, RATE, SWEEP_SECONDS, sweep, sweep_time
from tests.netlab.chromium import Chromium
from tests.netlab.lab import Lab
from tests.netlab.topology import Host

PAGE = Path(__file__).with_name("audio_page.js")


class ChromiumCall:
    """Two browsers in two hosts, connected; `listen` is as `tests.bench.audio.Call`'s."""

    def __init__(self, browsers: list[Chromium]) -> None:
        self.browsers = browsers

    @classmethod
    async def connect(cls, lab: Lab, hosts: list[Host]) -> ChromiumCall:
        browsers = [await Chromium.start(lab, host, undisturbed=True) for host in hosts]
        samples = base64.b64encode(sweep().tobytes()).decode()
        call = cls(browsers)
        for each in browsers:
            await each.page.add_script_tag(content=PAGE.read_text())
            await call._do(each, "prepare", samples=samples, rate=RATE)
        caller, callee = browsers
        answer = await call._do(callee, "answer", sdp=await call._do(caller, "offer"))
        await call._do(caller, "accept", sdp=answer)
        return call

    async def _do(self, browser: Chromium, operation: str, **arguments: Any) -> Any:
        return await browser.page.evaluate(
            "([operation, given]) => window.audio[operation](given)", [operation, arguments]
        )

    async def listen(self, seconds: float) -> dict[str, Any]:
        """What the callee hears of the caller."""
        caller, callee = self.browsers
        heard = await self._do(callee, "listen", seconds=seconds)
        started = await self._do(caller, "started")
        samples = np.frombuffer(base64.b64decode(heard["samples"]), np.int16)
        ends, block = heard["ends"], heard["block"]
        latencies = []
        for begin in range(0, len(samples) - FRAME + 1, FRAME):
            moment = sweep_time(samples[begin : begin + FRAME])
            if moment is not None:
                last = (begin + FRAME - 1) // block
                # Recorded in bursts: the last sample of a burst is as old as the clock says.
                came = ends[last] - ((last + 1) * block - begin - FRAME / 2) / RATE
                latencies.append((came, (came - started - moment) % SWEEP_SECONDS))
        return {
            "latencies": latencies,
            "delivered": len(samples) / RATE / seconds,
            "concealed": heard["concealed"],
        }

    async def close(self) -> None:
        for browser in self.browsers:
            await self._do(browser, "close")
            await browser.browser.close()
