"""Receiving video: RTP in, decoded pictures out, for as long as somebody reads the track.

| step                         | where                     | what has a bound                                       |
| ---------------------------- | ------------------------- | ------------------------------------------------------ |
| retransmission → original    | `Retransmissions`         | 16 streams                                             |
| what is missing → NACK       | `NackGenerator`           | 256 numbers, ten tries; no gap over 128 is asked for   |
| packets → whole frames       | `VideoJitterBuffer`       | 1024 packets, 4 MB, about 3.5 round trips of patience  |
| timestamps → one time line   | `PresentationTime`        | each step by the time that has passed                  |
| frames → pictures            | `FrameDecoder`            | 0.3 s of waiting, 4 MB, 4 megapixels a picture         |
| pictures → reader            | the track's `FrameQueue`  | 30 pictures, 32 MB                                     |

Each SSRC has its own jitter buffer, and one of them is shown: several come where the peer sends a picture in several
sizes under one section (`a=ssrc-group:SIM`), or changes its SSRC.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtp import RtpPacket

from peer.rtp.codecs import is_reported, is_rtx
from peer.rtp.line import Line
from peer.rtp.nack import NackGenerator
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.remb import RembEstimator
from peer.rtp.retransmissions import Retransmissions
from peer.rtp.sequence import SequenceNumbers

from .decoder import FrameDecoder
from .depacketizer import Depacketizer, depacketizer
from .jitter_buffer import EncodedFrame, VideoJitterBuffer
from .picture_loss import PictureLoss
from .presentation import PresentationTime

__all__ = ["VideoReceiver"]

STREAMS_MAX: Final = 8
"""SSRCs with a jitter buffer; the least recently heard goes."""
SILENT_AFTER: Final = 0.5
"""Seconds after which another stream takes the place of one that is not heard any more."""
UNREAD_AFTER: Final = 5.0
"""Seconds after which a track that nobody reads is not decoded any more."""


class VideoStream:
    """The packets of one SSRC, on their way to become frames."""

    def __init__(self, ssrc: int, codec: RTCRtpCodecParameters) -> None:
        self.ssrc = ssrc
        self.codec = codec
        self.buffer = VideoJitterBuffer(codec.clockRate, independent=codec.mimeType.startswith("audio/"))
        self.nack = NackGenerator()
        self.heard_at = 0.0
        self._numbers = SequenceNumbers()
        self._restarts = 0
        self._depacketize: Depacketizer = depacketizer(codec)

    def insert(self, packet: RtpPacket, now: float, *, wanted: bool) -> bool:
        """Take a packet; `wanted` says whether what is missing is asked for. Returns whether it was of use."""
        number = self._numbers.extend(packet.sequence_number)
        if number is None:
            return False
        if self._numbers.restarts != self._restarts:
            self._restarts = self._numbers.restarts
            self.buffer.restart()
            self.nack = NackGenerator()
        if wanted:
            self.nack.received(number, now)
        return self.buffer.insert(
            number, packet.timestamp, bool(packet.marker), self._depacketize(packet.payload), now
        )

    def lacks(self, sequence_number: int) -> bool:
        """Say whether a packet is being asked for, by the number it has on the wire."""
        highest = self._numbers.highest
        if highest is None:
            return False
        return highest + ((sequence_number - highest + 0x8000 & 0xFFFF) - 0x8000) in self.nack

    def use(self, codec: RTCRtpCodecParameters) -> None:
        """Take what follows for another codec's."""
        if codec is not self.codec:
            if codec.mimeType.lower() != self.codec.mimeType.lower():
                self.buffer.restart()
            self.codec = codec
            self._depacketize = depacketizer(codec)


