"""What flows once a transport is connected: RTP of the transceivers, SCTP of the data channels."""

from __future__ import annotations

import base64
import binascii
import logging

from aiortc import RTCSctpCapabilities

from peer.jsep.session import Session
from peer.sdp.description import MediaSection
from peer.sdp.direction import receives, sends

from .media import Media
from .rtp_parameters import receive_parameters, send_parameters
from .transports import Transport

logger = logging.getLogger("peer.flow")


async def start_flows(session: Session, media: Media, transport: Transport) -> None:
    """Start, or bring up to date, what goes over a transport. Does nothing until it is connected.

    Only what has been answered flows: SCTP that starts on an offer has begun when the peer, which waits for the answer,
    has not, and their handshakes miss each other.
    """
    _, remote = session.agreed
    if transport.dtls.state != "connected" or not transport.has_path or remote is None:
        return
    for section in remote.sdp.media:
        if session.bindings.get(section.mid) != transport.id or section.rejected:
            continue
        if section.is_media:
            await _start_rtp(session, media, section)
        elif section.is_data and session.data.mid == section.mid:
            await _start_sctp(session, media, transport, section)


async def _start_rtp(session: Session, media: Media, section: MediaSection) -> None:
    live = media.of_mid(section.mid)
    if live is None or live.line.is_stopped:
        return
    line = live.line
    if receives(line.current) and (receiving := receive_parameters(line, section)) is not None:
        await live.receiver.receive(receiving)
    if sends(line.current) and (sending := send_parameters(line, section, session.cname)) is not None:
        live.sender.limit_bitrate(section.max_bitrate)
        await live.sender.send(sending)


async def _start_sctp(session: Session, media: Media, transport: Transport, section: MediaSection) -> None:
    sctp = media.sctp
    if sctp is None or media.sctp_started:
        return
    media.sctp_started = True
    if section.sctp_init is not None and _answered_init(session):
        try:
            sctp.set_peer_init(base64.b64decode(section.sctp_init, validate=True))
        except (binascii.Error, ValueError) as exc:
            logger.warning("a=sctp-init is ignored, and SCTP shakes hands instead: %s", exc)
    pair = transport.ice.selected_pair
    if pair is not None and pair.rtt is not None:
        sctp.expect_round_trip(pair.rtt)
    size = section.max_message_size
    capabilities = None if size is None else RTCSctpCapabilities(maxMessageSize=size)
    await sctp.start(capabilities, sctp_port(section))


def _answered_init(session: Session) -> bool:
    """Both descriptions must carry an INIT for the handshake to be left out."""
    local, _ = session.agreed
    return local is not None and any(s.sctp_init is not None for s in local.sdp.media if not s.rejected)


def sctp_port(section: MediaSection) -> int:
    """Return the SCTP port of a section, which older descriptions give as its format."""
    if section.sctp_port is not None:
        return section.sctp_port
    first = section.formats[0] if section.formats else ""
    return int(first) if first.isascii() and first.isdigit() and int(first) < 65536 else 5000
