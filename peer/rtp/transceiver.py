"""RTCRtpTransceiver (W3C WebRTC §5.4), over aiortc's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import aiortc
from aiortc.rtcrtpparameters import (
    RTCRtpCodecCapability,
    RTCRtpCodecParameters,
)

from peer.aio.completion import Completion
from peer.exceptions import InvalidArgumentError, InvalidModificationError, InvalidStateError
from peer.sdp.description import DIRECTIONS

from .codecs import capabilities, codec_capability
from .dtmf import RTCDTMFSender
from .receiver import RTCRtpReceiver
from .sender import RTCRtpSender


class CodecPreferencesError(InvalidModificationError, ValueError):
    """A preference for something that cannot be sent or received (aiortc raises a `ValueError`)."""


class NegotiatedLine(Protocol):
    """What a transceiver reads of its m-line, and writes of what the application wants."""

    kind: str
    direction: str
    preferred: list[RTCRtpCodecCapability]
    agreed_codecs: list[RTCRtpCodecParameters]
    mid: str | None
    index: int | None
    current: str | None
    stopping: bool
    stopped: bool

    @property
    def is_stopped(self) -> bool:
        """Whether the application or the peer has stopped it."""


class TransceiverOwner(Protocol):
    """What a transceiver asks of the connection it belongs to."""

    shows_last_direction: bool
    """Whether `direction` and `currentDirection` stay as they were when it is stopped."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed."""

    def changed(self) -> None:
        """What the application wants of the line is another: ask whether negotiation is needed."""

    def stop(self) -> Completion[None]:
        """Stop sending and receiving for good, and let the peer know."""


class RTCRtpTransceiver(aiortc.RTCRtpTransceiver):
    """A sender and a receiver that share one media section."""

    def __init__(
        self, line: NegotiatedLine, sender: RTCRtpSender, receiver: RTCRtpReceiver, owner: TransceiverOwner
    ) -> None:
        super().__init__(line.kind, receiver, sender, line.direction)  # type: ignore[arg-type]
        self._line = line
        self._sender = sender
        self._receiver = receiver
        self._owner = owner
        receiver.track.transceiver = self
        if line.kind == "audio":
            sender.dtmf = RTCDTMFSender(sender, line)

    @property
    def mid(self) -> str | None:
        """The media section's identification, once there is a description with it."""
        return self._line.mid

    @property
    def sender(self) -> RTCRtpSender:  # type: ignore[override]
        """The sender of the section."""
        return self._sender

    @property
    def receiver(self) -> RTCRtpReceiver:  # type: ignore[override]
        """The receiver of the section."""
        return self._receiver

    @property
    def direction(self) -> str:
        """What the next offer or answer asks for: sendrecv, sendonly, recvonly, inactive; `stopped` after `stop()`.

        Setting it raises `InvalidStateError` when stopped or closed and `InvalidArgumentError` for another value.
        """
        line = self._line
        return "stopped" if line.stopping and not self._owner.shows_last_direction else line.direction

    @direction.setter
    def direction(self, direction: str) -> None:
        if direction not in DIRECTIONS:
            raise InvalidArgumentError(
                f"direction must be one of {', '.join(DIRECTIONS)}, not {direction!r:.50}"
            )
        if self._line.stopping or self._owner.is_closed:
            raise InvalidStateError("the transceiver is stopped: its direction cannot be changed")
        if direction != self._line.direction:
            self._line.direction = direction
            self._owner.changed()

    @property
    def currentDirection(self) -> str | None:
        """What has been agreed on; `None` before that, `stopped` at the end."""
        line = self._line
        return "stopped" if line.stopped and not self._owner.shows_last_direction else line.current

    @property
    def stopped(self) -> bool:
        """Whether it is stopped for good."""
        return self._line.is_stopped

    def setCodecPreferences(self, codecs: Sequence[RTCRtpCodecCapability | Mapping[str, Any]]) -> None:
        """Which codecs to offer and answer with, best first; empty for the default (W3C WebRTC §5.4.6).

        Takes what `getCapabilities` returns, or dictionaries like it. Raises `CodecPreferencesError`
        (an `InvalidModificationError` and a `ValueError`) for anything else.
        """
        known = capabilities(self.kind).codecs
        unique: list[RTCRtpCodecCapability] = []
        for codec in codecs:
            wanted = codec_capability(codec)
            match = None if wanted is None else next((c for c in known if _matches(c, wanted)), None)
            if match is None:
                raise CodecPreferencesError("Codec is not in capabilities")
            if match not in unique:
                unique.append(match)
        if unique and all(codec.name.lower() in ("rtx", "telephone-event") for codec in unique):
            raise CodecPreferencesError("retransmission and telephone events need a codec beside them")
        self._line.preferred = unique

    def _get_mline_index(self) -> int | None:
        return self._line.index

    def stop(self) -> Completion[None]:
        """Stop sending and receiving for good (W3C WebRTC §5.4.3).

        Takes effect at once; the peer hears of it with the next offer. What is returned may be awaited, as in aiortc,
        until everything is given back. Raises `InvalidStateError` when the connection is closed.
        """
        if self._owner.is_closed:
            raise InvalidStateError("RTCPeerConnection is closed")
        return self._owner.stop()


def _matches(known: RTCRtpCodecCapability, wanted: RTCRtpCodecCapability) -> bool:
    if (known.mimeType.lower(), known.clockRate) != (wanted.mimeType.lower(), wanted.clockRate):
        return False
    if known.channels != wanted.channels:
        return False
    # aiortc's own capability lists carry no Opus parameters.
    return known.parameters == wanted.parameters or (
        not wanted.parameters and known.mimeType.startswith("audio/")
    )
