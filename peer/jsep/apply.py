"""Applying descriptions (RFC 9429 §5.9 to §5.11): local ones, remote ones, and taking them back.

What can fail is checked before (`validate`, `plan_remote`): what is here changes the session and returns what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from peer.exceptions import OperationError
from peer.rtp.codecs import common_codecs, common_extensions
from peer.sdp.description import MediaSection, SessionDescription
from peer.sdp.direction import and_direction, receives, reverse_direction, sends

from . import bundle_head, simulcast, trickle
from .bundling import (
    bind_offer,
    bundle_answer,
    connect,
    may_be_superfluous,
    show_transports,
    unbundle_rejected,
)
from .effects import (
    AddTransceiver,
    Agree,
    Bind,
    DropTransceiver,
    Effect,
    ForgetParameters,
    NameTrack,
    NotePaths,
    OpenData,
    RefuseData,
    SetDirection,
    StopTransceiver,
    TellState,
)
from .mline import MLine
from .remote_tracks import RemoteTracks
from .session import Description, Session
from .state import SdpType, next_state
from .transport import Credentials


def apply_local(session: Session, kind: SdpType, sdp: SessionDescription, now: float) -> list[Effect]:
    """Put our description in force. `now` is in seconds of any clock that does not go back."""
    before, state = session.signaling_state, next_state(session.signaling_state, "local", kind)
    told = RemoteTracks()
    effects = told.effects
    if before == "stable":
        effects += session.remember_stable()
    if kind == "offer":
        effects += _associate_offer(session, sdp)
    session.pending_local = Description(kind, sdp)
    for section in sdp.media:
        session.mids.add(section.mid)
        session.numbers.learn(section.codecs, section.header_extensions)
    if kind != "offer":
        _apply_answer(session, sdp, told, local=True)
        unbundle_rejected(session, sdp)
    effects += show_transports(session)
    for transport, section in session.tagged(sdp):
        effects += transport.take_role("controlling" if kind == "offer" else "controlled")
        if kind != "offer" or not may_be_superfluous(session, sdp, transport, section):
            effects += transport.gather(Credentials.of(section), ipv4_first=session.peer_prefers_ipv4)
    if kind != "offer":
        effects += connect(session, sdp, ours=True)
    if kind == "answer":
        effects += _settle(session, told, now)
    session.signaling_state = state
    return [*effects, ForgetParameters(), TellState(state != before), *told.told()]


@dataclass
class RemotePlan:
    """What a remote description will do to each section; made without doing it."""

    lines: list[MLine | None]
    codecs: list[list[RTCRtpCodecParameters]]


def plan_remote(session: Session, kind: SdpType, sdp: SessionDescription) -> RemotePlan:
    """Find each section's line and codecs. Raises `OperationError` where an answer has no codec we offered."""
    plan = RemotePlan([], [])
    settings = session.settings
    for section in sdp.media:
        line: MLine | None = None
        codecs: list[RTCRtpCodecParameters] = []
        if section.is_media:
            line = _line_for(session, kind, section, plan.lines)
            # They say what we receive, and an answer says what the peer wants to (W3C WebRTC §5.4).
            preferred = line.preferred if line is not None and kind == "offer" else []
            if not section.rejected:
                codecs = common_codecs(
                    section.kind, section.codecs, preferred, more=settings.offers_more_codecs
                )
                if not codecs and (kind != "offer" or settings.refuses_without_common_codec):
                    raise OperationError(f"Failed to set remote {section.kind} description send parameters")
        plan.lines.append(line)
        plan.codecs.append(codecs)
    return plan


def apply_remote(
    session: Session,
    kind: SdpType,
    sdp: SessionDescription,
    plan: RemotePlan,
    now: float,
    text: str | None = None,
) -> list[Effect]:
    """Put the peer's description in force. `text` is the description as it came, `now` as in `apply_local`."""
    before, state = session.signaling_state, next_state(session.signaling_state, "remote", kind)
    told = RemoteTracks()
    effects = told.effects
    if before == "stable":
        effects += session.remember_stable()
    for index, section in enumerate(sdp.media):
        session.mids.add(section.mid)
        session.numbers.learn(section.codecs, section.header_extensions)
        if section.is_media:
            _apply_remote_section(session, kind, section, index, plan, told)
        elif section.is_data and kind == "offer" and not section.rejected:
            effects.append(OpenData())
            session.data.wanted = True
            session.data.mid = section.mid
    session.pending_remote = Description(kind, sdp, text)
    if kind == "offer":
        effects += bind_offer(session, sdp)
        for transport, section in session.tagged(sdp):
            effects += transport.take_role("controlling" if sdp.ice_lite else "controlled")
            if transport.restarts(section) and transport.restart_answer is None:
                transport.restart_answer = session.new_credentials()
    else:
        _apply_answer(session, sdp, told, local=False)
        effects += bundle_answer(session, sdp)
        unbundle_rejected(session, sdp)
        for transport, section in session.tagged(session.local.sdp) if session.local else []:
            if not transport.gathered:
                effects += transport.gather(Credentials.of(section), ipv4_first=session.peer_prefers_ipv4)
        effects += connect(session, sdp, ours=False)
    if kind == "answer":
        effects += _settle(session, told, now)
    session.signaling_state = state
    session.can_trickle = sdp.trickle
    effects += [ForgetParameters(), *trickle.add_early(session)]
    return [*effects, TellState(state != before), *told.told()]


