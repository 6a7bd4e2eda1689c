"""What a player reads: the pieces of a file or device in order, on one time line, around and around when it loops.

No thread and no event loop: whoever plays it brings a thread to call `pieces` in.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
from av import AudioFrame, VideoFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType

from .encoded_packets import ENCODED_AUDIO, ENCODED_VIDEO, EncodedPackets, has_reordered_pictures
from .sound_frames import SoundFrames

__all__ = ["FileSource", "TimedPiece"]

logger = logging.getLogger("peer.media")

REAL_TIME_FORMATS: Final = frozenset(
    (
        *(
            "alsa",
            "android_camera",
            "avfoundation",
            "bktr",
            "decklink",
            "dshow",
            "fbdev",
            "gdigrab",
            "iec61883",
        ),
        *(
            "jack",
            "kmsgrab",
            "openal",
            "oss",
            "pulse",
            "rtp",
            "rtsp",
            "sdp",
            "sndio",
            "v4l2",
            "vfwcap",
            "x11grab",
        ),
    )
)
"""Formats whose pieces come at their own pace: devices, and streams over a network."""

VIDEO_CLOCK: Final = 90000
_NETWORK_SILENCE: Final = 30.0
"""Seconds after which a network source that says nothing has ended, unless the application gave a timeout."""
_BACKWARDS: Final = 0.5
_FORWARDS: Final = 60.0
"""Seconds by which time stamps may step back or leap ahead inside a file and still be believed."""
_USUAL_RATE: Final = 30


@dataclass(frozen=True, slots=True)
class TimedPiece:
    """A frame, or a packet where nothing is decoded, with its time stamps already set."""

    kind: str
    """`audio` or `video`."""
    data: AudioFrame | VideoFrame | Packet[Any]
    time: float
    """Seconds from the beginning of the first round; never less than that of the piece before it in its kind."""
    duration: float
    """Seconds."""
    can_begin: bool
    """Whether decoding may begin here."""


class FileSource:
    """An open file, URL, device or file-like object. Opening blocks, and so does reading.

    Arguments are those of `MediaPlayer`. Raises `av.FFmpegError` (which is an `OSError` or `ValueError`, by kind) when
    it cannot be opened, `TimeoutError` when it does not answer, `ValueError` when nothing in it can be played as asked.
    """

    def __init__(
        self,
        file: Any,
        format: str | None = None,
        options: dict[str, str] | None = None,
        timeout: float | None = None,
        loop: bool = False,
        decode: bool = True,
    ) -> None:
        self._file = file
        self.name = str(getattr(file, "name", file))
        network = isinstance(file, str) and "://" in file and not file.startswith("file:")
        self._arguments: dict[str, Any] = {
            "format": format,
            "options": options,
            "timeout": _NETWORK_SILENCE if timeout is None and network else timeout,
        }
        self._loop = loop
        self._decode = decode
        self._container = self._open()
        try:
            self.real_time = bool(REAL_TIME_FORMATS & set(self._container.format.name.split(",")))
            self._streams = self._chosen()
            if loop and (self.real_time or not self._can_be_read_again()):
                raise ValueError(f"{self.name} cannot be looped: it can be read only once")
        except BaseException:
            self._container.close()
            raise
        self._base = 0.0
        self._shift = 0.0
        self._begin: float | None = None
        self._last: dict[str, float] = {}

    @property
    def kinds(self) -> set[str]:
        """What there is to play: `audio`, `video` or both."""
        return set(self._streams)

    def pieces(self) -> Iterator[TimedPiece]:
        """Read, and decode unless that was not wanted. Looping never ends; raises `av.FFmpegError` as reading does."""
        while True:
            end = self._base
            for piece in self._round():
                end = max(end, piece.time + piece.duration)
                yield piece
            if not self._loop or end <= self._base:
                return
            self._base = end
            self._container.close()
            if hasattr(self._file, "read"):
                self._file.seek(0)
            self._container = self._open()
            self._streams = self._chosen()

    def close(self) -> None:
        """Close it. Not while another thread reads."""
        with contextlib.suppress(av.FFmpegError):
            self._container.close()

    def _open(self) -> InputContainer:
        try:
            container: InputContainer = av.open(self._file, mode="r", **self._arguments)
        except av.error.ExitError:
            raise TimeoutError(
                f"{self.name} did not answer within {self._arguments['timeout']} s (`timeout`)"
            ) from None
        return container

    def _can_be_read_again(self) -> bool:
        if hasattr(self._file, "read"):
            return bool(getattr(self._file, "seekable", lambda: hasattr(self._file, "seek"))())
        return True

    def _chosen(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        refused: list[str] = []
        for stream in self._container.streams:
            kind = stream.type
            if kind not in ("audio", "video") or kind in found:
                continue
            if stream.disposition & Disposition.attached_pic:
                continue  # the cover of a record is no film
            if not self._decode and (reason := _cannot_be_sent(stream)):
                refused.append(reason)
                continue
            found[kind] = stream
        if not found:
            what = "; ".join(refused) or "there is neither sound nor pictures in it"
            raise ValueError(f"{self.name} cannot be played: {what}")
        for reason in refused:
            logger.warning("%s is played without %s", self.name, reason)
        return found

    def _round(self) -> Iterator[TimedPiece]:
        self._shift = 0.0
        self._last.clear()
        self._begin = (
            None if self._container.start_time is None else self._container.start_time / av.time_base
        )
        self._sound = SoundFrames(self._base)
        encoded = {kind: EncodedPackets(stream) for kind, stream in self._streams.items()}
        for packet in self._packets():
            kind = packet.stream.type
            if not self._decode:
                for part in encoded[kind].push(packet):
                    yield from self._encoded(kind, part)
                continue
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                logger.debug("%s: %s could not be decoded: %s", self.name, kind, error)
                continue
            for frame in frames:
                yield from self._picture(frame) if isinstance(frame, VideoFrame) else self._heard(frame)
        for rest in self._sound.flush():
            yield self._of_sound(rest)

    def _packets(self) -> Iterator[Packet[Any]]:
        """Every packet, and an empty one for each stream at the end, which makes its decoder give what it holds."""
        streams = tuple(self._streams.values())
        packets = self._container.demux(*streams)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.error.BlockingIOError:  # a device that has nothing yet
                time.sleep(0.01)
                packets = self._container.demux(*streams)

    def _picture(self, frame: VideoFrame) -> Iterator[TimedPiece]:
        rate = self._streams["video"].average_rate or _USUAL_RATE
        duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
        duration = duration or float(1 / rate)
        at = self._at("video", None if frame.pts is None else frame.time, duration)
        frame.pts, frame.time_base = round(at * VIDEO_CLOCK), Fraction(1, VIDEO_CLOCK)
        # How the picture was coded in the file says nothing about how it should be sent.
        frame.pict_type = PictureType.NONE
        yield TimedPiece("video", frame, at, duration, True)

    def _heard(self, frame: AudioFrame) -> Iterator[TimedPiece]:
        length = frame.samples / frame.sample_rate
        at = None if frame.pts is None else self._at("audio", frame.time, length, strict=False)
        for ready in self._sound.push(frame, at):
            yield self._of_sound(ready)

    def _of_sound(self, frame: AudioFrame) -> TimedPiece:
        assert frame.pts is not None
        return TimedPiece(
            "audio", frame, frame.pts / frame.sample_rate, frame.samples / frame.sample_rate, True
        )

    def _encoded(self, kind: str, packet: Packet[Any]) -> Iterator[TimedPiece]:
        if packet.time_base is None or packet.pts is None:
            return
        duration = float((packet.duration or 0) * packet.time_base)
        at = self._at(kind, float(packet.pts * packet.time_base), duration or 1 / _USUAL_RATE)
        clock = VIDEO_CLOCK if kind == "video" else 48000
        packet.time_base = Fraction(1, clock)
        packet.pts = packet.dts = round(at * clock)
        yield TimedPiece(kind, packet, at, duration or 1 / _USUAL_RATE, kind == "audio" or packet.is_keyframe)

    def _at(self, kind: str, stamp: float | None, duration: float, strict: bool = True) -> float:
        """The place of a piece on the time line of all rounds, in seconds."""
        last = self._last.get(kind)
        if stamp is None:
            stamp = 0.0 if last is None else last + duration
        else:
            if self._begin is None:
                self._begin = stamp
            stamp -= self._begin - self._shift
            if last is not None and not last - _BACKWARDS <= stamp <= last + _FORWARDS:
                self._shift += last + duration - stamp
                stamp = last + duration
        if strict:
            stamp = max(stamp, 0.0 if last is None else last + 1 / VIDEO_CLOCK)
        self._last[kind] = stamp
        return self._base + stamp


def _cannot_be_sent(stream: Any) -> str | None:
    """Why the packets of a stream cannot be sent as they are; None when they can."""
    codec = stream.codec_context.name
    codec = {"libvpx": "vp8", "libopus": "opus"}.get(codec, codec)
    possible = ENCODED_AUDIO if stream.type == "audio" else ENCODED_VIDEO
    if codec not in possible:
        return f"its {stream.type}, which is {codec}: with decode=False only {' and '.join(possible)} can be sent"
    if codec != "vp8" and stream.type == "video" and has_reordered_pictures(stream):
        return (
            "its video, which has B-frames: WebRTC knows pictures in the order of their display only."
            " Use decode=True, or encode the file without B-frames (x264: bframes=0)"
        )
    return None
