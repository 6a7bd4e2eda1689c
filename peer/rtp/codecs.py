"""What can be sent and received: codecs and header extensions, and which of them two sides have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from aiortc.codecs import HEADER_EXTENSIONS as _HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCapabilities,
    RTCRtpCodecCapability,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionCapability,
    RTCRtpHeaderExtensionParameters,
)

from peer.aiortc_seams import codecs_of
from peer.aiortc_seams import is_rtx as is_rtx
from peer.sdp.description import format_parameters, parse_parameters

from .h264 import H264Format, H264Profile

OPUS_PARAMETERS: Final[dict[str, int | str | None]] = {"minptime": 10, "useinbandfec": 1}
"""RFC 7587 §6.1: what we can decode. Without it a browser sends no forward error correction."""

# RFC 5761 §4.
_TAKEN_BY_RTCP: Final = range(64, 96)


TRANSPORT_NUMBER: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
"""The extension that numbers the packets of a transport."""
TRANSPORT_FEEDBACK: Final = RTCRtcpFeedback(type="transport-cc")
"""That these numbers are reported back, for the sender to estimate its bandwidth."""

_EXTENSION_IDS: Final = {
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": 2,
    "urn:ietf:params:rtp-hdrext:sdes:mid": 9,
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": 10,
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": 11,
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": 13,
    TRANSPORT_NUMBER: 12,
}
"""Ids that mean the same in sections of the kind in libwebrtc's offers, or nothing. It refuses another meaning for an
id that it has offered for a section, also when it has rolled that offer back, and we were never told of it."""

HEADER_EXTENSIONS: Final = {
    kind: [RTCRtpHeaderExtensionParameters(id=_EXTENSION_IDS[uri], uri=uri) for uri in uris]
    for kind, uris in {
        "audio": [*(each.uri for each in _HEADER_EXTENSIONS["audio"]), TRANSPORT_NUMBER],
        "video": [
            *(each.uri for each in _HEADER_EXTENSIONS["video"]),
            TRANSPORT_NUMBER,
            # RFC 8852: which encoding of several a packet belongs to, or repairs.
            "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        ],
    }.items()
}

TELEPHONE_EVENTS: Final = {48000: 110, 8000: 101}
"""Clock rate → payload type: RFC 4733 events go by the clock of the codec beside them."""

MORE_H264: Final = {
    112: H264Format(H264Profile.BASELINE, 0),
    114: H264Format(H264Profile.CONSTRAINED_BASELINE, 0),
    116: H264Format(H264Profile.MAIN, 1),
    118: H264Format(H264Profile.MAIN, 0),
}
"""Payload type → form, beside aiortc's, which browsers offer too. Retransmissions have the next number."""


def is_telephone_event(codec: RTCRtpCodecParameters | RTCRtpCodecCapability) -> bool:
    """Whether it is the format of RFC 4733, which is no media by itself."""
    return codec.mimeType.lower() == "audio/telephone-event"


def is_media_codec(codec: RTCRtpCodecParameters | RTCRtpCodecCapability) -> bool:
    """Whether there is sound or picture in it: neither retransmission nor telephone events."""
    return not is_rtx(codec) and not is_telephone_event(codec)


def is_h264(codec: RTCRtpCodecParameters | RTCRtpCodecCapability) -> bool:
    """Whether it is a form of H.264."""
    return codec.mimeType.lower() == "video/h264"


def local_codecs(kind: str, *, more: bool = True) -> list[RTCRtpCodecParameters]:
    """Every codec of a kind, with the payload types of a first offer.

    `more`: beside those of aiortc telephone events, and H.264 in its other forms.
    """
    codecs = [copy_codec(codec) for codec in codecs_of(kind)]
    if kind == "audio" and more:
        codecs += [
            RTCRtpCodecParameters("audio/telephone-event", rate, 1, number)
            for rate, number in TELEPHONE_EVENTS.items()
        ]
    h264 = next(filter(is_h264, codecs), None)
    for number, form in MORE_H264.items() if more and h264 is not None else ():
        assert h264 is not None
        codecs.append(replace(copy_codec(h264), payloadType=number, parameters=form.parameters))
        codecs.append(
            RTCRtpCodecParameters("video/rtx", h264.clockRate, None, number + 1, parameters={"apt": number})
        )
    for codec in codecs:
        if codec.mimeType.lower() == "audio/opus":
            codec.parameters = dict(OPUS_PARAMETERS)
        if is_media_codec(codec):
            codec.rtcpFeedback.append(TRANSPORT_FEEDBACK)
    return codecs


