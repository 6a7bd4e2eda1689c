"""WHEP (draft-ietf-wish-whep): play what a media server has, over HTTP.

Needs the extra `http`: `pip install 'webrtc-peer[http]'`. `peer.whip` publishes, and has the servers of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import httpx

from peer import RTCConfiguration
from peer.whip import ClientSession, CounterOffer, ServiceUnavailable, Unauthorized, WhipError

__all__ = ["ClientSession", "CounterOffer", "ServiceUnavailable", "Unauthorized", "WhipError", "play"]


def play(
    url: str,
    *,
    kinds: Iterable[Literal["audio", "video"]] = ("audio", "video"),
    token: str | None = None,
    configuration: RTCConfiguration | dict[str, Any] | None = None,
    http: httpx.AsyncClient | None = None,
    timeout: float = 15.0,
    recovery: bool = True,
) -> ClientSession:
    """Play from a WHEP endpoint: `async with whep.play(url) as session`, then `async for track in session.tracks()`.

    `kinds` is what to ask for. A server that answers 406 with an offer of its own is given the answer to that. All else
    is as in `peer.whip.publish`, the errors included.
    """
    return ClientSession(
        url,
        receive=kinds,
        token=token,
        configuration=configuration,
        http=http,
        timeout=timeout,
        recovery=recovery,
    )
