"""WebRTC for asyncio: a peer connection that behaves like a browser's.

Everything public is here: the W3C's interfaces under the W3C's names, and the names of aiortc. A program written for
aiortc changes its import to `peer.aiortc` and nothing else. Media helpers are in `peer.contrib.media`.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from aiortc import (
    AudioStreamTrack,
    MediaStreamError,
    MediaStreamTrack,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCIceGatherer,
    RTCIceParameters,
    RTCInboundRtpStreamStats,
    RTCOutboundRtpStreamStats,
    RTCRemoteInboundRtpStreamStats,
    RTCRemoteOutboundRtpStreamStats,
    RTCRtcpParameters,
    RTCRtpCapabilities,
    RTCRtpCodecCapability,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionCapability,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
    RTCSctpCapabilities,
    RTCStatsReport,
    RTCTransportStats,
    VideoStreamTrack,
)
from aiortc.contrib.media import MediaBlackhole, MediaPlayer, MediaRecorder, MediaRelay

from peer.aio.emitter import RTCTrackEvent
from peer.connection.configuration import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCRtcpMuxPolicy,
)
from peer.connection.ice_candidate import RTCIceCandidate, RTCIceCandidatePair
from peer.connection.ice_servers import IceServerProvider, IceServersUnavailable
from peer.connection.ice_transport import RTCIceTransport
from peer.connection.peer_connection import RTCPeerConnection
from peer.connection.session_description import RTCSessionDescription
from peer.dtls.certificate import RTCCertificate
from peer.dtls.transport import RTCDtlsTransport
from peer.ice.candidate import Candidate
from peer.ice.options import IceOptions
from peer.rtp.dtmf import RTCDTMFSender, RTCDTMFToneChangeEvent
from peer.rtp.media_stream import MediaStream, RemoteStreamTrack
from peer.rtp.receiver import RTCRtpContributingSource, RTCRtpReceiver, RTCRtpSynchronizationSource
from peer.rtp.sender import RTCRtpSender
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport

from . import aiortc_seams as _seams
from .exceptions import (
    InternalError,
    InvalidAccessError,
    InvalidArgumentError,
    InvalidCandidateError,
    InvalidCharacterError,
    InvalidDescriptionError,
    InvalidModificationError,
    InvalidRangeError,
    InvalidStateError,
    NotSupportedError,
    OperationError,
    RTCError,
    SdpSyntaxError,
)

if TYPE_CHECKING:
    from peer.call.call import Call as Call
    from peer.call.call import CallEnded as CallEnded
    from peer.call.chat import ChatBacklogFull as ChatBacklogFull
    from peer.call.remote_peer import RemotePeer as RemotePeer

    from .audio import AudioSink as AudioSink
    from .audio import AudioSource as AudioSource
    from .recovery import Recovery as Recovery
    from .recovery import RecoveryReport as RecoveryReport

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())

_seams.check()

# Loaded when they are asked for: they bring in the signalling client or numpy, which a bare connection needs not.
_LATER = {
    "Call": "peer.call.call",
    "CallEnded": "peer.call.call",
    "ChatBacklogFull": "peer.call.chat",
    "Recovery": "peer.recovery",
    "RecoveryReport": "peer.recovery",
    "RemotePeer": "peer.call.remote_peer",
    "AudioSource": "peer.audio",
    "AudioSink": "peer.audio",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'peer' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        if exc.name != "numpy":
            raise
        raise ImportError(
            f"peer.{name} needs numpy: pip install 'webrtc-peer[audio]'", name="numpy"
        ) from None


__all__ = [
    "AudioStreamTrack",
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
    "VideoStreamTrack",
]
