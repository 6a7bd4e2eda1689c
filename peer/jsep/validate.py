"""What makes a description impossible to apply (RFC 9429 §5.8 to §5.10), found before anything is changed."""

from __future__ import annotations

import re
from typing import Final

from peer.exceptions import InvalidDescriptionError, InvalidModificationError
from peer.sdp.description import MediaSection, SessionDescription
from peer.sdp.fingerprints import usable_fingerprints
from peer.sdp.parser import parse_description

from .session import Session
from .state import SdpType
from .transport import TransportState

MEDIA_PROTOCOLS: Final = (
    "UDP/TLS/RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "TCP/DTLS/RTP/SAVPF",
    "TCP/DTLS/RTP/SAVP",
    "RTP/SAVPF",
    "RTP/SAVP",
    "RTP/AVPF",
    "RTP/AVP",
)
"""RFC 9429 §5.1.2: old endpoints write the last four, and mean DTLS if they give a fingerprint."""

_ICE_STRING: Final = re.compile(r"[A-Za-z0-9+/=#_-]+")
"""RFC 8839 §5.4 has letters, digits, "+" and "/". Old endpoints use the other four, and browsers let them."""


def check_description(session: Session, kind: SdpType, sdp: SessionDescription, *, local: bool) -> None:
    """Raises `InvalidDescriptionError` (or `OperationError`, without a usable fingerprint) and says what is wrong."""
    mids: set[str] = set()
    for section in sdp.media:
        if section.mid and section.mid in mids:
            raise InvalidDescriptionError(f"two media sections have the same mid {section.mid!r}")
        mids.add(section.mid)
    bundled: set[str] = set()
    for group in (g for g in sdp.groups if g.semantics == "BUNDLE"):
        unknown = [mid for mid in group.items if mid not in mids]
        if unknown and not session.settings.takes_unknown_in_bundle:
            raise InvalidDescriptionError(
                f"the BUNDLE group names sections that are not there: {', '.join(unknown[:10])[:100]}"
            )
        twice = bundled.intersection(group.items)
        if twice:
            raise InvalidDescriptionError(f"section {min(twice)!r} is in two BUNDLE groups")
        bundled.update(group.items)
    for section in sdp.media:
        for text in (section.ice_ufrag, section.ice_pwd):
            if text is not None and not _ICE_STRING.fullmatch(text):
                raise InvalidDescriptionError(
                    f"an ICE username fragment or password has letters, digits, '+' and '/', unlike {text[:40]!r}"
                )
        if section.rejected or not (section.is_media or section.is_data):
            continue  # of another kind: it will be rejected
        if not local:
            _check_extensions(session, section)
        _check_transport(section)
        if _speaks_for_transport(sdp, section):
            _check_tagged(kind, section)
            if not local:
                _check_identity(session, section)
    if kind in ("answer", "pranswer"):
        _check_answer(session, sdp, local=local)
    else:
        _check_offer(session, sdp)


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


def _speaks_for_transport(sdp: SessionDescription, section: MediaSection) -> bool:
    # RFC 9143 §7.1.3: attributes of the transport that differ in other sections of the bundle do not count.
    bundle = sdp.bundle_of(section.mid) if section.mid else None
    if bundle is None:
        return True
    members = (s for mid in bundle if (s := sdp.section(mid)) is not None and not s.rejected)
    return next((s for s in members if s.is_media or s.is_data), None) is section


def _check_tagged(kind: SdpType, section: MediaSection) -> None:
    if kind in ("answer", "pranswer") and section.setup not in ("active", "passive"):
        raise InvalidDescriptionError("DTLS setup attribute must be 'active' or 'passive' for an answer")
    if section.is_media and not section.rtcp_mux:
        raise InvalidDescriptionError("RTCP mux is not enabled")


def _check_extensions(session: Session, section: MediaSection) -> None:
    """An id that has been agreed on keeps its meaning as long as the section lives (RFC 8285 §5)."""
    line = session.line(section.mid) if section.mid else None
    known = {extension.id: extension.uri for extension in line.agreed_extensions} if line is not None else {}
    for extension in section.header_extensions:
        if known.get(extension.id, extension.uri) != extension.uri:
            raise InvalidDescriptionError(
                f"header extension {extension.id} was {known[extension.id]} and becomes {extension.uri}"
            )


