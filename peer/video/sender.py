"""Sending video: one encoding of the track, or several at once (simulcast, RFC 8853)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, Final

from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtcpParameters, RTCRtpCodecParameters, RTCRtpSendParameters
from av import VideoFrame

from peer.aio.background import Background
from peer.rtp.bandwidth import Demand
from peer.rtp.congestion import CongestionControl, Departure
from peer.rtp.counters import Measured
from peer.rtp.feed import SenderFeed
from peer.rtp.line import Line
from peer.rtp.sender import RTCRtpSender
from peer.webidl import Members

from .bitrate import BITS_PER_PIXEL_MIN
from .encoder import EncoderCounters, EncodingWish, VideoEncoder
from .key_frames import KeyFrameRequests
from .limitation import QualityLimitation
from .rate import BITRATE_MIN, StreamRate

QUEUE_MAX: Final = 0.1
"""Seconds that packets may have to wait when another picture is encoded; if they do, that picture is left out."""
LEFT_OUT_COUNTS: Final = 1.0
"""Seconds for which a picture that was left out counts as fewer pictures."""
MARGIN: Final = 0.95
"""Of the bitrate goes to the encoder: what it makes varies from one picture to the next."""


class LayerFeed(SenderFeed):
    """The frames of another feed; of those that come too fast to encode, the last."""

    def __init__(self, kind: str, failed: Callable[[MediaStreamTrack, Exception], None]) -> None:
        super().__init__(kind, failed)
        self._frame: VideoFrame | None = None
        self._arrived = asyncio.Event()

    def frame(self, frame: VideoFrame) -> None:
        """Take a frame of the other feed."""
        self._frame = frame
        self._arrived.set()

    async def recv(self) -> Any:
        """Return the newest frame that has not been returned yet."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            frame, self._frame = self._frame, None
            if frame is not None and not self.too_soon():
                return frame


