"""What a sender and a receiver are told of the outcome of a negotiation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Final

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
from peer.rtp.codecs import copy_codec, is_media_codec, is_telephone_event
from peer.sdp.description import MediaSection

PARAMETER_SETS: Final = "sprop-parameter-sets"
ANNOUNCED_MAX: Final = 16
"""Streams of one section, beyond which a description is not believed."""


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
    """What may come: our codecs, and the streams the peer announces, the best of several sizes last.

    Parameters that only tell what the peer sends are taken from its description (RFC 6184 §8.1).
    """
    told = {codec.payloadType: codec.parameters.get(PARAMETER_SETS) for codec in remote.codecs}
    codecs: list[RTCRtpCodecParameters] = []
    for codec in line.agreed_codecs:
        if is_telephone_event(codec):
            continue
        sets = told.get(codec.payloadType)
        if sets is not None and codec.name.lower() == "h264":
            codec = copy_codec(codec)
            codec.parameters[PARAMETER_SETS] = sets
        codecs.append(codec)
    media = next((codec for codec in codecs if not is_rtx(codec)), None)
    if media is None:
        return None
    repairs = dict(_pairs(remote, "FID"))
    protections = dict(_pairs(remote, "FEC-FR"))
    others = {*repairs.values(), *protections.values()}
    announced = [each.ssrc for each in remote.ssrcs if each.ssrc not in others]
    sizes = [
        int(i) for group in remote.ssrc_groups if group.semantics == "SIM" for i in group.items if _is_ssrc(i)
    ]
    announced.sort(key=lambda ssrc: sizes.index(ssrc) if ssrc in sizes else -1)
    return RTCRtpReceiveParameters(
        codecs=codecs,
        headerExtensions=list(line.agreed_extensions),
        muxId=line.mid or "",
        encodings=[
            RTCRtpDecodingParameters(
                ssrc=ssrc,
                payloadType=media.payloadType or 0,
                rtx=RTCRtpRtxParameters(ssrc=repairs[ssrc]) if ssrc in repairs else None,
            )
            for ssrc in dict.fromkeys(announced[-ANNOUNCED_MAX:])
        ],
    )


def _is_ssrc(item: str) -> bool:
    return item.isascii() and item.isdigit()


def _pairs(remote: MediaSection, semantics: str) -> Iterator[tuple[int, int]]:
    """SSRC of an original and of what goes with it."""
    for group in remote.ssrc_groups:
        if group.semantics == semantics and len(group.items) == 2 and all(map(_is_ssrc, group.items)):
            yield int(group.items[0]), int(group.items[1])