@cache
def mime_types(kind: str) -> frozenset[str]:
    """MIME types of the codecs of a kind, in small letters."""
    return frozenset(codec.mimeType.lower() for codec in local_codecs(kind))


def offered_codecs(
    kind: str, agreed: Sequence[RTCRtpCodecParameters], *, more: bool = True
) -> list[RTCRtpCodecParameters]:
    """Every codec of a kind, and what else has been agreed on: an offer takes back nothing that is in use.

    Payload types are those of a first offer; of what else there is they are above all that can be given, and only say
    which retransmission belongs to which codec.
    """
    codecs = local_codecs(kind, more=more)
    known = {codec_key(codec) for codec in codecs}
    numbers: dict[int | None, int] = {}
    for codec in agreed:
        if is_media_codec(codec) and codec_key(codec) not in known:
            numbers[codec.payloadType] = 128 + len(numbers)
            codecs.append(replace(copy_codec(codec), payloadType=numbers[codec.payloadType]))
    repairs = [codec for codec in agreed if is_rtx(codec)]
    for codec in repairs:
        apt = codec.parameters.get("apt")
        if isinstance(apt, int) and apt in numbers:
            number = 128 + len(numbers) + repairs.index(codec)
            codecs.append(replace(codec, payloadType=number, parameters={"apt": numbers[apt]}))
    return codecs


def codec_key(codec: RTCRtpCodecParameters | RTCRtpCodecCapability) -> tuple[object, ...]:
    """What makes a codec another one: name, clock, channels, and the form of H.264."""
    form: object = None
    if is_h264(codec):
        try:
            form = H264Format.of(codec.parameters).key
        except ValueError:
            form = tuple(sorted(codec.parameters.items(), key=str))
    name = codec.mimeType.lower()
    channels = codec.channels if codec.channels != 1 else None
    # Opus always has two (RFC 7587 §7), and not all write them.
    return name, codec.clockRate, 2 if name == "audio/opus" else channels, form


def is_reported(codecs: Iterable[RTCRtpCodecParameters]) -> bool:
    """Whether it has been agreed on that what arrives is reported transport-wide."""
    return any(TRANSPORT_FEEDBACK.type == each.type for codec in codecs for each in codec.rtcpFeedback)


def copy_codec(codec: RTCRtpCodecParameters) -> RTCRtpCodecParameters:
    """One whose parameters and feedback can be changed. (`deepcopy` takes twenty times as long.)."""
    return replace(codec, parameters=dict(codec.parameters), rtcpFeedback=list(codec.rtcpFeedback))


class CodecCapability(RTCRtpCodecCapability):
    """A codec that can be used, with the W3C's member beside aiortc's `parameters`."""

    @property
    def sdpFmtpLine(self) -> str | None:
        """The parameters, as an `a=fmtp` line has them; None without."""
        return format_parameters(self.parameters) or None


def codec_capability(value: object) -> RTCRtpCodecCapability | None:
    """A capability, or the dictionary that stands for one; None for anything else."""
    if isinstance(value, RTCRtpCodecCapability):
        return value
    if not isinstance(value, Mapping):
        return None
    name, rate = value.get("mimeType"), value.get("clockRate")
    if not isinstance(name, str) or "/" not in name or not isinstance(rate, int):
        return None
    line = value.get("sdpFmtpLine")
    parameters = dict(value.get("parameters") or {}) if line is None else parse_parameters(str(line))
    return CodecCapability(name, rate, value.get("channels"), parameters)


def capabilities(kind: str) -> RTCRtpCapabilities:
    """W3C `getCapabilities`. Retransmission is named once, without parameters."""
    found: list[RTCRtpCodecCapability] = []
    for codec in local_codecs(kind):
        capability = CodecCapability(
            mimeType=codec.mimeType,
            clockRate=codec.clockRate,
            channels=codec.channels,
            parameters={} if is_rtx(codec) else dict(codec.parameters),
        )
        if capability not in found:
            found.append(capability)
    return RTCRtpCapabilities(
        codecs=found,
        headerExtensions=[RTCRtpHeaderExtensionCapability(uri=e.uri) for e in HEADER_EXTENSIONS[kind]],
    )


