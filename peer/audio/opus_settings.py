"""What to ask of Opus: an application's wishes, and how they meet the far end's in SDP (RFC 7587 §6.1, §7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

FormatParameters: TypeAlias = Mapping[str, Any]

Ptime: TypeAlias = Literal[10, 20, 40, 60]
PTIMES: tuple[Ptime, ...] = (10, 20, 40, 60)
BITRATE_MIN = 6000
"""Bits a second."""


@dataclass(frozen=True, slots=True)
class OpusSettings:
    """How Opus is offered and used. The defaults are for speech.

    Raises `ValueError` for a value Opus does not have.
    """

    channels: Literal[1, 2] = 1
    """What we encode, and (by `stereo` in SDP) what we would like to be sent. The far end must accept stereo too."""
    bitrate: int = 40_000
    """Bits a second, 6000 to 510000; lowered to the far end's `maxaveragebitrate`."""
    max_average_bitrate: int | None = None
    """What we ask the far end not to exceed."""
    fec: bool = True
    """In-band FEC: offered, and sent while the far end takes it and reports loss."""
    dtx: bool = False
    """Send next to nothing in silence, and ask the far end to do so too."""
    ptime: Ptime = 20
    """Milliseconds in a packet; the far end's `ptime`, `minptime` and `maxptime` come first."""
    complexity: int = 5
    """0 (cheapest) to 10."""
    application: Literal["voip", "audio", "lowdelay"] = "voip"
    signal: Literal["adaptive", "voice", "music", "auto"] = "adaptive"
    """`adaptive`: the transform coder (a third of the processor time) while nothing is lost, and the speech coder,
    which alone can carry FEC, while the far end reports loss."""
    max_playback_rate: int = 48000

    def __post_init__(self) -> None:
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {self.channels}")
        if not BITRATE_MIN <= self.bitrate <= 510_000:
            raise ValueError(f"bitrate must be 6000 to 510000 bits a second, not {self.bitrate}")
        if self.max_average_bitrate is not None and not BITRATE_MIN <= self.max_average_bitrate <= 510_000:
            raise ValueError(
                f"max_average_bitrate must be 6000 to 510000 bits a second, not {self.max_average_bitrate}"
            )
        if self.ptime not in PTIMES:
            raise ValueError(f"ptime must be one of {PTIMES} ms, not {self.ptime}")
        if not 0 <= self.complexity <= 10:
            raise ValueError(f"complexity must be 0 to 10, not {self.complexity}")
        if self.application not in ("voip", "audio", "lowdelay"):
            raise ValueError(f"application must be voip, audio or lowdelay, not {self.application!r}")
        if self.signal not in ("adaptive", "voice", "music", "auto"):
            raise ValueError(f"signal must be adaptive, voice, music or auto, not {self.signal!r}")

    def format_parameters(self) -> dict[str, int]:
        """The `a=fmtp` parameters that offer these settings. They say what we want to receive."""
        parameters = {"minptime": 10, "useinbandfec": int(self.fec)}
        if self.dtx:
            parameters["usedtx"] = 1
        if self.channels == 2:
            parameters["stereo"] = 1
            parameters["sprop-stereo"] = 1
        if self.max_average_bitrate is not None:
            parameters["maxaveragebitrate"] = self.max_average_bitrate
        if self.max_playback_rate < 48000:
            parameters["maxplaybackrate"] = self.max_playback_rate
        return parameters

    def for_remote(self, parameters: FormatParameters) -> OpusSettings:
        """These settings within what the far end's `a=fmtp` (and `ptime`, if it is in there) allows us to send.

        An empty mapping changes nothing but stereo and DTX, which must be asked for (RFC 7587 §6.1). Values that
        are not numbers are passed over: a strange line in a description must not stop the call.
        """

        def number(name: str, default: int) -> int:
            try:
                return int(parameters.get(name, default))
            except (TypeError, ValueError):
                return default

        ptime = number("ptime", self.ptime)
        ptime = min(max(ptime, number("minptime", 10)), number("maxptime", 60))
        allowed = number("maxaveragebitrate", 510_000)
        playback = number("maxplaybackrate", 48000)
        return replace(
            self,
            channels=2 if self.channels == 2 and number("stereo", 0) == 1 else 1,
            bitrate=min(self.bitrate, max(allowed, BITRATE_MIN)),
            fec=self.fec and number("useinbandfec", 1 if not parameters else 0) == 1,
            dtx=self.dtx and number("usedtx", 0) == 1,
            ptime=max((p for p in PTIMES if p <= ptime), default=10),
            max_playback_rate=min(max(playback, 8000), 48000),
        )
