"""Applying descriptions (RFC 9429 §5.9 to §5.11): local ones, remote ones, and taking them back."""

from __future__ import annotations

from dataclasses import dataclass

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpParameters

from peer.connection.transports import new_ice_parameters
from peer.exceptions import InvalidModificationError, OperationError
from peer.rtp.codecs import common_codecs, common_extensions
from peer.rtp.feed import UNBOUND
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sdp.description import MediaSection, SessionDescription
from peer.sdp.direction import receives, reverse_direction, sends
from peer.sdp.parser import parse_description

from . import simulcast
from .bundling import (
    bind_offer,
    bundle_answer,
    connect,
    ice_parameters,
    may_be_superfluous,
    show_transports,
    tag_moved,
    tagged,
    unbundle_rejected,
)
from .changes import Changes
from .session import Description, Session
from .state import SdpType, next_state


def apply_local(session: Session, kind: SdpType, sdp: SessionDescription) -> Changes:
    """Put our description in force. What may fail has been checked before; this does not."""
    changes = Changes()
    state = next_state(session.signaling_state, "local", kind)
    if session.signaling_state == "stable":
        session.remember_stable()
    if kind == "offer":
        _associate_offer(session, sdp)
        session.pending_local = Description(kind, sdp)
    for section in sdp.media:
        session.mids.add(section.mid)
        session.numbers.learn(section.codecs, section.header_extensions)
    if kind != "offer":
        session.pending_local = Description(kind, sdp)
        _apply_answer_directions(session, sdp, changes, local=True)
        unbundle_rejected(session, sdp)
    show_transports(session)
    for transport, section in tagged(session, sdp):
        transport.set_role("controlling" if kind == "offer" else "controlled")
        if kind != "offer" or not may_be_superfluous(session, sdp, transport, section):
            transport.gather(ice_parameters(section))
    if kind != "offer":
        connect(session, local_answer=sdp)
    if kind == "answer":
        _settle(session, changes)
    for transceiver in session.transceivers:
        transceiver.sender._transaction.forget()
    session.signaling_state = state
    return changes


@dataclass
class RemotePlan:
    """What a remote description will do to each section; made without doing it."""

    transceivers: list[RTCRtpTransceiver | None]
    codecs: list[list[RTCRtpCodecParameters]]


def plan_remote(session: Session, kind: SdpType, sdp: SessionDescription) -> RemotePlan:
    """Find each section's transceiver and codecs. Raises `OperationError` where an answer has no codec we offered."""
    plan = RemotePlan([], [])
    compat = session.configuration.aiortc_compat
    for index, section in enumerate(sdp.media):
        transceiver: RTCRtpTransceiver | None = None
        codecs: list[RTCRtpCodecParameters] = []
        if section.is_media:
            transceiver = _transceiver_for(session, kind, section, index, plan.transceivers)
            # They say what we receive, and an answer says what the peer wants to (W3C WebRTC §5.4).
            preferences = transceiver._preferred_codecs if transceiver is not None and kind == "offer" else []
            if not section.rejected:
                codecs = common_codecs(section.kind, section.codecs, preferences, events=not compat)
                if not codecs and (kind != "offer" or compat):
                    raise OperationError(f"Failed to set remote {section.kind} description send parameters")
        plan.transceivers.append(transceiver)
        plan.codecs.append(codecs)
    return plan


def apply_remote(
    session: Session, kind: SdpType, sdp: SessionDescription, plan: RemotePlan, text: str | None = None
) -> Changes:
    """Put the peer's description in force. What may fail has been done by `plan_remote` and the checks."""
    changes = Changes()
    state = next_state(session.signaling_state, "remote", kind)
    if session.signaling_state == "stable":
        session.remember_stable()
    for index, section in enumerate(sdp.media):
        session.mids.add(section.mid)
        session.numbers.learn(section.codecs, section.header_extensions)
        if section.is_media:
            _apply_remote_section(session, kind, section, index, plan, changes)
        elif section.is_data and kind == "offer" and not section.rejected:
            session.create_sctp()
            session.data_mid = section.mid
    session.pending_remote = Description(kind, sdp, text)
    if kind == "offer":
        bind_offer(session, sdp)
        for transport, section in tagged(session, sdp):
            transport.set_role("controlling" if sdp.ice_lite else "controlled")
            if transport.restarts(section) and transport.restart_answer is None:
                transport.restart_answer = new_ice_parameters()
    else:
        _apply_answer_directions(session, sdp, changes, local=False)
        bundle_answer(session, sdp)
        unbundle_rejected(session, sdp)
        for transport, section in tagged(session, session.local.sdp) if session.local else []:
            if not transport.gathered:
                transport.gather(ice_parameters(section))
        connect(session, remote_answer=sdp)
    if kind == "answer":
        _settle(session, changes)
    for transceiver in session.transceivers:
        transceiver.sender._transaction.forget()
    session.signaling_state = state
    return changes


