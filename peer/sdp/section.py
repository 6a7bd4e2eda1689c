"""Media sections as data, and how they are written (RFC 8866 §5.14, RFC 9429 §5.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from peer.ice.candidate import Candidate

__all__ = [
    "DATA_PROTOCOLS",
    "DIRECTIONS",
    "SETUPS",
    "Direction",
    "Group",
    "MediaSection",
    "Setup",
    "Ssrc",
    "format_parameters",
    "parse_parameters",
]

Direction: TypeAlias = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup: TypeAlias = Literal["actpass", "active", "passive", "holdconn"]

DIRECTIONS: Final = ("inactive", "sendonly", "recvonly", "sendrecv")
SETUPS: Final = ("actpass", "active", "passive", "holdconn")

DATA_PROTOCOLS: Final = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP")
"""RFC 8841 §4, and the form before it."""

# aiortc's codecs expect these as numbers.
_INTEGER_PARAMETERS = frozenset(
    {"apt", "max-fr", "max-fs", "maxplaybackrate", "minptime", "stereo", "useinbandfec", "usedtx"}
)


@dataclass
class Ssrc:
    """One `a=ssrc`, with its attributes (RFC 5576)."""

    ssrc: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Group:
    """`a=group`, `a=ssrc-group` or `a=msid-semantic`."""

    semantics: str
    items: list[str]

    def __str__(self) -> str:
        return " ".join([self.semantics, *self.items])


@dataclass
class MediaSection:
    """One m= section. The defaults are those of a section that does not say."""

    kind: str
    port: int = 9
    protocol: str = "UDP/TLS/RTP/SAVPF"
    formats: list[str] = field(default_factory=list)
    connection: str = "0.0.0.0"
    bandwidth: dict[str, int] = field(default_factory=dict)
    """The values of `b=` lines by their type: `AS` in kilobits per second, `TIAS` in bits."""
    mid: str = ""
    implicit_mid: bool = False
    """The peer gave no mid, and this one is for our own use."""
    direction: Direction = "sendrecv"
    has_direction: bool = False
    bundle_only: bool = False

    codecs: list[RTCRtpCodecParameters] = field(default_factory=list)
    header_extensions: list[RTCRtpHeaderExtensionParameters] = field(default_factory=list)
    extmap_allow_mixed: bool = False
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    msids: list[tuple[str, str | None]] = field(default_factory=list)
    """Stream id (`-` for none) and track id."""
    ssrcs: list[Ssrc] = field(default_factory=list)
    ssrc_groups: list[Group] = field(default_factory=list)
    rids: list[str] = field(default_factory=list)
    simulcast: str | None = None

    ice_ufrag: str | None = None
    ice_pwd: str | None = None
    ice_options: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    end_of_candidates: bool = False

    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    """Algorithm and value."""
    setup: Setup | None = None

    sctp_port: int | None = None
    max_message_size: int | None = None
    sctp_init: str | None = None

    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    """Those not known here, in order."""

    @property
    def is_media(self) -> bool:
        """Whether the section is of audio or video."""
        return self.kind in ("audio", "video")

    @property
    def is_data(self) -> bool:
        """Whether the section is of data channels."""
        return self.kind == "application" and self.protocol in DATA_PROTOCOLS

    @property
    def legacy_data(self) -> bool:
        """The form of the drafts before RFC 8841, which old endpoints still send."""
        return self.is_data and self.sctp_port is None and not self.protocol.startswith(("UDP/", "TCP/"))

    @property
    def rejected(self) -> bool:
        """RFC 9429 §5.3.1: a zero port, which under `a=bundle-only` means something else."""
        return self.port == 0 and not self.bundle_only

    @property
    def max_bitrate(self) -> int | None:
        """Bits per second its writer takes, of all that is sent to it here (RFC 9429 §5.9); None without a limit."""
        if self.bandwidth.get("TIAS"):
            return self.bandwidth["TIAS"]
        if self.bandwidth.get("AS"):
            # Without 5 % for RTCP, and the headers of 50 packets a second.
            return max(1, self.bandwidth["AS"] * 950 - 50 * 40 * 8)
        return None

    def value(self, name: str) -> str | None:
        """The value of the first unknown attribute of that name."""
        return next((value for key, value in self.attributes if key == name), None)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the section, as they stand in a description."""
        yield f"m={self.kind} {self.port} {self.protocol} {' '.join(self.formats)}".rstrip()
        yield f"c={_connection_to_sdp(self.connection)}"
        yield from (f"b={kind}:{value}" for kind, value in self.bandwidth.items())
        if self.bundle_only:
            yield "a=bundle-only"
        if self.is_media:
            yield "a=rtcp:9 IN IP4 0.0.0.0"
        yield from (f"a=candidate:{c.to_sdp().removeprefix('candidate:')}" for c in self.candidates)
        if self.end_of_candidates:
            yield "a=end-of-candidates"
        if self.ice_ufrag is not None:
            yield f"a=ice-ufrag:{self.ice_ufrag}"
        if self.ice_pwd is not None:
            yield f"a=ice-pwd:{self.ice_pwd}"
        if self.ice_options:
            yield f"a=ice-options:{' '.join(self.ice_options)}"
        if self.mid and not self.implicit_mid:
            yield f"a=mid:{self.mid}"
        if self.is_media:
            yield from self._media_lines()
        elif self.has_direction:
            yield f"a={self.direction}"
        if self.sctp_port is not None:
            yield f"a=sctp-port:{self.sctp_port}"
        if self.max_message_size is not None:
            yield f"a=max-message-size:{self.max_message_size}"
        if self.sctp_init is not None:
            yield f"a=sctp-init:{self.sctp_init}"
        yield from (f"a={name}" if value is None else f"a={name}:{value}" for name, value in self.attributes)
        yield from (f"a=fingerprint:{algorithm} {value}" for algorithm, value in self.fingerprints)
        if self.setup is not None:
            yield f"a=setup:{self.setup}"

    def _media_lines(self) -> Iterator[str]:
        yield from (f"a=extmap:{extension.id} {extension.uri}" for extension in self.header_extensions)
        if self.extmap_allow_mixed:
            yield "a=extmap-allow-mixed"
        if self.has_direction:
            yield f"a={self.direction}"
        for stream, track in self.msids:
            yield f"a=msid:{stream}" if track is None else f"a=msid:{stream} {track}"
        if self.rtcp_mux:
            yield "a=rtcp-mux"
        if self.rtcp_rsize:
            yield "a=rtcp-rsize"
        if self.kind == "audio":
            yield from (f"a=rtpmap:{codec.payloadType} {_rtpmap(codec)}" for codec in self.codecs)
        for codec in self.codecs:
            if self.kind != "audio":
                yield f"a=rtpmap:{codec.payloadType} {_rtpmap(codec)}"
            for feedback in codec.rtcpFeedback:
                parameter = f" {feedback.parameter}" if feedback.parameter else ""
                yield f"a=rtcp-fb:{codec.payloadType} {feedback.type}{parameter}"
            if codec.parameters:
                yield f"a=fmtp:{codec.payloadType} {format_parameters(codec.parameters)}"
        yield from (f"a=rid:{rid}" for rid in self.rids)
        if self.simulcast is not None:
            yield f"a=simulcast:{self.simulcast}"
        yield from (f"a=ssrc-group:{group}" for group in self.ssrc_groups)
        for ssrc in self.ssrcs:
            yield from (f"a=ssrc:{ssrc.ssrc} {name}:{value}" for name, value in ssrc.attributes.items())


def format_parameters(parameters: Mapping[str, int | str | None]) -> str:
    """The value of an `a=fmtp` line."""
    return ";".join(name if value is None else f"{name}={value}" for name, value in parameters.items())


def parse_parameters(text: str) -> dict[str, int | str | None]:
    """The parameters in the value of an `a=fmtp` line."""
    out: dict[str, int | str | None] = {}
    for part in text.split(";"):
        name, equals, value = part.strip().partition("=")
        if not name:
            continue
        if not equals:
            out[name] = None
        elif name in _INTEGER_PARAMETERS and value.isascii() and value.isdigit() and len(value) < 10:
            out[name] = int(value)
        else:
            out[name] = value
    return out


def _rtpmap(codec: RTCRtpCodecParameters) -> str:
    text = f"{codec.name}/{codec.clockRate}"
    return f"{text}/{codec.channels}" if codec.channels is not None and codec.channels > 1 else text


def _connection_to_sdp(address: str) -> str:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        # A name is allowed here (RFC 8866 §5.7).
        version = 4
    return f"IN IP{version} {address}"
