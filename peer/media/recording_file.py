"""A file that tracks are written into: what has been written can be read, whatever becomes of the program.

No thread and no event loop: encoding takes its time, so whoever records brings a thread.
"""

from __future__ import annotations

from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from .lanes import Lane, PictureLane, SoundLane
from .sound_frames import RATE
from .track_clock import SETTLING

__all__ = ["RecordingFile"]

_PATIENCE: Final = 5.0
"""Seconds the file waits for tracks that have not begun. Then its header is written, with their places kept."""
_FRAGMENT_US: Final = 1_000_000
_MP4: Final = frozenset(("mp4", "mov", "ipod", "3gp", "3g2", "psp", "f4v", "ismv"))
_AUDIO_CODECS: Final = {
    "wav": "pcm_s16le",
    "alsa": "pcm_s16le",
    "pulse": "pcm_s16le",
    "mp3": "libmp3lame",
    "ogg": "libopus",
    "opus": "libopus",
    "webm": "libopus",
}
_X264: Final = {"preset": "veryfast", "tune": "zerolatency"}
_VPX: Final = {"deadline": "realtime", "cpu-used": "6", "crf": "10", "b": "2M", "lag-in-frames": "0"}
_GROUP: Final = 60
"""Pictures between two from which playing may begin."""


class RecordingFile:
    """Encodes frames and writes them, each at its time.

    MP4 and its kin are written in fragments of a second, and made whole at `close`; Matroska in clusters of a second.
    Raises `av.FFmpegError` or `OSError` when the file cannot be opened or written.
    """

    def __init__(self, file: Any, format: str | None = None, options: dict[str, str] | None = None) -> None:
        self._container: OutputContainer = av.open(
            file, "w", format=format, options=dict(options or {}), container_options={}
        )
        self.format = self._container.format.name
        self._options = options or {}
        self._container.container_options.update({**self._fragments(file), **self._options})
        self.lanes: list[Lane] = []
        self._zero: float | None = None
        """The arrival time at which the film begins; None before its header is written."""
        self._first: float | None = None

    def _fragments(self, file: Any) -> dict[str, str]:
        usual = {"max_interleave_delta": str(_FRAGMENT_US), "flush_packets": "1"}
        if self.format in _MP4:
            seekable = not hasattr(file, "write") or bool(getattr(file, "seekable", lambda: False)())
            flags = "+frag_keyframe+delay_moov+default_base_moof" + ("+hybrid_fragmented" if seekable else "")
            return {**usual, "movflags": flags, "frag_duration": str(_FRAGMENT_US)}
        if self.format in ("matroska", "webm"):
            return {**usual, "cluster_time_limit": str(_FRAGMENT_US // 1000)}
        return usual

    @property
    def begun(self) -> bool:
        """Whether the header is written, and no track can be added any more."""
        return self._zero is not None

    def add_track(self, kind: str) -> Lane:
        """Add a track of a kind, `audio` or `video`, to be written."""
        lane = self._sound() if kind == "audio" else self._pictures()
        self.lanes.append(lane)
        return lane

    def _sound(self) -> Lane:
        stream = self._container.add_stream(_AUDIO_CODECS.get(self.format, "aac"), rate=RATE)
        assert isinstance(stream, AudioStream)
        return SoundLane(stream)

    def _pictures(self) -> Lane:
        if self.format == "image2":
            codec, pixels, options = "png", "rgb24", {}
        elif self.format == "webm":
            codec, pixels, options = "libvpx", "yuv420p", _VPX
        else:
            codec, pixels, options = "libx264", "yuv420p", _X264
        stream = self._container.add_stream(codec, rate=30, options={**options, **self._options})
        assert isinstance(stream, VideoStream)
        if codec != "png" and "g" not in self._options:
            stream.codec_context.gop_size = _GROUP
        return PictureLane(stream, pixels)

    def write(self, lane: Lane, frame: Any, arrival: float) -> None:
        """Write a frame that arrived at `arrival` seconds, on one clock for all tracks."""
        if self._first is None:
            self._first = arrival
        lane.write(frame, arrival)
        self._mux(arrival)

    def end(self, lane: Lane) -> None:
        """Say that nothing more comes of a track."""
        lane.ended = True

    def close(self) -> None:
        """Write what is left, and close the file. Whatever happens, it is closed."""
        try:
            for lane in self.lanes:
                lane.finish()
                lane.ended = True
            if self._first is not None:
                self._mux(float("inf"))
        finally:
            self._container.close()

    def _mux(self, now: float) -> None:
        if self._zero is None:
            assert self._first is not None
            waited = now - self._first
            if waited < SETTLING or (
                waited < _PATIENCE and not all(lane.begun or lane.ended for lane in self.lanes)
            ):
                return
            for lane in self.lanes:
                lane.prepare()
            self._zero = min(lane.begin for lane in self.lanes if lane.begun)
        for lane in self.lanes:
            if lane.settled(now):
                for packet in lane.release(self._zero):
                    self._container.mux(packet)