class EncodingSender(RTCRtpSender):
    """Sends one encoding, and says in its packets which."""

    def __init__(
        self, trackOrKind: MediaStreamTrack | str, transport: Any = None, *, line: Line | None = None
    ) -> None:
        super().__init__(trackOrKind, transport, line=line)
        self.encoded = EncoderCounters()
        self.sent = Measured()
        """The size and the pace of what is encoded."""
        self.rate = StreamRate()
        self.frames_skipped = 0
        """Left out, since what was before them had not left yet."""
        self.limitation = QualityLimitation()
        self._left_out_at = float("-inf")
        self._pixels = 0
        self._pictures: VideoEncoder | None = None
        self._key_frames = KeyFrameRequests()

    @property
    def encoder(self) -> VideoEncoder | None:
        """What encodes, once something has been."""
        return self._pictures

    def _forget_encoder(self) -> None:
        self._pictures = None

    async def _send_media(self, data: Any) -> None:
        codec = self.codec
        assert codec is not None
        if self._pictures is None:
            self._pictures = VideoEncoder(codec, self.encoded)
        if isinstance(data, VideoFrame):
            await self._encode(codec, data, self._pictures)
            return
        captured_at, position = self._place(data)
        payloads = self._pictures.pack(data, self.stream.payload_max)
        if payloads:
            self._send_payloads(codec, payloads, position, captured_at)

    async def _encode(self, codec: RTCRtpCodecParameters, frame: VideoFrame, pictures: VideoEncoder) -> None:
        captured_at, position = self._place(frame)
        pacer, scale = self.stream.pacer, float(self.encoding.get("scaleResolutionDownBy", 1.0))
        self.rate.maximum = self._max_bitrate
        self.rate.size(int(frame.width / scale), int(frame.height / scale))
        pacer.rate = self.rate.pace
        self._pixels = int(frame.width / scale) * int(frame.height / scale)
        if self.rate.paused:
            return
        if self.stream.delay > QUEUE_MAX:
            self.frames_skipped += 1
            self._left_out_at = captured_at
            return
        wish = EncodingWish(
            bitrate=self._media_bitrate(captured_at),
            key_frame=self._key_frames.due(captured_at),
            scale=scale,
            payload_max=self.stream.payload_max,
            shrink=len(self._beside) == 1,  # the smaller sizes of simulcast are sent already
        )
        picture = await self._event_loop.run_in_executor(None, pictures.encode, frame, captured_at, wish)
        if not picture.payloads:
            return
        left_out = captured_at - self._left_out_at < LEFT_OUT_COUNTS
        self.limitation.picture(reduced=pictures.reduced, left_out=left_out, now=captured_at)
        if picture.key_frame:
            self._key_frames.made(captured_at)
        self.sent.video(picture.width, picture.height)
        self._send_payloads(codec, picture.payloads, position, captured_at)

    def _media_bitrate(self, now: float) -> float:
        """What is left for the encoder once headers have been paid for."""
        headers = self.stream.last_second.packets(now) * self.stream.overhead * 8
        target = self.rate.target
        return max(0.5 * target, MARGIN * target - headers)

    def _request_key_frame(self) -> None:
        self._key_frames.ask()

    @property
    def _retransmission_bitrate(self) -> int:
        return self.rate.target

    def _peer_estimates(self, bitrate: int, ssrcs: list[int]) -> None:
        if self.stream.steered_by is not None:
            return  # its reports say more, and sooner
        now = self._event_loop.time()
        self.rate.estimated(bitrate // len(set(ssrcs)), self.stream.last_second.bytes(now) * 8)
        self.stream.pacer.rate = self.rate.pace

    def _reception_reported(self) -> None:
        reception = self.stream.reports.reception
        if reception is not None:
            self.rate.lost(reception.fraction_lost)

    def _use_parameters(self, parameters: RTCRtpSendParameters) -> None:
        super()._use_parameters(parameters)
        self._be_steered(self.stream.congestion)
        self.stream.name(self.encoding.get("rid"))

    def setTransport(self, transport: Any) -> None:
        """Send over another transport from now on."""
        super().setTransport(transport)
        if self.started:
            self._be_steered(self.stream.congestion)

    async def stop(self) -> None:
        """Stop for good. The application's track is left as it is."""
        self._be_steered(None)
        await super().stop()

    # What the transport asks of it (see `peer.rtp.congestion.Steered`).

    def _be_steered(self, congestion: CongestionControl | None) -> None:
        before = self.stream.steered_by
        if congestion is before:
            return
        self.stream.steered_by = congestion
        if before is not None:
            before.detach(self)
        if congestion is None:
            self.rate.allotted(None)
        else:
            congestion.attach(self)

    @property
    def demand(self) -> Demand:
        """What the encoding can make use of."""
        if not self.enabled or not self._shows:
            return Demand(0, 0)
        self.rate.maximum = self._max_bitrate
        wanted = self.rate.wanted
        rank = self._rank
        least = BITRATE_MIN if rank == 0 else round(BITS_PER_PIXEL_MIN * self._pixels)
        return Demand(min(least, wanted), wanted, rank, not self.rate.paused)

    @property
    def _beside(self) -> list[Members]:
        """The encodings of the track, this one among them."""
        return self.encodings

    @property
    def _rank(self) -> int:
        """How many encodings of the track are smaller."""
        own = self.encoding.get("scaleResolutionDownBy", 1.0)
        return sum(
            each.get("active", True) and each.get("scaleResolutionDownBy", 1.0) > own for each in self._beside
        )

    @property
    def _shows(self) -> bool:
        return self.track is not None

    def allot(self, bitrate: int) -> None:
        """Send so many bits per second, and nothing for 0."""
        paused = self.rate.paused
        self.rate.allotted(bitrate)
        if paused and not self.rate.paused:
            self._key_frames.ask()
        self.stream.pacer.rate = self.rate.pace

    def padding(self) -> Departure | None:
        """Return a packet to fill up with."""
        return self.stream.padding()

    def _use_encoding(self) -> None:
        super()._use_encoding()
        self.stream.name(self.encoding.get("rid"))


class VideoSender(EncodingSender):
    """An `RTCRtpSender` for video. It sends its first encoding itself, and the others through `layers`."""

    def __init__(
        self, trackOrKind: MediaStreamTrack | str, transport: Any = None, *, line: Line | None = None
    ) -> None:
        self.layers: list[LayerSender] = []
        self._ending = Background("video sender")
        super().__init__(trackOrKind, transport, line=line)

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        await super().send(parameters)
        for layer in self.layers:
            await layer.send_beside(parameters)

    @property
    def senders(self) -> list[RTCRtpSender]:
        return [self, *self.layers]

    def setTransport(self, transport: Any) -> None:
        super().setTransport(transport)
        for layer in self.layers:
            layer.setTransport(transport)

    async def stop(self) -> None:
        for layer in self.layers:
            self._end(layer)
        await super().stop()
        await self._ending.settled()

    def _use_encoding(self) -> None:
        super()._use_encoding()
        while len(self.layers) > len(self.encodings) - 1:
            self._end(self.layers.pop())
        for layer in self.layers:
            layer._use_encoding()
        while len(self.layers) < len(self.encodings) - 1:
            layer = LayerSender(self, len(self.layers) + 1)
            layer.setTransport(self.stream.transport)
            self.layers.append(layer)
            self._feed.taps.append(layer._layer_feed)

    @property
    def _share_of_taken(self) -> int | None:
        # Alike: they differ in size, and how much each needs is not known before it is sent.
        active = sum(bool(encoding.get("active", True)) for encoding in self.encodings)
        return None if self._taken is None else self._taken // max(1, active)

    def _end(self, layer: LayerSender) -> None:
        if layer._layer_feed in self._feed.taps:
            self._feed.taps.remove(layer._layer_feed)
        self._ending.spawn(layer.stop())


class LayerSender(EncodingSender):
    """Sends one more encoding of another sender's track, as a stream of its own."""

    def __init__(self, owner: VideoSender, index: int) -> None:
        self._owner_sender = owner
        self._index = index
        super().__init__("video", line=owner.line)
        self.stats_id = f"{owner.stats_id}_{index}"
        self._use_encoding()

    def _create_feed(self, kind: str) -> SenderFeed:
        self._layer_feed = LayerFeed(kind, self._track_failed)
        return self._layer_feed

    @property
    def encoding(self) -> Members:
        encodings = self._owner_sender.encodings
        return encodings[self._index] if self._index < len(encodings) else Members(active=False)

    @property
    def _beside(self) -> list[Members]:
        return self._owner_sender.encodings

    @property
    def _shows(self) -> bool:
        return self._owner_sender.track is not None

    @property
    def _share_of_taken(self) -> int | None:
        return self._owner_sender._share_of_taken

    async def send_beside(self, parameters: RTCRtpSendParameters) -> None:
        """Send with the parameters of the owner."""
        rtcp = RTCRtcpParameters(cname=parameters.rtcp.cname, mux=True, ssrc=self.stream.ssrc)
        await self.send(dataclasses.replace(parameters, rtcp=rtcp))
