"""The text of a session description, read line by line (RFC 8866 §9), bounded in what is taken and what that costs."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)

from peer.exceptions import SdpSyntaxError
from peer.ice.candidate import Candidate

from .bounds import (
    ATTRIBUTES_MAX,
    CANDIDATES_MAX,
    FEW_MAX,
    FORMATS_MAX,
    LATE_MAX,
    LINES_MAX,
    LINES_PER_STEP,
    SECTIONS_MAX,
    SIZE_MAX,
)
from .description import SessionDescription
from .section import DIRECTIONS, SETUPS, Group, MediaSection, Ssrc, parse_parameters

__all__ = ["parse_description", "parse_in_steps"]

_MEDIA_LINE = re.compile(r"([!-~]+) (\d{1,5})(?:/\d+)? ([!-~]+)((?: [!-~]+)*) *")
_BANDWIDTH = re.compile(r"(AS|TIAS): ?(\d{1,10})", re.ASCII)
_ATTRIBUTE = re.compile(r"([!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+)(?::(.*))?", re.DOTALL)


def parse_description(text: str) -> SessionDescription:
    """Read a session description.

    Parsing is tolerant: what is not known is kept as it came, or ignored. Raises `SdpSyntaxError`, naming the line,
    for what cannot be parsed and for what is over its bounds (`peer.sdp.bounds`).
    """
    steps = parse_in_steps(text)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            session: SessionDescription = done.value
            return session


def parse_in_steps(text: str) -> Generator[None, None, SessionDescription]:
    """Read a session description as `parse_description` does, and yield after every `LINES_PER_STEP` lines.

    An event loop that must not stand still takes a step in each of its turns. A description of a few sections is read
    at once.
    """
    parser = _Parser()
    yield from parser.read(text)
    return parser.session


class _Parser:
    def __init__(self) -> None:
        self.session = SessionDescription()
        self.number = 0
        # What stands above the first m= line holds for every section that does not say otherwise.
        self.defaults = MediaSection(kind="")
        self.section = self.defaults
        self.formats: dict[str, RTCRtpCodecParameters] = {}
        self.late: list[tuple[int, MediaSection, str, str]] = []
        self.ssrcs: dict[int, Ssrc] = {}
        self.own_fingerprints = False

    def read(self, text: str) -> Generator[None, None, None]:
        """Read the text, and yield now and then."""
        if len(text) > SIZE_MAX:
            raise SdpSyntaxError(f"a description may have at most {SIZE_MAX} characters, not {len(text)}", 1)
        lines = [line.rstrip() for line in re.split(r"\r\n|\n|\r", text)]
        if len(lines) > LINES_MAX + 1:  # the last is what follows the last line end
            raise SdpSyntaxError(f"a description may have at most {LINES_MAX} lines", LINES_MAX + 1)
        for self.number, line in enumerate(lines, 1):
            if line:
                try:
                    self._line(line)
                except ValueError as exc:
                    if isinstance(exc, SdpSyntaxError):
                        raise
                    raise self._wrong(f"{exc} in {line[:100]!r}") from None
            if self.number % LINES_PER_STEP == 0:
                yield
        if not any(lines) or not lines[0].startswith("v="):
            self.number = 1
            raise self._wrong("a session description begins with 'v=0'")
        self._finish_section()
        bundled = {mid for g in self.session.groups if g.semantics == "BUNDLE" for mid in g.items}
        for section in self.session.media:
            # RFC 9143 §6: outside a bundle it has no meaning.
            section.bundle_only = section.bundle_only and section.mid in bundled

    def _wrong(self, message: str) -> SdpSyntaxError:
        return SdpSyntaxError(message, self.number)

    def _line(self, line: str) -> None:
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise self._wrong(f"every line is '<letter>=<value>', not {line[:100]!r}")
        kind, value = line[0], line[2:]
        if kind == "m":
            self._media_line(value)
        elif kind == "a":
            self._attribute_line(value)
        elif self.section is not self.defaults:
            if kind == "c":
                self.section.connection = _connection_from_sdp(value)
            elif kind == "b" and (match := _BANDWIDTH.fullmatch(value)) is not None:
                self.section.bandwidth[match[1]] = int(match[2])
        elif kind == "v":
            if value.strip() != "0":
                raise self._wrong(f"the version of SDP is 0, not {value[:20]!r}")
        elif kind == "o":
            self.session.origin = value.strip()
        elif kind == "s":
            self.session.name = value or "-"
        elif kind == "c":
            self.defaults.connection = _connection_from_sdp(value)

    def _media_line(self, value: str) -> None:
        self._finish_section()
        match = _MEDIA_LINE.fullmatch(value)
        if match is None:
            raise self._wrong(f"'m=<media> <port> <protocol> <formats>' expected, not {value[:100]!r}")
        if len(self.session.media) >= SECTIONS_MAX:
            raise self._wrong(f"a description may have at most {SECTIONS_MAX} media sections")
        port = int(match[2])
        if port > 65535:
            raise self._wrong(f"there is no port {port}")
        formats = list(dict.fromkeys(match[4].split()))
        if len(formats) > FORMATS_MAX:
            raise self._wrong(f"a media section may have at most {FORMATS_MAX} formats, not {len(formats)}")
        section = MediaSection(
            kind=match[1],
            port=port,
            protocol=match[3],
            formats=formats,
            connection=self.defaults.connection,
            direction=self.defaults.direction,
            has_direction=self.defaults.has_direction,
            ice_ufrag=self.defaults.ice_ufrag,
            ice_pwd=self.defaults.ice_pwd,
            ice_options=list(self.defaults.ice_options),
            fingerprints=list(self.defaults.fingerprints),
            setup=self.defaults.setup,
            end_of_candidates=self.defaults.end_of_candidates,
        )
        if section.is_media:
            section.header_extensions = list(self.defaults.header_extensions)
        self.session.media.append(section)
        self.section = section
        self.formats = {}
        self.late = []
        self.ssrcs = {}
        self.own_fingerprints = False

    def _attribute_line(self, text: str) -> None:
        match = _ATTRIBUTE.fullmatch(text.rstrip())
        if match is None:
            return  # like every attribute that is not known (RFC 8866 §5.13)
        name, value = match[1], match[2]
        if self._transport_attribute(name, value):
            return
        if self.section is self.defaults:
            self._session_attribute(name, value)
        elif not (self.section.is_media and self._media_attribute(name, value)) and not self._data_attribute(
            name, value
        ):
            _keep(self.section.attributes, name, value)

    def _session_attribute(self, name: str, value: str | None) -> None:
        if name == "group":
            group = _group(_required(value))
            if len(self.session.groups) < FEW_MAX:
                self.session.groups.append(Group(group.semantics, list(dict.fromkeys(group.items))))
        elif name == "msid-semantic":
            self.session.msid_semantic = _group(_required(value).strip() or "WMS")
        elif name == "ice-lite":
            self.session.ice_lite = True
        elif name == "extmap-allow-mixed":
            self.session.extmap_allow_mixed = True
        elif name == "extmap":
            self._extension(_required(value))  # RFC 8285 §5: of all sections
        else:
            _keep(self.session.attributes, name, value)

    def _transport_attribute(self, name: str, value: str | None) -> bool:
        section = self.section
        if name in DIRECTIONS:
            section.direction = name  # type: ignore[assignment]
            section.has_direction = True
        elif name == "ice-ufrag":
            section.ice_ufrag = _ice_string(_required(value), 4)
        elif name == "ice-pwd":
            section.ice_pwd = _ice_string(_required(value), 22)
        elif name == "ice-options":
            # libdatachannel puts commas between them.
            options = _required(value).replace(",", " ").split()
            section.ice_options = list(dict.fromkeys(options))[:FEW_MAX]
        elif name == "fingerprint":
            parts = _required(value).split()
            if len(parts) != 2:
                raise self._wrong("a fingerprint is an algorithm and a value")
            if section is not self.defaults and not self.own_fingerprints:
                # A section's own fingerprints stand in for the session's (RFC 8122 §5).
                section.fingerprints = []
                self.own_fingerprints = True
            if len(section.fingerprints) < FEW_MAX:
                section.fingerprints.append((parts[0].lower(), parts[1].upper()))
        elif name == "setup":
            role = _required(value).strip()
            if role not in SETUPS:
                raise self._wrong(f"setup is one of {', '.join(SETUPS)}, not {role[:40]!r}")
            section.setup = role  # type: ignore[assignment]
        elif name == "end-of-candidates":
            section.end_of_candidates = True
        elif section is self.defaults:
            return False
        elif name == "candidate":
            self._candidate(_required(value))
        elif name == "mid":
            section.mid = _required(value).strip()
            if not re.fullmatch(r"[!-~]{1,255}", section.mid):
                raise self._wrong("a mid has 1 to 255 characters of ASCII, and no space")
        elif name == "bundle-only":
            section.bundle_only = True
        else:
            return False
        return True

    def _candidate(self, value: str) -> None:
        if len(self.section.candidates) >= CANDIDATES_MAX:
            return
        try:
            self.section.candidates.append(Candidate.from_sdp(value))
        except ValueError:
            # RFC 8839 §5.1: a candidate of a transport or type not known is ignored, and so is a broken one:
            # the others may do.
            return

    def _media_attribute(self, name: str, value: str | None) -> bool:
        section = self.section
        if name == "rtcp-mux":
            section.rtcp_mux = True
        elif name == "rtcp-rsize":
            section.rtcp_rsize = True
        elif name == "extmap-allow-mixed":
            section.extmap_allow_mixed = True
        elif name == "extmap":
            self._extension(_required(value))
        elif name == "msid":
            parts = _required(value).split()
            if parts and len(section.msids) < FEW_MAX:
                section.msids.append((parts[0], parts[1] if len(parts) > 1 else None))
        elif name == "rtpmap":
            self._rtpmap(_required(value))
        elif name in ("fmtp", "rtcp-fb"):
            # They may stand before the rtpmap they speak of.
            text = _required(value)
            if len(self.late) < LATE_MAX:
                self.late.append((self.number, section, name, text))
        elif name == "ssrc":
            self._ssrc(_required(value))
        elif name == "ssrc-group":
            group = _group(_required(value))
            if all(item.isascii() and item.isdigit() for item in group.items):
                section.ssrc_groups.append(group)
        elif name == "rid":
            section.rids.append(_required(value))
        elif name == "simulcast":
            section.simulcast = _required(value)
        elif name == "rtcp":
            pass
        else:
            return False
        return True

    def _data_attribute(self, name: str, value: str | None) -> bool:
        section = self.section
        if name == "sctp-port":
            section.sctp_port = _number(_required(value).strip(), 65535)
        elif name == "sctpmap":
            # draft-ietf-mmusic-sctp-sdp-05: the format is the port.
            _keep(section.attributes, name, value)
        elif name == "max-message-size":
            section.max_message_size = _number(_required(value).strip(), 2**63)
        elif name == "sctp-init":
            section.sctp_init = _required(value).strip()
        else:
            return False
        return True

    def _extension(self, value: str) -> None:
        identifier, _, rest = value.partition(" ")
        number = _number(identifier.partition("/")[0], 65535)
        uri = rest.strip().partition(" ")[0]
        known = self.section.header_extensions
        if uri and len(known) < FEW_MAX:
            known.append(RTCRtpHeaderExtensionParameters(id=number, uri=uri))

    def _rtpmap(self, value: str) -> None:
        number, _, description = value.partition(" ")
        payload_type = _number(number, 127)
        parts = description.strip().split("/")
        if len(parts) < 2 or not parts[0]:
            raise self._wrong("'rtpmap:<payload type> <name>/<clock rate>' expected")
        channels = None
        if self.section.kind == "audio":
            channels = (_number(parts[2], 255) if len(parts) > 2 else 0) or 1
        codec = RTCRtpCodecParameters(
            mimeType=f"{self.section.kind}/{parts[0]}",
            clockRate=_number(parts[1], 2**32),
            channels=channels,
            payloadType=payload_type,
        )
        self.formats[str(payload_type)] = codec

    def _ssrc(self, value: str) -> None:
        number, _, attribute = value.partition(" ")
        ssrc = _number(number, 2**32 - 1)
        name, _, text = attribute.partition(":")
        if not name:
            return
        entry = self.ssrcs.get(ssrc)
        if entry is None:
            entry = self.ssrcs[ssrc] = Ssrc(ssrc)
            self.section.ssrcs.append(entry)
        entry.attributes[name] = text

    def _finish_section(self) -> None:
        section = self.section
        if section is self.defaults or not section.is_media:
            return
        everywhere = 0
        for number, where, name, value in self.late:
            assert where is section
            self.number = number
            which, _, rest = value.partition(" ")
            if name == "fmtp":
                if (codec := self._codec(which)) is not None:
                    codec.parameters = parse_parameters(rest)
                continue
            kind, _, parameter = rest.strip().partition(" ")
            everywhere += which == "*"
            if everywhere > FEW_MAX:
                continue
            targets = section.formats if which == "*" else [which]
            for target in targets:
                if (codec := self._codec(target)) is not None:
                    codec.rtcpFeedback.append(RTCRtcpFeedback(type=kind, parameter=parameter or None))
        # In the order of preference, which is that of the m= line, and nothing it does not name.
        section.codecs = [codec for name in section.formats if (codec := self._codec(name)) is not None]
        self.late = []

    def _codec(self, name: str) -> RTCRtpCodecParameters | None:
        codec = self.formats.get(name)
        if codec is None and self.section.kind == "audio" and name in _STATIC:
            # RFC 3551 §6: these need no rtpmap.
            encoding, clock_rate = _STATIC[name]
            codec = RTCRtpCodecParameters(
                mimeType=f"audio/{encoding}", clockRate=clock_rate, channels=1, payloadType=int(name)
            )
            self.formats[name] = codec
        return codec


_STATIC: Final = {"0": ("PCMU", 8000), "8": ("PCMA", 8000), "9": ("G722", 8000)}


def _keep(attributes: list[tuple[str, str | None]], name: str, value: str | None) -> None:
    if len(attributes) < ATTRIBUTES_MAX:
        attributes.append((name, value))


def _required(value: str | None) -> str:
    if value is None:
        raise ValueError("a value is missing")
    return value


def _number(text: str, maximum: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= maximum):
        raise ValueError(f"{text[:40]!r} is not a number from 0 to {maximum}")
    return int(text)


def _ice_string(text: str, shortest: int) -> str:
    text = text.strip()
    if not shortest <= len(text) <= 256:
        raise ValueError(f"an ICE username fragment or password has {shortest} to 256 characters")
    return text


def _group(value: str) -> Group:
    parts = value.split()
    if not parts:
        raise ValueError("a group has semantics")
    return Group(parts[0], parts[1:])


def _connection_from_sdp(value: str) -> str:
    parts = value.split()
    address = parts[2].partition("/")[0] if len(parts) == 3 and parts[0] == "IN" else ""
    if not address:
        raise ValueError("'c=IN IP4 <address>' or 'c=IN IP6 <address>' expected")
    return address
