"""RTCRtpSender (W3C WebRTC §5.2), over aiortc's."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import aiortc
from aiortc.codecs.base import Encoder
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpparameters import (
    RTCRtpCapabilities,
    RTCRtpCodecParameters,
    RTCRtpParameters,
    RTCRtpSendParameters,
)
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
)
from aiortc.stats import RTCStatsReport

from peer.aio.background import Background
from peer.aio.completion import Completion
from peer.aio.operations_chain import OperationsChain
from peer.aio.run_until_blocked import begin
from peer.aiortc_seams import sender_field, set_sender_field
from peer.exceptions import (
    InvalidArgumentError,
    InvalidModificationError,
    InvalidStateError,
    NotSupportedError,
)
from peer.webidl import Members

from .codecs import capabilities
from .encodings import ParametersTransaction, initial_encodings, parameter_members, same_codec
from .feed import UNBOUND, SenderFeed
from .media_stream import MediaStream

if TYPE_CHECKING:
    from .dtmf import RTCDTMFSender

logger = logging.getLogger("peer.rtp")


_numbers: Final = itertools.count(1)


class RTCRtpSender(aiortc.RTCRtpSender):
    """Encodes a track and sends it to the peer."""

    def __init__(self, trackOrKind: MediaStreamTrack | str, transport: Any = None) -> None:
        kind = trackOrKind.kind if isinstance(trackOrKind, MediaStreamTrack) else trackOrKind
        self._feed = self._create_feed(kind)
        self._answering = Background("RTP sender")
        self._streams: list[str] = []
        self._stopped = False
        self._ever_sent = False
        self.stats_id = f"O{next(_numbers)}"
        self.measured = self._feed.measured
        self.nacks_received = 0
        self.plis_received = 0
        self.firs_received = 0
        self.header_bytes_sent = 0
        self.retransmitted_packets = 0
        self.retransmitted_bytes = 0
        self.frames_encoded = 0
        self.total_round_trip_time = 0.0
        self.round_trip_times = 0
        self._stats: Callable[[str], Awaitable[RTCStatsReport]] | None = None
        self._changed: Callable[[], None] = lambda: None
        self._chain: OperationsChain | None = None
        """The connection's operations, or None where everything takes effect at once, as in aiortc."""
        self._cname: str | None = None
        self._dtmf: RTCDTMFSender | None = None
        self._closed: Callable[[], bool] = lambda: False
        self._hidden = False
        """Whether the transport is only what the peer has offered so far (W3C WebRTC §5.2)."""
        self._agreed = RTCRtpParameters()
        """What has been negotiated, whether or not it is in use yet."""
        self._owner: Any = None
        """The connection that made it."""
        self._codec: RTCRtpCodecParameters | None = None
        self._parameters: RTCRtpSendParameters | None = None
        self._transaction = ParametersTransaction(kind, initial_encodings(kind, None))
        self._taken: int | None = None
        self._negotiated = True
        self._track_id = str(uuid.uuid4())
        self._timestamp: tuple[int, float] | None = None
        self._offset = 0
        self._rebase = False
        self._switched = False
        if isinstance(trackOrKind, MediaStreamTrack):
            self._track_id = trackOrKind.id
        super().__init__(trackOrKind, UNBOUND if transport is None else transport)
        set_sender_field(self, "track", self._feed)

    def _create_feed(self, kind: str) -> SenderFeed:
        return SenderFeed(kind)

    @property
    def track(self) -> MediaStreamTrack | None:  # type: ignore[override]
        """What is being sent, if anything."""
        return self._feed.source

    @property
    def transport(self) -> Any:
        """The RTCDtlsTransport it is sent over, or None while nothing has been described."""
        transport = sender_field(self, "transport")
        return None if transport is UNBOUND or self._hidden else transport

    @property
    def dtmf(self) -> RTCDTMFSender | None:
        """What sends DTMF tones; None for video."""
        return self._dtmf

    _sends_telephone_events = False

    def _telephone_event_timestamp(self, clock_rate: int) -> int:
        raise NotSupportedError("telephone events need 'webrtc-peer[audio]'")

    def _send_telephone_event(
        self, codec: RTCRtpCodecParameters, payload: bytes, timestamp: int, *, marker: bool, end: bool
    ) -> None:
        raise NotSupportedError("telephone events need 'webrtc-peer[audio]'")

    @property
    def started(self) -> bool:
        return bool(sender_field(self, "started"))

    @classmethod
    def getCapabilities(cls, kind: str) -> RTCRtpCapabilities | None:  # type: ignore[override]
        """What can be sent of a kind: codecs and header extensions. None for another kind."""
        if kind not in ("audio", "video"):
            return None
        return capabilities(kind)

    def replaceTrack(self, track: MediaStreamTrack | None) -> Completion[None]:  # type: ignore[override]
        """Send another track of the same kind, or nothing, without negotiation (W3C WebRTC §5.2.5).

        Takes effect when it is its turn among the connection's operations; what is returned may be awaited, as in a
        browser, and need not be. The RTP timestamps run on. Neither track is stopped.
        Raises `InvalidArgumentError` for a track of another kind and `InvalidStateError` once stopped.
        """
        if track is not None:
            if not isinstance(track, MediaStreamTrack):
                raise InvalidArgumentError(
                    f"replaceTrack takes a MediaStreamTrack or None, not {track!r:.100}"
                )
            if track.kind != self._feed.kind:
                raise InvalidArgumentError(f"a {self._feed.kind} sender can not send a {track.kind} track")
        if self._stopped:
            raise InvalidStateError("the sender is stopped")
        if self._chain is None:
            self._replace(track)
            return Completion.done(None)

        async def replace() -> None:
            if self._stopped:
                raise InvalidStateError("the sender is stopped")
            await asyncio.sleep(0)
            self._replace(track)

        return Completion(asyncio.ensure_future(self._chain.run(replace)))

    def _replace(self, track: MediaStreamTrack | None) -> None:
        if track is not self._feed.source:
            self._feed.switch(track)
            self._switched = True

    async def getStats(self) -> RTCStatsReport:
        """What `RTCPeerConnection.getStats` reports of this sender, and what that refers to."""
        return await super().getStats() if self._stats is None else await self._stats(self.stats_id)

    def setStreams(self, *streams: MediaStream) -> None:
        """The streams the peer finds the track in, from the next offer or answer on, which it asks for.

        Raises `InvalidStateError` when the connection is closed.
        """
        if self._closed():
            raise InvalidStateError("RTCPeerConnection is closed")
        self._streams = list(dict.fromkeys(stream.id for stream in streams))
        self._changed()

    def getParameters(self) -> Members:
        """How the track is encoded: `encodings` (with `active`, `maxBitrate`, `maxFramerate`, `scaleResolutionDownBy`),
        `codecs`, `headerExtensions`, `rtcp`, and the `transactionId` that ties a `setParameters` to it."""
        codecs, extensions = parameter_members(self._agreed)
        rtcp = Members(reducedSize=True, **({} if self._cname is None else {"cname": self._cname}))
        return self._transaction.get(codecs, extensions, rtcp)

    def setParameters(self, parameters: Any, options: Any = None) -> Completion[None]:
        """Change how the track is encoded, without negotiation (W3C WebRTC §5.2).

        Takes what `getParameters` gave, changed: `active`, `maxBitrate` (bits per second), `maxFramerate`,
        `scaleResolutionDownBy` and `codec` take effect at the next frame. What `getParameters` gave is good until the
        event loop has turned: await nothing in between. What is returned may be awaited, and need not be.
        `options` may have `encodingOptions`, for each encoding a dictionary: with `keyFrame` true its next frame is
        one (WebRTC Extensions).
        Raises `InvalidStateError` when stopped or without a `getParameters` just before, `InvalidModificationError`
        for what can not be changed, `InvalidRangeError` and `InvalidArgumentError` for values that can not be.
        """
        if self._stopped:
            raise InvalidStateError("the sender is stopped")
        wanted = (options or {}).get("encodingOptions") or []
        if wanted and len(wanted) != len(self._encodings):
            raise InvalidModificationError("encodingOptions has one entry for each encoding")
        done = self._transaction.set(parameters)
        self._use_encoding()
        for sender, each in zip(self._streams_sent, wanted, strict=False):
            if each.get("keyFrame"):
                sender._send_keyframe()
        return Completion(done)

    @property
    def _streams_sent(self) -> list[RTCRtpSender]:
        """Who sends each of the encodings."""
        return [self]

    @property
    def _encodings(self) -> list[Members]:
        return self._transaction.encodings

    def _set_encodings(self, encodings: list[Members]) -> None:
        self._transaction.encodings = encodings
        self._use_encoding()

    def _use_agreed(self, agreed: RTCRtpParameters) -> None:
        """A negotiation is done: what can be sent from now on."""
        self._agreed = agreed
        self._transaction.codecs_agreed(parameter_members(agreed)[0])

    @property
    def _encoding(self) -> Members:
        return self._transaction.encodings[0]

    def _use_encoding(self) -> None:
        encoding = self._encoding
        if self.started and self._parameters is not None:
            self._use_parameters(self._chosen(self._parameters))
        self._feed.max_framerate = encoding.get("maxFramerate")
        self._feed.scale = float(encoding.get("scaleResolutionDownBy", 1.0))

    def _limit(self, bitrate: int | None) -> None:
        """The peer takes so many bits per second, of everything that is sent for the track; None: as many as come."""
        if bitrate != self._taken:
            self._taken = bitrate
            self._use_encoding()

    @property
    def _max_bitrate(self) -> int | None:
        """What this encoding may have, by the application's limit and the peer's."""
        limits = (self._encoding.get("maxBitrate"), self._share_of_taken)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def _share_of_taken(self) -> int | None:
        return self._taken

    @property
    def _enabled(self) -> bool:
        """Whether anything is sent: by what was negotiated, and by what the application set."""
        return self._negotiated and bool(self._encoding.get("active", True))

    @_enabled.setter
    def _enabled(self, negotiated: bool) -> None:
        self._negotiated = negotiated

    def setTransport(self, transport: Any) -> None:
        if self.started and self.transport is not transport and self._parameters is not None:
            self.transport._unregister_rtp_sender(self)
            super().setTransport(transport)
            transport._register_rtp_sender(self, self._parameters)
        else:
            super().setTransport(transport)

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Send with these parameters, and the codec the encoding asks for or else the first; again, to change them."""
        self._parameters = parameters
        chosen = self._chosen(parameters)
        if not self.started:
            # aiortc's loop holds on to this object; changing it in place is how a codec changes.
            self._codec = copy.deepcopy(chosen.codecs[0])
            await super().send(dataclasses.replace(chosen, codecs=[self._codec, *chosen.codecs[1:]]))
        else:
            self._use_parameters(chosen)

    def _chosen(self, parameters: RTCRtpSendParameters) -> RTCRtpSendParameters:
        wanted = self._encoding.get("codec")
        if wanted is None:
            return parameters
        members = parameter_members(parameters)[0]
        first = next((i for i, codec in enumerate(members) if same_codec(wanted, codec)), 0)
        codecs = list(parameters.codecs)
        codecs.insert(0, codecs.pop(first))
        return dataclasses.replace(parameters, codecs=codecs)

    def _use_parameters(self, parameters: RTCRtpSendParameters) -> None:
        assert self._codec is not None
        codec = parameters.codecs[0]
        if codec.mimeType.lower() != self._codec.mimeType.lower() or codec.clockRate != self._codec.clockRate:
            self._switched = True
        self._codec.mimeType = codec.mimeType
        self._codec.clockRate = codec.clockRate
        self._codec.channels = codec.channels
        self._codec.payloadType = codec.payloadType
        self._codec.parameters = codec.parameters
        self._codec.rtcpFeedback = codec.rtcpFeedback
        rtx = next((c for c in parameters.codecs if c.parameters.get("apt") == codec.payloadType), None)
        set_sender_field(self, "rtx_payload_type", None if rtx is None else rtx.payloadType)
        sender_field(self, "rtp_header_extensions_map").configure(parameters)
        self.transport._register_rtp_sender(self, parameters)

    def _format_parameters(self, mime_type: str) -> dict[str, int | str | None] | None:
        """What our descriptions say of a codec, where the application has wishes; None for what is usual."""
        return None

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        """Take what the peer reports of this stream, or asks of it (see `peer.rtp.router.RtcpSink`)."""
        rest = begin(self._handle_rtcp_packet(packet))
        if rest is not None:
            self._answering.spawn(rest)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        before = sender_field(self, "rtt")
        await super()._handle_rtcp_packet(packet)
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            self.nacks_received += 1
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_PLI:
            self.plis_received += 1
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_FIR:
            self.firs_received += 1
        elif isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            measured = sender_field(self, "rtt")
            if measured is not None and measured != before:
                self.total_round_trip_time += measured
                self.round_trip_times += 1

    async def stop(self) -> None:
        """Stop for good. The application's track is left as it is."""
        self._stopped = True
        await super().stop()

    def _create_encoder(self, codec: RTCRtpCodecParameters) -> Encoder | None:
        """What encodes; None for aiortc's own."""
        return None

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        if self._switched:
            # The new track may have another format, and the old encoder's state is not its past.
            self._switched = False
            set_sender_field(self, "encoder", None)
            self._rebase = True
        limit = self._max_bitrate
        encoder = sender_field(self, "encoder")
        if encoder is None and (encoder := self._create_encoder(codec)) is not None:
            set_sender_field(self, "encoder", encoder)
        if limit is not None and getattr(encoder, "target_bitrate", 0) > limit:
            encoder.target_bitrate = limit
        try:
            frame = await super()._next_encoded_frame(codec)
        except MediaStreamError:
            raise
        except (AssertionError, ValueError) as exc:
            # aiortc's encoders take what they know and do not follow when a track changes its format.
            logger.warning("a frame could not be encoded as %s and was dropped: %r", codec.name, exc)
            self._switched = True
            return None
        if frame is None:
            return None
        self.frames_encoded += 1
        if frame.audio_level is not None:
            self.measured.audio(frame.audio_level, 0.02)
        now = time.monotonic()
        if self._rebase and not self._switched:
            self._rebase = False
            if self._timestamp is not None:
                last, then = self._timestamp
                self._offset = last + max(1, round((now - then) * codec.clockRate)) - frame.timestamp
        frame.timestamp += self._offset
        self._timestamp = frame.timestamp, now
        return frame
