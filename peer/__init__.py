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

from . import aiortc_seams as _seams
from .certificate import RTCCertificate
from .configuration import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCRtcpMuxPolicy,
)
from .datachannel import RTCDataChannel
from .dtlstransport import RTCDtlsTransport
from .dtmf import RTCDTMFSender, RTCDTMFToneChangeEvent
from .events import RTCTrackEvent
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
from .ice.candidate import Candidate
from .ice.options import IceOptions
from .ice_server_provider import IceServerProvider, IceServersUnavailable
from .icecandidate import RTCIceCandidate, RTCIceCandidatePair
from .icetransport import RTCIceTransport
from .mediastream import MediaStream, RemoteStreamTrack
from .peerconnection import RTCPeerConnection
from .rtpreceiver import RTCRtpContributingSource, RTCRtpReceiver, RTCRtpSynchronizationSource
from .rtpsender import RTCRtpSender
from .rtptransceiver import RTCRtpTransceiver
from .sctptransport import RTCSctpTransport
from .sessiondescription import RTCSessionDescription

if TYPE_CHECKING:
    from .call import Call as Call
    from .call import CallEnded as CallEnded
    from .call_chat import ChatBacklogFull as ChatBacklogFull
    from .call_peer import RemotePeer as RemotePeer
    from .media import AudioSink as AudioSink
    from .media import AudioSource as AudioSource
    from .recovery import Recovery as Recovery
    from .recovery import RecoveryReport as RecoveryReport

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())

_seams.check()

# Loaded when they are asked for: they bring in the signalling client or numpy, which a bare connection needs not.
_LATER = {
    "Call": "peer.call",
    "CallEnded": "peer.call",
    "ChatBacklogFull": "peer.call_chat",
    "Recovery": "peer.recovery",
    "RecoveryReport": "peer.recovery",
    "RemotePeer": "peer.call_peer",
    "AudioSource": "peer.media",
    "AudioSink": "peer.media",
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
