"""WHIP (RFC 9725): publish to any media server over HTTP, and take what others publish.

Needs the extra `http`: `pip install 'webrtc-peer[http]'`. `peer.whep` plays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

try:
    import httpx
except ImportError:
    raise ImportError("WHIP needs httpx: pip install 'webrtc-peer[http]'", name="httpx") from None

from peer import MediaStreamTrack, RTCConfiguration

from .client_session import ClientSession
from .errors import CounterOffer, ServiceUnavailable, Unauthorized, WhipError

if TYPE_CHECKING:
    from .server import Endpoints as Endpoints
    from .server import Reject as Reject
    from .server import ServerSession as ServerSession
    from .server import routes as routes

__all__ = [
    "ClientSession",
    "CounterOffer",
    "Endpoints",
    "Reject",
    "ServerSession",
    "ServiceUnavailable",
    "Unauthorized",
    "WhipError",
    "publish",
    "routes",
]


def __getattr__(name: str) -> Any:
    # The server side needs Starlette, which a client does not.
    if name in ("Endpoints", "Reject", "ServerSession", "routes"):
        from . import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def publish(
    url: str,
    *,
    tracks: Iterable[MediaStreamTrack],
    token: str | None = None,
    configuration: RTCConfiguration | dict[str, Any] | None = None,
    http: httpx.AsyncClient | None = None,
    timeout: float = 15.0,
    recovery: bool = True,
) -> ClientSession:
    """Publish tracks to a WHIP endpoint (RFC 9725): `async with whip.publish(url, tracks=[…]) as session`.

    `token` is sent as Bearer, to `url`'s own server only. `configuration` is the connection's; servers that the
    endpoint names in `Link` headers are added to its `iceServers`. `http` is a client of yours, which is left open;
    None makes one. `timeout` is in seconds, for connecting as well as for each request. With `recovery`, ICE
    is restarted when the network changes or the path dies; where the server cannot, a new session takes over.

    Entering raises `WhipError`: `Unauthorized` for 401 and 403, `CounterOffer` for 406, `ServiceUnavailable` for a 503
    that goes on. Leaving the block deletes the session, also when cancelled.
    """
    return ClientSession(
        url,
        send=tracks,
        token=token,
        configuration=configuration,
        http=http,
        timeout=timeout,
        recovery=recovery,
    )
