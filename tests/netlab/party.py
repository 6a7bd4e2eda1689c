"""One end of a call, whatever it is made of: ours, aiortc's or Chromium, with the same verbs for a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tests.netlab.namespaces import LabError


class Endpoint(Protocol):
    async def call(self, operation: str, *, timeout: float = ..., **arguments: Any) -> Any: ...

    async def close(self) -> None: ...


@dataclass
class Connected:
    """How a call came about. `ms` is from createOffer to the open channel; None when it did not open in time."""

    ms: float | None
    started: float
    log: list[tuple[float, str, Any]]

    def after(self, what: str, value: Any) -> float | None:
        """Milliseconds from createOffer until something was noted for the first time."""
        return next(((t - self.started) * 1000 for t, w, v in self.log if w == what and v == value), None)


class Party:
    """`subject`: "ours", "aiortc" or "chromium". Times are seconds of the endpoint's own monotonic clock."""

    def __init__(self, endpoint: Endpoint, subject: str) -> None:
        self.endpoint, self.subject = endpoint, subject

    async def configure(
        self,
        ice_servers: list[dict[str, Any]],
        *,
        policy: str = "all",
        media: tuple[str, ...] = (),
        recovery: dict[str, float] | None = None,
        **configuration: Any,
    ) -> None:
        """What calls from now on are made with: W3C RTCConfiguration values; `media` may have "audio".

        `recovery`: arguments of `peer.Recovery`, which is attached then. A browser, which has nothing like it,
        restarts ICE as soon as it is disconnected; aiortc cannot.
        """
        everything = {"iceServers": ice_servers, "iceTransportPolicy": policy, **configuration}
        if self.subject == "chromium":
            everything["encodedInsertableStreams"] = "audio" in media
            everything["bundlePolicy"] = "max-bundle"
        await self.endpoint.call(
            "configure", subject=self.subject, configuration=everything, media=media, recovery=recovery
        )

    async def reconfigure(self, ice_servers: list[dict[str, Any]], *, policy: str = "all") -> None:
        """`setConfiguration` on the running connection."""
        everything: dict[str, Any] = {"iceServers": ice_servers, "iceTransportPolicy": policy}
        if self.subject == "chromium":
            everything["bundlePolicy"] = "max-bundle"
        await self.endpoint.call("reconfigure", configuration=everything)

    async def join(self, url: str, room: str) -> None:
        await self.endpoint.call("join", url=url, room=room, name=self.subject)

    async def part(self) -> None:
        """From now on what there is to say waits for `rejoin`: the connection to the relay is about to be lost."""
        await self.endpoint.call("part")

    async def rejoin(self) -> None:
        """Connect to the relay anew, in the same place in the room: a change of address has killed the connection."""
        await self.endpoint.call("rejoin")

    async def call(self, timeout: float = 20.0) -> Connected:
        """Call the other one in the room; returns when the data channel is open, or after the timeout."""
        answer = await self.endpoint.call("call", timeout=timeout + 5, patience=timeout)
        return Connected(answer["ms"], answer["started"], [tuple(entry) for entry in answer["log"]])

    async def wait(self, what: str, value: Any, timeout: float = 10.0, since: float = 0.0) -> float:
        """Wait until something has been noted (`"connectionState"`, `"connected"`); returns when.

        Raises `LabError` with everything that was noted, when it is not in time.
        """
        when = await self.endpoint.call(
            "wait", what=what, value=value, since=since, timeout=timeout + 5, patience=timeout
        )
        if when is None:
            raise LabError(
                f"{self.subject}: {what} did not become {value!r} in {timeout} s: {await self.log()}"
            )
        return float(when)

    async def log(self) -> list[tuple[float, str, Any]]:
        """Everything noted on the connection: (time, what, value)."""
        return [tuple(entry) for entry in await self.endpoint.call("log")]

    async def everything(self) -> str:
        """For the text of an error: what was noted, and what the process has said."""
        try:
            noted: object = await self.log()
        except LabError as error:
            noted = error
        return f"{self.subject} noted {noted}{getattr(self.endpoint, 'said', str)()}"

    async def pair(self) -> dict[str, Any]:
        """The selected pair: types of `local` and `remote`, `protocol`, `relay` protocol, `localAddress`, …"""
        pair = await self.endpoint.call("pair")
        if pair is None:
            raise LabError(f"{self.subject} has no selected pair")
        found: dict[str, Any] = pair
        return found

    async def restart(self) -> None:
        """`restartIce()`; the negotiation follows by itself."""
        await self.endpoint.call("restart")

    async def start_numbers(self, interval: float = 0.010) -> None:
        """Send a numbered packet over the data channel every so many seconds."""
        await self.endpoint.call("numbers_start", interval=interval)

    async def numbers(self) -> list[tuple[int, float, float]]:
        """Numbered packets that arrived: number, sender's clock, own clock."""
        return [tuple(entry) for entry in await self.endpoint.call("numbers")]

    async def packets(self) -> list[tuple[int, int, float]]:
        """RTP packets that arrived: SSRC, sequence number, time."""
        return [tuple(entry) for entry in await self.endpoint.call("packets")]

    async def clock(self) -> float:
        return float(await self.endpoint.call("clock"))

    async def hangup(self) -> None:
        await self.endpoint.call("hangup")

    async def leave(self) -> None:
        await self.endpoint.call("leave")
