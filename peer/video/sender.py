"""Sending video: one encoding of the track, or several at once (simulcast, RFC 8853)."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from aiortc.codecs.base import Encoder
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtcpParameters, RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtp import RTP_HEADER_LENGTH, RTP_HISTORY_SIZE, HeaderExtensions, HeaderExtensionsMap
from av import VideoFrame

from peer.aiortc_seams import sender_field, set_sender_field
from peer.rtp.feed import SenderFeed
from peer.rtp.sender import RTCRtpSender
from peer.webidl import Members

from .encoder import EncoderCounters, VideoEncoder


class RidExtensions(HeaderExtensionsMap):
    """Writes into each packet which encoding it belongs to (RFC 8852), or which one it repairs."""

    def __init__(self) -> None:
        super().__init__()
        self.rid: str | None = None
        self.header_bytes = 0
        """Of all packets that were written."""
        self.repairs_apart = False
        """Whether lost packets are sent again in a stream of their own (RFC 4588)."""

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        if self.rid is not None:
            # A packet that is sent again comes with the values it went with.
            again = values.rtp_stream_id is not None
            values.rtp_stream_id = self.rid
            if again and self.repairs_apart:
                values = dataclasses.replace(values, rtp_stream_id=None, repaired_rtp_stream_id=self.rid)
        profile, written = super().set(values)
        self.header_bytes += RTP_HEADER_LENGTH + (4 + len(written) if written else 0)
        return profile, written


class LayerFeed(SenderFeed):
    """The frames of another feed; of those that come too fast to encode, the last."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._frame: VideoFrame | None = None
        self._arrived = asyncio.Event()

    def frame(self, frame: VideoFrame) -> None:
        self._frame = frame
        self._arrived.set()

    async def recv(self) -> Any:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            frame, self._frame = self._frame, None
            if frame is not None and not self._too_soon():
                return await self._scaled(frame)


class EncodingSender(RTCRtpSender):
    """Sends one encoding, and says in its packets which."""

    def __init__(self, trackOrKind: MediaStreamTrack | str, transport: Any = None) -> None:
        self._extensions = RidExtensions()
        super().__init__(trackOrKind, transport)
        set_sender_field(self, "rtp_header_extensions_map", self._extensions)
        self.encoded = EncoderCounters()

    @property
    def header_bytes_sent(self) -> int:
        return self._extensions.header_bytes

    @header_bytes_sent.setter
    def header_bytes_sent(self, value: int) -> None:
        """It is counted where headers are written."""

    @property
    def encoder(self) -> VideoEncoder | None:
        """What encodes, once something has been."""
        encoder = sender_field(self, "encoder")
        return encoder if isinstance(encoder, VideoEncoder) else None

    def _create_encoder(self, codec: RTCRtpCodecParameters) -> Encoder:
        return VideoEncoder(codec, self.encoded)

    async def _retransmit(self, sequence_number: int) -> None:
        packet = sender_field(self, "rtp_history").get(sequence_number % RTP_HISTORY_SIZE)
        if packet is not None and packet.sequence_number == sequence_number:
            self.retransmitted_packets += 1
            self.retransmitted_bytes += len(packet.payload)
        await super()._retransmit(sequence_number)

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        self._stamp()
        await super().send(parameters)

    def _use_encoding(self) -> None:
        self._stamp()
        super()._use_encoding()

    def _stamp(self) -> None:
        self._extensions.rid = self._encoding.get("rid")
        codecs = self._parameters.codecs if self._parameters is not None else []
        self._extensions.repairs_apart = any("apt" in codec.parameters for codec in codecs)


class VideoSender(EncodingSender):
    """An `RTCRtpSender` for video. It sends its first encoding itself, and the others through `layers`."""

    def __init__(self, trackOrKind: MediaStreamTrack | str, transport: Any = None) -> None:
        self.layers: list[LayerSender] = []
        self._ending: set[asyncio.Task[None]] = set()
        super().__init__(trackOrKind, transport)

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        await super().send(parameters)
        for layer in self.layers:
            await layer.send_beside(parameters)

    @property
    def _streams_sent(self) -> list[RTCRtpSender]:
        return [self, *self.layers]

    def setTransport(self, transport: Any) -> None:
        super().setTransport(transport)
        for layer in self.layers:
            layer.setTransport(transport)

    async def stop(self) -> None:
        for layer in self.layers:
            self._end(layer)
        await super().stop()
        await asyncio.gather(*self._ending)

    def _use_encoding(self) -> None:
        super()._use_encoding()
        while len(self.layers) > len(self._encodings) - 1:
            self._end(self.layers.pop())
        for layer in self.layers:
            layer._use_encoding()
        while len(self.layers) < len(self._encodings) - 1:
            layer = LayerSender(self, len(self.layers) + 1)
            layer.setTransport(sender_field(self, "transport"))
            self.layers.append(layer)
            self._feed.taps.append(layer._layer_feed)

    @property
    def _share_of_taken(self) -> int | None:
        # Alike: they differ in size, and how much each needs is not known before it is sent.
        active = sum(bool(encoding.get("active", True)) for encoding in self._encodings)
        return None if self._taken is None else self._taken // max(1, active)

    def _end(self, layer: LayerSender) -> None:
        if layer._layer_feed in self._feed.taps:
            self._feed.taps.remove(layer._layer_feed)
        task = asyncio.ensure_future(layer.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class LayerSender(EncodingSender):
    """Sends one more encoding of another sender's track, as a stream of its own."""

    def __init__(self, owner: VideoSender, index: int) -> None:
        self._owner_sender = owner
        self._index = index
        super().__init__("video")
        self.stats_id = f"{owner.stats_id}_{index}"
        self._use_encoding()

    def _create_feed(self, kind: str) -> SenderFeed:
        self._layer_feed = LayerFeed(kind)
        return self._layer_feed

    @property
    def _encoding(self) -> Members:
        encodings = self._owner_sender._encodings
        return encodings[self._index] if self._index < len(encodings) else Members(active=False)

    @property
    def _enabled(self) -> bool:
        return self._owner_sender._negotiated and bool(self._encoding.get("active", True))

    @_enabled.setter
    def _enabled(self, negotiated: bool) -> None:
        """Its owner knows."""

    @property
    def _share_of_taken(self) -> int | None:
        return self._owner_sender._share_of_taken

    async def send_beside(self, parameters: RTCRtpSendParameters) -> None:
        """Send with the parameters of the owner."""
        rtcp = RTCRtcpParameters(cname=parameters.rtcp.cname, mux=True, ssrc=self._ssrc)
        await self.send(dataclasses.replace(parameters, rtcp=rtcp))
