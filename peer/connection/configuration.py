"""RTCConfiguration and what it is made of (W3C WebRTC §4.2), checked when it is given and not when it fails."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import aiortc

from peer.dtls.certificate import RTCCertificate
from peer.exceptions import (
    InvalidAccessError,
    InvalidArgumentError,
    InvalidModificationError,
    NotSupportedError,
    SyntaxError_,
)
from peer.ice.options import IceOptions
from peer.ice.servers import (
    InvalidServerCredentials,
    InvalidServerUrl,
    StunServer,
    TurnServer,
    parse_servers,
)
from peer.rtp.bandwidth import Bandwidth

E = TypeVar("E", bound=enum.StrEnum)


class RTCIceTransportPolicy(enum.StrEnum):
    """Which candidates may be used (W3C WebRTC §4.2.3)."""

    ALL = "all"
    RELAY = "relay"


class RTCBundlePolicy(enum.StrEnum):
    """How many transports an offer asks for (W3C WebRTC §4.2.4)."""

    BALANCED = "balanced"
    """One per kind of media. What a bundle will make superfluous gathers only if the answer does not bundle."""
    MAX_COMPAT = "max-compat"
    """One per media section."""
    MAX_BUNDLE = "max-bundle"
    """One."""


class RTCRtcpMuxPolicy(enum.StrEnum):
    """W3C WebRTC §4.2.5. Only `require` is supported, as in browsers."""

    REQUIRE = "require"


@dataclass
class RTCIceServer(aiortc.RTCIceServer):
    """STUN and TURN servers, and how to be let in (W3C WebRTC §4.2.2)."""

    urls: str | list[str]
    """One URL or several: `stun:`, `stuns:`, `turn:`, `turns:` (RFC 7064, RFC 7065)."""
    username: str | None = None
    credential: str | None = dataclasses.field(default=None, repr=False)
    credentialType: str = "password"

    def parse(self) -> list[StunServer | TurnServer]:
        """The servers this names. Raises `SyntaxError_` for a wrong URL and `InvalidAccessError` for credentials."""
        if self.credentialType != "password":
            raise InvalidArgumentError(f"credentialType must be 'password', not {self.credentialType!r}")
        if isinstance(self.urls, (list, tuple)) and not self.urls:
            raise SyntaxError_("an ICE server needs at least one URL")
        try:
            return parse_servers(self.urls, self.username, self.credential)
        except InvalidServerUrl as exc:
            raise SyntaxError_(str(exc)) from None
        except InvalidServerCredentials as exc:
            raise InvalidServerCredentialsError(str(exc)) from None


class InvalidServerCredentialsError(InvalidAccessError, ValueError):
    """A TURN server without usable credentials (W3C `InvalidAccessError`)."""


@dataclass
class RTCConfiguration(aiortc.RTCConfiguration):
    """How a peer connection is set up.

    Members that are enumerations take their strings too, and dictionaries do wherever a dataclass is expected.
    Raises `InvalidArgumentError`, `SyntaxError_`, `InvalidAccessError` or `NotSupportedError`, saying which member is
    wrong.
    """

    iceServers: list[RTCIceServer] | Callable[[], Awaitable[Any]] | None = None  # type: ignore[assignment]
    """Default: none. No third party hears of the call unless it is named here.

    An async function may stand here instead, such as `IceServerProvider`: it is asked before gathering, and again
    before the credentials expire. It is then found in `iceServerSource`, and `iceServers` is an empty list."""

    iceServerSource: Callable[[], Awaitable[Any]] | None = None

    iceTransportPolicy: RTCIceTransportPolicy = RTCIceTransportPolicy.ALL  # type: ignore[assignment]

    bundlePolicy: RTCBundlePolicy = RTCBundlePolicy.BALANCED  # type: ignore[assignment]

    alwaysNegotiateDataChannels: bool = False
    """Offer data channels first, whether there are any or not (WebRTC Extensions)."""

    rtcpMuxPolicy: RTCRtcpMuxPolicy = RTCRtcpMuxPolicy.REQUIRE

    certificates: list[RTCCertificate] = field(default_factory=list)
    """The first is used. Default: a fresh one per connection."""

    iceCandidatePoolSize: int = 0
    """0 to 255. Above 0, gathering starts with the connection, ahead of any description."""

    ice: IceOptions | None = None
    """Everything else that may be asked of ICE: ports, addresses, filters, timers. Its `servers`, `policy` and
    `candidate_pool_size` are taken from the members above."""

    bandwidth: Bandwidth | None = None
    """What is sent at first, at least and at most, in bits per second, over one transport: where the peer reports what
    arrives, the estimate stays within. Default: from 500 kbit/s, 50 kbit/s to 20 Mbit/s."""

    def __post_init__(self) -> None:
        self.bandwidth = _bandwidth(self.bandwidth)
        if callable(self.iceServers):
            self.iceServerSource, self.iceServers = self.iceServers, None
        servers: Any = [] if self.iceServers is None else self.iceServers
        if isinstance(servers, (str, Mapping)) or not isinstance(servers, (list, tuple)):
            raise InvalidArgumentError(
                "iceServers must be a list of RTCIceServer, or an async function that gives one"
            )
        self.iceServers = [_ice_server(server) for server in servers]
        self.iceTransportPolicy = _member(
            RTCIceTransportPolicy, "iceTransportPolicy", self.iceTransportPolicy
        )
        self.bundlePolicy = _member(RTCBundlePolicy, "bundlePolicy", self.bundlePolicy)
        if self.rtcpMuxPolicy == "negotiate":
            raise NotSupportedError("rtcpMuxPolicy 'negotiate' is not supported: RTP and RTCP share one port")
        self.rtcpMuxPolicy = _member(RTCRtcpMuxPolicy, "rtcpMuxPolicy", self.rtcpMuxPolicy)
        size = self.iceCandidatePoolSize
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= 255:
            raise InvalidArgumentError(f"iceCandidatePoolSize must be a number from 0 to 255, not {size!r}")
        self.certificates = list(self.certificates or [])
        for certificate in self.certificates:
            if not isinstance(certificate, aiortc.RTCCertificate):
                raise InvalidArgumentError("certificates must be RTCCertificate objects")
            if RTCCertificate.of(certificate).expired:
                raise InvalidAccessError("the certificate has expired: generate a new one")
        self.certificates = [RTCCertificate.of(certificate) for certificate in self.certificates]

    def ice_options(self) -> IceOptions:
        """What the ICE transports get. Raises as the constructor does, for servers that cannot be parsed."""
        parsed = [server for entry in self._ice_servers() for server in entry.parse()]
        return dataclasses.replace(
            self.ice or IceOptions(),
            servers=tuple(parsed),
            policy=self.iceTransportPolicy.value,
            candidate_pool_size=self.iceCandidatePoolSize,
        )

    def _ice_servers(self) -> list[RTCIceServer]:
        return cast(list[RTCIceServer], self.iceServers or [])

    def copy(self) -> RTCConfiguration:
        """Another configuration with the same members; changing one changes nothing in the other."""
        return dataclasses.replace(
            self,
            iceServers=[dataclasses.replace(server) for server in self._ice_servers()],
            certificates=list(self.certificates),
        )

    def check_change(self, new: RTCConfiguration, *, described: bool) -> None:
        """What `setConfiguration` may not change (W3C WebRTC §4.4.1.6): raises `InvalidModificationError`.

        `described` tells whether a local description has been set, after which the pool is what it is.
        """
        if new.bundlePolicy != self.bundlePolicy:
            raise InvalidModificationError("bundlePolicy cannot be changed once the connection exists")
        if new.bandwidth != self.bandwidth:
            raise InvalidModificationError("bandwidth can not be changed once the connection exists")
        if new.rtcpMuxPolicy != self.rtcpMuxPolicy:
            raise InvalidModificationError("rtcpMuxPolicy cannot be changed once the connection exists")
        if new.certificates and new.certificates != self.certificates:
            raise InvalidModificationError("certificates cannot be changed once the connection exists")
        if described and new.iceCandidatePoolSize != self.iceCandidatePoolSize:
            raise InvalidModificationError("iceCandidatePoolSize cannot be changed after setLocalDescription")


def configuration(value: object) -> RTCConfiguration:
    """Whatever a caller may hand in: ours, aiortc's, a dictionary with the W3C's members, or None."""
    if value is None:
        return RTCConfiguration()
    if isinstance(value, RTCConfiguration):
        return value.copy()
    if isinstance(value, aiortc.RTCConfiguration):
        return RTCConfiguration(
            iceServers=cast(Any, value.iceServers),
            iceTransportPolicy=cast(Any, value.iceTransportPolicy),
            bundlePolicy=cast(Any, value.bundlePolicy),
            alwaysNegotiateDataChannels=value.alwaysNegotiateDataChannels,
        )
    if isinstance(value, Mapping):
        known = {member.name for member in dataclasses.fields(RTCConfiguration)}
        # A dictionary's unknown members are ignored in WebIDL; browsers' configurations have some of their own.
        return RTCConfiguration(**{name: given for name, given in value.items() if name in known})
    raise InvalidArgumentError(
        f"a configuration must be an RTCConfiguration or a dictionary, not {value!r:.100}"
    )


def _bandwidth(value: object) -> Bandwidth | None:
    if value is None or isinstance(value, Bandwidth):
        return value
    known = {member.name for member in dataclasses.fields(Bandwidth)}
    if isinstance(value, Mapping) and set(value) <= known:
        try:
            return Bandwidth(**value)
        except (TypeError, ValueError) as exc:
            raise InvalidArgumentError(f"bandwidth: {exc}") from None
    raise InvalidArgumentError(f"bandwidth must be a Bandwidth(start=, min=, max=), not {value!r:.100}")


def _member(kind: type[E], name: str, value: object) -> E:
    if isinstance(value, enum.Enum):
        value = value.value
    try:
        return kind(str(value))
    except ValueError:
        allowed = ", ".join(repr(str(member)) for member in kind)
        raise InvalidArgumentError(f"{name} must be one of {allowed}, not {value!r:.100}") from None


def _ice_server(value: object) -> RTCIceServer:
    if isinstance(value, aiortc.RTCIceServer):
        return RTCIceServer(value.urls, value.username, value.credential, value.credentialType)
    if isinstance(value, Mapping):
        if "urls" not in value:
            raise InvalidArgumentError("an ICE server needs 'urls'")
        return RTCIceServer(
            urls=value["urls"],
            username=value.get("username"),
            credential=value.get("credential"),
            credentialType=value.get("credentialType", "password"),
        )
    raise InvalidArgumentError(f"an ICE server must be an RTCIceServer or a dictionary, not {value!r:.100}")


__all__ = [
    "RTCBundlePolicy",
    "RTCConfiguration",
    "RTCIceServer",
    "RTCIceTransportPolicy",
    "RTCRtcpMuxPolicy",
    "configuration",
]
