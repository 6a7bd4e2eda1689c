"""The live half of an m-line: its sender, its receiver, and the transceiver that shows both.

All that effects do to a sender or a receiver, and all that descriptions need to know of one, is here.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Awaitable
from typing import Any, Protocol

from aiortc import MediaStreamTrack, RTCStatsReport
from aiortc.rtcrtpparameters import RTCRtpParameters

from peer.aio.completion import Completion
from peer.aio.operations_chain import OperationsChain
from peer.aiortc.behaviour import Behaviour
from peer.jsep.effects import Agree
from peer.jsep.mline import MLine, Sending
from peer.rtp.codecs import mime_types
from peer.rtp.encodings import scale_down
from peer.rtp.feed import UNBOUND
from peer.rtp.line import Settled
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sender import RTCRtpSender
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sdp.direction import receives, sends
from peer.video.receiver import VideoReceiver
from peer.video.sender import VideoSender

logger = logging.getLogger("peer.connection")


class MediaOwner(Protocol):
    """The connection, as its media know it."""

    behaviour: Behaviour
    cname: str
    chain: OperationsChain
    """Where a sender puts what must not come between the operations of the connection."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed."""

    def peer_begins_again(self) -> bool:
        """Whether what the peer ends now is about to begin again."""

    def stats_of(self, id: str) -> Awaitable[RTCStatsReport]:
        """Statistics of the sender or receiver with this id."""

    def changed(self) -> None:
        """The application wants something else: ask whether negotiation is needed."""


