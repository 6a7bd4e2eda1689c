"""Letting a peer into a room, or back into its session."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from signaling.protocol.errors import Close, Refused
from signaling.protocol.messages import Join, PeerInfo, Refresh, Resume, ResumeOffer, Welcome
from signaling.protocol.window import Outbox

from .auth import Grant
from .rooms import Limits, PeerSession, ResumeToken, size_of
from .services import Services

__all__ = ["Admission", "check_metadata", "join", "refresh", "resume"]


@dataclass(frozen=True, slots=True)
class Admission:
    """A session that may be attached to a connection. `sent` is the last number the peer has of it."""

    session: PeerSession
    peers: list[PeerInfo]
    resumed: bool
    sent: int

    def welcome(self, limits: Limits) -> Welcome:
        """Return what the peer is told first."""
        session = self.session
        offer = None
        if session.resumable:
            offer = ResumeOffer(
                token=str(session.token),
                seconds=limits.window_seconds,
                messages=limits.window_messages,
                bytes=limits.window_bytes,
            )
        return Welcome(
            id=session.id,
            room=session.room,
            peers=self.peers,
            resumed=self.resumed,
            received=session.received,
            resume=offer,
            expires=session.expires,
        )


async def join(services: Services, message: Join, headers: Mapping[str, str]) -> Admission:
    """Raises Refused."""
    grant = await services.authenticate(message.token, headers)
    if grant.rooms is not None and message.room not in grant.rooms:
        raise Refused("not-allowed", "the access token is for another room", close=Close.REFUSED)
    check_metadata(services, message.metadata)
    if message.room == "*":
        raise Refused(
            "not-allowed", "a room cannot be called `*`: that stands for all rooms", close=Close.REFUSED
        )
    limits = services.backplane.limits
    session = PeerSession(
        ResumeToken.new(message.room, message.session),
        grant.name if grant.name is not None else message.name,
        Outbox(max_frames=limits.window_messages, max_size=limits.window_bytes),
        metadata=message.metadata,
        identity=grant.identity,
        resumable=message.resumable,
        expires=grant.expires,
        permissions=grant.permissions,
        name_is_fixed=grant.name is not None,
    )
    peers = await services.backplane.join(session)
    if peers is None:
        # The same join again, because its answer was lost.
        session, peers = await services.backplane.resume(session.token, 0)
        async with _detached_unless_admitted(services, session):
            _check_owner(session, grant)
            await services.backplane.renew(session, grant.expires, grant.permissions)
    return Admission(session, peers, resumed=False, sent=0)


async def resume(services: Services, message: Resume, headers: Mapping[str, str]) -> Admission:
    """Raises Refused; then the session waits on, for whoever it belongs to."""
    token = ResumeToken.parse(message.session)
    grant = None
    if message.token is not None:
        grant = await services.authenticate(message.token, headers)
    session, peers = await services.backplane.resume(token, message.received)
    async with _detached_unless_admitted(services, session):
        if grant is not None:
            _check_owner(session, grant)
            await services.backplane.renew(session, grant.expires, grant.permissions)
        elif services.has_expired(session.expires):
            raise Refused("token-expired", "resume with a fresh access token in `token`")
    return Admission(session, peers, resumed=True, sent=message.received)


@contextlib.asynccontextmanager
async def _detached_unless_admitted(services: Services, session: PeerSession) -> AsyncIterator[None]:
    """A session that was taken over waits on for its peer when this one is refused, or goes away meanwhile."""
    try:
        yield
    except Refused:
        await services.backplane.detach(session)
        raise
    except BaseException:
        services.spawn(services.backplane.detach(session))
        raise


async def refresh(
    services: Services, session: PeerSession, message: Refresh, headers: Mapping[str, str]
) -> float | None:
    """Replace the access token; when the new one expires. Raises Refused, and then the old one still counts."""
    grant = await services.authenticate(message.token, headers)
    _check_owner(session, grant)
    await services.backplane.renew(session, grant.expires, grant.permissions)
    return grant.expires


def check_metadata(services: Services, metadata: dict[str, Any] | None) -> None:
    """Raises Refused (too-large)."""
    limit = services.settings.max_metadata_bytes
    if metadata is not None and size_of(metadata) > limit:
        raise Refused("too-large", f"`metadata` is larger than {limit} bytes")


def _check_owner(session: PeerSession, grant: Grant) -> None:
    if grant.identity != session.identity or (grant.rooms is not None and session.room not in grant.rooms):
        raise Refused(
            "not-allowed", "the access token is for somebody else or another room", close=Close.REFUSED
        )
