"""What a sender and a receiver are told of the outcome of a negotiation."""

from __future__ import annotations

import copy

from aiortc.rtcrtpparameters import (
    RTCRtcpParameters,
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
    RTCRtpSendParameters,
)

from peer.aiortc_seams import is_rtx
from peer.jsep.mline import MLine
from peer.rtp.codecs import is_media_codec, is_telephone_event
from peer.sdp.description import MediaSection


def send_parameters(line: MLine, remote: MediaSection, cname: str) -> RTCRtpSendParameters | None:
    """The codecs carry the parameters of the peer's description: they say what it wants to get (RFC 7587 §7)."""
    wanted = {codec.payloadType: codec.parameters for codec in remote.codecs}
    codecs: list[RTCRtpCodecParameters] = []
    for codec in copy.deepcopy(line.agreed_codecs):
        if not is_rtx(codec):
            codec.parameters = dict(wanted.get(codec.payloadType, codec.parameters))
        codecs.append(codec)
    codecs.sort(key=lambda codec: not is_media_codec(codec))
    if not codecs or not is_media_codec(codecs[0]):
        return None
    return RTCRtpSendParameters(
        codecs=codecs,
        headerExtensions=list(line.agreed_extensions),
        muxId=line.mid or "",
        rtcp=RTCRtcpParameters(cname=cname, mux=True, ssrc=line.sending.ssrc),
    )


def receive_parameters(line: MLine, remote: MediaSection) -> RTCRtpReceiveParameters | None:
    codecs = [codec for codec in line.agreed_codecs if not is_telephone_event(codec)]
    if not codecs:
        return None
    parameters = RTCRtpReceiveParameters(
        codecs=codecs,
        headerExtensions=list(line.agreed_extensions),
        muxId=line.mid or "",
    )
    if not remote.ssrcs:
        return parameters  # its packets will be known by their MID
    primary = remote.ssrcs[0].ssrc
    retransmission = None
    for group in remote.ssrc_groups:
        if group.semantics == "FID" and len(group.items) == 2:
            primary, retransmission = int(group.items[0]), int(group.items[1])
            break
    encodings: dict[int, RTCRtpDecodingParameters] = {}
    for codec in codecs:
        if codec.payloadType is not None and not is_rtx(codec):
            encodings[codec.payloadType] = RTCRtpDecodingParameters(
                ssrc=primary, payloadType=codec.payloadType
            )
    for codec in codecs:
        base = codec.parameters.get("apt")
        if is_rtx(codec) and isinstance(base, int) and base in encodings and retransmission is not None:
            encodings[base].rtx = RTCRtpRtxParameters(ssrc=retransmission)
    parameters.encodings = list(encodings.values())
    return parameters
