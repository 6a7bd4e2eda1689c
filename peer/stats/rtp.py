"""Statistics of RTP streams, codecs and media sources (webrtc-stats §8.2 to §8.12)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiortc import clock
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from peer.connection.media_line import MediaLine
from peer.jsep.mline import MLine
from peer.rtp.codecs import is_media_codec
from peer.rtp.sender import RTCRtpSender
from peer.sdp.description import format_parameters
from peer.sdp.direction import sends
from peer.video.receiver import VideoReceiver
from peer.video.sender import EncodingSender

from .report import RTCStatsReport

DECODERS: Final = {"video/vp8": "libvpx", "video/h264": "FFmpeg"}


def _codec(
    report: RTCStatsReport, transport: str | None, codec: RTCRtpCodecParameters | None, now: float
) -> str | None:
    if codec is None or transport is None or codec.payloadType is None:
        return None
    line = format_parameters(codec.parameters)
    id = f"{transport}_C{codec.payloadType}_{codec.name}_{line}"
    report.put(
        id,
        "codec",
        now,
        transportId=transport,
        payloadType=codec.payloadType,
        mimeType=codec.mimeType,
        clockRate=codec.clockRate,
        channels=codec.channels,
        sdpFmtpLine=line or None,
    )
    return id


def sender_stats(report: RTCStatsReport, transport: str | None, live: MediaLine, now: float) -> None:
    """media-source, outbound-rtp, and what the peer reports back: remote-inbound-rtp."""
    sender = live.sender
    kind = live.line.kind
    owner = sender.stats_id
    source = f"{owner}_S" if sender.track is not None else None
    if source is not None and sender.track is not None:
        measured = sender.measured
        report.put(
            source,
            "media-source",
            now,
            trackIdentifier=sender.track.id,
            kind=kind,
            audioLevel=measured.level if kind == "audio" else None,
            totalAudioEnergy=measured.energy if kind == "audio" else None,
            totalSamplesDuration=measured.duration if kind == "audio" else None,
            width=measured.width if kind == "video" else None,
            height=measured.height if kind == "video" else None,
            frames=measured.frames if kind == "video" else None,
            framesPerSecond=measured.frames_per_second if kind == "video" else None,
            trackFailure=None if sender.track_failure is None else repr(sender.track_failure),
        )
    if not sender.started and not sends(live.line.current):
        return
    for index, stream in enumerate(sender.senders):
        _outbound(report, transport, live.line, stream, index, source, now)


def _outbound(
    report: RTCStatsReport,
    transport: str | None,
    line: MLine,
    sender: RTCRtpSender,
    index: int,
    source: str | None,
    now: float,
) -> None:
    """One encoding, and what the peer reports of it."""
    kind = line.kind
    owner = sender.stats_id
    used = sender.codec or next((codec for codec in line.agreed_codecs if is_media_codec(codec)), None)
    codec = _codec(report, transport, used, now)
    stream = sender.stream
    remote = stream.reports.reception
    remote_id = f"{owner}_RI"
    video: dict[str, Any] = {}
    if isinstance(sender, EncodingSender):
        encoded, encoder, sent = sender.encoded, sender.encoder, sender.sent
        video = {
            "rid": sender.encoding.get("rid"),
            "pliCount": sender.plis_received,
            "firCount": sender.firs_received,
            "framesEncoded": encoded.frames,
            "keyFramesEncoded": encoded.key_frames,
            "hugeFramesSent": encoded.huge_frames,
            "framesSent": sender.frames_encoded,
            "totalEncodeTime": encoded.seconds,
            "totalPacketSendDelay": sender.stream.packet_send_delay,
            "qualityLimitationReason": sender.limitation.reason,
            "qualityLimitationDurations": sender.limitation.durations(asyncio.get_running_loop().time()),
            "qualityLimitationResolutionChanges": sender.limitation.resolution_changes,
            "targetBitrate": float(sender.rate.target) if encoder is not None else None,
            "encoderImplementation": encoder.implementation if encoder is not None else None,
            "powerEfficientEncoder": False if encoder is not None else None,
            "frameWidth": sent.width,
            "frameHeight": sent.height,
            "framesPerSecond": sent.frames_per_second,
            "rtxSsrc": stream.rtx_ssrc if stream.rtx_payload_type is not None else None,
        }
    report.put(
        owner,
        "outbound-rtp",
        now,
        ssrc=stream.ssrc,
        kind=kind,
        mediaType=kind,
        mid=line.mid,
        encodingIndex=index,
        transportId=transport,
        codecId=codec,
        mediaSourceId=source,
        remoteId=remote_id if remote is not None else None,
        active=sender.enabled,
        packetsSent=stream.reports.packets,
        bytesSent=stream.reports.octets,
        headerBytesSent=stream.header_bytes,
        retransmittedPacketsSent=stream.retransmitted_packets,
        retransmittedBytesSent=stream.retransmitted_bytes,
        nackCount=sender.nacks_received,
        **video,
    )
    if remote is not None:
        rate = sender.codec.clockRate if sender.codec is not None else 90000
        report.put(
            remote_id,
            "remote-inbound-rtp",
            now,
            ssrc=stream.ssrc,
            kind=kind,
            transportId=transport,
            codecId=codec,
            localId=owner,
            packetsReceived=stream.reports.packets - remote.packets_lost,
            packetsLost=remote.packets_lost,
            jitter=remote.jitter / rate,
            fractionLost=remote.fraction_lost,
            roundTripTime=stream.reports.round_trip,
            totalRoundTripTime=stream.reports.total_round_trip,
            roundTripTimeMeasurements=stream.reports.round_trips,
        )


def receiver_stats(report: RTCStatsReport, transport: str | None, live: MediaLine, now: float) -> None:
    """inbound-rtp, and what the peer says of its own sending: remote-outbound-rtp."""
    receiver = live.receiver
    ssrc = receiver.received_ssrc
    stream = None if ssrc is None else receiver.reports.get(ssrc)
    if stream is None:
        return
    kind = live.line.kind
    owner = receiver.stats_id
    used = receiver.received_codec
    codec = _codec(report, transport, used, now)
    rate = used.clockRate if used is not None else 90000
    track = receiver.track
    remote = stream.sender_report
    remote_id = f"{owner}_RO"
    video, audio = kind == "video", kind == "audio"
    playout = getattr(receiver, "playout", None)
    report.put(
        owner,
        "inbound-rtp",
        now,
        ssrc=ssrc,
        kind=kind,
        mediaType=kind,
        mid=live.line.mid,
        trackIdentifier=track.id,
        transportId=transport,
        codecId=codec,
        remoteId=remote_id if remote is not None else None,
        packetsReceived=stream.packets_received,
        packetsLost=stream.packets_lost,
        **({"packetsDiscarded": receiver.packets_discarded} if playout is None else playout.statistics()),
        jitter=stream.jitter / rate,
        bytesReceived=receiver.bytes_received,
        headerBytesReceived=receiver.header_bytes_received,
        lastPacketReceivedTimestamp=receiver.last_packet_at,
        nackCount=receiver.feedback.nacks,
        retransmittedPacketsReceived=receiver.retransmitted_packets,
        retransmittedBytesReceived=receiver.retransmitted_bytes,
        **(_decoded(receiver, used) if isinstance(receiver, VideoReceiver) and video else {}),
        audioLevel=receiver.measured.level if audio else None,
        totalAudioEnergy=receiver.measured.energy if audio else None,
        totalSamplesDuration=receiver.measured.duration if audio else None,
    )
    if remote is not None:
        report.put(
            remote_id,
            "remote-outbound-rtp",
            now,
            ssrc=ssrc,
            kind=kind,
            transportId=transport,
            codecId=codec,
            localId=owner,
            packetsSent=remote.info.packet_count,
            bytesSent=remote.info.octet_count,
            remoteTimestamp=clock.datetime_from_ntp(remote.info.ntp_timestamp).timestamp() * 1000,
            reportsSent=stream.sender_reports,
        )


def _decoded(receiver: VideoReceiver, codec: RTCRtpCodecParameters | None) -> dict[str, Any]:
    """What is particular to video. A frame counts as rendered when it can be read from the track."""
    track, measured, pace = receiver.track, receiver.measured, receiver.pace
    return {
        "rtxSsrc": receiver.rtx_ssrc,
        "pliCount": receiver.feedback.plis,
        "firCount": 0,  # PLI is all we ask with
        "framesReceived": receiver.frames_received,
        "framesDecoded": track.framesDecoded,
        "keyFramesDecoded": receiver.decoder.key_frames,
        "framesDropped": track.framesDropped + receiver.decoder.dropped,
        "frameWidth": measured.width,
        "frameHeight": measured.height,
        "framesPerSecond": measured.frames_per_second,
        "totalInterFrameDelay": pace.total,
        "totalSquaredInterFrameDelay": pace.total_of_squares,
        "freezeCount": pace.freezes,
        "totalFreezesDuration": pace.frozen,
        "pauseCount": pace.pauses,
        "totalPausesDuration": pace.paused,
        "decoderImplementation": DECODERS.get(codec.mimeType.lower()) if codec is not None else None,
        "powerEfficientDecoder": False,
    }
