"""RTCIceCandidate (W3C WebRTC §4.8.1), the ways a candidate is written, and pairs of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import aiortc

from peer.exceptions import InvalidArgumentError, InvalidCandidateError, OperationError
from peer.ice.candidate import Candidate


class RTCIceCandidate(aiortc.RTCIceCandidate):
    """A candidate, and the media section it belongs to.

    Made either from a browser's members (`candidate="candidate:…"`, `sdpMid`, `sdpMLineIndex`, `usernameFragment`;
    as keywords, or as one dictionary) or from aiortc's fields (`component`, `foundation`, `ip`, `port`, …).
    A `candidate` text that cannot be parsed leaves the parsed members at `None`, as the W3C has it;
    `RTCPeerConnection.addIceCandidate` is what refuses it. An empty `candidate` says that no more will come.

    Raises `InvalidCandidateError` (a `TypeError` and a `ValueError`) when made from a `candidate` text
    with neither `sdpMid` nor `sdpMLineIndex`.
    """

    def __init__(
        self,
        component: Any = None,
        foundation: str | None = None,
        ip: str | None = None,
        port: int | None = None,
        priority: int | None = None,
        protocol: str | None = None,
        type: str | None = None,
        relatedAddress: str | None = None,
        relatedPort: int | None = None,
        sdpMid: str | None = None,
        sdpMLineIndex: int | None = None,
        tcpType: str | None = None,
        *,
        candidate: str | None = None,
        usernameFragment: str | None = None,
    ) -> None:
        if isinstance(component, Mapping):
            members = component
            component = None
            candidate = members.get("candidate", "")
            sdpMid = members.get("sdpMid")
            sdpMLineIndex = members.get("sdpMLineIndex")
            usernameFragment = members.get("usernameFragment")
        _require(sdpMid is None or isinstance(sdpMid, str), "sdpMid must be a string or None", sdpMid)
        _require(
            sdpMLineIndex is None
            or (
                isinstance(sdpMLineIndex, int)
                and not isinstance(sdpMLineIndex, bool)
                and 0 <= sdpMLineIndex < 65536
            ),
            "sdpMLineIndex must be a number from 0 to 65535 or None",
            sdpMLineIndex,
        )
        _require(
            usernameFragment is None or isinstance(usernameFragment, str),
            "usernameFragment must be a string or None",
            usernameFragment,
        )
        self._text = candidate
        self._parsed: Candidate | None = None
        self.usernameFragment: str | None = usernameFragment
        self.url: str | None = None
        self.relayProtocol: str | None = None
        if candidate is None and foundation is None:
            candidate = self._text = ""
        if candidate is not None:
            _require(isinstance(candidate, str), "candidate must be a string", candidate)
            if sdpMid is None and sdpMLineIndex is None:
                raise InvalidCandidateError("Candidate must have either sdpMid or sdpMLineIndex")
            with contextlib.suppress(ValueError):
                self._parsed = Candidate.from_sdp(candidate) if candidate.strip() else None
            self._fill(self._parsed)
            if usernameFragment is None and self._parsed is not None:
                self.usernameFragment = self._parsed.username_fragment
        else:
            # aiortc's dataclass, field for field.
            self.component = cast(int, component)
            self.foundation = cast(str, foundation)
            self.ip = cast(str, ip)
            self.port = cast(int, port)
            self.priority = cast(int, priority)
            self.protocol = cast(str, protocol)
            self.type = cast(str, type)
            self.relatedAddress = relatedAddress
            self.relatedPort = relatedPort
            self.tcpType = tcpType
        self.sdpMid = sdpMid
        self.sdpMLineIndex = sdpMLineIndex

    def _fill(self, parsed: Candidate | None) -> None:
        absent = cast(Any, None)
        self.component = parsed.component if parsed else absent
        self.foundation = parsed.foundation if parsed else absent
        self.ip = parsed.address if parsed else absent
        self.port = parsed.port if parsed else absent
        self.priority = parsed.priority if parsed else absent
        self.protocol = parsed.protocol if parsed else absent
        self.type = parsed.type if parsed else absent
        self.relatedAddress = parsed.related_address if parsed else None
        self.relatedPort = parsed.related_port if parsed else None
        self.tcpType = parsed.tcp_type if parsed else None

    @property
    def candidate(self) -> str:
        """The candidate-attribute of RFC 8839 §5.1, beginning with `candidate:`; empty at the end of candidates."""
        if self._text is None:
            self._text = self.to_ice().to_sdp()
        return self._text

    @property
    def address(self) -> str | None:
        """The W3C's name for `ip`."""
        return self.ip

    def to_ice(self) -> Candidate:
        """The parsed candidate. Raises `OperationError` when there is none, and says what is wrong with the text."""
        if self._parsed is not None:
            return self._parsed
        try:
            return Candidate.from_sdp(self._fields() if self._text is None else self._text)
        except ValueError as exc:
            raise OperationError(str(exc)) from None

    def _fields(self) -> str:
        """Write aiortc's fields as a candidate-attribute."""
        text = f"{self.foundation} {self.component} {self.protocol} {self.priority} "
        text += f"{self.ip} {self.port} typ {self.type}"
        if self.relatedAddress is not None:
            text += f" raddr {self.relatedAddress}"
        if self.relatedPort is not None:
            text += f" rport {self.relatedPort}"
        if self.tcpType is not None:
            text += f" tcptype {self.tcpType}"
        if self.usernameFragment is not None:
            text += f" ufrag {self.usernameFragment}"
        return text

    @classmethod
    def from_ice(
        cls, candidate: Candidate, *, sdpMid: str | None = None, sdpMLineIndex: int | None = None
    ) -> RTCIceCandidate:
        """A candidate as it is signalled; or, with no section named, as `RTCIceTransport` shows it."""
        out = cls.__new__(cls)
        out._text, out._parsed = None, candidate
        out._fill(candidate)
        out.sdpMid, out.sdpMLineIndex = sdpMid, sdpMLineIndex
        out.usernameFragment = candidate.username_fragment
        out.url = candidate.url
        out.relayProtocol = candidate.relay_protocol
        return out

    def toJSON(self) -> dict[str, str | int | None]:
        """The four members a browser's `new RTCIceCandidate(…)` takes."""
        return {
            "candidate": self.candidate,
            "sdpMid": self.sdpMid,
            "sdpMLineIndex": self.sdpMLineIndex,
            "usernameFragment": self.usernameFragment,
        }

    def __repr__(self) -> str:
        return f"RTCIceCandidate({self.candidate!r}, sdpMid={self.sdpMid!r}, sdpMLineIndex={self.sdpMLineIndex!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RTCIceCandidate) and self.toJSON() == other.toJSON()

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class RTCIceCandidatePair:
    """Two candidates that can reach each other (W3C WebRTC §5.6.4)."""

    local: RTCIceCandidate
    remote: RTCIceCandidate


