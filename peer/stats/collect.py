"""getStats() (W3C WebRTC §8, Identifiers for WebRTC's Statistics API): what is reported, and what for.

Times are in seconds, timestamps in milliseconds since 1970, sizes in bytes.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any, Final

import aiortc
from aiortc.stats import RTCStatsReport as _RTCStatsReport
from cryptography.hazmat.primitives.serialization import Encoding

from peer.connection.media import Media
from peer.connection.transports import Transport, Transports
from peer.dtls.transport import Security
from peer.exceptions import InvalidAccessError, InvalidArgumentError
from peer.ice.agent.pair import CandidatePair
from peer.ice.candidate import Candidate
from peer.jsep.session import Session
from peer.rtp.aiortc_inbound_stats import inbound_like_aiortc
from peer.rtp.aiortc_stats import outbound_like_aiortc

from .report import RTCStatsReport
from .rtp import receiver_stats, sender_stats

CIPHER_SUITES: Final = {
    f"ECDHE-{key}-{cipher}": f"TLS_ECDHE_{key}_WITH_{name}"
    for key in ("ECDSA", "RSA")
    for cipher, name in (
        ("AES128-GCM-SHA256", "AES_128_GCM_SHA256"),
        ("AES256-GCM-SHA384", "AES_256_GCM_SHA384"),
        ("CHACHA20-POLY1305", "CHACHA20_POLY1305_SHA256"),
        ("AES128-SHA", "AES_128_CBC_SHA"),
        ("AES256-SHA", "AES_256_CBC_SHA"),
    )
}
"""OpenSSL's name → the IANA's."""
SRTP_PROFILES: Final = {
    "SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    "SRTP_AES128_CM_SHA1_32": "AES_CM_128_HMAC_SHA1_32",
    "SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    "SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
}
TLS_GROUPS: Final = {"x25519": "X25519", "prime256v1": "P-256", "secp256r1": "P-256", "secp384r1": "P-384"}


def check_selector(media: Media, selector: Any) -> str | None:
    """The id of the statistics a track stands for; None stands for all.

    Raises `InvalidAccessError` for a track that is not of exactly one sender or receiver.
    """
    return None if selector is None else _owner(media, selector)


def collect(session: Session, media: Media, transports: Transports, owner: str | None) -> RTCStatsReport:
    """Report all there is, or what `owner` refers to."""
    report = RTCStatsReport()
    now = time.time() * 1000
    report.put(
        "P",
        "peer-connection",
        now,
        dataChannelsOpened=media.channels_opened,
        dataChannelsClosed=media.channels_closed,
    )
    for transport in transports.all:
        _transport(report, transports, transport, session.transports[transport.id].has_role, now)
    for each in media.lines:
        if not each.line.is_stopped:
            transport_id = session.bindings.get(each.line.mid or "")
            sender_stats(report, transport_id, each, now)
            receiver_stats(report, transport_id, each, now)
    if media.sctp is not None:
        _data_channels(report, media, now)
    return report if owner is None else select(report, owner)


async def collect_as_aiortc(media: Media) -> _RTCStatsReport:
    """Report what aiortc's own classes know."""
    report = _RTCStatsReport()
    for each in media.lines:
        report.update(outbound_like_aiortc(each.sender))
        report.update(inbound_like_aiortc(each.receiver))
    return report


def _owner(media: Media, selector: Any) -> str:
    """The id of the statistics a selector stands for."""
    if not isinstance(selector, aiortc.MediaStreamTrack):
        raise InvalidArgumentError(f"getStats takes a MediaStreamTrack or None, not {selector!r:.100}")
    found = [t.sender.stats_id for t in media.lines if t.sender.track is selector]
    found += [t.receiver.stats_id for t in media.lines if t.receiver.track is selector]
    if len(found) != 1:
        raise InvalidAccessError(f"the track has {len(found)} senders and receivers here, and must have one")
    return found[0]


def select(report: RTCStatsReport, owner: str) -> RTCStatsReport:
    """What an object refers to, directly or not (W3C WebRTC §8.2, the stats selection algorithm)."""
    wanted = [id for id in report if id == owner or id.startswith(f"{owner}_")]
    chosen = RTCStatsReport()
    while wanted:
        id = wanted.pop()
        if id in report and id not in chosen:
            chosen[id] = report[id]
            wanted += [
                value for name, value in report[id].items() if name.endswith("Id") and isinstance(value, str)
            ]
    return chosen


