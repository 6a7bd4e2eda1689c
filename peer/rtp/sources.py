"""Who is heard through a receiver: synchronization and contributing sources (W3C WebRTC §5.3.1 and §5.3.2)."""

from __future__ import annotations

import datetime
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import aiortc
from aiortc.rtp import RtpPacket

__all__ = ["RTCRtpContributingSource", "RTCRtpSynchronizationSource", "Sources"]

SOURCES_MAX: Final = 256
RECENT_SECONDS: Final = 10.0


@dataclass
class RTCRtpContributingSource(aiortc.RTCRtpContributingSource):
    """A stream that a mixer has put into one that is being received."""

    rtpTimestamp: int = 0
    audioLevel: float | None = None
    """Always None: mixers' levels (RFC 6465) are not negotiated."""


@dataclass
class RTCRtpSynchronizationSource(aiortc.RTCRtpSynchronizationSource):
    """A stream that is being received."""

    rtpTimestamp: int = 0
    audioLevel: float | None = None
    """0 to 1, linear; None when the peer does not say."""
    voiceActivityFlag: bool | None = None


def _linear(level: int) -> float:
    """0 to 127 below full scale, as RFC 6464 counts."""
    return 0.0 if level >= 127 else 10 ** (-level / 20)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class Sources:
    """Remembers who was heard last, and when by the clock on the wall."""

    def __init__(self) -> None:
        self._synchronization: OrderedDict[int, tuple[float, int, tuple[bool, int] | None]] = OrderedDict()
        """Of each SSRC, when its last packet came, the RTP timestamp of that, and its audio level (RFC 6464)."""
        self._contributing: OrderedDict[int, tuple[float, int]] = OrderedDict()

    def heard(self, packet: RtpPacket, at: float) -> None:
        """Take a packet that came at `at`, in seconds since 1970."""
        sources = self._synchronization
        sources[packet.ssrc] = at, packet.timestamp, packet.extensions.audio_level
        if len(sources) > SOURCES_MAX:
            sources.popitem(last=False)
        for source in packet.csrc:
            self._contributing[source] = at, packet.timestamp
            self._contributing.move_to_end(source)
        while len(self._contributing) > SOURCES_MAX:
            self._contributing.popitem(last=False)

    def contributing(self) -> list[RTCRtpContributingSource]:
        """Return those a mixer named in the last ten seconds, newest first."""
        since = time.time() - RECENT_SECONDS
        return [
            RTCRtpContributingSource(timestamp=_moment(at), source=source, rtpTimestamp=timestamp)
            for source, (at, timestamp) in sorted(
                self._contributing.items(), key=lambda item: item[1][0], reverse=True
            )
            if at >= since
        ]

    def synchronization(self) -> list[RTCRtpSynchronizationSource]:
        """Return the streams that sent in the last ten seconds, newest first."""
        since = time.time() - RECENT_SECONDS
        return [
            RTCRtpSynchronizationSource(
                timestamp=_moment(at),
                source=ssrc,
                rtpTimestamp=timestamp,
                audioLevel=None if level is None else _linear(level[1]),
                voiceActivityFlag=None if level is None else level[0],
            )
            for ssrc, (at, timestamp, level) in sorted(
                self._synchronization.items(), key=lambda item: item[1][0], reverse=True
            )
            if at >= since
        ]