def rollback(session: Session) -> Changes:
    """Back to the last stable state (RFC 9429 §4.1.10.2)."""
    changes = Changes()
    stable = session.stable
    session.pending_local = session.pending_remote = None
    session.signaling_state = "stable"
    if stable is None:
        return changes
    for transceiver in list(session.transceivers):
        before = stable.transceivers.get(transceiver)
        fired = receives(transceiver._fired_direction)
        if before is None:
            # Added since. What the application added stays, as if it had never been described.
            if fired:
                changes.remove_remote_track(session, transceiver)
            transceiver._set_mid(None)
            transceiver._fired_direction = None
            transceiver._codecs, transceiver._headerExtensions = [], []
            simulcast.withdraw(transceiver)
            if transceiver._from_remote and not transceiver._taken_by_track:
                session.transceivers.remove(transceiver)
                transceiver._stop_for_good()
                changes.stopped.append(transceiver)
            continue
        if fired and not receives(before.fired_direction):
            changes.remove_remote_track(session, transceiver)
        elif receives(before.fired_direction) and (
            not fired or before.remote_streams != transceiver._remote_streams
        ):
            changes.remote_direction(
                session, transceiver, str(before.fired_direction), [s.id for s in before.remote_streams]
            )
        transceiver._set_mid(before.mid)
        transceiver._setCurrentDirection(before.current_direction)
        transceiver._fired_direction = before.fired_direction
        transceiver._codecs, transceiver._headerExtensions = before.codecs, before.extensions
        simulcast.withdraw(transceiver)
    session.section_transports = dict(stable.section_transports)
    session.numbers = stable.numbers
    session.data_mid = stable.data_mid
    for transceiver in session.transceivers:
        mid = transceiver.mid
        if mid is not None and mid in session.section_transports:
            session.bind(mid, session.section_transports[mid])
        elif mid is None:
            transceiver.sender.setTransport(UNBOUND)
            transceiver.receiver.setTransport(UNBOUND)
    if session.data_mid is None and session.sctp is not None:
        session.sctp.setTransport(UNBOUND)
    for transport in session.transports.all:
        if transport in stable.ice:
            transport.rollback(*stable.ice[transport])
    session.stable = None
    session.discard_unused_transports()
    return changes


def check_own(session: Session, kind: SdpType, sdp: SessionDescription) -> None:
    """Raises `InvalidModificationError` unless the description is the last one that was created here.

    Its lines may have been edited; its origin tells.
    """
    created = session.last_offer if kind == "offer" else session.last_answer
    last = None if created is None else parse_description(created)
    if last is None or last.origin != sdp.origin:
        article = "an offer" if kind == "offer" else "an answer"
        raise InvalidModificationError(
            f"setLocalDescription takes the last {'offer' if kind == 'offer' else 'answer'} that was created here, "
            f"and this is {article} of another origin or version"
        )
    kinds = [(section.kind, section.rejected) for section in last.media]
    if kinds != [(section.kind, section.rejected) for section in sdp.media]:
        raise InvalidModificationError(
            "media sections were added, removed or moved since the description was created"
        )


def _associate_offer(session: Session, sdp: SessionDescription) -> None:
    for index, (section, (transceiver, transport)) in enumerate(zip(sdp.media, session.offered, strict=True)):
        if section.rejected:
            continue
        if transceiver is not None:
            transceiver._set_mid(section.mid)
            transceiver._set_mline_index(index)
        elif section.is_data:
            session.data_mid = section.mid
        if transport is not None:
            session.bind(section.mid, transport)


def _transceiver_for(
    session: Session,
    kind: SdpType,
    section: MediaSection,
    index: int,
    taken: list[RTCRtpTransceiver | None],
) -> RTCRtpTransceiver | None:
    known = session.transceiver(section.mid)
    if known is not None:
        return known
    if kind != "offer" or section.rejected:
        return None
    # RFC 9429 §5.10: one that addTrack made and that has no section yet, if the peer wants to receive.
    compat = session.configuration.aiortc_compat
    for transceiver in session.transceivers:
        if (
            transceiver.kind == section.kind
            and transceiver.mid is None
            and not transceiver.stopped
            and transceiver not in taken
            and (compat or (transceiver._added_by_track and receives(section.direction)))
        ):
            return transceiver
    return None


