"""WebRTC for asyncio: a peer connection that behaves like a browser's.

Everything public is here: the W3C's interfaces under the W3C's names, and the names of aiortc. A program written for
aiortc changes its import to `peer.aiortc` and nothing else.

A name is loaded when it is first asked for. `import peer.ice.agent` therefore brings in neither aiortc nor PyAV nor
OpenSSL, and a connection without audio needs no numpy.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiortc import AudioStreamTrack as AudioStreamTrack
    from aiortc import MediaStreamError as MediaStreamError
    from aiortc import MediaStreamTrack as MediaStreamTrack
    from aiortc import RTCDataChannelParameters as RTCDataChannelParameters
    from aiortc import RTCDtlsFingerprint as RTCDtlsFingerprint
    from aiortc import RTCDtlsParameters as RTCDtlsParameters
    from aiortc import RTCIceGatherer as RTCIceGatherer
    from aiortc import RTCIceParameters as RTCIceParameters
    from aiortc import RTCInboundRtpStreamStats as RTCInboundRtpStreamStats
    from aiortc import RTCOutboundRtpStreamStats as RTCOutboundRtpStreamStats
    from aiortc import RTCRemoteInboundRtpStreamStats as RTCRemoteInboundRtpStreamStats
    from aiortc import RTCRemoteOutboundRtpStreamStats as RTCRemoteOutboundRtpStreamStats
    from aiortc import RTCRtcpParameters as RTCRtcpParameters
    from aiortc import RTCRtpCapabilities as RTCRtpCapabilities
    from aiortc import RTCRtpCodecCapability as RTCRtpCodecCapability
    from aiortc import RTCRtpCodecParameters as RTCRtpCodecParameters
    from aiortc import RTCRtpHeaderExtensionCapability as RTCRtpHeaderExtensionCapability
    from aiortc import RTCRtpHeaderExtensionParameters as RTCRtpHeaderExtensionParameters
    from aiortc import RTCRtpParameters as RTCRtpParameters
    from aiortc import RTCSctpCapabilities as RTCSctpCapabilities
    from aiortc import RTCStatsReport as RTCStatsReport
    from aiortc import RTCTransportStats as RTCTransportStats
    from aiortc import VideoStreamTrack as VideoStreamTrack

    from peer.audio import AudioSink as AudioSink
    from peer.audio import AudioSource as AudioSource
    from peer.call.call import Call as Call
    from peer.call.call import CallEnded as CallEnded
    from peer.call.chat import ChatBacklogFull as ChatBacklogFull
    from peer.call.remote_peer import RemotePeer as RemotePeer
    from peer.connection.configuration import RTCBundlePolicy as RTCBundlePolicy
    from peer.connection.configuration import RTCConfiguration as RTCConfiguration
    from peer.connection.configuration import RTCIceServer as RTCIceServer
    from peer.connection.configuration import RTCIceTransportPolicy as RTCIceTransportPolicy
    from peer.connection.configuration import RTCRtcpMuxPolicy as RTCRtcpMuxPolicy
    from peer.connection.ice_candidate import RTCIceCandidate as RTCIceCandidate
    from peer.connection.ice_candidate import RTCIceCandidatePair as RTCIceCandidatePair
    from peer.connection.ice_servers import IceServerProvider as IceServerProvider
    from peer.connection.ice_servers import IceServersUnavailable as IceServersUnavailable
    from peer.connection.ice_transport import RTCIceTransport as RTCIceTransport
    from peer.connection.peer_connection import RTCPeerConnection as RTCPeerConnection
    from peer.connection.session_description import RTCSessionDescription as RTCSessionDescription
    from peer.dtls.certificate import RTCCertificate as RTCCertificate
    from peer.dtls.transport import RTCDtlsTransport as RTCDtlsTransport
    from peer.exceptions import InternalError as InternalError
    from peer.exceptions import InvalidAccessError as InvalidAccessError
    from peer.exceptions import InvalidArgumentError as InvalidArgumentError
    from peer.exceptions import InvalidCandidateError as InvalidCandidateError
    from peer.exceptions import InvalidCharacterError as InvalidCharacterError
    from peer.exceptions import InvalidDescriptionError as InvalidDescriptionError
    from peer.exceptions import InvalidModificationError as InvalidModificationError
    from peer.exceptions import InvalidRangeError as InvalidRangeError
    from peer.exceptions import InvalidStateError as InvalidStateError
    from peer.exceptions import NotSupportedError as NotSupportedError
    from peer.exceptions import OperationError as OperationError
    from peer.exceptions import RTCError as RTCError
    from peer.exceptions import SdpSyntaxError as SdpSyntaxError
    from peer.ice.candidate import Candidate as Candidate
    from peer.ice.options import IceOptions as IceOptions
    from peer.media.player import MediaPlayer as MediaPlayer
    from peer.media.recorder import MediaRecorder as MediaRecorder
    from peer.media.relay import MediaBlackhole as MediaBlackhole
    from peer.media.relay import MediaRelay as MediaRelay
    from peer.recovery import Recovery as Recovery
    from peer.recovery import RecoveryReport as RecoveryReport
    from peer.rtp.bandwidth import Bandwidth as Bandwidth
    from peer.rtp.congestion import BandwidthEstimate as BandwidthEstimate
    from peer.rtp.dtmf import RTCDTMFSender as RTCDTMFSender
    from peer.rtp.dtmf import RTCDTMFToneChangeEvent as RTCDTMFToneChangeEvent
    from peer.rtp.media_stream import MediaStream as MediaStream
    from peer.rtp.media_stream import RemoteStreamTrack as RemoteStreamTrack
    from peer.rtp.receiver import RTCRtpContributingSource as RTCRtpContributingSource
    from peer.rtp.receiver import RTCRtpReceiver as RTCRtpReceiver
    from peer.rtp.receiver import RTCRtpSynchronizationSource as RTCRtpSynchronizationSource
    from peer.rtp.sender import RTCRtpSender as RTCRtpSender
    from peer.rtp.track_event import RTCTrackEvent as RTCTrackEvent
    from peer.rtp.transceiver import RTCRtpTransceiver as RTCRtpTransceiver
    from peer.sctp.data_channel import RTCDataChannel as RTCDataChannel
    from peer.sctp.transport import RTCSctpTransport as RTCSctpTransport
    from peer.video.source import VideoSource as VideoSource

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())

_EXPORTS: Final = {
    "aiortc": (
        "AudioStreamTrack",
        "MediaStreamError",
        "MediaStreamTrack",
        "RTCDataChannelParameters",
        "RTCDtlsFingerprint",
        "RTCDtlsParameters",
        "RTCIceGatherer",
        "RTCIceParameters",
        "RTCInboundRtpStreamStats",
        "RTCOutboundRtpStreamStats",
        "RTCRemoteInboundRtpStreamStats",
        "RTCRemoteOutboundRtpStreamStats",
        "RTCRtcpParameters",
        "RTCRtpCapabilities",
        "RTCRtpCodecCapability",
        "RTCRtpCodecParameters",
        "RTCRtpHeaderExtensionCapability",
        "RTCRtpHeaderExtensionParameters",
        "RTCRtpParameters",
        "RTCSctpCapabilities",
        "RTCStatsReport",
        "RTCTransportStats",
        "VideoStreamTrack",
    ),
    "peer.rtp.track_event": ("RTCTrackEvent",),
    "peer.audio": (
        "AudioSink",
        "AudioSource",
    ),
    "peer.call.call": (
        "Call",
        "CallEnded",
    ),
    "peer.call.chat": ("ChatBacklogFull",),
    "peer.call.remote_peer": ("RemotePeer",),
    "peer.connection.configuration": (
        "RTCBundlePolicy",
        "RTCConfiguration",
        "RTCIceServer",
        "RTCIceTransportPolicy",
        "RTCRtcpMuxPolicy",
    ),
    "peer.connection.ice_candidate": (
        "RTCIceCandidate",
        "RTCIceCandidatePair",
    ),
    "peer.connection.ice_servers": (
        "IceServerProvider",
        "IceServersUnavailable",
    ),
    "peer.connection.ice_transport": ("RTCIceTransport",),
    "peer.connection.peer_connection": ("RTCPeerConnection",),
    "peer.connection.session_description": ("RTCSessionDescription",),
    "peer.dtls.certificate": ("RTCCertificate",),
    "peer.dtls.transport": ("RTCDtlsTransport",),
    "peer.exceptions": (
        "InternalError",
        "InvalidAccessError",
        "InvalidArgumentError",
        "InvalidCandidateError",
        "InvalidCharacterError",
        "InvalidDescriptionError",
        "InvalidModificationError",
        "InvalidRangeError",
        "InvalidStateError",
        "NotSupportedError",
        "OperationError",
        "RTCError",
        "SdpSyntaxError",
    ),
    "peer.ice.candidate": ("Candidate",),
    "peer.ice.options": ("IceOptions",),
    "peer.media.player": ("MediaPlayer",),
    "peer.media.recorder": ("MediaRecorder",),
    "peer.media.relay": (
        "MediaBlackhole",
        "MediaRelay",
    ),
    "peer.recovery": (
        "Recovery",
        "RecoveryReport",
    ),
    "peer.rtp.dtmf": (
        "RTCDTMFSender",
        "RTCDTMFToneChangeEvent",
    ),
    "peer.rtp.media_stream": (
        "MediaStream",
        "RemoteStreamTrack",
    ),
    "peer.rtp.receiver": (
        "RTCRtpContributingSource",
        "RTCRtpReceiver",
        "RTCRtpSynchronizationSource",
    ),
    "peer.rtp.sender": ("RTCRtpSender",),
    "peer.rtp.transceiver": ("RTCRtpTransceiver",),
    "peer.sctp.data_channel": ("RTCDataChannel",),
    "peer.sctp.transport": ("RTCSctpTransport",),
    "peer.rtp.bandwidth": ("Bandwidth",),
    "peer.rtp.congestion": ("BandwidthEstimate",),
    "peer.video.source": ("VideoSource",),
}
"""The names above again, for the running program; a test holds the two together."""

_MODULES: Final = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'peer' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        if exc.name != "numpy":
            raise
        raise ImportError(
            f"peer.{name} needs numpy: pip install 'webrtc-peer[audio]'", name="numpy"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


__all__ = [
    "AudioSink",
    "AudioSource",
    "AudioStreamTrack",
    "Bandwidth",
    "BandwidthEstimate",
    "Call",
    "CallEnded",
    "Candidate",
    "ChatBacklogFull",
    "IceOptions",
    "IceServerProvider",
    "IceServersUnavailable",
    "InternalError",
    "InvalidAccessError",
    "InvalidArgumentError",
    "InvalidCandidateError",
    "InvalidCharacterError",
    "InvalidDescriptionError",
    "InvalidModificationError",
    "InvalidRangeError",
    "InvalidStateError",
    "MediaBlackhole",
    "MediaPlayer",
    "MediaRecorder",
    "MediaRelay",
    "MediaStream",
    "MediaStreamError",
    "MediaStreamTrack",
    "NotSupportedError",
    "OperationError",
    "RTCBundlePolicy",
    "RTCCertificate",
    "RTCConfiguration",
    "RTCDTMFSender",
    "RTCDTMFToneChangeEvent",
    "RTCDataChannel",
    "RTCDataChannelParameters",
    "RTCDtlsFingerprint",
    "RTCDtlsParameters",
    "RTCDtlsTransport",
    "RTCError",
    "RTCIceCandidate",
    "RTCIceCandidatePair",
    "RTCIceGatherer",
    "RTCIceParameters",
    "RTCIceServer",
    "RTCIceTransport",
    "RTCIceTransportPolicy",
    "RTCInboundRtpStreamStats",
    "RTCOutboundRtpStreamStats",
    "RTCPeerConnection",
    "RTCRemoteInboundRtpStreamStats",
    "RTCRemoteOutboundRtpStreamStats",
    "RTCRtcpMuxPolicy",
    "RTCRtcpParameters",
    "RTCRtpCapabilities",
    "RTCRtpCodecCapability",
    "RTCRtpCodecParameters",
    "RTCRtpContributingSource",
    "RTCRtpHeaderExtensionCapability",
    "RTCRtpHeaderExtensionParameters",
    "RTCRtpParameters",
    "RTCRtpReceiver",
    "RTCRtpSender",
    "RTCRtpSynchronizationSource",
    "RTCRtpTransceiver",
    "RTCSctpCapabilities",
    "RTCSctpTransport",
    "RTCSessionDescription",
    "RTCStatsReport",
    "RTCTrackEvent",
    "RTCTransportStats",
    "Recovery",
    "RecoveryReport",
    "RemotePeer",
    "RemoteStreamTrack",
    "SdpSyntaxError",
    "VideoSource",
    "VideoStreamTrack",
]
