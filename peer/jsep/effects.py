"""What descriptions bring about, as values: negotiation returns them, and the connection alone carries them out.

They are in the order in which they are to be carried out. `line` is the key of an `MLine`, or None for the m-line of
the data channels; `transport` is the id of a `TransportState`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from peer.ice.candidate import Candidate

# Transports


@dataclass(frozen=True)
class OpenTransport:
    """Make an ICE transport and a DTLS transport over it."""

    transport: str


@dataclass(frozen=True)
class DiscardTransport:
    """End a transport that no section uses any more, without a goodbye."""

    transport: str


@dataclass(frozen=True)
class SetIceRole:
    """Give ICE its role, before it is first started."""

    transport: str
    role: Literal["controlling", "controlled"]


@dataclass(frozen=True)
class Gather:
    """Gather candidates under these credentials, which a description in force has."""

    transport: str
    ufrag: str
    pwd: str
    ipv4_first: bool = False
    """The peer's description prefers IPv4."""


@dataclass(frozen=True)
class UndoGathering:
    """Take back the last gathering: its description has been rolled back."""

    transport: str


@dataclass(frozen=True)
class ForgetPeer:
    """End all that leads to the peer there was."""

    transport: str


@dataclass(frozen=True)
class StartIce:
    """Start the checks with the peer of these credentials."""

    transport: str
    ufrag: str
    pwd: str
    lite: bool


@dataclass(frozen=True)
class ForgoHandshake:
    """Keep DTLS out of the connectivity checks: the peer does not take it there."""

    transport: str


@dataclass(frozen=True)
class AddRemoteCandidate:
    """Give ICE a candidate of the peer's, or None for the end of them."""

    transport: str
    candidate: Candidate | None
    ufrag: str | None


@dataclass(frozen=True)
class StartDtls:
    """Shake hands with a peer whose certificate has one of these fingerprints. `role` is ours."""

    transport: str
    fingerprints: tuple[tuple[str, str], ...]
    role: Literal["client", "server"]


@dataclass(frozen=True)
class RenewDtls:
    """Replace DTLS by a new one that has not begun. `path_before`: and wait for another path than that of the offer."""

    transport: str
    path_before: bool = False


@dataclass(frozen=True)
class NotePaths:
    """Note which paths are in use as a negotiation begins; or, `settled`, that it has ended."""

    settled: bool = False


# Media


@dataclass(frozen=True)
class AddTransceiver:
    """Make the transceiver of a line that the peer's offer brought."""

    line: int
    track_id: str | None


@dataclass(frozen=True)
class Bind:
    """Send and receive what the line has over a transport; None: over none."""

    line: int | None
    transport: str | None


@dataclass(frozen=True)
class HideTransport:
    """Show no transport while the peer's offer is not answered; or show it again."""

    line: int
    hidden: bool


@dataclass(frozen=True)
class NameTrack:
    """Give the remote track the id that the peer uses."""

    line: int
    track_id: str


@dataclass(frozen=True)
class SetDirection:
    """Send and receive as has been agreed on."""

    line: int
    direction: str | None


@dataclass(frozen=True)
class SetReceptive:
    """Take what arrives for the peer's track, or no longer."""

    line: int
    receptive: bool


@dataclass(frozen=True)
class Agree:
    """Let `getParameters` tell these codecs and header extensions (W3C WebRTC §5.2, §5.3)."""

    line: int
    sent: tuple[RTCRtpCodecParameters, ...]
    received: tuple[RTCRtpCodecParameters, ...]
    extensions: tuple[RTCRtpHeaderExtensionParameters, ...]


@dataclass(frozen=True)
class SetEncodings:
    """Send these encodings."""

    line: int
    encodings: tuple[Any, ...]


@dataclass(frozen=True)
class ForgetParameters:
    """Let no `setParameters` follow a `getParameters` from before this description."""


@dataclass(frozen=True)
class StopTransceiver:
    """Stop sending and receiving for good."""

    line: int


@dataclass(frozen=True)
class DropTransceiver:
    """The line is gone from the session, and with it the transceiver from the connection."""

    line: int


@dataclass(frozen=True)
class SetRemoteStreams:
    """Let the remote track know the streams it is in."""

    line: int
    streams: tuple[str, ...]


# Data


@dataclass(frozen=True)
class OpenData:
    """Have an SCTP association: the peer offers data channels."""


@dataclass(frozen=True)
class RenewData:
    """Begin a new SCTP association with another peer. The channels there are close."""


@dataclass(frozen=True)
class RestartData:
    """Begin a new SCTP association with the same peer. The channels there are live on."""


@dataclass(frozen=True)
class RefuseData:
    """Close all channels: the peer wants none."""


@dataclass(frozen=True)
class LimitMessages:
    """Send no message larger than this many bytes; 0 for any, None for the default."""

    size: int | None


@dataclass(frozen=True)
class AgreeDataRole:
    """Choose the ids of channels as the DTLS client or server does (RFC 8832 §6)."""

    is_server: bool


# What the application is told


@dataclass(frozen=True)
class TellState:
    """Bring the states up to date; the events of all before have been told, and those after come after."""

    changed: bool
    """Whether the signalling state is another."""
    rolled_back: bool = False


@dataclass(frozen=True)
class Mute:
    """The peer sends no more."""

    line: int


@dataclass(frozen=True)
class RemoveFromStream:
    """The track leaves a stream of the peer's."""

    stream: str
    line: int


@dataclass(frozen=True)
class AddToStream:
    """The track joins a stream of the peer's."""

    stream: str
    line: int


@dataclass(frozen=True)
class TellTrack:
    """A track of the peer's is there."""

    line: int
    streams: tuple[str, ...]


Effect: TypeAlias = (
    OpenTransport
    | DiscardTransport
    | SetIceRole
    | Gather
    | UndoGathering
    | ForgetPeer
    | StartIce
    | ForgoHandshake
    | AddRemoteCandidate
    | StartDtls
    | RenewDtls
    | NotePaths
    | AddTransceiver
    | Bind
    | HideTransport
    | NameTrack
    | SetDirection
    | SetReceptive
    | Agree
    | SetEncodings
    | ForgetParameters
    | StopTransceiver
    | DropTransceiver
    | SetRemoteStreams
    | OpenData
    | RenewData
    | RestartData
    | RefuseData
    | LimitMessages
    | AgreeDataRole
    | TellState
    | Mute
    | RemoveFromStream
    | AddToStream
    | TellTrack
)