class VideoReceiver(RTCRtpReceiver):
    """An `RTCRtpReceiver` for video. Without numpy sound comes this way too, each packet as a frame."""

    def __init__(
        self,
        kind: str = "video",
        transport: Any = None,
        *,
        track_id: str | None = None,
        line: Line | None = None,
    ) -> None:
        super().__init__(kind, transport, track_id=track_id, line=line)
        self.decoder = FrameDecoder(self._picture, self._need_key_frame)
        self._track.on_read = self._read
        self._streams: OrderedDict[int, VideoStream] = OrderedDict()
        self._shown: VideoStream | None = None
        self._order: dict[int, int] = {}
        """Of the SSRCs the peer has announced, where in its list each is: the best picture comes last."""
        self._retransmissions = Retransmissions()
        self._presentation: PresentationTime | None = None
        self._last_pts: int | None = None
        self._picture_loss = PictureLoss()
        self._estimator: RembEstimator | None = RembEstimator() if kind == "video" else None
        self._repairs_asked_for = False
        self._read_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pictures_max(self) -> int:
        """Pixels a picture may have to be decoded, 4 194 304 unless set."""
        return self.decoder.pixels_max

    @pictures_max.setter
    def pictures_max(self, pixels: int) -> None:
        if pixels < 1:
            raise ValueError(f"a picture has at least one pixel: {pixels} is no bound")
        self.decoder.pixels_max = pixels

    @property
    def rtx_ssrc(self) -> int | None:
        """SSRC of the retransmissions of what is shown, once known."""
        return None if self._shown is None else self._retransmissions.repair_of(self._shown.ssrc)

    @property
    def received_ssrc(self) -> int | None:
        """SSRC of what is shown; None while nothing has come."""
        return None if self._shown is None else self._shown.ssrc

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Receive with these parameters; again, to change them."""
        self._order = {encoding.ssrc: i for i, encoding in enumerate(parameters.encodings)}
        self._retransmissions.announce(
            {e.rtx.ssrc: e.ssrc for e in parameters.encodings if e.rtx is not None}
        )
        if is_reported(parameters.codecs):
            self._estimator = None  # the peer estimates by itself
        self._repairs_asked_for = any(
            feedback.type == "nack" and not feedback.parameter
            for codec in parameters.codecs
            for feedback in codec.rtcpFeedback
        )
        await super().receive(parameters)

    def receive_rtp(self, packet: RtpPacket, now: float) -> None:
        """Take a packet as it comes from the network."""
        if not self._takes(packet):
            return
        codec = self._codecs[packet.payload_type]
        self._count(packet, codec.clockRate, now)
        self._estimate(packet, now)
        repair = is_rtx(codec)
        if repair:
            original = self._original(packet, codec)
            if original is None:
                return
            packet = original
            codec = self._codecs[packet.payload_type]
        elif packet.extensions.rtp_stream_id is not None:
            self._retransmissions.named(packet.extensions.rtp_stream_id, packet.ssrc)
        stream = self._stream(packet.ssrc, codec)
        shown = self._choose(stream, now)
        if not stream.insert(packet, now, wanted=shown and self._repairs_asked_for):
            self.packets_discarded += 1
        if not repair:
            stream.heard_at = now
        if shown:
            self._advance(stream, now)
        else:
            self._watch(stream, now)

    def _original(self, packet: RtpPacket, codec: RTCRtpCodecParameters) -> RtpPacket | None:
        self.retransmitted_packets += 1
        self.retransmitted_bytes += len(packet.payload)
        payload_type = codec.parameters.get("apt")
        if not isinstance(payload_type, int) or payload_type not in self._codecs:
            return None
        candidates = [s.ssrc for s in self._streams.values() if s.codec.payloadType == payload_type]
        return self._retransmissions.unwrap(
            packet, payload_type, candidates, lambda ssrc, number: self._streams[ssrc].lacks(number)
        )

    def _estimate(self, packet: RtpPacket, now: float) -> None:
        sent_at = packet.extensions.abs_send_time
        if self._estimator is None or sent_at is None:
            return
        size = len(packet.payload) + packet.padding_size
        told = self._estimator.add(sent_at, size, packet.ssrc, now)
        if told is not None:
            self.feedback.remb(*told)

    def _stream(self, ssrc: int, codec: RTCRtpCodecParameters) -> VideoStream:
        stream = self._streams.get(ssrc)
        if stream is None:
            while len(self._streams) >= STREAMS_MAX:
                oldest = next(s for s in self._streams.values() if s is not self._shown)
                del self._streams[oldest.ssrc]
            stream = self._streams[ssrc] = VideoStream(ssrc, codec)
        else:
            self._streams.move_to_end(ssrc)
            stream.use(codec)
        return stream

    # Which stream is shown.

    def _choose(self, stream: VideoStream, now: float) -> bool:
        """Say whether a stream that has just been heard is the one to show."""
        shown = self._shown
        if stream is shown:
            return True
        if shown is None:
            self._shown = stream
            return True
        supersedes = stream.ssrc in self._order and shown.ssrc not in self._order
        if now - shown.heard_at > SILENT_AFTER or supersedes:
            self._show(stream)
            return True
        return False

    def _show(self, stream: VideoStream) -> None:
        self._shown = stream
        stream.nack = NackGenerator()

    def _watch(self, stream: VideoStream, now: float) -> None:
        """Of a stream that is not shown, throw away what comes, until it turns out to be the better picture."""
        while (frame := stream.buffer.take(now)) is not None:
            shown = self._shown
            assert shown is not None
            better = self._order.get(stream.ssrc, -1) > self._order.get(shown.ssrc, -1)
            if frame.key and better and shown.ssrc in self._order:
                self._show(stream)
                self._deliver(stream, frame)
                self._advance(stream, now)
                return

    # From packets to pictures.

    def _advance(self, stream: VideoStream, now: float) -> None:
        """Do whatever is to be done by now for the stream that is shown."""
        buffer, nack = stream.buffer, stream.nack
        buffer.round_trip = nack.round_trip = self._picture_loss.round_trip = self._round_trip()
        buffer.target = (self._jitter_buffer_target or 0.0) / 1000
        while (frame := buffer.take(now)) is not None:
            self._deliver(stream, frame)
        reading = self.decoder.is_reading
        if reading and len(nack):
            if buffer.next_number is not None:
                nack.forget_before(buffer.next_number)
            lost = nack.due(now)
            if lost:
                self.feedback.nack(stream.ssrc, [number & 0xFFFF for number in lost])
        if reading and buffer.wants_key_frame:
            self._need_key_frame()
        self._set_timer(buffer.next_at, nack.next_at if reading else None)

    def _deliver(self, stream: VideoStream, frame: EncodedFrame) -> None:
        self.frames_received += 1
        if self._presentation is None:
            self._presentation = PresentationTime(stream.codec.clockRate)
        frame.timestamp = self._presentation.place(stream.ssrc, frame.timestamp, frame.arrived)
        if frame.key:
            self._picture_loss.answered()
        if self.decoder.is_reading and not self._track.is_awaited:
            now = asyncio.get_running_loop().time()
            if now - self._read_at > UNREAD_AFTER:
                self.decoder.pause()
        self.decoder.put(stream.codec, frame)

    def _set_timer(self, *moments: float | None) -> None:
        next_at = min((moment for moment in moments if moment is not None), default=None)
        timer = self._timer
        if timer is not None:
            if next_at is not None and timer.when() <= next_at and not timer.cancelled():
                return  # it looks again when it fires
            timer.cancel()
            self._timer = None
        if next_at is not None:
            self._timer = asyncio.get_running_loop().call_at(next_at, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if self._shown is not None:
            self._advance(self._shown, asyncio.get_running_loop().time())

    def _round_trip(self) -> float | None:
        round_trip: float | None = self.feedback.transport.round_trip
        return round_trip

    def _need_key_frame(self) -> None:
        if self._shown is None or not self.line.received.enabled:
            return
        if self._picture_loss.may_ask(asyncio.get_running_loop().time()):
            self.feedback.picture_loss(self._shown.ssrc)

    def _read(self) -> None:
        self._read_at = asyncio.get_running_loop().time()
        self.decoder.read()

    def _picture(self, picture: Any, frame: EncodedFrame) -> None:
        """Hand a decoded picture to the track. Its time goes on, whatever the stream says."""
        if self._track.readyState != "live":
            return
        pts = frame.timestamp if picture.pts is None else picture.pts
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        self._last_pts = picture.pts = pts
        if self.kind == "video":
            self.measured.video(picture.width, picture.height)
            self.pace.frame(asyncio.get_running_loop().time())
        self._track.put(picture, sum(plane.buffer_size for plane in picture.planes))

    def _release(self) -> None:
        self._set_timer()
        self.decoder.close()
        self._streams.clear()
        self._shown = None