def preferred(
    codecs: list[RTCRtpCodecParameters], preferences: Sequence[RTCRtpCodecCapability]
) -> list[RTCRtpCodecParameters]:
    """The codecs a transceiver's preferences leave, in their order."""
    if not preferences:
        return codecs
    # In an answer a codec carries what both sides have agreed on: only what makes it another one tells which it is.
    out: list[RTCRtpCodecParameters] = []
    rtx = [codec for codec in codecs if is_rtx(codec)]
    keeps_rtx = any(is_rtx(preference) for preference in preferences)
    for preference in preferences:
        if is_rtx(preference):
            continue
        for codec in codecs:
            if not is_rtx(codec) and codec not in out and codec_key(codec) == codec_key(preference):
                out.append(codec)
                if keeps_rtx:
                    out += [other for other in rtx if other.parameters.get("apt") == codec.payloadType]
    return out


def common_codecs(
    kind: str,
    remote: list[RTCRtpCodecParameters],
    preferences: Sequence[RTCRtpCodecCapability],
    *,
    more: bool = True,
) -> list[RTCRtpCodecParameters]:
    """What both sides can do, under the remote's payload types and in its order, unless there are preferences.

    Empty, or nothing but retransmission, when there is nothing in common.
    """
    common = preferred(_matching(local_codecs(kind, more=more), remote), preferences)
    return common if any(is_media_codec(codec) for codec in common) else []


def _matching(
    ours: list[RTCRtpCodecParameters], remote: list[RTCRtpCodecParameters]
) -> list[RTCRtpCodecParameters]:
    """The remote's codecs that are ours too: as we write them, under the remote's payload types.

    aiortc's own search knows only payload types from 96, and browsers number from 35.
    """
    found: dict[int | None, RTCRtpCodecParameters] = {}
    for theirs in remote:
        number = theirs.payloadType
        if is_rtx(theirs) or number is None or number in _TAKEN_BY_RTCP:
            continue
        known = next((codec for codec in ours if not is_rtx(codec) and _compatible(codec, theirs)), None)
        if known is not None:
            codec = copy_codec(known)
            codec.payloadType = number
            codec.rtcpFeedback = [f for f in codec.rtcpFeedback if f in theirs.rtcpFeedback]
            if is_h264(codec):
                codec.parameters = H264Format.of(theirs.parameters).agreed().parameters
            found[number] = codec
    out = []
    for theirs in remote:
        if theirs.payloadType in found:
            out.append(found[theirs.payloadType])
        elif is_rtx(theirs) and theirs.payloadType not in _TAKEN_BY_RTCP:
            apt = theirs.parameters.get("apt")
            base = found.get(apt) if isinstance(apt, int) else None
            if base is not None and base.clockRate == theirs.clockRate:
                out.append(copy_codec(theirs))
    return out


def _compatible(ours: RTCRtpCodecParameters, theirs: RTCRtpCodecParameters) -> bool:
    if is_h264(theirs):
        if not is_h264(ours) or ours.clockRate != theirs.clockRate:
            return False
        try:
            H264Format.of(theirs.parameters)
        except ValueError:
            return False  # of another profile, or parameters that are none: a=fmtp:99 packetization-mode
        return True
    return codec_key(ours) == codec_key(theirs)


def common_extensions(
    kind: str, remote: Iterable[RTCRtpHeaderExtensionParameters]
) -> list[RTCRtpHeaderExtensionParameters]:
    ours = {extension.uri for extension in HEADER_EXTENSIONS[kind]}
    found: dict[str, RTCRtpHeaderExtensionParameters] = {}
    for extension in remote:
        # Ids above 14 need two-byte headers, which aiortc does write; 15 is reserved (RFC 8285 §4.2).
        if (
            extension.uri in ours
            and extension.uri not in found
            and 1 <= extension.id <= 255
            and extension.id != 15
        ):
            found[extension.uri] = extension
    return list(found.values())
