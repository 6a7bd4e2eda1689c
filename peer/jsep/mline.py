"""One m-line of audio or video (RFC 9429 §3.4.1): what the application wants of it, and what has been negotiated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from aiortc.rtcrtpparameters import (
    RTCRtpCodecCapability,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)

Origin: TypeAlias = Literal["addTrack", "addTransceiver", "remote"]

NEGOTIATED: Final = (
    "mid",
    "index",
    "current",
    "fired",
    "codecs",
    "extensions",
    "remote_streams",
)
"""The members that a rollback gives back (RFC 9429 §4.1.10.2)."""


@dataclass(frozen=True)
class Sending:
    """What our descriptions say of the sender of an m-line, as it is at the moment."""

    track_id: str = ""
    streams: tuple[str, ...] = ()
    """The ids of the streams that the peer shall find the track in."""
    ssrc: int = 0
    rtx_ssrc: int = 0
    formats: Mapping[str, dict[str, int | str | None]] = field(default_factory=dict)
    """MIME type in lower case → the `a=fmtp` parameters the application wants, where it wants others than usual."""


@dataclass(eq=False)
class MLine:
    """The half of a transceiver that is negotiated. The objects that send and receive read it."""

    key: int
    """A number that no other line of the session has, nor ever had."""
    kind: str
    origin: Origin

    # What the application wants

    direction: str = "sendrecv"
    preferred: list[RTCRtpCodecCapability] = field(default_factory=list)
    """The codecs of `setCodecPreferences`, best first; empty for all of them."""
    used_by_track: bool = False
    """Whether `addTrack` uses the line: then it stays when the peer's offer is rolled back."""
    stopping: bool = False
    """Whether the application has stopped it, which the peer may not know yet (W3C [[Stopping]])."""
    sending: Sending = field(default_factory=Sending)
    encodings: list[Any] = field(default_factory=list)
    """The encodings of the sender: dictionaries, in which `rid` is what descriptions name."""

    # What has been negotiated

    mid: str | None = None
    index: int | None = None
    current: str | None = None
    """W3C [[CurrentDirection]]."""
    fired: str | None = None
    """W3C [[FiredDirection]]: what the application has been told of receiving."""
    codecs: list[RTCRtpCodecParameters] = field(default_factory=list)
    """The codecs in common with the peer's last description, which may be an offer without an answer yet."""
    extensions: list[RTCRtpHeaderExtensionParameters] = field(default_factory=list)
    agreed_codecs: list[RTCRtpCodecParameters] = field(default_factory=list)
    agreed_extensions: list[RTCRtpHeaderExtensionParameters] = field(default_factory=list)
    """What the last answer has left: with this, media are sent and received."""
    remote_streams: list[str] = field(default_factory=list)
    """The ids of the streams that the peer's track is in."""
    ever_sent: bool = False
    """Whether a direction that sends was ever agreed on: then `addTrack` does not use the line again."""
    stopped: bool = False
    """Whether both sides know that it is stopped (W3C [[Stopped]])."""
    unicast: bool = False
    """Whether the peer has refused simulcast."""
    encodings_before: list[Any] | None = None
    """The encodings before the peer's pending offer proposed others."""
    bound: bool = False
    """Whether it has a transport."""
    hidden: bool = False
    """Whether its transport is only what the peer has offered so far (W3C WebRTC §4.4.1.5)."""

    @property
    def is_stopped(self) -> bool:
        """True once the application or the peer has stopped it."""
        return self.stopping or self.stopped

    @property
    def wanted(self) -> str:
        """The direction that descriptions ask for: a line that is being stopped asks for nothing."""
        return "inactive" if self.is_stopped else self.direction

    @property
    def may_answer(self) -> bool:
        """True for a line that a section of the peer's offer may take (RFC 9429 §5.10)."""
        return self.origin == "addTrack" or (self.origin == "remote" and self.used_by_track)

    def kept(self) -> MLine:
        """A copy for a rollback to compare with. Lists are replaced here and never changed, so it may share them."""
        return copy.copy(self)

    def give_back(self, kept: MLine) -> None:
        """Undo what has been negotiated since the copy was made."""
        for name in NEGOTIATED:
            setattr(self, name, getattr(kept, name))


@dataclass
class DataLine:
    """The m-line of the data channels (RFC 8841)."""

    wanted: bool = False
    """Whether there is an SCTP association to negotiate, or will be."""
    mid: str | None = None
    port: int = 5000
    max_message_size: int = 65536
    """The largest message we take, in bytes."""
    init: bytes = b""
    """Our INIT chunk, for `a=sctp-init`."""