def _apply_remote_section(
    session: Session, kind: SdpType, section: MediaSection, index: int, plan: RemotePlan, changes: Changes
) -> None:
    transceiver = plan.transceivers[index]
    if transceiver is None:
        if kind != "offer" or section.rejected:
            return
        _, track_id = _msid(section)
        transceiver = session.create_transceiver(section.kind, "recvonly", track_id=track_id)
        transceiver._from_remote = True
    if transceiver.mid is None:
        transceiver._set_mid(section.mid)
        transceiver._set_mline_index(index)
    if section.rejected:
        _stop(transceiver, session, changes)
        return
    transceiver._codecs = plan.codecs[index]  # none: the answer will reject the section
    if plan.codecs[index]:
        transceiver._headerExtensions = common_extensions(section.kind, section.header_extensions)
    if session.configuration.aiortc_compat and not receives(transceiver._fired_direction):
        # aiortc has no track before the peer names it.
        transceiver.receiver.track._id = _msid(section)[1] or transceiver.receiver.track._id
    if kind == "offer":
        simulcast.propose(transceiver, section)
    if not transceiver._is_stopped:
        streams = _msid(section)[0]
        if streams is None:
            streams = [session.default_remote_stream_id] if sends(section.direction) else []
        changes.remote_direction(session, transceiver, reverse_direction(section.direction), streams)


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


def _apply_answer_directions(
    session: Session, sdp: SessionDescription, changes: Changes, *, local: bool
) -> None:
    for section in sdp.media:
        if section.is_data and section.rejected and session.data_mid == section.mid:
            session.data_mid = None
            for channel in list(session.channels):
                channel._setReadyState("closed")
        transceiver = session.transceiver(section.mid) if section.is_media else None
        if transceiver is None:
            continue
        if section.rejected:
            _stop(transceiver, session, changes)
            continue
        direction = section.direction if local else reverse_direction(section.direction)
        if local:
            transceiver._headerExtensions = section.header_extensions
            if not receives(direction) and receives(transceiver._fired_direction):
                changes.remove_remote_track(session, transceiver)
            transceiver._fired_direction = direction
        transceiver._setCurrentDirection(direction)
        simulcast.agree(transceiver, section, local=local)
        _agree_codecs(session, transceiver, section.mid)


def _agree_codecs(session: Session, transceiver: RTCRtpTransceiver, mid: str) -> None:
    """What `getParameters` tells from now on (W3C WebRTC §5.2, §5.3): we send what the peer's description says in its
    order, and receive what ours says."""
    local = session.local.sdp.section(mid) if session.local else None
    remote = session.remote.sdp.section(mid) if session.remote else None
    if local is None or remote is None:
        return
    numbers = {codec.payloadType for codec in transceiver._codecs}
    extensions = transceiver._headerExtensions
    transceiver._agree(
        RTCRtpParameters(
            codecs=[codec for codec in remote.codecs if codec.payloadType in numbers],
            headerExtensions=extensions,
        ),
        RTCRtpParameters(codecs=local.codecs, headerExtensions=extensions),
    )


def _stop(transceiver: RTCRtpTransceiver, session: Session, changes: Changes) -> None:
    if receives(transceiver._fired_direction):
        changes.set_streams(session, transceiver, [])
    transceiver._fired_direction = None
    transceiver._stop_for_good()
    changes.stopped.append(transceiver)


def _settle(session: Session, changes: Changes) -> None:
    """An answer makes both pending descriptions the current ones."""
    if session.pending_local is not None:
        session.current_local = session.pending_local
    if session.pending_remote is not None:
        session.current_remote = session.pending_remote
    session.pending_local = session.pending_remote = None
    session.pairs_before = session.stable.pairs if session.stable is not None else {}
    session.stable = None
    session.last_offer = session.last_answer = None
    session.offered = []
    rejected = {
        s.mid
        for description in (session.current_local, session.current_remote)
        if description is not None
        for s in description.sdp.media
        if s.rejected
    }
    heads = [d.sdp.bundle[0] for d in (session.current_local, session.current_remote) if d and d.sdp.bundle]
    head = next((mid for mid in heads if mid not in rejected), None)
    moved = session.bundle_head is not None and head is not None and head != session.bundle_head
    if moved:
        tag_moved(session)
    session.bundle_head = head
    for transceiver in list(session.transceivers):
        simulcast.settle(transceiver)
        if transceiver._is_stopped and (transceiver.mid is None or transceiver.mid in rejected):
            session.transceivers.remove(transceiver)
            transceiver._set_mid(None)
    assert session.current_local is not None
    described = {(s.ice_ufrag, s.ice_pwd) for s in session.current_local.sdp.media}
    if not described & session.credentials_to_replace:
        session.credentials_to_replace = set()
    session.discard_unused_transports()