def _transport(
    report: RTCStatsReport, transports: Transports, transport: Transport, has_role: bool, now: float
) -> None:
    ice, dtls = transport.ice, transport.dtls
    id = transport.id
    local = RTCCertificateId(transports.certificate._cert.public_bytes(Encoding.DER))
    local.put(report, now)
    chain = dtls.getRemoteCertificates()
    remote = RTCCertificateId(chain[0]) if chain else None
    if remote is not None:
        remote.put(report, now)
    pairs = ice.candidate_pairs()
    selected = ice.selected_pair
    credentials = ice.local_credentials
    security = dtls.security
    report.put(
        id,
        "transport",
        now,
        packetsSent=ice.payload.packets_sent,
        packetsReceived=ice.payload.packets_received,
        bytesSent=ice.payload.bytes_sent,
        bytesReceived=ice.payload.bytes_received,
        iceRole=ice.role if has_role else "unknown",
        iceState=transport.shown.state,
        iceLocalUsernameFragment=credentials.username_fragment if credentials is not None else None,
        dtlsState=dtls.state,
        dtlsRole=dtls.role or "unknown",
        selectedCandidatePairId=_pair_id(id, selected) if selected is not None else None,
        selectedCandidatePairChanges=ice.selected_candidate_pair_changes,
        localCertificateId=local.id,
        remoteCertificateId=remote.id if remote is not None else None,
        **(_security(security) if security is not None else {}),
    )
    for candidate in {*ice.local_candidates(), *(pair.local for pair in pairs)}:
        _candidate(report, id, "local-candidate", candidate, now)
    for candidate in {*ice.remote_candidates(), *(pair.remote for pair in pairs)}:
        _candidate(report, id, "remote-candidate", candidate, now)
    for pair in pairs:
        available = transport.dtls.congestion.available if pair is selected else None
        _candidate_pair(report, id, pair, available, now)


def _security(security: Security) -> dict[str, str | None]:
    """Return what DTLS agreed on, under the names of the IANA's registries, as the W3C wants them."""
    group, profile = security.group, security.srtp_profile
    return {
        "tlsVersion": f"{security.version:04X}",
        "dtlsCipher": CIPHER_SUITES.get(security.cipher, security.cipher),
        "srtpCipher": SRTP_PROFILES.get(profile, profile) or None,
        "tlsGroup": None if group is None else TLS_GROUPS.get(group, group),
    }


def _pair_id(transport: str, pair: CandidatePair) -> str:
    return f"{transport}_P_{pair.id}"


def _candidate_id(transport: str, type: str, candidate: Candidate) -> str:
    side = "L" if type == "local-candidate" else "R"
    where = f"{candidate.address}:{candidate.port}/{candidate.protocol}/{candidate.type}"
    return f"{transport}_{side}_{candidate.username_fragment or ''}_{where}_{candidate.foundation}"


def _candidate(report: RTCStatsReport, transport: str, type: str, candidate: Candidate, now: float) -> None:
    local = type == "local-candidate"
    report.put(
        _candidate_id(transport, type, candidate),
        type,
        now,
        transportId=transport,
        address=candidate.address,
        port=candidate.port,
        protocol=candidate.protocol,
        candidateType=candidate.type,
        priority=candidate.priority,
        foundation=candidate.foundation,
        usernameFragment=candidate.username_fragment,
        relatedAddress=candidate.related_address,
        relatedPort=candidate.related_port,
        tcpType=candidate.tcp_type,
        url=candidate.url if local else None,
        relayProtocol=candidate.relay_protocol if local else None,
        networkType=candidate.network if local else None,
    )


def _candidate_pair(
    report: RTCStatsReport, transport: str, pair: CandidatePair, available: int | None, now: float
) -> None:
    report.put(
        _pair_id(transport, pair),
        "candidate-pair",
        now,
        transportId=transport,
        localCandidateId=_candidate_id(transport, "local-candidate", pair.local),
        remoteCandidateId=_candidate_id(transport, "remote-candidate", pair.remote),
        state=pair.state,
        nominated=pair.nominated,
        priority=pair.priority,
        packetsSent=pair.packets_sent,
        packetsReceived=pair.packets_received,
        bytesSent=pair.bytes_sent,
        bytesReceived=pair.bytes_received,
        totalRoundTripTime=pair.round_trip.total,
        currentRoundTripTime=pair.round_trip.latest,
        requestsSent=pair.requests_sent,
        requestsReceived=pair.requests_received,
        responsesSent=pair.responses_sent,
        responsesReceived=pair.responses_received,
        consentRequestsSent=pair.consent_requests_sent,
        retransmissionsSent=pair.retransmissions_sent,
        availableOutgoingBitrate=None if available is None else float(available),
        packetsDiscardedOnSend=pair.packets_discarded_on_send,
    )


class RTCCertificateId:
    """A certificate, known by its fingerprint."""

    def __init__(self, der: bytes) -> None:
        self.der = der
        digest = hashlib.sha256(der).hexdigest().upper()
        self.fingerprint = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
        self.id = f"CF{digest[:32]}"

    def put(self, report: RTCStatsReport, now: float) -> None:
        report.put(
            self.id,
            "certificate",
            now,
            fingerprint=self.fingerprint,
            fingerprintAlgorithm="sha-256",
            base64Certificate=base64.b64encode(self.der).decode(),
        )


def _data_channels(report: RTCStatsReport, media: Media, now: float) -> None:
    for number, channel in enumerate(media.channels):
        report.put(
            f"D{number}",
            "data-channel",
            now,
            label=channel.label,
            protocol=channel.protocol,
            dataChannelIdentifier=channel.id,
            state=channel.readyState,
            messagesSent=channel.messages_sent,
            bytesSent=channel.bytes_sent,
            messagesReceived=channel.messages_received,
            bytesReceived=channel.bytes_received,
        )