def rollback(session: Session) -> list[Effect]:
    """Back to the last stable state (RFC 9429 §4.1.10.2): what differs from the copy kept of it is given back."""
    before, stable = session.signaling_state, session.stable
    session.pending_local = session.pending_remote = None
    session.signaling_state = "stable"
    told = RemoteTracks()
    effects = told.effects
    if stable is not None:
        for line in list(session.lines):
            kept = stable.lines.get(line.key)
            if kept is not None:
                _give_back(line, kept, told)
            else:
                _forget(session, line, told)
        session.bindings = dict(stable.bindings)
        session.numbers = stable.numbers
        session.data.mid = stable.data_mid
        effects += _bind_as_before(session)
        for transport in session.transports.values():
            if transport.id in stable.transports:
                effects += transport.roll_back(*stable.transports[transport.id])
        session.stable = None
        effects += session.discard_unused_transports()
    return [*effects, TellState(before != "stable", rolled_back=True), *told.told()]


def _give_back(line: MLine, kept: MLine, told: RemoteTracks) -> None:
    """A line that was there in the stable state is as it was then."""
    fired = receives(line.fired)
    if fired and not receives(kept.fired):
        told.remove(line)
    elif receives(kept.fired) and (not fired or kept.remote_streams != line.remote_streams):
        told.direction(line, str(kept.fired), kept.remote_streams)
    line.give_back(kept)
    told.effects.append(SetDirection(line.key, line.current))
    told.effects += simulcast.withdraw(line)


def _forget(session: Session, line: MLine, told: RemoteTracks) -> None:
    """A line that has come since: what the application added stays, as if it had never been described."""
    if receives(line.fired):
        told.remove(line)
    line.give_back(MLine(line.key, line.kind, line.origin))
    told.effects += simulcast.withdraw(line)
    if line.origin == "remote" and not line.used_by_track:
        session.lines.remove(line)
        line.stopped = True
        told.effects.append(StopTransceiver(line.key))
        told.dropped.append(DropTransceiver(line.key))


def _bind_as_before(session: Session) -> list[Effect]:
    effects: list[Effect] = []
    for line in session.lines:
        transport = session.transport_of(line.mid)
        if line.mid is not None and transport is not None:
            effects += session.bind(line.mid, transport)
        elif line.mid is None and line.bound:
            line.bound = False
            effects.append(Bind(line.key, None))
    if session.data.mid is None:
        effects.append(Bind(None, None))
    return effects


def _associate_offer(session: Session, sdp: SessionDescription) -> list[Effect]:
    effects: list[Effect] = []
    lines = {line.key: line for line in session.lines}
    for index, (section, (key, id)) in enumerate(zip(sdp.media, session.offered, strict=True)):
        if section.rejected:
            continue
        line = lines.get(key) if key is not None else None
        if line is not None:
            line.mid, line.index = section.mid, index
        elif section.is_data:
            session.data.mid = section.mid
        if id is not None:
            effects += session.bind(section.mid, session.transports[id])
    return effects


def _line_for(
    session: Session, kind: SdpType, section: MediaSection, taken: list[MLine | None]
) -> MLine | None:
    known = session.line(section.mid)
    if known is not None:
        return known
    if kind != "offer" or section.rejected:
        return None
    # RFC 9429 §5.10: one that addTrack made and that has no section yet, if the peer wants to receive.
    for line in session.lines:
        if (
            line.kind == section.kind
            and line.mid is None
            and not line.is_stopped
            and line not in taken
            and (
                session.settings.matches_any_transceiver or (line.may_answer and receives(section.direction))
            )
        ):
            return line
    return None


def _apply_remote_section(
    session: Session, kind: SdpType, section: MediaSection, index: int, plan: RemotePlan, told: RemoteTracks
) -> None:
    line = plan.lines[index]
    streams, track_id = _msid(section)
    if line is None:
        if kind != "offer" or section.rejected:
            return
        line = session.add_line(section.kind, "recvonly", "remote")
        told.effects.append(AddTransceiver(line.key, track_id))
    if line.mid is None:
        line.mid, line.index = section.mid, index
    if section.rejected:
        _stop(line, told)
        return
    line.codecs = plan.codecs[index]  # none: the answer will reject the section
    if line.codecs:
        line.extensions = common_extensions(section.kind, section.header_extensions)
    if session.settings.takes_peers_track_ids and track_id is not None and not receives(line.fired):
        told.effects.append(NameTrack(line.key, track_id))
    if kind == "offer":
        told.effects += simulcast.propose(line, section, session.settings.encodings_max)
    if not line.stopped:
        if streams is None:
            streams = [session.default_remote_stream_id] if sends(section.direction) else []
        direction = reverse_direction(section.direction)
        if kind != "offer":
            direction = _answered_direction(session, section, local=False)
        told.direction(line, direction, streams)