@dataclass
class RTCPeerConnectionIceErrorEvent:
    """One STUN or TURN server that could not be used (W3C WebRTC §4.8.1)."""

    address: str | None
    port: int | None
    url: str
    errorCode: int
    """A STUN error code (300 to 699), or 701 when the server could not be reached."""
    errorText: str


def ice_candidate(value: object) -> RTCIceCandidate | None:
    """Whatever a caller may hand to `addIceCandidate`; `None` is the end of candidates of every section.

    A bare string is a candidate of the first section.
    """
    if value is None or isinstance(value, RTCIceCandidate):
        return value
    if isinstance(value, aiortc.RTCIceCandidate):
        return RTCIceCandidate(
            component=value.component,
            foundation=value.foundation,
            ip=value.ip,
            port=value.port,
            priority=value.priority,
            protocol=value.protocol,
            type=value.type,
            relatedAddress=value.relatedAddress,
            relatedPort=value.relatedPort,
            sdpMid=value.sdpMid,
            sdpMLineIndex=value.sdpMLineIndex,
            tcpType=value.tcpType,
        )
    if isinstance(value, str):
        return RTCIceCandidate(candidate=value, sdpMLineIndex=0)
    if isinstance(value, Mapping):
        # An empty candidate that names no section ends them all, as `None` does (W3C §4.4.1.2 addIceCandidate).
        if not value.get("candidate") and value.get("sdpMid") is None and value.get("sdpMLineIndex") is None:
            fragment = value.get("usernameFragment")
            return None if fragment is None else _end_of(fragment)
        return RTCIceCandidate(value)
    raise InvalidArgumentError(
        f"a candidate must be an RTCIceCandidate, a dictionary or None, not {value!r:.100}"
    )


def _end_of(username_fragment: str) -> RTCIceCandidate:
    """The end of the candidates of every section with this username fragment."""
    end = RTCIceCandidate(candidate="", sdpMid="", usernameFragment=username_fragment)
    end.sdpMid = None
    return end


def _require(condition: bool, message: str, value: object) -> None:
    if not condition:
        raise InvalidArgumentError(f"{message}, not {value!r:.100}")
