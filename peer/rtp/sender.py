"""RTCRtpSender (W3C WebRTC §5.2)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import struct
from typing import TYPE_CHECKING, Any, Final

from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import (
    RTCRtpCapabilities,
    RTCRtpCodecParameters,
    RTCRtpParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    compute_audio_level_dbov,
    unpack_remb_fci,
)
from aiortc.stats import RTCStatsReport
from av import AudioFrame

from peer.aio.completion import Completion
from peer.aio.emitter import EventEmitter
from peer.aio.seldom_log import SeldomLog
from peer.exceptions import (
    InvalidArgumentError,
    InvalidModificationError,
    InvalidStateError,
    NotSupportedError,
)
from peer.webidl import Members

from .aiortc_stats import outbound_like_aiortc
from .codecs import capabilities
from .encodings import ParametersTransaction, initial_encodings, parameter_members, same_codec
from .feed import UNBOUND, SenderFeed
from .line import Alone, Line
from .media_stream import MediaStream
from .outbound import OutboundStream
from .timeline import Timeline, seconds_of

if TYPE_CHECKING:
    from .dtmf import RTCDTMFSender

logger = logging.getLogger("peer.rtp")

AUDIO_BITRATE: Final = 128_000
"""Bits per second that retransmissions of audio may take, where nothing limits them further."""

_numbers: Final = itertools.count(1)


class RTCRtpSender(EventEmitter):
    """Encodes a track and sends it to the peer.

    Event: `trackfailed`, with the exception, when `recv()` of the track has raised or has given what is no frame.
    Nothing more is sent of that track; another one can take its place.
    """

    def __init__(
        self, trackOrKind: MediaStreamTrack | str, transport: Any = None, *, line: Line | None = None
    ) -> None:
        super().__init__()
        track = trackOrKind if isinstance(trackOrKind, MediaStreamTrack) else None
        kind = trackOrKind if isinstance(trackOrKind, str) else trackOrKind.kind
        if transport is not None and transport.state == "closed":
            raise InvalidStateError("the transport is closed")
        self._feed = self._create_feed(kind)
        self.stream = OutboundStream(UNBOUND if transport is None else transport)
        """The RTP stream it sends."""
        self.line: Line = Alone() if line is None else line
        self.dtmf: RTCDTMFSender | None = None
        """What sends DTMF tones; None for video."""
        self.stats_id = f"O{next(_numbers)}"
        self.measured = self._feed.measured
        self.track_failure: Exception | None = None
        """What `recv()` of the track has raised, if it has."""
        self.nacks_received = 0
        self.plis_received = 0
        self.firs_received = 0
        self.frames_encoded = 0
        self._agreed = RTCRtpParameters()
        """What has been negotiated, whether or not it is in use yet."""
        self.codec: RTCRtpCodecParameters | None = None
        """The codec in use."""
        self._parameters: RTCRtpSendParameters | None = None
        self._transaction = ParametersTransaction(kind, initial_encodings(kind, None))
        self._taken: int | None = None
        self._log = SeldomLog(logger)
        self._event_loop = asyncio.get_running_loop()
        self._timeline = Timeline()
        self._encoder: Encoder | None = None
        self._task: asyncio.Task[None] | None = None
        self._feed.source = track

    def _create_feed(self, kind: str) -> SenderFeed:
        return SenderFeed(kind, self._track_failed)

    def _track_failed(self, track: MediaStreamTrack, error: Exception) -> None:
        self.track_failure = error
        self._event_loop.call_exception_handler(
            {
                "message": f"recv() of a sent {self.kind} track failed; nothing more is sent of {track!r:.100}",
                "exception": error,
                "track": track,
            }
        )
        self.emit("trackfailed", error)

    @property
    def kind(self) -> str:
        """`"audio"` or `"video"`."""
        return self._feed.kind

    @property
    def track(self) -> MediaStreamTrack | None:
        """What is being sent, if anything."""
        return self._feed.source

    @property
    def transport(self) -> Any:
        """The RTCDtlsTransport it is sent over, or None while nothing has been described."""
        transport = self.stream.transport
        return None if transport is UNBOUND or self.line.sent.hidden else transport

    sends_telephone_events = False

    def telephone_event_timestamp(self, clock_rate: int) -> int:
        """Return the time of a telephone event that begins now, in units of its clock.

        Raises `NotSupportedError` without the extra `audio`.
        """
        raise NotSupportedError("telephone events need 'webrtc-peer[audio]'")

    def send_telephone_event(
        self, codec: RTCRtpCodecParameters, payload: bytes, timestamp: int, *, marker: bool, end: bool
    ) -> None:
        """Send one packet of a telephone event (RFC 4733). Raises `NotSupportedError` without the extra `audio`."""
        raise NotSupportedError("telephone events need 'webrtc-peer[audio]'")

    @property
    def started(self) -> bool:
        """Whether anything has been sent, or could have been."""
        return self._parameters is not None

    @classmethod
    def getCapabilities(cls, kind: str) -> RTCRtpCapabilities | None:
        """What can be sent of a kind: codecs and header extensions. None for another kind."""
        if kind not in ("audio", "video"):
            return None
        return capabilities(kind)

    def replaceTrack(self, track: MediaStreamTrack | None) -> Completion[None]:
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
                raise InvalidArgumentError(f"a {self._feed.kind} sender cannot send a {track.kind} track")
        if self.line.sent.stopped:
            raise InvalidStateError("the sender is stopped")
        chain = self.line.chain
        if chain is None:
            self.use_track(track)
            return Completion.done(None)

        async def replace() -> None:
            if self.line.sent.stopped:
                raise InvalidStateError("the sender is stopped")
            await asyncio.sleep(0)
            self.use_track(track)

        return Completion(asyncio.ensure_future(chain.run(replace)))

    def use_track(self, track: MediaStreamTrack | None) -> None:
        """Send another track from now on, or none."""
        if track is not self._feed.source:
            self.track_failure = None
            self._timeline.restart()
            self._feed.switch(track)

    async def getStats(self) -> RTCStatsReport:
        """What `RTCPeerConnection.getStats` reports of this sender, and what that refers to."""
        report = self.line.report(self.stats_id)
        return outbound_like_aiortc(self) if report is None else await report

    def setStreams(self, *streams: MediaStream) -> None:
        """The streams the peer finds the track in, from the next offer or answer on, which it asks for.

        Raises `InvalidStateError` when the connection is closed.
        """
        if self.line.is_closed:
            raise InvalidStateError("RTCPeerConnection is closed")
        self.line.set_streams(list(dict.fromkeys(stream.id for stream in streams)))
        self.line.changed()

    def getParameters(self) -> Members:
        """Return how the track is encoded (W3C WebRTC §5.2).

        The dictionary has `encodings` (with `active`, `maxBitrate`, `maxFramerate`, `scaleResolutionDownBy`), `codecs`,
        `headerExtensions`, `rtcp`, and the `transactionId` that ties a `setParameters` to it.
        """
        codecs, extensions = parameter_members(self._agreed)
        cname = self.line.cname
        rtcp = Members(reducedSize=True, **({} if cname is None else {"cname": cname}))
        return self._transaction.get(codecs, extensions, rtcp)

    def setParameters(self, parameters: Any, options: Any = None) -> Completion[None]:
        """Change how the track is encoded, without negotiation (W3C WebRTC §5.2).

        Takes what `getParameters` gave, changed: `active`, `maxBitrate` (bits per second), `maxFramerate`,
        `scaleResolutionDownBy` and `codec` take effect at the next frame. What `getParameters` gave is good until the
        event loop has turned: await nothing in between. What is returned may be awaited, and need not be.
        `options` may have `encodingOptions`, for each encoding a dictionary: with `keyFrame` true its next frame is
        one (WebRTC Extensions).
        Raises `InvalidStateError` when stopped or without a `getParameters` just before, `InvalidModificationError`
        for what cannot be changed, `InvalidRangeError` and `InvalidArgumentError` for values that cannot be.
        """
        if self.line.sent.stopped:
            raise InvalidStateError("the sender is stopped")
        wanted = (options or {}).get("encodingOptions") or []
        if wanted and len(wanted) != len(self.encodings):
            raise InvalidModificationError("encodingOptions has one entry for each encoding")
        done = self._transaction.set(parameters)
        self._use_encoding()
        for sender, each in zip(self.senders, wanted, strict=False):
            if each.get("keyFrame"):
                sender._request_key_frame()
        return Completion(done)

    @property
    def senders(self) -> list[RTCRtpSender]:
        """The senders of the encodings, in their order: this one, and one more for each layer of simulcast."""
        return [self]

    @property
    def encodings(self) -> list[Members]:
        """The encodings of the track, as `getParameters` shows them."""
        return self._transaction.encodings

    def use_encodings(self, encodings: list[Members]) -> None:
        """Send these encodings from now on."""
        self._transaction.encodings = encodings
        self._use_encoding()

    def forget_parameters(self) -> None:
        """Let no `setParameters` follow an earlier `getParameters` (W3C WebRTC §4.4.1.5)."""
        self._transaction.forget()

    def agree(self, agreed: RTCRtpParameters) -> None:
        """Take what a negotiation has agreed on."""
        self._agreed = agreed
        self._transaction.codecs_agreed(parameter_members(agreed)[0])

    @property
    def encoding(self) -> Members:
        """The encoding that this sender sends itself."""
        return self._transaction.encodings[0]

    def _use_encoding(self) -> None:
        if self._parameters is not None:
            self._use_parameters(self._chosen(self._parameters))
        self._feed.max_framerate = self.encoding.get("maxFramerate")

    def limit_bitrate(self, bitrate: int | None) -> None:
        """Cap all encodings of the track together at `bitrate` bits per second, as the peer's `b=` line asks.

        None removes the limit.
        """
        if bitrate != self._taken:
            self._taken = bitrate
            self._use_encoding()

    @property
    def _max_bitrate(self) -> int | None:
        """What this encoding may have, by the application's limit and the peer's."""
        limits = (self.encoding.get("maxBitrate"), self._share_of_taken)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def _share_of_taken(self) -> int | None:
        return self._taken

    @property
    def enabled(self) -> bool:
        """Whether anything is sent: by what was negotiated, and by what the application set."""
        return self.line.sent.enabled and bool(self.encoding.get("active", True))

    def setTransport(self, transport: Any) -> None:
        """Send over another transport from now on."""
        before = self.stream.transport
        if self.started and before is not transport:
            before.unregister_sender(self)
        self.stream.transport = transport
        if self.started and before is not transport:
            transport.register_sender(self, self.stream.ssrc, self._parameters)

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Send with these parameters, and the codec the encoding asks for or else the first; again, to change them."""
        if self.line.sent.stopped:
            return
        self._parameters = parameters
        self._use_parameters(self._chosen(parameters))
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    def _chosen(self, parameters: RTCRtpSendParameters) -> RTCRtpSendParameters:
        wanted = self.encoding.get("codec")
        if wanted is None:
            return parameters
        members = parameter_members(parameters)[0]
        first = next((i for i, codec in enumerate(members) if same_codec(wanted, codec)), 0)
        codecs = list(parameters.codecs)
        codecs.insert(0, codecs.pop(first))
        return dataclasses.replace(parameters, codecs=codecs)

    def _use_parameters(self, parameters: RTCRtpSendParameters) -> None:
        codec, before = parameters.codecs[0], self.codec
        if before is not None and _format(codec) != _format(before):
            self._forget_encoder()
        self.codec = codec
        self.stream.configure(parameters, codec)
        self.stream.transport.register_sender(self, self.stream.ssrc, parameters)

    def format_parameters(self, mime_type: str) -> dict[str, int | str | None] | None:
        """Return what our descriptions say of a codec, where the application has wishes; None for what is usual."""
        return None

    async def stop(self) -> None:
        """Stop for good. The application's track is left as it is."""
        self.line.sent.stopped = True
        task, self._task = self._task, None
        if task is None:
            return
        self.stream.transport.unregister_sender(self)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.stream.close()
        self._forget_encoder()

    async def _run(self) -> None:
        """Read, encode and send for as long as the sender lives, whatever becomes of a frame or a track."""
        while True:
            data = await self._feed.recv()
            if not self.enabled:
                continue  # read all the same, so that frames do not gather
            try:
                await self._send_media(data)
            except Exception as error:
                self._log.warning("a frame could not be encoded and is dropped: %s", error, error=error)
                self._forget_encoder()

    def _forget_encoder(self) -> None:
        """Begin anew with the next frame: the codec is another one, or the encoder has failed."""
        self._encoder = None

    async def _send_media(self, data: Any) -> None:
        """Encode and send one frame, or send a packet as it is."""
        codec = self.codec
        assert codec is not None
        if self._encoder is None:
            self._encoder = get_encoder(codec)
        captured_at, position = self._place(data)
        level = None
        if isinstance(data, AudioFrame):
            level = compute_audio_level_dbov(data)
            payloads, _ = await self._event_loop.run_in_executor(None, self._encoder.encode, data)
        else:
            payloads, _ = self._encoder.pack(data)
        if payloads:
            if level is not None:
                self.measured.audio(level, 0.02)
            self._send_payloads(codec, payloads, position, captured_at, level)

    def _place(self, data: Any) -> tuple[float, float]:
        """Return when a frame came, and its position in seconds from the first one."""
        now = self._event_loop.time()
        return now, self._timeline.place(seconds_of(data.pts, data.time_base), now)

    def _send_payloads(
        self,
        codec: RTCRtpCodecParameters,
        payloads: list[bytes],
        position: float,
        captured_at: float,
        audio_level: int | None = None,
    ) -> None:
        self.frames_encoded += 1
        self.stream.send_frame(codec, payloads, round(position * codec.clockRate), captured_at, audio_level)

    def _request_key_frame(self) -> None:
        """The peer needs a picture that needs no other. Sound has none."""

    @property
    def _retransmission_bitrate(self) -> int:
        limit = self._max_bitrate
        return AUDIO_BITRATE if limit is None else min(limit, AUDIO_BITRATE)

    def _peer_estimates(self, bitrate: int, ssrcs: list[int]) -> None:
        """The peer says how much of these streams together comes through (REMB). Sound does not mind."""

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        """Take what the peer reports of this stream, or asks of it (see `peer.rtp.router.RtcpSink`)."""
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self.stream.ssrc:
                    self.stream.reports.received(packet.ssrc, report, self._event_loop.time())
                    self._reception_reported()
        elif isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            self.nacks_received += 1
            self.stream.retransmit(packet.lost, self._retransmission_bitrate)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_PLI:
            self.plis_received += 1
            self._request_key_frame()
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_FIR:
            self.firs_received += 1
            self._request_key_frame()
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            with contextlib.suppress(ValueError, struct.error):
                bitrate, ssrcs = unpack_remb_fci(packet.fci)
                if self.stream.ssrc in ssrcs:
                    self._peer_estimates(bitrate, ssrcs)

    def _reception_reported(self) -> None:
        """The peer has reported how much of the stream it lost."""


def _format(codec: RTCRtpCodecParameters) -> tuple[Any, ...]:
    """What an encoder must begin anew for."""
    mode = codec.parameters.get("packetization-mode")
    return codec.mimeType.lower(), codec.clockRate, codec.channels, mode