def _msid(section: MediaSection) -> tuple[list[str] | None, str | None]:
    """Stream ids, and the track id, of a section; from `a=ssrc` where an old endpoint puts them.

    None in the place of the streams: it says nothing of them, which means one (RFC 9429 §5.10). `-` means none.
    """
    msids = section.msids
    if not msids:
        for ssrc in section.ssrcs:
            parts = ssrc.attributes.get("msid", "").split()
            if parts:
                msids = [(parts[0], parts[1] if len(parts) > 1 else None)]
                break
    if not msids:
        return None, None
    return [stream for stream, _ in msids if stream != "-"], next(
        (track for _, track in msids if track), None
    )


def _apply_answer(session: Session, sdp: SessionDescription, told: RemoteTracks, *, local: bool) -> None:
    """What an answer says of each section: whether there is one, in which direction, with what."""
    for section in sdp.media:
        if section.is_data and section.rejected and session.data.mid == section.mid:
            session.data.mid = None
            told.effects.append(RefuseData())
        line = session.line(section.mid) if section.is_media else None
        if line is None:
            continue
        if section.rejected:
            _stop(line, told)
            continue
        direction = _answered_direction(session, section, local=local)
        if local:
            line.extensions = section.header_extensions
            line.codecs = _in_order(line.codecs, section)
            if not receives(direction) and receives(line.fired):
                told.remove(line)
            line.fired = direction
        line.current = direction
        line.ever_sent = line.ever_sent or sends(direction)
        told.effects.append(SetDirection(line.key, direction))
        told.effects += simulcast.agree(line, section, local=local)
        told.effects += _agree_codecs(session, line, section.mid)


def _answered_direction(session: Session, section: MediaSection, *, local: bool) -> str:
    """What an answer makes of a section, as our direction: no more than was offered (RFC 3264 §6.1)."""
    direction = section.direction if local else reverse_direction(section.direction)
    offer = session.remote if local else session.local
    offered = offer.sdp.section(section.mid) if offer is not None else None
    if offered is None:
        return direction
    return and_direction(direction, reverse_direction(offered.direction) if local else offered.direction)


def _in_order(codecs: list[RTCRtpCodecParameters], section: MediaSection) -> list[RTCRtpCodecParameters]:
    """Those of the codecs that our answer names, in its order."""
    by_number = {codec.payloadType: codec for codec in codecs}
    return [by_number[each.payloadType] for each in section.codecs if each.payloadType in by_number]


def _agree_codecs(session: Session, line: MLine, mid: str) -> list[Effect]:
    """Return what `getParameters` tells from now on (W3C WebRTC §5.2, §5.3).

    We send what the peer's description says, in its order, and receive what ours says.
    """
    local = session.local.sdp.section(mid) if session.local else None
    remote = session.remote.sdp.section(mid) if session.remote else None
    if local is None or remote is None:
        return []
    numbers = {codec.payloadType for codec in line.codecs}
    line.agreed_codecs, line.agreed_extensions = line.codecs, line.extensions
    return [
        Agree(
            line.key,
            sent=tuple(codec for codec in remote.codecs if codec.payloadType in numbers),
            received=tuple(local.codecs),
            extensions=tuple(line.extensions),
        )
    ]


def _stop(line: MLine, told: RemoteTracks) -> None:
    if line.stopped:
        return
    if receives(line.fired):
        told.set_streams(line, [])
    line.fired = line.current = None
    line.stopped = True
    told.effects.append(StopTransceiver(line.key))


def _settle(session: Session, told: RemoteTracks, now: float) -> list[Effect]:
    """An answer makes both pending descriptions the current ones."""
    session.current_local = session.pending_local or session.current_local
    session.current_remote = session.pending_remote or session.current_remote
    session.pending_local = session.pending_remote = None
    session.stable = None
    session.last_offer = session.last_answer = None
    session.offered = []
    effects: list[Effect] = [NotePaths(settled=True)]
    rejected = {
        section.mid
        for description in (session.current_local, session.current_remote)
        if description is not None
        for section in description.sdp.media
        if section.rejected
    }
    effects += bundle_head.settle(session, rejected, now)
    for line in list(session.lines):
        simulcast.settle(line)
        if line.stopped and (line.mid is None or line.mid in rejected):
            session.lines.remove(line)
            line.mid = None
            told.dropped.append(DropTransceiver(line.key))
    assert session.current_local is not None
    described = {Credentials.of(section) for section in session.current_local.sdp.media}
    if not described & session.credentials_to_replace:
        session.credentials_to_replace = set()
    return [*effects, *session.discard_unused_transports()]
