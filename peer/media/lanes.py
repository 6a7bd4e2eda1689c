"""One track of a recording, from frames to encoded packets that wait for their place on the common time line."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

from av import AudioFrame, VideoFrame
from av.audio.stream import AudioStream
from av.filter import Graph
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from .sound_frames import SoundFrames
from .track_clock import SETTLING, TrackClock

__all__ = ["Lane", "PictureLane", "SoundLane"]

_CLOCK: Final = 90000


class Lane:
    """Holds the packets of a track until it is known where they belong."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.clock = TrackClock()
        self.ended = False
        self._packets: deque[Packet[Any]] = deque()
        self._moved: float | None = None
        """Seconds that are added to the places of this track, once that is settled."""

    @property
    def begun(self) -> bool:
        """Whether there has been a frame."""
        return self.clock.first is not None

    @property
    def begin(self) -> float:
        """When the first frame was, on the clock of the arrivals."""
        return self.clock.offset

    def settled(self, now: float) -> bool:
        """Whether the track's place on the time line is known."""
        return self.clock.first is not None and (self.ended or now - self.clock.first >= SETTLING)

    def hold(self, packets: Iterable[Packet[Any]]) -> None:
        """Keep encoded packets until they are written to the file."""
        self._packets.extend(packets)

    def release(self, zero: float) -> Iterator[Packet[Any]]:
        """Give the packets that wait, stamped from `zero` on the clock of the arrivals."""
        if self._moved is None:
            self._moved = max(0.0, self.clock.offset - zero)
        while self._packets:
            packet = self._packets.popleft()
            moved = round(self._moved / packet.time_base) if packet.time_base else 0
            if packet.pts is not None:
                packet.pts += moved
            if packet.dts is not None:
                packet.dts += moved
            yield packet

    def write(self, frame: Any, arrival: float) -> None:
        """Encode a frame that arrived at `arrival` seconds."""
        raise NotImplementedError

    def finish(self) -> None:
        """Encode what is left."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the stream describable, whether or not there has been a frame."""


class SoundLane(Lane):
    """Sound, without a gap from its first frame to its last."""

    stream: AudioStream

    def __init__(self, stream: AudioStream) -> None:
        super().__init__(stream)
        stream.layout = "stereo"
        self._frames = SoundFrames()

    def write(self, frame: AudioFrame, arrival: float) -> None:
        """Encode sound that arrived at `arrival` seconds; gaps become silence."""
        place = self.clock.place(None if frame.pts is None else frame.time, arrival)
        for even in self._frames.push(frame, place):
            self.hold(self.stream.encode(even))

    def finish(self) -> None:
        """Encode what is left."""
        if self.begun:
            for even in self._frames.flush(pad=False):
                self.hold(self.stream.encode(even))
            self.hold(self.stream.encode(None))


class PictureLane(Lane):
    """Pictures, each with its own time, all in the size of the first."""

    stream: VideoStream

    def __init__(self, stream: VideoStream, pixels: str) -> None:
        super().__init__(stream)
        self._pixels = pixels
        stream.pix_fmt = pixels
        stream.width = stream.height = 0
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        self._graph: Graph | None = None
        self._taken: tuple[int, int, str] | None = None

    def prepare(self, width: int = 1280, height: int = 720) -> None:
        """Settle the size of the pictures, by the first of them."""
        if not self.stream.width:
            self.stream.width, self.stream.height = max(2, width // 2 * 2), max(2, height // 2 * 2)

    def write(self, frame: VideoFrame, arrival: float) -> None:
        """Encode a picture that arrived at `arrival` seconds."""
        self.prepare(frame.width, frame.height)
        place = self.clock.place(None if frame.pts is None else frame.time, arrival)
        picture = self._fitted(frame)
        picture.pts, picture.time_base = round(place * _CLOCK), Fraction(1, _CLOCK)
        picture.pict_type = PictureType.NONE
        self.hold(self.stream.encode(picture))

    def finish(self) -> None:
        """Encode what is left."""
        if self.begun:
            self.hold(self.stream.encode(None))

    def _fitted(self, frame: VideoFrame) -> VideoFrame:
        """Return the picture in the size of the film, with bars where it has another shape.

        It is never the given frame itself, which may be in somebody else's hands.
        """
        given = (frame.width, frame.height, frame.format.name)
        if self._graph is None or given != self._taken:
            self._graph, self._taken = self._fitting(frame), given
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _fitting(self, frame: VideoFrame) -> Graph:
        width, height = self.stream.width, self.stream.height
        graph = Graph()
        graph.link_nodes(
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, _CLOCK)
            ),
            graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease"),
            graph.add("pad", f"{width}:{height}:-1:-1"),
            graph.add("format", self._pixels),
            graph.add("buffersink"),
        ).configure()
        return graph