class MediaLine:
    """Sends and receives what one m-line has."""

    def __init__(
        self,
        line: MLine,
        owner: MediaOwner,
        track: MediaStreamTrack | None = None,
        *,
        track_id: str | None = None,
    ) -> None:
        create_receiver, create_sender = _audio_classes() if line.kind == "audio" else _video_classes()
        self.line = line
        self._owner = owner
        self.cname: str | None = owner.cname
        self.chain = None if owner.behaviour.replaces_tracks_at_once else owner.chain
        self.sent = Settled()
        self.received = Settled()
        self._track_id = str(uuid.uuid4()) if track is None else track.id
        self._streams: list[str] = []
        self.shows_last_direction = owner.behaviour.shows_last_direction
        self.receiver = create_receiver(line.kind, track_id=track_id, line=self)
        self.sender = create_sender(track or line.kind, line=self)
        self.transceiver = RTCRtpTransceiver(line, self.sender, self.receiver, self)
        self.receiver.feedback.ssrc = self.sender.stream.ssrc
        self.observe()

    # What descriptions need to know

    def observe(self) -> None:
        """Write what the sender is set to onto the line."""
        sender = self.sender
        types = mime_types(self.line.kind)
        formats = {name: own for name in types if (own := sender.format_parameters(name)) is not None}
        self.line.sending = Sending(
            track_id=self._track_id,
            streams=tuple(self._streams),
            ssrc=sender.stream.ssrc,
            rtx_ssrc=sender.stream.rtx_ssrc,
            formats=formats,
        )
        self.line.encodings = sender.encodings

    # The application's wishes

    @property
    def is_closed(self) -> bool:
        """True once the connection is closed."""
        return self._owner.is_closed

    def changed(self) -> None:
        """Pass on that the application wants something else."""
        self.observe()
        self._owner.changed()

    def report(self, id: str) -> Awaitable[RTCStatsReport] | None:
        """Return the connection's statistics of the sender or receiver with this id; None to report as aiortc."""
        return None if self._owner.behaviour.reports_as_aiortc else self._owner.stats_of(id)

    def send_track(self, track: MediaStreamTrack | None) -> None:
        """Send another track, or none."""
        self.sender.use_track(track)
        if track is not None:
            self._track_id = track.id
        self.observe()

    def set_streams(self, ids: list[str]) -> None:
        """Name the streams that the peer shall find the track in."""
        self._streams = ids
        self.observe()

    def stop(self) -> Completion[None]:
        """`RTCRtpTransceiver.stop`: takes effect at once, and the next offer tells the peer."""
        if not self.line.stopping:
            self._stop_sending_and_receiving()
            self.changed()
        return Completion(asyncio.ensure_future(self.release()))

    # Effects

    def bind(self, dtls: Any | None) -> None:
        """Send and receive over a DTLS transport; over none for None."""
        transport = UNBOUND if dtls is None else dtls
        self.sender.setTransport(transport)
        self.receiver.setTransport(transport)

    def hide_transport(self, hidden: bool) -> None:
        """Show no transport, while it is only offered."""
        self.sent.hidden = self.received.hidden = hidden

    def name_track(self, id: str) -> None:
        """Give the remote track the id that the peer uses."""
        self.receiver.track.rename(id)

    def set_direction(self, direction: str | None) -> None:
        """Send and receive as has been agreed on."""
        stopping = self.line.stopping
        self.sent.enabled = sends(direction) and not stopping
        self.received.enabled = receives(direction) and not stopping

    def set_receptive(self, receptive: bool) -> None:
        """Take what arrives for the peer's track, or no longer."""
        self.received.receptive = receptive

    def agree(self, agreed: Agree) -> None:
        """Let `getParameters` of both tell what has been agreed on."""
        extensions = list(agreed.extensions)
        self.sender.agree(RTCRtpParameters(codecs=list(agreed.sent), headerExtensions=extensions))
        self.receiver.agree(RTCRtpParameters(codecs=list(agreed.received), headerExtensions=extensions))

    def set_encodings(self, encodings: list[Any]) -> None:
        """Send these encodings."""
        scale_down(self.line.kind, encodings)
        self.sender.use_encodings(encodings)
        self.line.encodings = encodings

    def forget_parameters(self) -> None:
        """Let no `setParameters` follow an earlier `getParameters`."""
        self.sender.forget_parameters()

    def mute(self) -> None:
        """The peer sends no more."""
        self.receiver.track.set_muted(True)

    def stop_for_good(self) -> None:
        """ "Stop the RTCRtpTransceiver" (W3C WebRTC §5.4): by rejection, or because the connection closes."""
        if not self.line.stopping:
            self._stop_sending_and_receiving()
        self.line.stopped = True
        self.line.current = None

    async def release(self) -> None:
        """Give back what sending and receiving have taken."""
        sent = self.sender.started
        # Side by side: neither may keep the other from its end.
        await asyncio.gather(self.receiver.stop(), self.sender.stop())
        if self._owner.behaviour.ends_sent_tracks and sent and self.sender.track is not None:
            self.sender.track.stop()

    def _stop_sending_and_receiving(self) -> None:
        self.line.stopping = True
        if self.sender.dtmf is not None:
            self.sender.dtmf.stop()
        self.sent.stopped = True
        self.sent.enabled = False
        self.received.enabled = False
        if self._owner.behaviour.ends_tracks_at_once or self._owner.is_closed:
            self.receiver.track.stop()
        else:
            # A task of its own (W3C WebRTC §5.4.3): who looks at the track at once finds it live.
            asyncio.get_running_loop().call_soon(self.receiver.track.stop)


def _video_classes() -> tuple[type[RTCRtpReceiver], type[RTCRtpSender]]:
    return VideoReceiver, VideoSender


@functools.cache
def _audio_classes() -> tuple[type[RTCRtpReceiver], type[RTCRtpSender]]:
    """What plays and sends audio. Looked for when there is some: numpy and libopus come along."""
    try:
        from peer.audio import AudioReceiver, AudioSender
    except ImportError as exc:
        logger.warning(
            "audio has no concealment and a fixed delay (%s): pip install 'webrtc-peer[audio]'", exc
        )
        return VideoReceiver, RTCRtpSender
    return AudioReceiver, AudioSender
