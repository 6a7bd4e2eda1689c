"""RTCRtpTransceiver (W3C WebRTC §5.4), over aiortc's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiortc
from aiortc.rtcrtpparameters import (
    RTCRtpCodecCapability,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
)

from peer.aio.completion import Completion
from peer.exceptions import InvalidArgumentError, InvalidModificationError, InvalidStateError
from peer.sdp.description import DIRECTIONS
from peer.sdp.direction import receives, sends
from peer.webidl import Members

from .codecs import capabilities, codec_capability
from .dtmf import RTCDTMFSender
from .media_stream import MediaStream
from .receiver import RTCRtpReceiver
from .sender import RTCRtpSender


class CodecPreferencesError(InvalidModificationError, ValueError):
    """A preference for something that can not be sent or received (aiortc raises a `ValueError`)."""


class RTCRtpTransceiver(aiortc.RTCRtpTransceiver):
    """A sender and a receiver that share one media section."""

    def __init__(
        self,
        kind: str,
        receiver: RTCRtpReceiver,
        sender: RTCRtpSender,
        direction: str = "sendrecv",
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(kind, receiver, sender, direction)
        self._direction = direction
        self._current_direction: str | None = None
        self._mid: str | None = None
        self._sender = sender
        self._receiver = receiver
        self._changed = changed
        self._closed: Callable[[], bool] = lambda: False
        self._compat = False
        self._stopping = False
        self._is_stopped = False
        self._added_by_track = False
        """Whether `addTrack` made it: then it may be what the peer's offer finds (RFC 9429 §5.10)."""
        self._taken_by_track = False
        """Whether `addTrack` uses it: then it stays when the peer's offer is rolled back."""
        self._from_remote = False
        self._fired_direction: str | None = None
        self._remote_streams: list[MediaStream] = []
        self._preferred_codecs: list[RTCRtpCodecCapability] = []
        self._codecs: list[RTCRtpCodecParameters] = []
        self._headerExtensions: list[RTCRtpHeaderExtensionParameters] = []
        self._encodings_before: list[Members] | None = None
        """The sender's encodings before the peer's pending offer proposed others."""
        self._unicast = False
        """Whether the peer has refused simulcast."""
        receiver.track.transceiver = self
        if kind == "audio":
            sender._dtmf = RTCDTMFSender(self)

    @property
    def mid(self) -> str | None:
        """The media section's identification, once there is a description with it."""
        return self._mid

    @property
    def sender(self) -> RTCRtpSender:
        return self._sender

    @property
    def receiver(self) -> RTCRtpReceiver:
        return self._receiver

    @property
    def direction(self) -> str:
        """What the next offer or answer asks for: sendrecv, sendonly, recvonly, inactive; `stopped` after `stop()`.

        Setting it raises `InvalidStateError` when stopped or closed and `InvalidArgumentError` for another value.
        """
        return "stopped" if self._stopping and not self._compat else self._direction

    @direction.setter
    def direction(self, direction: str) -> None:
        if direction not in DIRECTIONS:
            raise InvalidArgumentError(
                f"direction must be one of {', '.join(DIRECTIONS)}, not {direction!r:.50}"
            )
        if self._stopping or self._closed():
            raise InvalidStateError("the transceiver is stopped: its direction can not be changed")
        if direction != self._direction:
            self._direction = direction
            self._changed()

    @property
    def currentDirection(self) -> str | None:
        """What has been agreed on; `None` before that, `stopped` at the end."""
        return "stopped" if self._is_stopped and not self._compat else self._current_direction

    @property
    def stopped(self) -> bool:
        return self._is_stopped or self._stopping

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
        self._preferred_codecs = unique

    def stop(self) -> Completion[None]:
        """Stop sending and receiving for good (W3C WebRTC §5.4.3). Takes effect at once; the peer hears of it with
        the next offer. What is returned may be awaited, as in aiortc, until everything is given back.

        Raises `InvalidStateError` when the connection is closed.
        """
        if self._closed():
            raise InvalidStateError("RTCPeerConnection is closed")
        if not self._stopping:
            self._stop_sending_and_receiving()
            self._changed()
        return Completion(asyncio.ensure_future(self._release()))

    def _stop_sending_and_receiving(self) -> None:
        self._stopping = True
        if self._sender._dtmf is not None:
            self._sender._dtmf._stop()
        self._sender._stopped = True
        self._sender._enabled = False
        self._receiver._enabled = False
        if self._compat or self._closed():
            self._receiver.track.stop()
        else:
            # A task of its own (W3C WebRTC §5.4.3): who looks at the track at once finds it live.
            asyncio.get_event_loop().call_soon(self._receiver.track.stop)

    def _stop_for_good(self) -> None:
        """ "Stop the RTCRtpTransceiver" (W3C WebRTC §5.4): by rejection, or because the connection closes."""
        if not self._stopping:
            self._stop_sending_and_receiving()
        self._is_stopped = True
        self._current_direction = None

    async def _release(self) -> None:
        sent = self._sender.started
        # Side by side: neither may keep the other from its end.
        await asyncio.gather(self._receiver.stop(), self._sender.stop())
        if self._compat and sent and self._sender.track is not None:
            # aiortc's senders take the application's track with them, and programs count on it.
            self._sender.track.stop()

    def _setCurrentDirection(self, direction: str | None) -> None:
        self._current_direction = direction
        self._sender._ever_sent = self._sender._ever_sent or sends(direction)
        self._sender._enabled = sends(direction) and not self._stopping
        self._receiver._enabled = receives(direction) and not self._stopping

    def _agree(self, sent: RTCRtpParameters, received: RTCRtpParameters) -> None:
        self._sender._use_agreed(sent)
        self._receiver._agreed = received

    def _set_mid(self, mid: str | None) -> None:
        self._mid = mid


def _matches(known: RTCRtpCodecCapability, wanted: RTCRtpCodecCapability) -> bool:
    if (known.mimeType.lower(), known.clockRate) != (wanted.mimeType.lower(), wanted.clockRate):
        return False
    if known.channels != wanted.channels:
        return False
    # aiortc's own capability lists carry no Opus parameters.
    return known.parameters == wanted.parameters or (
        not wanted.parameters and known.mimeType.startswith("audio/")
    )
