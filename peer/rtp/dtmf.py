"""RTCDTMFSender (W3C WebRTC §7): tones for keypads at the other end, as telephone events (RFC 4733)."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from peer.aio.emitter import EventEmitter
from peer.exceptions import InvalidCharacterError, InvalidStateError

from .codecs import is_telephone_event

TONES: Final = "0123456789*#ABCD"
"""The index is the event code (RFC 4733 §3.2)."""
PAUSE: Final = 2.0
"""Seconds that a comma stands for."""
DURATION_MIN, DURATION_MAX, GAP_MIN, GAP_MAX = 40, 6000, 30, 6000
"""Milliseconds."""
UPDATE_INTERVAL: Final = 0.05
"""Seconds between packets of one event (RFC 4733 §2.5.1.2 leaves it to the sender)."""
END_PACKETS: Final = 3
"""The last packet is sent thrice, for the case that it gets lost (RFC 4733 §2.5.1.4)."""
VOLUME: Final = 10
"""-10 dBm0."""
SEGMENT_MAX: Final = 0xFFFF
"""Timestamp units; a longer event is sent in segments (RFC 4733 §2.5.1.3)."""


@dataclass
class RTCDTMFToneChangeEvent:
    """A tone has begun; an empty `tone` says that the last one is over."""

    tone: str


class ToneLine(Protocol):
    """The m-line that the tones are sent in."""

    agreed_codecs: list[RTCRtpCodecParameters]

    @property
    def is_stopped(self) -> bool:
        """Whether the application or the peer has stopped it."""


class ToneSender(Protocol):
    """The audio sender in whose stream the tones go out."""

    sends_telephone_events: bool

    @property
    def transport(self) -> Any:
        """The transport the tones go over; None before there is one."""

    @property
    def track(self) -> Any:
        """The track that is sent; None for none."""

    @property
    def enabled(self) -> bool:
        """Whether anything is sent."""

    def telephone_event_timestamp(self, clock_rate: int) -> int:
        """Return the time of an event that begins now, in units of its clock."""

    def send_telephone_event(
        self, codec: RTCRtpCodecParameters, payload: bytes, timestamp: int, *, marker: bool, end: bool
    ) -> None:
        """Send one packet of an event."""


class RTCDTMFSender(EventEmitter):
    """Sends DTMF tones in the stream of an audio sender. Event: `tonechange` (`RTCDTMFToneChangeEvent`)."""

    def __init__(self, sender: ToneSender, line: ToneLine) -> None:
        super().__init__()
        self._sender = sender
        self._line = line
        self._tones = ""
        self._duration = 0.1
        self._gap = 0.07
        self._playout: asyncio.TimerHandle | None = None
        self._event: TelephoneEvent | None = None

    @property
    def canInsertDTMF(self) -> bool:
        """Whether tones would be sent: audio goes over a connection to a peer that takes telephone events."""
        sender = self._sender
        connected = sender.transport is not None and sender.transport.state == "connected"
        return connected and sender.track is not None and self._may_send and self._codec() is not None

    @property
    def toneBuffer(self) -> str:
        """The tones that are still to be played."""
        return self._tones

    def insertDTMF(self, tones: str, duration: int = 100, interToneGap: int = 70) -> None:
        """Play `tones` (0 to 9, A to D, # and *; a comma is a pause of 2 s) instead of those that still wait.

        `duration` of each, 40 to 6000 milliseconds, and `interToneGap` between them, 30 milliseconds at least; what
        is beyond is brought to the limit. Raises `InvalidStateError` when audio is not sent or the peer takes no
        telephone events, and `InvalidCharacterError` for other characters.
        """
        if not self.canInsertDTMF:
            raise InvalidStateError("DTMF cannot be sent: no audio is, or the peer takes no telephone events")
        tones = tones.upper()
        wrong = next((tone for tone in tones if tone not in TONES and tone != ","), None)
        if wrong is not None:
            raise InvalidCharacterError(f"{wrong!r} is no DTMF tone: there are 0 to 9, A to D, # and *")
        self._tones = tones
        self._duration = min(max(duration, DURATION_MIN), DURATION_MAX) / 1000
        self._gap = min(max(interToneGap, GAP_MIN), GAP_MAX) / 1000
        if tones and self._playout is None:
            self._play_after(0.0)

    @property
    def _may_send(self) -> bool:
        return not self._line.is_stopped and self._sender.enabled

    def _codec(self) -> RTCRtpCodecParameters | None:
        sends = self._sender.sends_telephone_events
        return telephone_event(self._line.agreed_codecs) if sends else None

    def _play_after(self, seconds: float) -> None:
        self._playout = asyncio.get_running_loop().call_later(seconds, self._play)

    def _play(self) -> None:
        self._playout = None
        codec = self._codec()
        if not self._may_send or codec is None:
            return
        tone, self._tones = self._tones[:1], self._tones[1:]
        if tone == ",":
            self._play_after(PAUSE)
        elif tone:
            self._play_after(self._duration + self._gap)
            self._event = TelephoneEvent(TONES.index(tone), self._duration, codec, self._sender)
        self.emit("tonechange", RTCDTMFToneChangeEvent(tone))

    def stop(self) -> None:
        """Send no more tones, for the transceiver is stopped."""
        self._tones = ""
        if self._playout is not None:
            self._playout.cancel()
            self._playout = None
        if self._event is not None:
            self._event.cancel()


class TelephoneEvent:
    """One event on its way: packets that all say how long it has lasted, and at the end that it is over."""

    def __init__(
        self,
        code: int,
        duration: float,
        codec: RTCRtpCodecParameters,
        sender: ToneSender,
    ) -> None:
        self._code = code
        self._codec = codec
        self._sender = sender
        self._timestamp = sender.telephone_event_timestamp(codec.clockRate)
        self._loop = asyncio.get_running_loop()
        self._begun = self._segment = self._loop.time()
        self._until = self._begun + duration
        self._timer: asyncio.TimerHandle | None = None
        self._update(marker=True)

    def cancel(self) -> None:
        """Send no more packets of the event."""
        if self._timer is not None:
            self._timer.cancel()

    def _update(self, *, marker: bool = False) -> None:
        now = min(self._loop.time(), self._until)
        longest = SEGMENT_MAX / self._codec.clockRate
        while now - self._segment > longest:
            self._emit(SEGMENT_MAX, end=False, marker=marker)
            self._segment += longest
            self._timestamp += SEGMENT_MAX
        lasted = round((now - self._segment) * self._codec.clockRate)
        if now < self._until:
            self._emit(lasted, end=False, marker=marker)
            self._timer = self._loop.call_later(min(UPDATE_INTERVAL, self._until - now), self._update)
        else:
            for _ in range(END_PACKETS):
                self._emit(lasted, end=True, marker=False)

    def _emit(self, lasted: int, *, end: bool, marker: bool) -> None:
        payload = struct.pack("!BBH", self._code, end << 7 | VOLUME, lasted)
        self._sender.send_telephone_event(self._codec, payload, self._timestamp, marker=marker, end=end)


def telephone_event(codecs: list[RTCRtpCodecParameters]) -> RTCRtpCodecParameters | None:
    """The format for telephone events that goes with the codec in use: of its clock rate where there is one."""
    events = [codec for codec in codecs if is_telephone_event(codec)]
    spoken = next((codec for codec in codecs if not is_telephone_event(codec)), None)
    if spoken is None or not events:
        return None
    return next((codec for codec in events if codec.clockRate == spoken.clockRate), events[0])