def _check_transport(section: MediaSection) -> None:
    if section.value("crypto") is not None and not section.fingerprints:
        raise InvalidDescriptionError(
            "the media is encrypted with keys in the description (a=crypto, SDES), and only DTLS-SRTP is spoken here: "
            "turn it on at the other end, which then sends a=fingerprint and a=setup"
        )
    if not section.ice_ufrag or not section.ice_pwd:
        raise InvalidDescriptionError("ICE username fragment or password is missing")
    if section.is_media and not (
        section.protocol in MEDIA_PROTOCOLS
        and (section.protocol not in ("RTP/AVP", "RTP/AVPF") or section.fingerprints)
    ):
        raise InvalidDescriptionError(f"media must be encrypted: {section.protocol!r} is not RTP over DTLS")
    unusable = [codec for codec in section.codecs if codec.payloadType in range(64, 96)]
    if unusable:
        raise InvalidDescriptionError(
            f"payload type {unusable[0].payloadType} cannot be told from RTCP on one port (RFC 5761 §4)"
        )
    usable_fingerprints(section)


def _check_identity(session: Session, section: MediaSection) -> None:
    """Another peer needs another path: its fingerprint may change only when ICE restarts (RFC 8842 §5.1)."""
    transport = session.transport_of(section.mid)
    if transport is None or not transport.is_other_peer(section):
        return
    if transport.remote is not None and transport.remote.ufrag == section.ice_ufrag:
        raise InvalidDescriptionError(
            "the fingerprint changes, and the ICE credentials do not: restart ICE to hand over"
        )


def _check_answer(session: Session, sdp: SessionDescription, *, local: bool) -> None:
    offer = session.pending_remote if local else session.pending_local
    if offer is None:
        return  # the signalling state has said so already
    if len(offer.sdp.media) != len(sdp.media):
        raise InvalidDescriptionError("Media sections in answer do not match offer")
    for offered, answered in zip(offer.sdp.media, sdp.media, strict=True):
        if offered.kind != answered.kind or (answered.mid and offered.mid and answered.mid != offered.mid):
            raise InvalidDescriptionError("Media sections in answer do not match offer")
        if offered.rejected and not answered.rejected:
            raise InvalidDescriptionError("the answer accepts a section that was not offered")
        if not answered.rejected and answered.is_data != offered.is_data:
            raise InvalidDescriptionError(
                f"the answer speaks {answered.protocol!r} where {offered.protocol!r} was offered"
            )
    for section in sdp.media:
        transport = session.transport_of(section.mid)
        if not local and transport is not None and not section.rejected and section.ice_ufrag:
            _check_restart(transport, section)
    if not local and session.settings.bundle_policy == "max-bundle":
        accepted = [s for s in sdp.media if not s.rejected]
        bundle = sdp.bundle
        loose = [s.mid for s in accepted if (s.mid or _mid_at(offer.sdp, sdp, s)) not in bundle]
        if len(accepted) > 1 and loose:
            raise InvalidDescriptionError(
                "bundlePolicy is max-bundle, and the answer does not bundle: use 'balanced' with this peer"
            )


def _check_restart(transport: TransportState, section: MediaSection) -> None:
    """Refuse an answer that restarts ICE when the offer did not (RFC 8839 §4.4.1.1.1).

    Only another peer has credentials of its own (RFC 8842 §5.5), or one that was never reached.
    """
    known = transport.remote
    fresh = known is not None and known.ufrag != section.ice_ufrag and known.pwd != section.ice_pwd
    if fresh and (transport.is_other_peer(section) or not transport.has_path):
        return
    if transport.restarts(section) and transport.started_with == transport.local.ufrag:
        raise InvalidDescriptionError(
            "the answer changes the ICE credentials, and the offer did not ask for it"
        )


def _mid_at(offer: SessionDescription, answer: SessionDescription, section: MediaSection) -> str:
    return offer.media[next(i for i, s in enumerate(answer.media) if s is section)].mid


def _check_offer(session: Session, sdp: SessionDescription) -> None:
    known = session.current_remote
    if known is None:
        return
    answered = session.current_local
    count = len(known.sdp.media)
    if len(sdp.media) < count:
        raise InvalidDescriptionError(
            f"an offer keeps the media sections there are: {count} were agreed on, and it has {len(sdp.media)}"
        )
    for index, (before, after) in enumerate(zip(known.sdp.media, sdp.media, strict=False)):
        recycled = before.rejected or (answered is not None and answered.sdp.media[index].rejected)
        if not recycled and (
            before.kind != after.kind or (after.mid and before.mid and after.mid != before.mid)
        ):
            raise InvalidDescriptionError("the order of the media sections differs from the one agreed on")
